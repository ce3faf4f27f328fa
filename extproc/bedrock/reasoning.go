package bedrock

import (
	"encoding/json"
	"slices"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// ownThinking takes the thinking object that somebody wrote: the operator's among the
// additional fields, else the caller's. It comes before what may force a tool of ours,
// for thinking and a forced tool exclude each other.
func (p *prepared) ownThinking() error {
	r := p.req.Reasoning
	claude := p.model.Publisher == "anthropic" || p.model.Publisher == ""
	if raw := p.knobs.additional["thinking"]; claude && raw != nil {
		p.thinking = raw // goes out with the fields, as it is
		if r != nil {
			p.note("thinking is set by the model's configuration: the request's reasoning_effort or thinking was left out")
			p.req.Reasoning = nil
		}
		return nil
	}
	if r == nil || isNull(r.Thinking) {
		return nil
	}
	if !claude {
		if !p.model.ignores("thinking") {
			return fault.Invalid("thinking", "this model does not support thinking: use reasoning_effort")
		}
		p.req.Reasoning = &chat.Reasoning{Effort: r.Effort}
		return nil
	}
	if r.Wish && thinkingType(r.Thinking) == "enabled" && p.forgotThinking() {
		p.note("the model does not think by a budget after a prefill, or behind calls of another model's: thinking was left out")
		p.req.Reasoning = nil
		return nil
	}
	p.callersThinking = true
	p.setThinking(r.Thinking)
	if r.Effort == "" || p.model.ignores("reasoning_effort") {
		return nil
	}
	// The object wins; an effort says how much only where it leaves that open.
	control := p.family.Capabilities.Reasoning
	if thinkingType(r.Thinking) != "adaptive" || r.Effort == "none" || control == "none" || control == "budget" {
		p.note("reasoning_effort was left out: the request's thinking says otherwise")
		return nil
	}
	p.setEffort(p.word(r.Effort))
	return nil
}

// reasoning turns the caller's effort into the family's own control. The tool choice
// is settled by now, ours for structured output too.
func (p *prepared) reasoning() error {
	defer p.thinkUnforced()
	r := p.req.Reasoning
	if r == nil || r.Effort == "" || p.thinking != nil || p.model.ignores("reasoning_effort") {
		return nil
	}
	if r.Effort == "none" {
		p.dontThink()
		return nil
	}
	control := p.family.Capabilities.Reasoning
	if control == "none" {
		return fault.Invalid("reasoning_effort", "this model does not support reasoning_effort")
	}
	free := true // to think
	switch {
	case p.forced() && denies(p.family.ForcedThinking):
		p.note("the model does not think beside a tool that it must call: reasoning_effort does not make it think")
		free = false
	case (control == "budget" || control == "adaptive") && p.writtenSamples():
		p.note("the model does not think beside the sampling parameters of its configuration: reasoning_effort does not make it think")
		free = false
	}
	effort := p.word(r.Effort)
	switch control {
	case "budget":
		switch {
		case !free:
		case p.forgotThinking():
			p.note("the model does not think by a budget after a prefill, or after tool results whose thinking_blocks did not come back: reasoning_effort was left out")
		default:
			p.budget(r.Effort)
		}
	case "adaptive":
		if free {
			p.setThinking(json.RawMessage(`{"type":"adaptive"}`))
		}
		p.setEffort(effort) // says how much it writes where it does not think, too
	case "effort":
		switch {
		case !free:
		case len(p.family.ReasoningFields) == 0: // a model resource said so
			p.setEffort(effort)
		default:
			p.effortFields(effort)
		}
	default: // not known: Converse has a member for it, and its own validation
		if effort == "minimal" {
			effort = "low"
		}
		p.setEffort(effort)
	}
	return nil
}

// word is the family's for an effort.
func (p *prepared) word(effort string) string {
	if word, ok := p.family.Efforts[effort]; ok {
		return word
	}
	return effort
}

// dontThink is effort none: said where the model would think unasked and can be told
// not to.
func (p *prepared) dontThink() {
	if word, ok := p.family.Efforts["none"]; ok && len(p.family.ReasoningFields) > 0 {
		p.effortFields(word)
		return
	}
	switch p.family.Capabilities.Thinks {
	case "unasked":
		if c := p.family.Capabilities.Reasoning; c == "adaptive" || c == "budget" {
			p.setThinking(json.RawMessage(`{"type":"disabled"}`))
		}
	case "always":
		p.note("the model always thinks: reasoning_effort none has no effect")
	}
}

// thinkUnforced keeps a model from thinking that would do so unasked beside a tool
// that it must call. Whether Bedrock refuses the two where nobody asked for thinking
// is not known; not to think is taken by every model that can be told so.
func (p *prepared) thinkUnforced() {
	c := &p.family.Capabilities
	if p.thinking == nil && c.Thinks == "unasked" && c.Reasoning == "adaptive" && p.forced() && denies(p.family.ForcedThinking) {
		p.setThinking(json.RawMessage(`{"type":"disabled"}`))
	}
}

// forced reports whether a tool must be called.
func (p *prepared) forced() bool {
	mode := p.req.ToolChoice.Mode
	return mode == chat.ToolChoiceAny || mode == chat.ToolChoiceTool
}

// effortFields puts the family's word where the family has it, but where the operator
// wrote something there.
func (p *prepared) effortFields(effort string) {
	for name, raw := range p.family.ReasoningFields {
		field := withEffort(raw, effort)
		if overlaps(field, p.knobs.additional[name]) {
			p.note(name + " is set by the model's configuration: reasoning_effort was left out")
			continue
		}
		p.additional[name] = field
	}
}

// setEffort sets output_config.effort, but where the operator did.
func (p *prepared) setEffort(effort string) {
	if overlaps(json.RawMessage(`{"effort":""}`), p.knobs.additional["output_config"]) {
		p.note("output_config.effort is set by the model's configuration: reasoning_effort was left out")
		return
	}
	p.effort = effort
}

// forgotThinking reports whether Claude would refuse to think by a budget: behind
// results of calls whose reasoning did not come back with them, as from every
// client that knows only OpenAI's members, and behind a prefill. The caller did not
// ask for a budget by that name.
func (p *prepared) forgotThinking() bool {
	m := p.req.Messages
	if system := func(m chat.Message) bool { return m.Role == chat.System }; slices.ContainsFunc(m, system) {
		m = chat.Join(slices.DeleteFunc(slices.Clone(m), system))
	}
	n := len(m)
	if n > 0 && m[n-1].Role == chat.Assistant {
		return true
	}
	if n < 2 {
		return false
	}
	results := func(b chat.Block) bool { _, ok := b.(chat.ToolResult); return ok }
	if !slices.ContainsFunc(m[n-1].Blocks, results) {
		return false
	}
	switch m[n-2].Blocks[0].(type) { // its turn must begin with it, wherever else it thought
	case chat.Thinking, chat.Redacted:
		return false
	}
	return true
}

// setThinking puts Anthropic's object where the operation has it. An adaptive one
// that says nothing of its display gets the family's: models that show nothing of
// themselves would answer with empty reasoning.
func (p *prepared) setThinking(raw json.RawMessage) {
	if display := p.family.ThinkingDisplay; display != "" && thinkingType(raw) == "adaptive" && isNull(members(raw)["display"]) {
		says := members(raw)
		delete(says, "display")
		rest := object(says)
		raw = append(append(rest[:len(rest)-1], `,"display":`...), marshal(display)...)
		raw = append(raw, '}')
	}
	p.thinking = raw
	if !p.invokes {
		p.additional["thinking"] = raw
	}
}

// thinks reports whether the model will be asked to think in a way that excludes a
// forced tool.
func (p *prepared) thinks() bool {
	return p.thinking != nil && thinkingType(p.thinking) != "disabled"
}

// thinkingType is adaptive, enabled or disabled; "" where the object is none.
func thinkingType(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	var t struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(raw, &t)
	return t.Type
}
