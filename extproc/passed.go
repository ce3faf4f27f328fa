package extproc

import (
	"context"
	"errors"
	"net/http"
	"os"

	"aisix/extproc/chat"
	"aisix/extproc/exchange"
)

// letPass answers with a stream whose body Envoy hands on by itself, and counts. One that is cut
// has no count, and is settled as when the caller leaves: by estimate. Nothing of it can be
// changed, and its silence is Envoy's to notice: what bounds it here is the whole call's time.
func (s *Server) letPass(ctx context.Context, c *call) error {
	if err := c.x.LetPass(http.StatusOK, append(c.headers(""), eventStreamHeader...)); err != nil {
		return err
	}
	c.settled()
	c.began = true
	c.promise(http.StatusOK, s.Now())
	_ = c.x.SetReadDeadline(c.budget.end)
	counted, err := c.x.Counted(ctx)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.cut = true
		return timedOut(context.DeadlineExceeded) // in the words of every call's time
	case err != nil:
		return err
	}
	c.facts.Usage = usageOf(counted)
	if c.ended = c.facts.Usage.Known(); !c.ended {
		c.cut = true // it came to an end, and nothing was counted
	}
	c.release()
	if err = c.x.Finish(nil); c.isGone(ctx, err) {
		return nil
	}
	return err
}

// usageOf is a count of Envoy's, whose input has what the cache gave and took too.
func usageOf(n exchange.Counted) chat.Usage {
	u := chat.Usage{Input: n.Input, Output: n.Output, CacheRead: n.CacheRead, CacheWrite: n.CacheWrite, Reasoning: n.Reasoning}
	if n.Input != nil {
		input := *n.Input
		for _, part := range []*int{n.CacheRead, n.CacheWrite} {
			if part != nil {
				input -= *part
			}
		}
		input = max(input, 0)
		u.Input = &input
	}
	return u
}
