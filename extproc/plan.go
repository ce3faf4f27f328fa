package extproc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/extproc/bedrock"
	"aisix/extproc/chat"
	"aisix/extproc/exchange"
	"aisix/extproc/fault"
	"aisix/extproc/routing"
	"aisix/extproc/usage"
)

// plan is how a call finds its way over a model's targets. A model of one target that is asked
// once has none, and a call to it costs nothing of this.
type plan struct {
	order    []*snapshot.Target                  // as they are asked; those that can't take the request are gone
	made     int                                 // tries
	most     int                                 // of them
	rounds   int                                 // how often each target is asked at most
	faults   []*fault.Error                      // of the tries, oldest first
	verbatim map[chat.API]*chat.Verbatim         // what was asked, for targets that understand it as it came
	request  *chat.Request                       // what was asked, for those that do not; nil before it was needed
	encode   func(*bedrock.Model) error          // of what is no conversation
	models   map[*snapshot.Target]*bedrock.Model // compiled
}

// Between two rounds over the same targets a call waits.
const (
	firstPause   = 200 * time.Millisecond // doubling
	longestPause = 2 * time.Second

	remains = 50 * time.Millisecond // for what is left of an answer that failed
)

// planned is the plan of a call whose body is plain, nil where there is but one way.
func (s *Server) planned(c *call, plain []byte) *plan {
	m, r := c.match, c.match.Model.Routing
	if m.Targets == nil && (r == nil || r.Retries == 0) {
		return nil
	}
	p := &plan{models: make(map[*snapshot.Target]*bedrock.Model, max(1, len(m.Targets)))}
	switch {
	case m.Targets == nil:
		p.order = []*snapshot.Target{{ID: snapshot.TargetID(m.ModelID, ""), Model: m.Model, UpstreamID: m.UpstreamID, ProviderKeyID: m.ProviderKeyID, ProviderKey: m.ProviderKey}}
	case len(m.Targets) == 1:
		p.order = m.Targets
	default:
		of := make([]routing.Target, len(m.Targets))
		for i, t := range m.Targets {
			of[i] = routing.Target{ID: t.ID, Weight: t.Weight, Priority: t.Priority}
		}
		conversation := rand.Uint64()
		if r.IsSticky() {
			conversation = routing.Conversation(c.key.ID, c.header, plain)
		}
		p.order = make([]*snapshot.Target, 0, len(m.Targets))
		for _, i := range s.board.Order(of, conversation) {
			p.order = append(p.order, m.Targets[i])
		}
	}
	p.rounds, p.most = 1, math.MaxInt
	if r != nil {
		p.rounds += r.Retries
		if r.MaxAttempts != nil {
			p.most = *r.MaxAttempts
		}
	}
	return p
}

// open reports whether another try may follow the one under way.
func (p *plan) open() bool { return p != nil && p.made < min(p.most, len(p.order)*p.rounds) }

// modelAt is the target's, compiled.
func (s *Server) modelAt(p *plan, t *snapshot.Target) (*bedrock.Model, error) {
	if m := p.models[t]; m != nil {
		return m, nil
	}
	m, err := s.compiled(t.Model, t.ProviderKey, t.UpstreamID)
	if err == nil {
		p.models[t] = m
	}
	return m, err
}

// compiled is a model, in the form in which it is asked now.
func (s *Server) compiled(of *resource.Model, key *resource.ProviderKey, id string) (*bedrock.Model, error) {
	m, err := s.targets.compiled(of, key, id)
	if err != nil {
		return nil, err
	}
	return s.changed.now(m, s.Now()), nil
}

// goTo makes t the target of the next try.
func (c *call) goTo(t *snapshot.Target) {
	c.target = t
	c.facts.UpstreamModel, c.facts.ProviderKeyID, c.facts.Target = t.UpstreamID, t.ProviderKeyID, t.Name
}

// translateFirst makes the upstream's request for the first target in the order that can take
// it: those before it can't, and are asked no more.
func (s *Server) translateFirst(ctx context.Context, c *call) (*linked, error) {
	p := c.plan
	if err := s.keepVerbatim(c); err != nil {
		return nil, err
	}
	var refused error
	for len(p.order) > 0 {
		t := p.order[0]
		model, err := s.modelAt(p, t)
		if err != nil {
			return nil, err
		}
		c.goTo(t)
		l, err := s.translateAt(ctx, c, model)
		if err == nil {
			return l, nil
		}
		if refused == nil {
			refused = err
		}
		if !isCallers(err) {
			return nil, err
		}
		p.order = slices.Delete(slices.Clone(p.order), 0, 1)
	}
	return nil, refused
}

// isCallers reports whether err is a mistake in the request, for the target that it was judged for.
func isCallers(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Kind == fault.InvalidRequest
}

