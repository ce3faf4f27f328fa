package bedrock

import (
	"encoding/json"
	"strconv"

	"aisix/extproc/chat"
)

// Some dialects have callers say what these do not insist on: Anthropic's wants max_tokens of
// everybody, and its agents, and those of OpenAI's Responses, ask every model to think. An answer with less of it is what
// they came for; a refusal ends a session.

// habits brings such a request down to what the model has.
func (p *prepared) habits() error {
	r := p.req.Reasoning
	if r != nil && r.Wish {
		p.req.Reasoning = p.wished(r)
	}
	if most := p.family.MaxOutput; p.req.MaxTokensWish && most > 0 && p.maxTokens != nil && *p.maxTokens > most && p.model.Publisher != "anthropic" {
		p.maxTokens = &most
		p.note("max_tokens was lowered to the most that the model writes: " + strconv.Itoa(most))
	}
	return nil
}

// wished is what of a wish the model has a control for, nil where it has none.
func (p *prepared) wished(r *chat.Reasoning) *chat.Reasoning {
	switch p.model.Publisher {
	case "": // Bedrock knows what it is
		return r
	case "anthropic":
		if out := p.wishedOfClaude(r); out != nil {
			return out
		}
	}
	effort := r.Effort
	if effort == "" {
		effort = effortOf(budgetOf(r.Thinking))
	}
	switch control := p.family.Capabilities.Reasoning; {
	case effort == "none":
		return &chat.Reasoning{Effort: effort}
	case control == "none" || control == "":
		p.note("thinking was left out: the model has no control for it")
		return nil
	case effort == "":
		return nil // it thinks as much as it does unasked
	}
	return &chat.Reasoning{Effort: effort}
}

// wishedOfClaude is a wish in the words of this one of Claude's models: those of the newest,
// which agents use with a name that they do not know, the older refuse, and those of the older
// the newest. nil is what it has no words for.
func (p *prepared) wishedOfClaude(r *chat.Reasoning) *chat.Reasoning {
	kind, control := thinkingType(r.Thinking), p.family.Capabilities.Reasoning
	if says, opened := p.unopened(r.Thinking); opened {
		out := *r
		out.Thinking, r = says, &out
	}
	switch {
	case control == "none" && kind != "disabled":
		return nil
	case kind == "adaptive" && control == "budget":
		p.note("the model thinks by a budget: adaptive thinking was made one")
		return &chat.Reasoning{Effort: or(r.Effort, "low")}
	case kind == "enabled" && control == "adaptive": // the later ones know no budget
		p.note("the model thinks adaptively: a budget was made that")
		out := *r
		out.Thinking = json.RawMessage(`{"type":"adaptive"}`)
		return &out
	}
	return r // its own words, or as good as
}

// unopened is thinking without what only flags open, which stay behind: Converse's callers have none.
func (p *prepared) unopened(thinking json.RawMessage) (without json.RawMessage, opened bool) {
	says := members(thinking)
	for name, raw := range says {
		if name != "type" && name != "budget_tokens" && (name != "display" || string(raw) == `"updates"`) {
			delete(says, name)
			opened = true
		}
	}
	if opened {
		p.note("what a flag of anthropic-beta opens in thinking was left out")
	}
	return object(says), opened
}

// effortOf is the effort that is worth a thinking budget, "" of none.
func effortOf(budget int) (effort string) {
	for i, worth := range budgets {
		if budget > 0 && (i <= 1 || budget >= worth) {
			effort = efforts[i]
		}
	}
	return effort
}
