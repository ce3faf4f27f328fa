package bedrock

import (
	"encoding/json"
	"math"
	"slices"
)

// efforts are a caller's, from the least; budgets are what they are worth in tokens,
// where there is room for it. A budget under minBudget is none.
var (
	efforts = []string{"minimal", "low", "medium", "high", "xhigh", "max"}
	budgets = []int{1024, 2048, 8192, 16384, 32768, 65536}
)

const minBudget = 1024

// answerRoom is kept for an answer beside a thinking budget where nothing is known of
// the model.
const answerRoom = 16384

// budget thinks by a budget of tokens, which leaves room for an answer under
// max_tokens. Where that is too little for the whole worth of the efforts, they share
// it, so that high is more than medium is more than low all the same.
func (p *prepared) budget(effort string) {
	rank := max(slices.Index(efforts, effort), 0)
	limit := budgets[len(budgets)-1] * 2
	if p.family.MaxOutput > 0 {
		limit = p.family.MaxOutput
	}
	if p.maxTokens != nil {
		limit = *p.maxTokens
	}
	last := len(efforts) - 1
	// Three quarters at most; of very little, as much as tells the efforts apart.
	most := max(limit/4*3, min(limit-1, minBudget+last))
	if most < minBudget {
		p.note("max_tokens has no room for a thinking budget: reasoning_effort was left out")
		return
	}
	n := min(budgets[rank], minBudget+(most-minBudget)*rank/last)
	raw, _ := json.Marshal(struct { // can't fail
		Type   string `json:"type"`
		Budget int    `json:"budget_tokens"`
	}{"enabled", n})
	p.setThinking(raw)
}

// room settles max_tokens, once it is known how much the model thinks. What additional
// fields say of it stands, and so does what the caller wrote beside thinking of its own:
// Bedrock says what is wrong with the two. Otherwise it is always above a thinking
// budget: what is ours to choose, the default of a model resource, and the caller's word
// beside a budget that the operator wrote. Converse needs none but for a budget.
func (p *prepared) room() error {
	_, written := p.knobs.additional["max_tokens"]
	callers := p.req.MaxTokens != nil
	if written || callers && p.callersThinking {
		return nil
	}
	answer := answerRoom
	if p.family.MaxTokens > 0 {
		answer = p.family.MaxTokens
	}
	budget := budgetOf(p.thinking)
	var n int
	switch {
	case p.maxTokens != nil && budget < *p.maxTokens:
		return nil
	case p.maxTokens != nil:
		n = budget + *p.maxTokens
		if callers {
			p.note("max_tokens was raised above the thinking budget of the model's configuration")
		}
	case budget > 0:
		n = budget + answer
	case !p.invokes:
		return nil
	case thinkingType(p.thinking) == "adaptive": // it thinks as much as the effort is worth, high if none is said
		rank := slices.Index(efforts, p.effort)
		if rank < 0 {
			rank = slices.Index(efforts, "high")
		}
		n = budgets[rank] + answer
	default:
		n = answer
	}
	if p.family.MaxOutput > 0 {
		n = min(n, p.family.MaxOutput)
	}
	p.maxTokens = &n
	return nil
}

// budgetOf is the budget of a thinking object, 0 where it has none.
func budgetOf(thinking json.RawMessage) int {
	if len(thinking) == 0 {
		return 0
	}
	var t struct {
		Type   string  `json:"type"`
		Budget float64 `json:"budget_tokens"`
	}
	if json.Unmarshal(thinking, &t) != nil || t.Type == "disabled" || t.Budget < 1 || t.Budget > math.MaxInt32/2 {
		return 0
	}
	return int(t.Budget)
}
