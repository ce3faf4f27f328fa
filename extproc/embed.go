package extproc

import (
	"context"
	"net/http"
	"slices"

	"golang.org/x/sync/errgroup"

	"aisix/extproc/bedrock"
	"aisix/extproc/chat"
	"aisix/extproc/embeddings"
	"aisix/extproc/exchange"
	"aisix/extproc/fault"
	"aisix/extproc/usage"
)

// embedder is a dialect in which texts are embedded.
type embedder interface {
	dialect
	Name() string // for records
	Parse(h chat.Header, body []byte) (embeddings.Asked, error)
}

// parallel is how many upstream calls of one caller's call go on at a time.
const parallel = 8

// maxVectors is the longest answer that is asked for, in bytes: Envoy holds all of one that goes
// beside the caller's exchange.
const maxVectors = 48 << 20

const floatSize = 4

// embed makes vectors of texts, in dialect d: by one upstream call, which is the caller's own
// request going on, or by as many as the model takes for them, all beside it. One that fails
// fails the call, with what it says.
func (s *Server) embed(d embedder) operation {
	return operation{name: "embeddings", dialect: d, run: func(ctx context.Context, c *call) error {
		c.facts.Dialect = d.Name()
		if err := s.arrive(c); err != nil {
			return err
		}
		body, err := s.body(ctx, c)
		if err != nil {
			return err
		}
		asked, calls, encode, err := s.prepareEmbedding(ctx, c, d, body)
		if err != nil {
			return err
		}
		if err := s.reserve(ctx, c); err != nil {
			return err
		}
		s.chooseWay(c)
		answer, err := s.vectorsOfAny(ctx, c, calls, encode)
		if err != nil {
			return err
		}
		c.ended = true
		c.held.Add(asked.Most(answer.Numbers()))
		out, err := asked.Answer(answer)
		if err != nil {
			return err
		}
		c.release()
		if err := c.reply(out); err != nil {
			return err
		}
		c.promise(http.StatusOK, s.Now())
		return nil
	}}
}

// prepareEmbedding makes the upstream calls of the body. All that can be wrong with the request is
// said here, before any limit is touched.
func (s *Server) prepareEmbedding(ctx context.Context, c *call, d embedder, body *exchange.Body) (embeddings.Asked, []*bedrock.Call, encoding, error) {
	plain, leave, err := s.open(ctx, c, body)
	defer leave()
	if err != nil {
		return nil, nil, nil, err
	}
	asked, err := d.Parse(c.header, plain)
	if err != nil {
		return nil, nil, nil, err
	}
	model, err := s.find(c, asked.Model(), plain)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := model.Embeds(); err != nil {
		return nil, nil, nil, err
	}
	request, err := asked.Request(c.match.Model.IgnoreParams)
	if err != nil {
		return nil, nil, nil, err
	}
	c.prompt = textEstimate(request.Texts)
	if err := s.countModel(c); err != nil {
		return nil, nil, nil, err
	}
	encode := func(model *bedrock.Model) ([]*bedrock.Call, error) { return bedrock.EmbedCalls(request, model) }
	calls, err := encode(model)
	if err != nil {
		return nil, nil, nil, err
	}
	switch numbers := len(request.Texts) * model.Dimensions(request); {
	case asked.Most(numbers) > maxVectors:
		return nil, nil, nil, fault.Invalid("input", "the answer could have more than %d MiB: send fewer texts, ask for fewer dimensions, or set encoding_format to base64", maxVectors>>20)
	case len(calls) > 1 && s.Egress == nil:
		return nil, nil, nil, fault.Invalid("input", "this model takes at most %d texts a call, and this gateway has no egress listener to make several: send fewer", model.Batch())
	}
	for _, call := range calls {
		c.held.Add(call.Size())
	}
	return asked, calls, encode, nil
}

// encoding makes the upstream calls of a request for a model.
type encoding func(*bedrock.Model) ([]*bedrock.Call, error)

