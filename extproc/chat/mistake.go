package chat

import (
	"errors"
	"fmt"
	"strings"

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
	return fmt.Sprintf("%s: %s", m.Rule, Named(m.ID))
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

// Retell is f in a dialect that calls its parameter param, in the message too; says is what the
// dialect has to say of a Mistake, "" where it has no words of its own.
func Retell(f *fault.Error, param string, says func(*Mistake) string) *fault.Error {
	out := *f
	out.Param = param
	if f.Param != "" && f.Param != "stop" { // which is a word, too
		out.Message = strings.Replace(f.Message, f.Param, param, 1)
	}
	var m *Mistake
	if errors.As(f.Err, &m) {
		if said := says(m); said != "" {
			out.Message = said
		}
	}
	return &out
}