// keepVerbatim keeps what was asked as it came, for those of the targets that speak the caller's
// format: it can't be had any more once it was read.
func (s *Server) keepVerbatim(c *call) error {
	p := c.plan
	p.verbatim = map[chat.API]*chat.Verbatim{}
	for _, t := range p.order {
		model, err := s.modelAt(p, t)
		if err != nil {
			return err
		}
		if _, known := p.verbatim[model.API()]; !known {
			p.verbatim[model.API()] = c.asked.Verbatim(model.API())
		}
	}
	return nil
}

// asVerbatim is what was asked as it came, nil where the model does not understand that.
func (c *call) asVerbatim(m *bedrock.Model) *chat.Verbatim {
	if c.plan != nil {
		return c.plan.verbatim[m.API()]
	}
	return c.asked.Verbatim(m.API())
}

// asRequest is what was asked, read.
func (c *call) asRequest() (*chat.Request, error) {
	if c.plan == nil {
		return c.asked.Request(c.match.Model.IgnoreParams)
	}
	if c.plan.request == nil {
		request, err := c.asked.Request(c.match.Model.IgnoreParams)
		if err != nil {
			return nil, err
		}
		c.plan.request = request
	}
	return c.plan.request, nil
}

// sentOn takes note that the caller's own request has gone on. What only another try would take
// stays as long as there may be one; what was sent, as long as it may have reached nobody, or may be
// refused in words that quote it.
func (s *Server) sentOn(c *call) {
	c.passed = true
	switch {
	case c.anotherMayFollow():
	case s.keepsForAgain(c.upstream), c.upstream.Adopted() && s.keeps(c.upstream):
		c.forgetRequest()
	default:
		c.forget()
	}
}

// reached takes note that somebody has what was sent.
func (c *call) reached() {
	if c.passed && !c.forgotten && !c.anotherMayFollow() {
		c.forget()
	}
}

// anotherMayFollow reports whether the call may be made anew after the try under way: at another
// target, or without what was our choice of it.
func (c *call) anotherMayFollow() bool { return c.plan.open() || c.upstream.Chosen() }

// settled takes note that the upstream's answer has begun: there is no other try.
func (c *call) settled() {
	if !c.forgotten {
		c.forget()
	}
	c.held.Set(c.header.Size() + c.upstream.ForgetTexts())
}

// way is the one of the next try.
func (s *Server) way(ctx context.Context, c *call) way {
	if c.direct || c.passed {
		b := beside{s.Egress, ctx}
		if c.facts.Stream && c.x.Streams() {
			return waiting{b, s, c}
		}
		return b
	}
	pass := c.x.Counts() && c.plan == nil && c.budget.first == 0 && !c.upstream.Chosen() && c.upstream.Passes()
	return passage{c.x, func() { s.sentOn(c) }, pass, c.own()}
}

// converseOnce makes one try of the call, and answers by what comes of it.
func (s *Server) converseOnce(ctx context.Context, c *call) error {
	r, err := s.attempt(ctx, c, s.way(ctx, c))
	if err != nil {
		return err
	}
	defer r.close()
	if c.facts.Stream {
		return s.stream(ctx, c, r)
	}
	return s.whole(c, r)
}

// tryAll asks one target after the other until one answers, or none is left. The error is then
// what says most.
func (s *Server) tryAll(ctx context.Context, c *call, once func(context.Context, *call) error) error {
	var before error // what was to be told before the try under way
	for {
		if c.plan != nil {
			c.plan.made++
		}
		err := once(ctx, c)
		reason := s.judge(ctx, c, err)
		if reason == unreachable && s.backToPassage(c) {
			continue
		}
		if reason == unreachable && before != nil {
			s.notCalled(c, err)
			return before
		}
		switch {
		case err == nil || c.began || c.isGone(ctx, err):
			return err
		case reason == refused && s.without(ctx, c, err):
			if before = err; c.plan != nil {
				c.plan.made--
			}
			continue
		case !c.worthAnother(reason):
			return err
		}
		c.plan.faults = append(c.plan.faults, fault.From(err))
		before = best(c.plan.faults)
		if !s.next(ctx, c) {
			return before
		}
		c.facts.Notes = append(c.facts.Notes, fmt.Sprintf("target %q did not serve the call (%s), %q was asked: %v", c.facts.Tries[len(c.facts.Tries)-1].Target, reason, c.facts.Target, err))
	}
}

// notCalled takes out the tries that reached no upstream, for there was no way out: what the
// tries before them said holds.
func (s *Server) notCalled(c *call, err error) {
	c.facts.Tries = slices.DeleteFunc(c.facts.Tries, func(t usage.Try) bool { return t.Reason == string(unreachable) })
	s.Log.Error("no other try can be made", "request_id", c.facts.RequestID, "error", err)
}

