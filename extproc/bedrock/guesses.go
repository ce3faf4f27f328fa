package bedrock

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"aisix/extproc/jsonedit"
)

// Claude Code goes by a model's name: to one that it does not know it sends what the newest
// models take. An alias is a name that it does not know. So what it guessed wrong is put
// right, as far as the data file knows better; whoever else asks in Anthropic's format is
// taken at their word, and told by Bedrock what is wrong with it.

// guessing reports whether the flags are those of a client that guesses.
func guessing(flags []string) bool {
	return slices.ContainsFunc(flags, func(flag string) bool { return strings.HasPrefix(flag, "claude-code-") })
}

// guesses are the members of a body to set, or with nil to take out, and places inside
// members that are to be taken out.
func (p *prepared) guesses(t jsonedit.Text) (set map[string]json.RawMessage, without []string) {
	set = map[string]json.RawMessage{}
	c := p.family.Capabilities
	member := func(name string) json.RawMessage {
		at, _ := t.Member(t.Root(), name)
		return json.RawMessage(t.At(at))
	}
	var room int
	if raw := member("max_tokens"); json.Unmarshal(raw, &room) == nil && p.family.MaxOutput > 0 && room > p.family.MaxOutput {
		room = p.family.MaxOutput
		set["max_tokens"] = marshal(room)
		p.note("max_tokens was lowered to the most that the model writes: " + strconv.Itoa(room))
	}
	var output struct {
		Effort string `json:"effort"`
	}
	_ = json.Unmarshal(member("output_config"), &output)
	if output.Effort != "" && (c.Reasoning == "none" || c.Reasoning == "budget" && !p.family.EffortBesideBudget) {
		without = append(without, "output_config.effort")
		p.note("output_config.effort was left out: the model has none")
	}
	kind := thinkingType(member("thinking"))
	thinks := kind == "enabled" || kind == "adaptive"
	budget := 0
	if kind == "adaptive" && c.Reasoning == "budget" && !thoughtless(t) {
		rank := max(slices.Index(efforts, output.Effort), slices.Index(efforts, "low"))
		budget = min(budgets[rank], room/4*3)
	}
	switch {
	case !thinks:
	case kind == "enabled" && c.Reasoning == "adaptive": // the later ones know no budget
		set["thinking"] = object(p.displayed(member("thinking"), map[string]json.RawMessage{"type": marshal("adaptive")}))
		p.note("the model thinks adaptively: a budget was made that")
	case c.Reasoning != "none" && kind == "enabled" && !thoughtless(t), c.Reasoning != "none" && kind == "adaptive" && c.Reasoning != "budget":
	case budget >= minBudget:
		set["thinking"] = object(p.displayed(member("thinking"), map[string]json.RawMessage{"type": marshal("enabled"), "budget_tokens": marshal(budget)}))
		p.note("the model thinks by a budget: adaptive thinking was made one")
	default:
		set["thinking"] = nil
		without = append(without, "context_management") // it may be about what is thought
		p.note("thinking was left out: the model has none, or not here")
	}
	return set, without
}

// displayed adds to thinking of another type how the caller wants to see it.
func (p *prepared) displayed(asked json.RawMessage, thinking map[string]json.RawMessage) map[string]json.RawMessage {
	display := members(asked)["display"]
	if string(display) == `"updates"` && !p.model.opens("thinking.display=updates") {
		display = nil
	}
	if display != nil {
		thinking["display"] = display
	}
	return thinking
}

// unthought takes a budget out behind calls whose reasoning was another model's, and was left out:
// Claude would refuse it there.
func (p *prepared) unthought(t jsonedit.Text) (set map[string]json.RawMessage, without []string) {
	at, _ := t.Member(t.Root(), "thinking")
	if thinkingType(json.RawMessage(t.At(at))) != "enabled" || !thoughtless(t) {
		return nil, nil
	}
	p.note("thinking was left out: the calls before are another model's")
	return map[string]json.RawMessage{"thinking": nil}, []string{"context_management"} // it may be about what is thought
}

// thoughtless reports whether the model is in the midst of calls that it made without reasoning, or
// with another model's: then it takes no budget.
func thoughtless(t jsonedit.Text) bool {
	messages, _ := t.Member(t.Root(), "messages")
	var last jsonedit.Span
	for m := range t.Items(messages) {
		if role, _ := t.Member(m, "role"); t.String(role) == "assistant" {
			last, _ = t.Member(m, "content")
		}
	}
	calls := false
	first := ""
	for block := range t.Items(last) {
		kind, _ := t.Member(block, "type")
		if first == "" {
			first = t.String(kind)
		}
		calls = calls || t.String(kind) == "tool_use"
	}
	return calls && first != "thinking" && first != "redacted_thinking"
}
