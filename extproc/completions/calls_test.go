package completions

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/chat"
)

// TestCalls: what a service's fragments add up to, whatever it leaves out and however it mixes
// them; and that no call waits for the end of the answer where it need not.
func TestCalls(t *testing.T) {
	call := func(id, name, input string) chat.Block {
		return chat.ToolUse{ID: id, Name: name, Input: json.RawMessage(input)}
	}
	text := func(s string) chat.Block { return chat.Text{Text: s} }
	for name, test := range map[string]struct {
		deltas []string
		want   []chat.Block
		late   []string // ids of calls that are not told before the end, where that is not all at once
	}{
		"one after the other": {
			[]string{`{"content":"a"}`, `{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":\"}\\\\\\\"{\""}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":"} "}}]}`,
				`{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{\"y\":[{}]}"}}]}`, `{"tool_calls":[{"index":2,"id":"c","function":{"name":"h","arguments":"{}"}}]}`},
			[]chat.Block{text("a"), call("a", "f", `{"x":"}\\\"{"} `), call("b", "g", `{"y":[{}]}`), call("c", "h", `{}`)}, nil},
		"two at once": {
			[]string{`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}},{"index":1,"id":"b","function":{"name":"g","arguments":"{"}}]}`,
				`{"tool_calls":[{"index":1,"function":{"arguments":"}"}},{"index":0,"function":{"arguments":"{\"x\":"}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}`},
			[]chat.Block{call("a", "f", `{"x":1}`), call("b", "g", `{}`)}, nil},
		"three at once, and text in between": {
			[]string{`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}},{"index":1,"id":"b","function":{"name":"g","arguments":"{"}},{"index":2,"id":"c","function":{"name":"h"}}]}`,
				`{"content":"te"}`, `{"tool_calls":[{"index":2,"function":{"arguments":"{}"}},{"index":0,"function":{"arguments":"}"}}]}`, `{"content":"xt"}`, `{"tool_calls":[{"index":1,"function":{"arguments":"}"}}]}`},
			[]chat.Block{call("a", "f", `{}`), call("b", "g", `{}`), call("c", "h", `{}`), text("text")}, nil},
		"indexes out of order": {
			[]string{`{"tool_calls":[{"index":7,"id":"b","function":{"name":"g","arguments":"{}"}}]}`, `{"tool_calls":[{"index":2,"id":"a","function":{"name":"f","arguments":"{}"}}]}`},
			[]chat.Block{call("b", "g", `{}`), call("a", "f", `{}`)}, nil},
		"text and reasoning behind a call": {
			[]string{`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}`, `{"content":"t"}`, `{"reasoning":"r"}`, `{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}}]}`},
			[]chat.Block{call("a", "f", `{}`), text("t"), chat.Thinking{Text: "r"}, call("b", "g", `{}`)}, nil},
		"arguments ahead of the name": {
			[]string{`{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\""}}]}`, `{"tool_calls":[{"index":0,"id":"a","function":{"arguments":":"}}]}`, `{"tool_calls":[{"index":0,"function":{"name":"f"}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}`,
				`{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}}]}`},
			[]chat.Block{call("a", "f", `{"x":1}`), call("b", "g", `{}`)}, nil},
		"a late id": {
			[]string{`{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"x\":"}}]}`, `{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"1}"}}]}`, `{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}}]}`},
			[]chat.Block{call("a", "f", `{"x":1}`), call("b", "g", `{}`)}, nil},
		"no id": { // bedrock gives it one
			[]string{`{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{"}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}`, `{"tool_calls":[{"index":1,"id":null,"function":{"name":"g","arguments":"{}"}}]}`, `{"tool_calls":[{"index":2,"id":"c","function":{"name":"h","arguments":"{}"}}]}`},
			[]chat.Block{call("", "f", `{}`), call("", "g", `{}`), call("c", "h", `{}`)}, nil},
		"no id and no arguments": {
			[]string{`{"tool_calls":[{"index":0,"function":{"name":"f"}}]}`, `{"tool_calls":[{"index":1,"function":{"name":"g"}}]}`},
			[]chat.Block{call("", "f", `{}`), call("", "g", `{}`)}, nil},
		"no arguments, empty and null ones": {
			[]string{`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":""}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":null}}]}`, `{"tool_calls":[]}`, `{"tool_calls":null}`},
			[]chat.Block{call("a", "f", `{}`)}, nil},
		"no arguments, and another call behind": { // the first one's may be to come
			[]string{`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}`, `{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}}]}`},
			[]chat.Block{call("a", "f", `{}`), call("b", "g", `{}`)}, []string{"b"}},
		"no index": {
			[]string{`{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{"}}]}`, `{"tool_calls":[{"function":{"arguments":"}"}}]}`, `{"tool_calls":[{"index":null,"id":"b","function":{"name":"g","arguments":"{"}},{"function":{"arguments":"}"}}]}`},
			[]chat.Block{call("a", "f", `{}`), call("b", "g", `{}`)}, nil},
		"no index, and fragments that name their call": {
			[]string{`{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{"}},{"id":"b","function":{"name":"g","arguments":"{"}}]}`, `{"tool_calls":[{"id":"a","function":{"arguments":"}"}},{"id":"b","function":{"name":"g","arguments":"}"}}]}`},
			[]chat.Block{call("a", "f", `{}`), call("b", "g", `{}`)}, nil},
		"neither index nor id": {
			[]string{`{"tool_calls":[{"function":{"name":"f","arguments":"{"}}]}`, `{"tool_calls":[{"function":{"name":"f","arguments":"}"}}]}`, `{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}`, `{"tool_calls":[{"function":{"name":"g","arguments":"{}"}}]}`},
			[]chat.Block{call("", "f", `{}`), call("", "f", `{}`), call("", "g", `{}`)}, nil},
		"all counted as the first": {
			[]string{`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}},{"index":0,"id":"b","function":{"name":"g","arguments":"{"}}]}`, `{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"}"}}]}`, `{"tool_calls":[{"index":0,"id":"b","function":{"name":"g","arguments":"}"}}]}`},
			[]chat.Block{call("a", "f", `{}`), call("b", "g", `{}`)}, nil},
		"all counted as the first, without ids": {
			[]string{`{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{}"}}]}`, `{"tool_calls":[{"index":0,"function":{"name":"g","arguments":"{}"}}]}`},
			[]chat.Block{call("", "f", `{}`), call("", "g", `{}`)}, nil},
		"a start that comes with each fragment, or an id of its own": {
			[]string{`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]}`, `{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"\"x\":"}}]}`, `{"tool_calls":[{"index":0,"id":"z","function":{"arguments":"1"}}]}`, `{"tool_calls":[{"id":"y","function":{"arguments":"}"}}]}`, `{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}`},
			[]chat.Block{call("a", "f", `{"x":1}`)}, nil},
		"arguments that are no object, or cut": {
			[]string{`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"x{}"}}]}`, `{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{}{}"}}]}`, `{"tool_calls":[{"index":2,"id":"c","function":{"name":"h","arguments":"{\"x"}}]}`},
			[]chat.Block{call("a", "f", `x{}`), call("b", "g", `{}{}`), call("c", "h", `{"x`)}, []string{"b", "c"}},
		"a fragment that says nothing": {
			[]string{`{"tool_calls":[{"index":3}]}`, `{"tool_calls":[{}]}`, `{"content":"a"}`}, []chat.Block{text("a")}, nil},
		"white space behind the end": {
			[]string{`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}`, `{"content":"t"}`, `{"tool_calls":[{"index":0,"function":{"arguments":"\n"}}]}`},
			[]chat.Block{call("a", "f", `{}`), text("t")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var d EventDecoder
			var o chat.Order
			var all, told []chat.Event
			take := func(chunk string) {
				events, err := d.Decode([]byte(chunk))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, events...)
				for _, e := range events {
					told = o.Append(told, e)
				}
			}
			for _, delta := range test.deltas {
				take(`{"id":"x","choices":[{"index":0,"delta":` + delta + `,"finish_reason":null}]}`)
			}
			early := fmt.Sprint(told)
			take(`{"choices":[{"delta":{},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
			got, err := chat.Collect(all)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Blocks); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, b := range test.want {
				if u, ok := b.(chat.ToolUse); ok && u.ID != "" && strings.Contains(early, "{"+fmt.Sprint(index(told, u.ID))+" "+u.ID+" ") == strings.Contains(fmt.Sprint(test.late), u.ID) {
					t.Errorf("call %s waits for the end, or does not: %s", u.ID, early)
				}
			}
		})
	}
}

// index is the block of a call.
func index(events []chat.Event, id string) int {
	for _, e := range events {
		if s, ok := e.(chat.ToolStart); ok && s.ID == id {
			return s.Index
		}
	}
	return -1
}

// What could only be told wrong is an error.
func TestBrokenCalls(t *testing.T) {
	for name, test := range map[string]struct {
		deltas []string
		want   error
	}{
		"a call without a name":               {[]string{`{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"{}"}}]}`}, errUnnamed},
		"arguments without a call":            {[]string{`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}`, `{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}`}, errUnnamed},
		"arguments without end":               {[]string{`{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"` + strings.Repeat("x", maxEarly) + `"}}]}`, `{"tool_calls":[{"index":1,"id":"a","function":{"arguments":"x"}}]}`}, errUnnamed},
		"arguments that go on behind the end": {[]string{`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}`, `{"tool_calls":[{"index":1,"id":"b","function":{"name":"f","arguments":"{}"}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}`}, errBehind},
	} {
		t.Run(name, func(t *testing.T) {
			var d EventDecoder
			var err error
			for _, delta := range append(test.deltas, `{}`) {
				finish := "null"
				if delta == "{}" {
					finish = `"tool_calls"`
				}
				if _, err = d.Decode([]byte(`{"choices":[{"delta":` + delta + `,"finish_reason":` + finish + `}]}`)); err != nil {
					break
				}
			}
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			d = EventDecoder{}
			for _, delta := range test.deltas { // the caller may know better
				if _, _, err := d.Raw([]byte(`{"choices":[{"delta":` + delta + `,"finish_reason":"tool_calls"}]}`)); err != nil {
					t.Errorf("as it came: %v", err)
				}
			}
		})
	}
}