// judge takes note of what came of the last try.
func (s *Server) judge(ctx context.Context, c *call, err error) reason {
	if len(c.facts.Tries) == 0 {
		return ""
	}
	try := &c.facts.Tries[len(c.facts.Tries)-1]
	r := s.noted(ctx, c, try, err)
	try.Reason = string(r)
	return r
}

// noted takes note of what came of a try, for those that come after it.
func (s *Server) noted(ctx context.Context, c *call, try *usage.Try, err error) reason {
	r := served
	switch {
	case err == nil && c.facts.ErrorType == "":
		if !s.board.Quiet() {
			s.board.Served(snapshot.TargetID(c.match.ModelID, try.Target), try.Sent)
		}
		return r
	case c.isGone(ctx, err):
		return gone
	case err == nil: // the stream broke off, and the caller was told
		r = brokenOff
	default:
		r = reasonOf(err)
	}
	id := snapshot.TargetID(c.match.ModelID, try.Target)
	switch {
	case r == throttled:
		s.board.Throttled(id, string(r), retryAfter(fault.From(err), s.Now()))
	case r.ofTarget(), r == brokenOff && !c.left:
		s.board.Failed(id, string(r))
	}
	return r
}

// worthAnother reports whether another target is asked after a try that ended so.
func (c *call) worthAnother(r reason) bool {
	switch {
	case c.plan == nil:
		return false
	case r == accessDenied, r == modelNotFound:
		routing := c.match.Model.Routing
		return routing != nil && slices.Contains(routing.AlsoOn, string(r))
	}
	return r.ofTarget()
}

// next makes the upstream's request for the next target that can take it. It reports whether
// there is one, and time and a way for it.
func (s *Server) next(ctx context.Context, c *call) bool {
	p := c.plan
	if c.passed && s.Egress == nil {
		return false
	}
	for p.open() {
		at := p.made % len(p.order)
		if round := p.made / len(p.order); round > 0 && at == 0 && !s.pause(ctx, c, min(firstPause<<(round-1), longestPause)) {
			return false
		}
		if !s.Now().Before(c.budget.end) || ctx.Err() != nil {
			return false
		}
		t := p.order[at]
		err := s.encodeAt(ctx, c, t)
		if err == nil {
			if c.passed {
				c.x.Leave(remains)
			}
			return true
		}
		c.facts.Notes = append(c.facts.Notes, fmt.Sprintf("target %q can't be asked: %s", t.Name, chat.Unquoted(err.Error())))
		p.order = slices.Delete(slices.Clone(p.order), at, at+1)
	}
	return false
}

// pause waits, within the call's time. It reports whether it is worth going on.
func (s *Server) pause(ctx context.Context, c *call, d time.Duration) bool {
	if s.Now().Add(d).After(c.budget.end) {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// encodeAt makes the upstream's request for another target.
func (s *Server) encodeAt(ctx context.Context, c *call, t *snapshot.Target) error {
	model, err := s.modelAt(c.plan, t)
	if err != nil {
		return err
	}
	if encode := c.plan.encode; encode != nil {
		if err = encode(model); err == nil {
			c.goTo(t)
		}
		return err
	}
	before := c.upstream
	if v := c.asVerbatim(model); v != nil {
		c.upstream, err = bedrock.Adopt(v, model)
	} else {
		var request *chat.Request
		if request, err = c.asRequest(); err != nil {
			return err
		}
		pass, full := s.enter(ctx, c, c.held.Held())
		if full != nil {
			return full
		}
		defer pass.Leave()
		c.upstream, err = bedrock.NewCall(ctx, request, model, s.Config.MaxBodyBytes)
		err = c.retold(err)
	}
	if err != nil {
		c.upstream = before
		return err
	}
	c.facts.Notes = append(c.facts.Notes, before.Notes()...)
	c.held.Add(c.upstream.Size() - before.Size())
	c.goTo(t)
	return nil
}

// providerKey is the one that the next try is signed with.
func (c *call) providerKey() (id string, k *resource.ProviderKey) {
	if c.target != nil {
		return c.target.ProviderKeyID, c.target.ProviderKey
	}
	return c.match.ProviderKeyID, c.match.ProviderKey
}

// attemptsHeader and targetHeader tell how many upstream calls there were, and by which target
// the last was answered.
const (
	attemptsHeader = "x-aisix-attempts"
	targetHeader   = "x-aisix-target"
)

// told are these headers, once there was a try.
func (c *call) told(out []exchange.KeyValue) []exchange.KeyValue {
	n := len(c.facts.Tries)
	if n == 0 {
		return out
	}
	out = append(out, exchange.KeyValue{Key: attemptsHeader, Value: strconv.Itoa(n)})
	if c.target != nil && c.target.Name != "" {
		out = append(out, exchange.KeyValue{Key: targetHeader, Value: c.target.Name})
	}
	return out
}
