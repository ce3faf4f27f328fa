package openai

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"aisix/admin/strict"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// list is n items with commas between.
func list(n int, item func(i int) string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(item(i))
	}
	return b.String()
}

func same(item string) func(int) string { return func(int) string { return item } }

const hi = `{"role":"user","content":"hi"}`

// asking is a body with these messages, and more members behind them.
func asking(messages, more string) string {
	return `{"model":"m","messages":[` + messages + `]` + more + `}`
}

// withTool is a body with one tool of this schema.
func withTool(schema string, strict bool) string {
	return asking(hi, `,"tools":[{"type":"function","function":{"name":"f","strict":`+strconv.FormatBool(strict)+`,"parameters":`+schema+`}}]`)
}

// withFormat is a body that asks for an answer of this schema.
func withFormat(schema string) string {
	return asking(hi, `,"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":`+schema+`}}`)
}

func calls(n int) string {
	return list(n, func(i int) string {
		return `{"id":"c` + strconv.Itoa(i) + `","type":"function","function":{"name":"f"}}`
	})
}

// What a body may hold is taken, and one more is a 400 that names the member and
// the bound.
func TestBounds(t *testing.T) {
	for name, test := range map[string]struct {
		body  func(n int) string
		most  int
		param string
	}{
		"values": {func(n int) string { // 27 are there beside the list's
			return withTool(`{"type":"object","enum":[`+list(n-27, same("1"))+`]}`, false)
		}, strict.MaxValues, "tools[0].function.parameters.enum[262117]"},
		"messages": {func(n int) string { return asking(list(n, same(hi)), "") }, chat.MaxMessages, "messages"},
		"parts": {func(n int) string {
			return asking(`{"role":"user","content":[`+list(n, same(`{"type":"text","text":"x"}`))+`]}`, "")
		}, chat.MaxParts, "messages[0].content"},
		"parts, several": {func(n int) string {
			return asking(list(n/2, same(`{"role":"user","content":[{"type":"text","text":"x"},{"type":"text","text":"x"}]}`))+list(n%2, same(`,{"role":"user","content":[{"type":"text","text":"x"}]}`)), "")
		}, chat.MaxParts, "messages[10000].content"},
		"tool calls": {func(n int) string { return asking(hi+`,{"role":"assistant","tool_calls":[`+calls(n)+`]}`, "") }, chat.MaxToolCalls, "messages[1].tool_calls"},
		"thinking": {func(n int) string {
			return asking(hi+`,{"role":"assistant","thinking_blocks":[`+list(n, same(`{"type":"thinking","thinking":"x","signature":"x"}`))+`]}`, "")
		}, chat.MaxThinkingBlocks, "messages[1].thinking_blocks"},
		"tools": {func(n int) string {
			return asking(hi, `,"tools":[`+list(n, func(i int) string { return `{"type":"function","function":{"name":"f` + strconv.Itoa(i) + `"}}` })+`]`)
		}, chat.MaxTools, "tools"},
		"allowed tools": {func(n int) string {
			return asking(hi, `,"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[`+list(n, same(`{"type":"function","function":{"name":"f"}}`))+`]}}`)
		}, chat.MaxTools, "tool_choice.allowed_tools.tools"},
		"a tool's name": {func(n int) string {
			return asking(hi, `,"tools":[{"type":"function","function":{"name":"`+strings.Repeat("x", n)+`"}}]`)
		}, chat.MaxToolName, "tools[0].function.name"},
		"a call's name": {func(n int) string {
			return asking(hi+`,{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"`+strings.Repeat("x", n)+`"}}]}`, "")
		}, chat.MaxToolName, "messages[1].tool_calls[0].function.name"},
		"stop": {func(n int) string { return asking(hi, `,"stop":[`+list(n, same(`"x"`))+`]`) }, chat.MaxStop, "stop"},
		"metadata": {func(n int) string {
			return asking(hi, `,"metadata":{`+list(n, func(i int) string { return `"k` + strconv.Itoa(i) + `":"v"` })+`}`)
		}, chat.MaxLabels, "metadata"},
		"depth": {func(n int) string {
			return withTool(`{"type":"object","x":`+strings.Repeat("[", n-5)+strings.Repeat("]", n-5)+`}`, false)
		}, strict.MaxDepth, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := (Chat{}).Decode([]byte(test.body(test.most))); err != nil {
				t.Errorf("%d are refused: %v", test.most, err)
			}
			_, err := (Chat{}).Decode([]byte(test.body(test.most + 1)))
			var f *fault.Error
			if !errors.As(err, &f) || f.Status != 400 || f.Param != test.param || !strings.Contains(f.Message, fmt.Sprint(test.most)) {
				t.Errorf("one more: %v, param %q; want a 400 for %q that names the bound", err, fault.From(err).Param, test.param)
			}
		})
	}
}
