package bedrock

import (
	"bytes"
	"encoding/json"
	"slices"

	"aisix/extproc/anthropic"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// Thinking budgets of the efforts, in tokens, before they are kept under
// max_tokens; a budget under minBudget is none.
var budgets = map[string]int{"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 65536}

const minBudget = 1024

// reasoning turns the caller's wish into the family's own control.
func (p *prepared) reasoning() error {
	r := p.req.Reasoning
	if r == nil {
		return nil
	}
	if !isNull(r.Thinking) {
		if p.model.Publisher != "anthropic" && p.model.Publisher != "" {
			if p.model.ignores("thinking") {
				return nil
			}
			return fault.Invalid("thinking", "this model does not support thinking: use reasoning_effort")
		}
		p.setThinking(r.Thinking)
		return nil
	}
	if r.Effort == "" || p.model.ignores("reasoning_effort") {
		return nil
	}
	effort, ok := p.family.Efforts[r.Effort]
	if !ok {
		effort = r.Effort
	}
	switch p.family.Capabilities.Reasoning {
	case "none":
		if r.Effort != "none" {
			return fault.Invalid("reasoning_effort", "this model does not support reasoning_effort")
		}
	case "budget":
		if r.Effort != "none" && !p.forgotThinking() {
			p.budget(r.Effort)
		}
	case "adaptive":
		if r.Effort != "none" {
			p.setThinking(json.RawMessage(`{"type":"adaptive"}`))
			p.effort = effort
		}
	case "effort":
		if r.Effort == "none" {
			return nil // what the family does unasked
		}
		if len(p.family.ReasoningFields) == 0 { // a model resource said so
			p.effort = effort
		}
		for name, raw := range p.family.ReasoningFields {
			p.additional[name] = bytes.ReplaceAll(raw, []byte(`"$effort"`), marshal(effort))
		}
	default: // not known: Converse has a member for it, and its own validation
		if r.Effort != "none" {
			if effort == "minimal" {
				effort = "low"
			}
			p.effort = effort
		}
	}
	return nil
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

// budget thinks within three quarters of what may be written, so that an answer
// has room, but with no less than the least budget where that fits.
func (p *prepared) budget(effort string) {
	limit := anthropic.DefaultMaxTokens
	if p.maxTokens != nil {
		limit = *p.maxTokens
	}
	n := min(budgets[effort], max(limit/4*3, minBudget))
	if n < minBudget || n >= limit {
		return
	}
	raw, _ := json.Marshal(struct { // can't fail
		Type   string `json:"type"`
		Budget int    `json:"budget_tokens"`
	}{"enabled", n})
	p.setThinking(raw)
}

// setThinking puts Anthropic's object where the operation has it.
func (p *prepared) setThinking(raw json.RawMessage) {
	p.thinking = raw
	if !p.model.invokes() {
		p.additional["thinking"] = raw
	}
}

// thinks reports whether the model will be asked to think in a way that excludes a
// forced tool.
func (p *prepared) thinks() bool {
	if p.thinking == nil {
		return false
	}
	var t struct {
		Type string `json:"type"`
	}
	return json.Unmarshal(p.thinking, &t) != nil || t.Type != "disabled"
}
