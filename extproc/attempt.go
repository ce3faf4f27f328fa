package extproc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"aisix/admin/resource"
	"aisix/extproc/bedrock"
	"aisix/extproc/chat"
	"aisix/extproc/exchange"
	"aisix/extproc/fault"
	"aisix/extproc/usage"
)

// The longest whole answer and the longest error body, in bytes; and how much of one is read
// whether there is room for it or not, since it is paid for.
const (
	maxReply = 16 << 20
	maxError = 1 << 20
	paidFor  = 64 << 10
)

// errorWait is how long the body of a reply that is no answer is waited for, where the Config
// does not say: the head has said that the call is not served here.
const errorWait = 2 * time.Second

// way takes an attempt to its upstream, and waits for the head of the reply, no longer than
// end. Its errors are the context's, os.ErrDeadlineExceeded or context.DeadlineExceeded,
// exchange.ErrReset, and a fault where the upstream was not reached.
type way interface {
	Do(ctx context.Context, end time.Time, s *bedrock.Signed) (*reply, error)
}

// reply is what an upstream says to one attempt: its head, and the body to come.
type reply struct {
	*bedrock.Reply
	body body
	end  func()    // lets go of what is not read (close); nil where the exchange does
	due  time.Time // when there has to be something for the caller; zero: where nothing but the call's own time counts
}

// close lets go of what is not read.
func (r *reply) close() {
	if r.end != nil {
		r.end()
	}
}

// body is read within a deadline that may be moved, as a net.Conn is; Piece gives what
// Read would, without a copy.
type body interface {
	io.Reader
	Piece() ([]byte, error)
	SetReadDeadline(time.Time) error
}

// passage is the way of the first attempt: the caller's own request, which Envoy
// holds, goes on in the attempt's shape.
type passage struct {
	x    *exchange.Exchange
	sent func() // called once the attempt has gone out
	pass bool   // a good answer's body may pass unseen
	own  exchange.Own
}

func (p passage) Do(ctx context.Context, end time.Time, s *bedrock.Signed) (*reply, error) {
	egress := exchange.Plaintext
	if s.URL.Scheme == "https" {
		egress = exchange.TLS
	}
	header := make([]exchange.KeyValue, len(s.Fields))
	for i, f := range s.Fields {
		header[i] = exchange.KeyValue(f)
	}
	err := p.x.Forward(ctx, exchange.Request{
		Host:    s.URL.Host,
		Path:    s.Path,
		Egress:  egress,
		Header:  header,
		Body:    s.Body(),
		LetPass: p.pass,
		Own:     p.own,
	})
	if err != nil {
		return nil, err
	}
	p.sent()
	_ = p.x.SetReadDeadline(end)
	response, err := p.x.Response(ctx)
	switch {
	case err != nil:
		return nil, err
	case response.Local:
		return nil, localFault(response.Status, response.Details)
	}
	return &reply{Reply: s.Reply(response.Status, response.Header), body: p.x}, nil
}

// attempt is the second act: sign, send, wait for the head of the upstream's reply.
func (s *Server) attempt(ctx context.Context, c *call, w way) (*reply, error) {
	id, _ := c.providerKey()
	r, err := s.try(ctx, c, c.upstream, w, c.facts.Try(c.facts.Target, id))
	if r == nil {
		return nil, err
	}
	c.replies = append(c.replies, r.Reply)
	if !r.OK() {
		defer r.close()
		defer c.reached() // the refusal may quote what was sent
		return nil, s.refusal(c, r)
	}
	c.reached()
	return r, nil
}

// try makes one attempt of an upstream call, and fills in what is told of it. It changes
// nothing of c, so that several may go on at a time.
func (s *Server) try(ctx context.Context, c *call, upstream *bedrock.Call, w way, try *usage.Try) (*reply, error) {
	_, key := c.providerKey()
	end := c.budget.due(s.Now(), c.facts.Stream) // of waiting for the token, too
	token, err := s.token(ctx, key, end)
	if err != nil {
		return nil, tokenError{err}
	}
	began := s.Now()
	try.Sent = began
	signed, err := upstream.Sign(token, began)
	if err != nil {
		return nil, err
	}
	r, err := w.Do(ctx, end, signed)
	if errors.Is(err, errUntaken) && s.reconnects(w) && upstream.Size() > 0 { // it may not have been kept
		r, err = s.again(ctx, c, end, signed, w, err)
	}
	try.Latency = s.Now().Sub(began)
	switch {
	case (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)) && ctx.Err() == nil:
		return nil, timedOut(context.DeadlineExceeded) // in the one's words, whichever it was: an operator reads them
	case err != nil:
		return nil, err
	}
	if c.budget.first > 0 {
		r.due = end
	}
	try.RequestID, try.Status = r.RequestID(), r.Status()
	if r.Expired() {
		s.Identities.Refused(key, token)
	}
	return r, nil
}

// forget lets go what only sending took. The answer may take minutes: nothing is
// kept for it but what it needs.
func (c *call) forget() {
	c.forgotten = true
	c.forgetAsked()
	c.held.Set(c.header.Size() + c.upstream.Forget())
}

// forgetRequest is forget of all but what was sent: that may be sent again.
func (c *call) forgetRequest() {
	c.forgetAsked()
	c.held.Set(c.header.Size() + c.upstream.ForgetRequest())
}

// forgetAsked lets go what only making the upstream's request took.
func (c *call) forgetAsked() {
	c.asked.Forget()
	if c.plan != nil {
		c.plan.request, c.plan.verbatim = nil, nil
	}
}

