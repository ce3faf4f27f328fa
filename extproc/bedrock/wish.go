package bedrock

import (
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
		if r.Thinking != nil || p.family.Capabilities.Reasoning != "none" {
			return r // Claude's own words, or as good as
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

// effortOf is the effort that is worth a thinking budget, "" of none.
func effortOf(budget int) (effort string) {
	for i, worth := range budgets {
		if budget > 0 && (i <= 1 || budget >= worth) {
			effort = efforts[i]
		}
	}
	return effort
}
