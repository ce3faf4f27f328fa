package extproc

import (
	"cmp"
	"context"
	"errors"
	"os"

	"aisix/extproc/bedrock"
	"aisix/extproc/chat"
	"aisix/extproc/exchange"
	"aisix/extproc/ratelimit"
)

// estimatedHeader tells that a count is ours, by the length of texts.
const estimatedHeader = "x-aisix-estimated"

// countTokens says how many tokens a prompt has: by the upstream where it counts for the
// model, else by estimate. It counts for the limits on requests, as any call, and for no
// other: it uses no tokens, and agents ask many at a time.
func (s *Server) countTokens(d counter) operation {
	return operation{name: "count_tokens", dialect: d, run: func(ctx context.Context, c *call) error {
		c.facts.Dialect, c.requestsOnly = d.Name(), true
		if err := s.arrive(c); err != nil {
			return err
		}
		body, err := s.body(ctx, c)
		if err != nil {
			return err
		}
		if err := s.prepareCount(ctx, c, d, body); err != nil {
			return err
		}
		if err := s.reserve(ctx, c); err != nil {
			return err
		}
		s.chooseWay(c)
		tokens, err := s.tokens(ctx, c)
		if err != nil {
			return err
		}
		c.ended = true
		c.release()
		if err := c.reply(d.Count(tokens)); err != nil {
			return err
		}
		c.promise(c.facts.Status, s.Now())
		return nil
	}}
}

// prepareCount makes the upstream's request of the body, none where nobody counts for the model.
func (s *Server) prepareCount(ctx context.Context, c *call, d counter, body *exchange.Body) error {
	model, leave, err := s.understand(ctx, c, d, body)
	defer leave()
	if err != nil {
		return err
	}
	v := c.asked.Verbatim(chat.Messages)
	if v == nil { // it is wrong in a way that it says itself
		_, err := c.asked.Request(nil)
		return err
	}
	c.prompt = v.Prompt
	if err := s.countModel(c); err != nil {
		return err
	}
	if c.upstream, err = bedrock.CountTokens(v, model); c.upstream != nil {
		c.held.Add(c.upstream.Size())
	}
	if c.plan != nil {
		c.plan.encode = func(model *bedrock.Model) error {
			again, err := bedrock.CountTokens(v, model)
			if again == nil {
				return cmp.Or(err, errUncounted)
			}
			c.held.Add(again.Size() - c.upstream.Size())
			c.upstream = again
			return err
		}
	}
	return err
}

var errUncounted = errors.New("the upstream does not count tokens for the model")

// tokens asks the upstream.
func (s *Server) tokens(ctx context.Context, c *call) (tokens int64, err error) {
	if c.upstream == nil {
		return c.estimate(), nil
	}
	err = s.tryAll(ctx, c, func(ctx context.Context, c *call) (err error) {
		tokens, err = s.tokensOnce(ctx, c)
		return err
	})
	return tokens, err
}

// tokensOnce makes one try. An upstream that does not count for the model, or not for this account,
// leaves it to the estimate.
func (s *Server) tokensOnce(ctx context.Context, c *call) (int64, error) {
	r, err := s.attempt(ctx, c, s.way(ctx, c))
	if bedrock.CannotCount(err) {
		c.facts.Notes = append(c.facts.Notes, "the upstream does not count tokens for the model: "+err.Error())
		return c.estimate(), nil
	}
	if err != nil {
		return 0, err
	}
	defer r.close()
	body, more, err := c.read(r, maxError, c.budget.end)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, timedOut(err)
	case err != nil:
		return 0, err
	case more:
		return 0, undecodable(errors.New("longer than the gateway takes"))
	}
	return r.Tokens(body)
}

// estimate is the prompt's, and says so.
func (c *call) estimate() int64 {
	c.marks = append(c.marks, exchange.KeyValue{Key: estimatedHeader, Value: "true"})
	return c.prompt
}

// bucket is the bucket of a limit, with what of it holds for the call: nil where nothing does.
func (c *call) bucket(b ratelimit.Bucket) []ratelimit.Bucket {
	if c.requestsOnly {
		b = b.Only(ratelimit.Requests)
	}
	if len(b.Limits) == 0 {
		return nil
	}
	return []ratelimit.Bucket{b}
}