// vectorsOfAny is the vectors of the first of the model's targets that makes them all.
func (s *Server) vectorsOfAny(ctx context.Context, c *call, calls []*bedrock.Call, encode encoding) (*embeddings.Answer, error) {
	if c.plan == nil {
		return s.vectors(ctx, c, calls)
	}
	c.plan.encode = func(model *bedrock.Model) (err error) {
		if err = model.Embeds(); err == nil {
			calls, err = encode(model)
		}
		return err
	}
	for {
		c.plan.made++
		answer, err := s.vectors(ctx, c, calls)
		if len(c.plan.faults) > 0 && reasonOf(err) == unreachable {
			s.notCalled(c, err)
			return nil, best(c.plan.faults)
		}
		if err == nil || c.isGone(ctx, err) || !c.worthAnother(reasonOf(err)) {
			return answer, err
		}
		c.plan.faults = append(c.plan.faults, fault.From(err))
		if !s.next(ctx, c) {
			return nil, best(c.plan.faults)
		}
	}
}

// textEstimate is promptEstimate of texts.
func textEstimate(texts []string) int64 {
	n := 0
	for _, text := range texts {
		n += len(text)
	}
	return int64(n/bytesPerToken) + 1
}

// vectors is what the upstream calls come to, in order, and what they cost.
func (s *Server) vectors(ctx context.Context, c *call, calls []*bedrock.Call) (*embeddings.Answer, error) {
	tries := make([]usage.Try, len(calls))
	replies := make([]*bedrock.Reply, len(calls))
	parts := make([]embeddings.Answer, len(calls))
	forget := func() { c.held.Set(c.header.Size() + calls[0].Forget()) } // of a caller's own request, which is one call
	one := func(ctx context.Context, i int, w way) (err error) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		defer func() { tries[i].Reason = string(s.noted(ctx, c, &tries[i], err)) }()
		tries[i].ProviderKeyID, _ = c.providerKey()
		tries[i].Target = c.facts.Target
		r, err := s.try(ctx, c, calls[i], w, &tries[i])
		if err != nil {
			return err
		}
		defer r.close()
		if c.passed && len(calls) == 1 {
			forget()
		}
		replies[i] = r.Reply
		if !r.OK() {
			return s.refusal(c, r)
		}
		body, err := c.readAll(r)
		if err != nil {
			return err
		}
		parts[i].Vectors, parts[i].Tokens, err = r.Embeddings(body)
		c.held.Add(int64(parts[i].Numbers()*floatSize - len(body))) // what is kept of it
		return err
	}
	var err error
	if len(calls) == 1 {
		if c.direct || c.passed {
			err = one(ctx, 0, beside{s.Egress, ctx})
		}
		if c.direct && reasonOf(err) == unreachable { // no upstream was called
			tries[0] = usage.Try{}
			s.passInstead(c)
		}
		if !c.direct && !c.passed {
			err = one(ctx, 0, passage{x: c.x, sent: func() {
				c.passed = true
				if !s.keepsForAgain(calls[0]) {
					forget()
				}
			}, own: c.own()})
		}
	} else {
		group, life := errgroup.WithContext(ctx)
		group.SetLimit(parallel)
		for i := range calls {
			if life.Err() != nil {
				break // one has failed
			}
			group.Go(func() (err error) {
				defer recovered(&err)
				return one(life, i, beside{s.Egress, life})
			})
		}
		err = group.Wait()
	}
	return c.account(tries, replies, parts), err
}

// account takes note of what the upstream calls were and cost: those that were answered are
// paid for, whatever became of the others.
func (c *call) account(tries []usage.Try, replies []*bedrock.Reply, parts []embeddings.Answer) *embeddings.Answer {
	all := &embeddings.Answer{}
	answered := false
	for _, part := range parts {
		all.Vectors = append(all.Vectors, part.Vectors...)
		all.Tokens += part.Tokens
		answered = answered || part.Vectors != nil
	}
	if answered {
		none, paid := 0, all.Tokens+c.facts.Usage.Prompt() // what another target has made of it, too
		c.facts.Usage.Input, c.facts.Usage.Output = &paid, &none
	}
	// Not made: those that were next when one failed.
	c.facts.Tries = append(c.facts.Tries, slices.DeleteFunc(tries, func(t usage.Try) bool { return t.ProviderKeyID == "" })...)
	for _, r := range replies {
		if r != nil {
			c.replies = append(c.replies, r)
		}
	}
	return all
}
