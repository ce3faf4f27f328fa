package chat

import (
	"errors"
	"strings"
	"testing"

	"aisix/extproc/fault"
)

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name     string
		messages []Message
		param    string
		says     string // in the message
	}{
		{"a result without its call", []Message{says(User, text("a"), answers("zz", text("1")))}, "messages[0]", `"zz"`},
		{"a result of a call two turns ago",
			[]Message{says(Assistant, use("a", "")), says(User, answers("a", text("1"))), says(Assistant, text("t")), says(User, ToolResult{ID: "a", Param: "messages[3].tool_call_id"})},
			"messages[3].tool_call_id", `"a"`},
		{"a call without its result", []Message{says(Assistant, use("a", ""), use("b", "")), says(User, answers("a", text("1")))}, "messages[0].tool_calls", `"b"`},
		{"two results of one call", []Message{says(Assistant, use("a", "")), says(User, answers("a", text("1")), answers("a", text("2")))}, "messages[1]", `"a"`},
		{"two calls of one id", []Message{says(Assistant, use("a", ""), use("a", "")), says(User, answers("a", text("1")))}, "messages[0].tool_calls", `"a"`},
		{"a result before its call", []Message{says(User, text("a"), answers("a", text("1"))), says(Assistant, use("a", "")), says(User, answers("a", text("1")))}, "messages[0]", `"a"`},
		{"a result in the next user turn but one", []Message{says(Assistant, use("a", "")), says(User, text("q")), says(Assistant, text("t")), says(User, answers("a", text("1")))}, "messages[0].tool_calls", `"a"`},
		{"a call of the second message of a turn", []Message{says(Assistant, use("a", "")), says(Assistant, use("b", "")), says(User, answers("a", text("1")))}, "messages[1].tool_calls", `"b"`},
		{"a result in the second message of a turn", []Message{says(Assistant, use("a", "")), says(User, answers("a", text("1"))), says(User, answers("b", text("1")))}, "messages[2]", `"b"`},
		{"a call without its result behind a turn with nothing in it", []Message{says(Assistant, use("a", "")), says(User, text(" ")), says(Assistant, text("b")), says(User, text("c"))}, "messages[0].tool_calls", `"a"`},
		{"a result whose call is two turns before, blank turns between", []Message{says(Assistant, text("b")), says(User, text(" ")), says(Assistant, text("")), says(User, answers("a", text("1")))}, "messages[3]", `"a"`},
		{"system text behind a call without its result", []Message{says(User, text("a")), says(Assistant, use("a", "")), says(System, text("s"))}, "messages[1].tool_calls", `"a"`},
		{"and another call behind it", []Message{says(User, text("a")), says(Assistant, use("a", "")), says(System, text("s")), says(Assistant, use("b", ""))}, "messages[1].tool_calls", `"a"`},
		{"a call by the system", []Message{says(System, use("a", ""))}, "messages[0]", "assistant"},
		{"an empty call id", []Message{says(Assistant, use("", ""))}, "messages[0]", "must have an id"},
		{"an empty result id", []Message{says(Assistant, use("a", "")), says(User, answers(""))}, "messages[1]", "must have a call id"},
		{"a call by the user", []Message{says(User, use("a", ""))}, "messages[0]", "assistant"},
		{"a result by the assistant", []Message{says(Assistant, answers("a"))}, "messages[0]", "assistant"},
		{"reasoning by the user", []Message{says(User, Thinking{Signature: "s"})}, "messages[0]", "assistant"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := Check(&Request{Messages: placed(test.messages)})
			var f *fault.Error
			if !errors.As(err, &f) {
				t.Fatalf("got %v, want a fault", err)
			}
			if f.Status != 400 || f.Param != test.param || !strings.Contains(f.Message, test.says) {
				t.Errorf("got %d, param %q, %q; want 400, %q and %q in the message", f.Status, f.Param, f.Message, test.param, test.says)
			}
		})
	}
}
