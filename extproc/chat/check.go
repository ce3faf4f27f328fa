package chat

import (
	"fmt"
	"slices"
	"strings"
)

// Check refuses a conversation that no provider takes, whoever asks in whatever
// format: the user's reasoning, the assistant's tool results, a tool call or a
// result without an id, and turns whose calls and results do not pair. Every call
// of a turn is answered once in the turn after it, if there is one, and nothing
// else is. A turn is what one side says until the other one speaks, in one message
// or several.
//
// A message that says nothing is no turn, nor is a system message: what comes before
// and after it belongs together.
//
// An error is a *fault.Error of status 400 whose Param is where the caller wrote
// what is wrong, and whose Err is a Mistake. Its words are those of chat completions (see
// Asked.Retold). A request in which the user says nothing is not an error here (that is
// for Tidy to say), nor is a first turn by the assistant (Bedrock has words for it).
func Check(r *Request) error {
	for i, m := range r.Messages {
		if err := m.checkRoles(m.place(i)); err != nil {
			return err
		}
	}
	messages, goesOn := spoken(r.Messages)
	var calls []openUse // of the turn before
	for from, to := 0, 0; from < len(messages); from = to {
		for to = from + 1; to < len(messages) && messages[to].Role == messages[from].Role; to++ {
		}
		if err := pair(calls, messages[:to], from); err != nil {
			return err
		}
		calls = calls[:0]
		for i := from; i < to; i++ {
			calls = append(calls, messages[i].calls(i)...)
		}
	}
	if goesOn {
		return pair(calls, nil, 0)
	}
	return nil
}

// spoken are the messages of user and assistant that say something. goesOn is whether
// system text comes behind calls that nothing else comes behind.
func spoken(messages []Message) (out []Message, goesOn bool) {
	if !slices.ContainsFunc(messages, func(m Message) bool { return m.Role == System || m.empty() }) {
		return messages, false
	}
	open := false
	for i, m := range messages {
		switch {
		case m.empty():
			continue
		case m.Role == System:
			goesOn = open
			continue
		case m.Role == User:
			open, goesOn = false, false
		default:
			open = open || len(m.calls(i)) > 0
		}
		m.Param = m.place(i)
		out = append(out, m)
	}
	return out, goesOn
}

// place is where the caller wrote the message, the i-th of the request.
func (m *Message) place(i int) string {
	if m.Param != "" {
		return m.Param
	}
	return fmt.Sprintf("messages[%d]", i)
}

func (m *Message) checkRoles(param string) error {
	for _, b := range m.Blocks {
		switch b := b.(type) {
		case ToolUse:
			if m.Role != Assistant {
				return CallOutside.at(b.ID, param, "%s: tool calls are only allowed in assistant messages", param)
			}
			if b.ID == "" {
				return CallWithoutID.at("", param, "%s: a tool call must have an id", param)
			}
		case ToolResult:
			where := b.place(param)
			if m.Role != User {
				return ResultOutside.at(b.ID, where, "%s: tool results are not allowed in assistant messages", where)
			}
			if b.ID == "" {
				return ResultWithoutID.at("", where, "%s: a tool result must have a call id", where)
			}
		case Thinking, Redacted:
			if m.Role != Assistant {
				return ReasoningOutside.at("", param, "%s: reasoning is only allowed in assistant messages", param)
			}
		}
	}
	return nil
}

// place is the most exact one known, of the message's where there is none.
func (r ToolResult) place(message string) string {
	if r.Param != "" {
		return r.Param
	}
	return message
}

// openUse is a tool use that waits for its result.
type openUse struct{ id, param string }

func (m *Message) calls(i int) []openUse {
	var out []openUse
	for _, b := range m.Blocks {
		if u, ok := b.(ToolUse); ok {
			out = append(out, openUse{u.ID, m.place(i)})
		}
	}
	return out
}

// pair checks that the turn that begins at messages[from] answers each of calls
// once and nothing else.
func pair(calls []openUse, messages []Message, from int) error {
	answered := make(map[string]bool, len(calls))
	for _, c := range calls {
		if _, ok := answered[c.id]; ok {
			return CallTwice.at(c.id, c.param+".tool_calls", "%s: two tool calls have the id %q", c.param, clip(c.id))
		}
		answered[c.id] = false
	}
	for i := from; i < len(messages); i++ {
		m := &messages[i]
		for _, b := range m.Blocks {
			r, ok := b.(ToolResult)
			if !ok {
				continue
			}
			before, ok := answered[r.ID]
			if !ok {
				return ResultAlone.at(r.ID, r.place(m.place(i)), "a tool message must respond to a tool call in the preceding assistant message: there is no tool call %q", clip(r.ID))
			}
			if before {
				return ResultTwice.at(r.ID, r.place(m.place(i)), "the tool call %q has two results", clip(r.ID))
			}
			answered[r.ID] = true
		}
	}
	for _, c := range calls {
		if !answered[c.id] {
			return CallAlone.at(c.id, c.param+".tool_calls", "an assistant message with tool_calls must be followed by tool messages responding to each tool_call_id: %q has no response", clip(c.id))
		}
	}
	return nil
}

// clip cuts an id to a length fit for an error message.
func clip(id string) string {
	const most = 64
	if len(id) <= most {
		return id
	}
	return strings.ToValidUTF8(id[:most], "") + "…"
}
