package bedrock

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"aisix/extproc/chat"
)

// chosen is what of a call is our choice, as far as an upstream may refuse it by its name although
// we know it to be taken there: a fact that has changed at AWS.
type chosen struct {
	strict, native, cache, serial bool
	betas                         []string
}

func (c chosen) any() bool { return c.strict || c.native || c.cache || c.serial || len(c.betas) > 0 }

// The names by which a call can be made Without what an upstream refused; a flag of anthropic-beta
// is betaPrefix and the flag.
const (
	strictField = "strict"
	nativeField = "structured_output"
	cacheField  = "cache_point"
	serialField = "disable_parallel_tool_use"
	betaPrefix  = "anthropic_beta:"
)

// How messages name each.
var (
	namesNative = regexp.MustCompile(`(?i)\boutput_?(config|format)\b|\boutputConfig\b|\btextFormat\b|\bjson_schema\b|structured output|\bresponse_format\b`)
	namesCache  = regexp.MustCompile(`(?i)cache_control|cache_?point|cache point|prompt caching`)
	namesStrict = regexp.MustCompile(`\bstrict\b`)
	namesSerial = regexp.MustCompile(`disable_parallel_tool_use`)
	namesBeta   = regexp.MustCompile(`(?i)\bbeta\b|anthropic_beta`)
	// One of several flags, of which it is not told which: one that nobody knows, then.
	unnamedBeta = regexp.MustCompile(`(?i)\binvalid beta flag`)
)

// Chosen reports whether there is anything in the call that Refused may name.
func (c *Call) Chosen() bool { return c.chosen.any() }

// Model is the one that the call was encoded for.
func (c *Call) Model() *Model { return c.model }

// Refused is the field of our choice that the upstream refused by its name, "" where it refused
// something else: see Without.
func (c *Call) Refused(err error) string {
	var e *Exception
	if !errors.As(err, &e) || e.Status != http.StatusBadRequest && e.Type != "ValidationException" {
		return ""
	}
	for _, flag := range c.chosen.betas {
		if strings.Contains(e.said, flag) {
			return betaPrefix + flag
		}
	}
	switch m := e.said; {
	case c.chosen.serial && namesSerial.MatchString(m):
		return serialField
	case c.chosen.strict && namesStrict.MatchString(m):
		return strictField
	case c.chosen.native && namesNative.MatchString(m):
		return nativeField
	case c.chosen.cache && namesCache.MatchString(m):
		return cacheField
	case len(c.chosen.betas) == 1 && namesBeta.MatchString(m):
		return betaPrefix + c.chosen.betas[0]
	case unnamedBeta.MatchString(m):
		if i := slices.IndexFunc(c.chosen.betas, func(flag string) bool { return betaOf(flag) == nil }); i >= 0 {
			return betaPrefix + c.chosen.betas[i]
		}
	}
	return ""
}

// Without is the model as one that does not take the field, which Refused gave.
func (m *Model) Without(field string) *Model {
	out, family := *m, *m.family
	out.family, out.origin = &family, m.Origin()
	no := false
	switch field {
	case strictField:
		family.Capabilities.StrictTools = &no
	case nativeField:
		family.Capabilities.StructuredOutput = "tool"
	case cacheField:
		family.Capabilities.Cache = []string{}
	case serialField:
		family.Capabilities.SerialTools = &no
	default:
		out.refused = append(slices.Clone(m.refused), strings.TrimPrefix(field, betaPrefix))
	}
	return &out
}

// Origin is the model that this one is a form of (Without), itself where it is none.
func (m *Model) Origin() *Model {
	if m.origin != nil {
		return m.origin
	}
	return m
}

// takesBeta reports whether a flag was not refused.
func (m *Model) takesBeta(flag string) bool { return !slices.Contains(m.refused, flag) }

// Again is the call, encoded anew for another form of its model. It must come before Forget.
func (c *Call) Again(ctx context.Context, m *Model, limit int64) (*Call, error) {
	switch {
	case c.asked != nil:
		return Adopt(c.asked, m)
	case c.request != nil:
		return NewCall(ctx, c.request, m, limit)
	}
	return nil, errors.New("bedrock: a call that was forgotten can't be made again")
}

// chose is what of p is our choice.
func (p *prepared) chose() chosen {
	out := chosen{native: p.format != nil, cache: p.points > 0, betas: p.knobs.beta}
	r := p.req
	if p.api == apiConverse && p.model.Publisher != "anthropic" {
		out.betas = nil
	}
	out.serial = r.ParallelToolCalls != nil && !*r.ParallelToolCalls && len(r.Tools) > 0 && p.model.Publisher == "anthropic"
	out.strict = slices.ContainsFunc(r.Tools, func(t chat.Tool) bool { return t.Strict })
	return out
}
