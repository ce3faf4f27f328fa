package chat

import (
	"fmt"

	"aisix/extproc/fault"
)

// Mistake is what Check found, for dialects that have words of their own for it.
type Mistake struct {
	Rule Rule
	ID   string // of the call, cut to a length fit for a message
}

// Error says it to the operator.
func (m *Mistake) Error() string {
	if m.ID == "" {
		return string(m.Rule)
	}
	return fmt.Sprintf("%s: %q", m.Rule, m.ID)
}

// Rule is what a conversation breaks.
type Rule string

// The rules of Check.
const (
	CallOutside      Rule = "a tool call outside of the assistant's messages"
	CallWithoutID    Rule = "a tool call without an id"
	CallTwice        Rule = "two tool calls of one id"
	CallAlone        Rule = "a tool call without a result"
	ResultOutside    Rule = "a tool result outside of the user's messages"
	ResultWithoutID  Rule = "a tool result without an id"
	ResultTwice      Rule = "two results of one tool call"
	ResultAlone      Rule = "a tool result without its call"
	ReasoningOutside Rule = "reasoning outside of the assistant's messages"
)

// at is the fault of a mistake at param.
func (r Rule) at(id, param, format string, args ...any) *fault.Error {
	f := fault.Invalid(param, format, args...)
	f.Err = &Mistake{r, clip(id)}
	return f
}
