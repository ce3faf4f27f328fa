package extproc

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"aisix/extproc/bedrock"
)

// For how long, and of how many models, it is remembered that they refused a field of ours.
const (
	remembered   = time.Hour
	mostRefusals = 4096

	mostWithout = 4 // tries of one call
)

// changed is the models that refused a field of our choice by its name, as those that do not
// take it: a fact that changed at AWS costs one call, and not an outage.
type changed struct {
	any   atomic.Bool // none is the usual case
	known *lru.Cache[*bedrock.Model, form]
}

// form is how a model is asked, for a while.
type form struct {
	*bedrock.Model
	until time.Time
}

func newChanged() *changed {
	known, _ := lru.New[*bedrock.Model, form](mostRefusals) // fails without a size only
	return &changed{known: known}
}

// now is the form in which m is asked, itself as a rule.
func (c *changed) now(m *bedrock.Model, now time.Time) *bedrock.Model {
	if !c.any.Load() {
		return m
	}
	if f, ok := c.known.Get(m); ok && now.Before(f.until) {
		return f.Model
	}
	return m
}

// remember has m asked in another form.
func (c *changed) remember(m *bedrock.Model, f form) {
	c.known.Add(m, f)
	c.any.Store(true)
}

// without makes the call anew where the upstream refused a field of our choice by its name. It
// reports whether there is another try of it, which is none of those that a plan counts.
func (s *Server) without(ctx context.Context, c *call, err error) bool {
	if c.upstream == nil || c.forgotten || !c.upstream.Chosen() {
		return false
	}
	field := c.upstream.Refused(err)
	if field == "" || slices.Contains(c.facts.Refused, field) || len(c.facts.Refused) >= mostWithout {
		return false
	}
	at := c.upstream.Model()
	f := form{at.Without(field), s.Now().Add(remembered)}
	s.changed.remember(at.Origin(), f)
	c.facts.Refused = append(c.facts.Refused, field)
	c.facts.Notes = append(c.facts.Notes, "the upstream refused "+field+", which it is known to take: the model is asked without for an hour")
	if c.passed && s.Egress == nil {
		return false
	}
	again, err := c.upstream.Again(ctx, f.Model, s.Config.MaxBodyBytes)
	if err != nil {
		return false
	}
	c.held.Add(again.Size() - c.upstream.Size())
	c.upstream = again
	if c.passed {
		c.x.Leave(remains)
	}
	return true
}
