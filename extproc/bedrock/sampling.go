package bedrock

import (
	"encoding/json"
	"strings"

	"aisix/extproc/fault"
)

// sampling places what Converse has no member for, and refuses by name what the
// family does not take.
func (p *prepared) sampling() error {
	c, r := &p.family.Capabilities, p.req
	if c.StopMax != nil && len(r.Stop) > *c.StopMax && !p.model.ignores("stop") {
		if *c.StopMax == 0 {
			return fault.Invalid("stop", "this model does not support stop sequences: leave them out")
		}
		return fault.Invalid("stop", "this model allows at most %d stop sequences", *c.StopMax)
	}
	for _, x := range []struct {
		name  string
		value *float64
	}{{"frequency_penalty", r.FrequencyPenalty}, {"presence_penalty", r.PresencePenalty}} {
		if x.value == nil || *x.value == 0 || p.model.ignores(x.name) {
			continue
		}
		if denies(c.Penalties) {
			return fault.Invalid(x.name, "this model does not support %s", x.name)
		}
		p.additional[x.name] = marshal(*x.value)
	}
	if r.Seed != nil && has(c.Seed) {
		p.additional["seed"] = marshal(*r.Seed)
	}
	if denies(c.Sampling) {
		return p.refuseSampling()
	}
	p.oneSample()
	// OpenAI's goes up to 2; Converse's and Claude's do not, whatever the model.
	if t := r.Temperature; t != nil && *t > 1 && p.api != apiChat && p.api != apiResponses {
		return fault.Invalid("temperature", "temperature must be at most 1 for this model")
	}
	if k := p.knobs.topK; k != nil && !p.model.ignores("top_k") {
		var n int
		if json.Unmarshal(k, &n) != nil || n < 0 {
			return fault.Invalid("top_k", "top_k must be a non-negative integer")
		}
		if c.TopKField == "" {
			return fault.Invalid("top_k", "this model does not support top_k")
		}
		place(p.additional, strings.Split(c.TopKField, "."), k)
	}
	return nil
}

// verbosity places how long the answer is to be.
func (p *prepared) verbosity() error {
	r, field := p.req, p.family.VerbosityField
	switch {
	case r.Verbosity == "":
	case field != "":
		own := map[string]json.RawMessage{}
		place(own, strings.Split(field, "."), marshal(r.Verbosity))
		for name, raw := range own {
			if overlaps(raw, p.knobs.additional[name]) {
				p.note(field + " is set by the model's configuration: the request's was left out")
			}
			p.additional[name] = merge(p.additional[name], raw)
		}
	case r.VerbosityWish:
		p.note("text.verbosity was left out: the model has no control for it")
	default:
		return fault.Invalid("verbosity", "verbosity must be medium for this model, or left out: say in the prompt how long the answer should be")
	}
	return nil
}

// oneSample leaves out of temperature and top_p one that asks for nothing, where both came: many
// clients send OpenAI's defaults, and newer Claudes refuse a request with both.
func (p *prepared) oneSample() {
	r := p.req
	if !p.family.DefaultsOfOne || r.Temperature == nil || r.TopP == nil {
		return
	}
	switch {
	case *r.TopP == 1:
		r.TopP = nil
		p.note("top_p asked for nothing beside temperature: it was left out")
	case *r.Temperature == 1:
		r.Temperature = nil
		p.note("temperature asked for nothing beside top_p: it was left out")
	}
}

// refuseSampling is for a model that takes no sampling parameter. Many clients send
// 1, which asks for nothing, whether they want it or not: that is left out.
func (p *prepared) refuseSampling() error {
	r := p.req
	for _, x := range []struct {
		name  string
		value **float64
	}{{"temperature", &r.Temperature}, {"top_p", &r.TopP}} {
		switch {
		case *x.value == nil:
			continue
		case **x.value != 1 && !p.model.ignores(x.name):
			return fault.Invalid(x.name, "this model does not support %s: leave it out", x.name)
		}
		*x.value = nil
		p.note("the model does not support " + x.name + ": it was left out")
	}
	if p.knobs.topK != nil {
		if !p.model.ignores("top_k") {
			return fault.Invalid("top_k", "this model does not support top_k: leave it out")
		}
		p.note("the model does not support top_k: it was left out")
	}
	return nil
}

// leastTopP is the least top_p that Claude takes where it thinks; the temperature must
// be 1 then, and top_k absent.
const leastTopP = 0.95

// thinkingSamples leaves out what Claude refuses beside thinking that the caller did
// not ask for by that name: it said an effort, or the operator wrote a thinking object.
// The effort is the plainer wish: many clients always send a temperature.
func (p *prepared) thinkingSamples() error {
	if !p.thinks() || p.callersThinking {
		return nil
	}
	r := p.req
	if r.Temperature != nil && *r.Temperature != 1 {
		r.Temperature = nil
		p.note("the model takes no temperature but 1 while it thinks: it was left out")
	}
	if r.TopP != nil && *r.TopP < leastTopP {
		r.TopP = nil
		p.note("the model takes no top_p under 0.95 while it thinks: it was left out")
	}
	if field := p.family.Capabilities.TopKField; p.knobs.topK != nil && p.additional[field] != nil {
		delete(p.additional, field)
		p.note("the model takes no top_k while it thinks: it was left out")
	}
	return nil
}

// writtenSamples reports whether fields that somebody wrote by hand have what Claude
// refuses beside thinking. They win over an effort.
func (p *prepared) writtenSamples() bool {
	var w struct {
		Temperature *float64        `json:"temperature"`
		TopP        *float64        `json:"top_p"`
		TopK        json.RawMessage `json:"top_k"`
	}
	if json.Unmarshal(object(p.knobs.additional), &w) != nil {
		return false // Bedrock says what is wrong
	}
	return w.Temperature != nil && *w.Temperature != 1 || w.TopP != nil && *w.TopP < leastTopP || !isNull(w.TopK)
}

// serialTools leaves out parallel_tool_calls where the model does not know the member,
// without tools too: structured output may add one.
func (p *prepared) serialTools() error {
	r := p.req
	if r.ParallelToolCalls == nil || *r.ParallelToolCalls || !denies(p.family.Capabilities.SerialTools) {
		return nil
	}
	r.ParallelToolCalls = nil
	if len(r.Tools) == 0 {
		return nil
	}
	p.note("the model has no control of parallel tool calls: parallel_tool_calls was left out")
	return nil
}

// effortExcludes leaves out what the family takes no more at the effort that goes out.
func (p *prepared) effortExcludes() error {
	r := p.req
	for word, names := range p.family.EffortExcludes {
		if !p.sends(word) {
			continue
		}
		for _, name := range names {
			var had bool
			switch name {
			case "max_tokens":
				had, p.maxTokens = p.maxTokens != nil, nil
			case "temperature":
				had, r.Temperature = r.Temperature != nil, nil
			case "top_p":
				had, r.TopP = r.TopP != nil, nil
			}
			if had {
				p.note("the model takes no " + name + " at effort " + word + ": it was left out")
			}
		}
	}
	return nil
}

// sends reports whether the family's fields of an effort go out, whoever wrote them.
func (p *prepared) sends(word string) bool {
	for name, raw := range p.family.ReasoningFields {
		if !holds(p.additional[name], withEffort(raw, word)) {
			return false
		}
	}
	return len(p.family.ReasoningFields) > 0
}