// refusal is the fault of a reply that is not the answer asked for. Of a body that
// is too long, late or breaks off, what came has to do, since the status tells the most;
// but where that is a good one, the upstream has said nothing at all.
func (s *Server) refusal(c *call, r *reply) error {
	body, _, err := c.read(r, maxError, earlier(s.Now().Add(s.Config.ErrorWait), c.budget.end))
	switch late := errors.Is(err, os.ErrDeadlineExceeded); {
	case errors.Is(err, exchange.ErrReset):
		return err
	case late && r.Status() == http.StatusOK:
		return timedOut(err)
	}
	return r.Fault(body)
}

// localFault is the fault of an answer that Envoy made itself: the upstream was
// not reached, or went away before it answered.
func localFault(status int, details string) error {
	cause := errors.New("envoy answered " + http.StatusText(status) + ": " + details)
	switch nobody := untaken(details); {
	case nobody != nil:
		return unreached(fmt.Errorf("%w: %w", nobody, cause))
	case status == http.StatusGatewayTimeout || strings.Contains(details, "timeout") && !strings.Contains(details, "connection_timeout"):
		return timedOut(cause)
	}
	return unreached(cause)
}

func unreached(err error) error {
	return &fault.Error{Kind: fault.Transport, Status: http.StatusBadGateway, Message: "the upstream could not be reached, or broke the connection", Err: err}
}

func timedOut(err error) error {
	return &fault.Error{Kind: fault.Timeout, Status: http.StatusGatewayTimeout, Message: "the upstream did not answer in time", Err: err}
}

// whole answers a request that is not a stream.
func (s *Server) whole(c *call, r *reply) error {
	body, err := c.readAll(r)
	if err != nil {
		return err
	}
	events, err := r.Whole(body)
	if err != nil {
		c.paid = c.paid.Plus(chat.UsageOf(events))
		return err
	}
	answer, err := chat.Collect(events)
	if err != nil {
		c.paid = c.paid.Plus(answer.Usage)
		return undecodable(err)
	}
	c.facts.Usage, c.ended = answer.Usage, true
	out, err := c.asked.Whole(s.heading(c), answer)
	if err != nil {
		return err
	}
	c.release()
	if err := c.reply(out); err != nil {
		return err
	}
	c.promise(http.StatusOK, s.Now())
	return nil
}

func undecodable(err error) error {
	return &fault.Error{Kind: fault.Upstream, Status: http.StatusBadGateway, Message: "the upstream's answer could not be decoded", Err: err}
}

// readAll is the whole body of a reply that is an answer.
func (c *call) readAll(r *reply) ([]byte, error) {
	body, more, err := c.read(r, maxReply, c.budget.end)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, timedOut(err)
	case err != nil:
		return nil, err
	case more:
		return nil, undecodable(errors.New("longer than the gateway takes"))
	}
	return body, nil
}

// read reads the body of a reply, until a time at the latest, and within the time of the try; more
// tells that it goes on after limit bytes.
func (c *call) read(r *reply, limit int64, until time.Time) (body []byte, more bool, err error) {
	end := until
	if !r.due.IsZero() {
		end = earlier(r.due, until)
	}
	for {
		_ = r.body.SetReadDeadline(end)
		piece, err := r.body.Piece()
		n := int64(len(piece))
		if !r.due.IsZero() && len(bytes.TrimSpace(piece)) > 0 { // white space says no more than that somebody is there
			end = earlier(c.budget.due(time.Now(), false), until)
		}
		switch {
		case n == 0:
		case int64(len(body))+n <= paidFor:
			c.held.Add(n) // makes others wait
		default:
			if full := c.take(n); full != nil {
				return body, false, full
			}
		}
		if body == nil {
			body = slices.Clip(piece) // most come in one
		} else {
			if cap(body)-len(body) < len(piece) {
				body = slices.Grow(body, len(body)+len(piece))
			}
			body = append(body, piece...)
		}
		switch {
		case int64(len(body)) > limit:
			return body[:limit], true, nil
		case err == io.EOF:
			return body, false, nil
		case err != nil:
			return body, false, err
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// budget is the time that a call has: all its attempts, and what comes of them.
type budget struct {
	end   time.Time     // of the whole call
	gap   time.Duration // the longest silence of a stream, before its first event too
	first time.Duration // of a try, before there is something for the caller (routing.first_byte_timeout); 0: as long as the others
}

func (s *Server) newBudget(started time.Time, m *resource.Model) budget {
	b := budget{end: started.Add(orDefault(m.Timeout, s.Config.Timeout)), gap: orDefault(m.StreamTimeout, s.Config.StreamTimeout)}
	if m.Routing != nil {
		b.first = time.Duration(m.Routing.FirstByteTimeout) * time.Millisecond
	}
	return b
}

// due is when a try that was sent, or last said something of an answer, has to say something: the
// first event of a stream; or, of an answer that is none, any part, since the caller has nothing
// of it before it is whole.
func (b budget) due(since time.Time, stream bool) time.Time {
	end := b.end
	if stream {
		end = b.silent(since)
	}
	if first := since.Add(b.first); b.first > 0 && first.Before(end) {
		return first
	}
	return end
}

// silent is when a silence that began at since has lasted too long.
func (b budget) silent(since time.Time) time.Time {
	if end := since.Add(b.gap); end.Before(b.end) {
		return end
	}
	return b.end
}

func orDefault(ms int64, d time.Duration) time.Duration {
	if ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return d
}
