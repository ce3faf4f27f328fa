package extproc

import (
	"context"
	"time"

	"aisix/extproc/bedrock"
)

// Where a model has routing.first_byte_timeout, its calls go beside the caller's request from the
// start: so an answer of any try can be streamed, and what a silent target leaves behind is no part
// of the caller's exchange. It takes an Envoy that streams an answer of ours alone, and
// its egress listener; without them the first try is the caller's own request, as ever.

// chooseWay decides by which way the tries of a call go.
func (s *Server) chooseWay(c *call) {
	c.spoke = c.facts.Time
	switch {
	case c.budget.first <= 0:
	case s.Egress == nil:
		s.lackEgress(c, "egress.address is empty")
	default:
		c.direct = c.x.Alone()
	}
}

// backToPassage has a call whose tries go beside the caller's request go on as that request, where
// Envoy's egress listener turns out not to be there. It reports whether it can.
func (s *Server) backToPassage(c *call) bool {
	if !c.direct || c.promised {
		return false
	}
	c.facts.Tries = c.facts.Tries[:len(c.facts.Tries)-1] // no upstream was called
	if c.plan != nil {
		c.plan.made--
	}
	s.passInstead(c)
	return true
}

// passInstead has the caller's request go on, for there is no egress listener.
func (s *Server) passInstead(c *call) {
	c.direct = false
	s.lackEgress(c, "Envoy's egress listener cannot be reached")
}

// lackEgress tells, once a model, that its first_byte_timeout can't have its full effect.
func (s *Server) lackEgress(c *call, why string) {
	c.facts.NoEgress = true
	if known, _ := s.lacking.ContainsOrAdd(c.match.ModelID, struct{}{}); !known {
		s.Log.Warn("the model has routing.first_byte_timeout, which takes Envoy's egress listener: without it a target that is silent is given up, but no other can be asked",
			"model", c.match.Alias, "model_id", c.match.ModelID, "reason", why)
	}
}

// waiting is the way beside, on which the caller's silence is broken meanwhile.
type waiting struct {
	beside
	s *Server
	c *call
}

func (w waiting) Do(ctx context.Context, end time.Time, signed *bedrock.Signed) (*reply, error) {
	y := relay{s: w.s, c: w.c, writer: w.c.waiting, beside: true}
	if due := y.due(); due.IsZero() || !due.Before(end) {
		return w.beside.Do(ctx, end, signed)
	}
	type came struct {
		r   *reply
		err error
	}
	head := make(chan came, 1)
	go func() {
		var a came
		defer func() { head <- a }()
		defer recovered(&a.err)
		a.r, a.err = w.beside.Do(ctx, end, signed)
	}()
	for {
		timer := time.NewTimer(y.due().Sub(w.s.Now()))
		select {
		case a := <-head:
			timer.Stop()
			return a.r, a.err
		case <-timer.C:
		}
		y.idle(w.s.Now())
		if err := y.flush(); err != nil { // the caller has left: the try ends with the exchange
			a := <-head
			if a.r != nil {
				a.r.close()
			}
			return nil, err
		}
	}
}
