package openai

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/chat"
)

const foreignHistory = `{"role":"user","content":"hi"},
	{"role":"assistant","content":[{"type":"text","text":"a","citations":[{"x":1}],"annotations":[]},{"type":"refusal","refusal":"no","annotations":[1],"providerOptions":{}}],
	 "reasoning_details":[{"type":"reasoning.text","text":"t"}],"provider_specific_fields":{"a":null},"extra":null,"function_call":null,"audio":null,"annotations":[],"images":[],
	 "thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"s","id":"rs_1"}],
	 "tool_calls":[{"id":"c","type":"function","index":0,"extra_content":{"google":{"thought_signature":"x"}},"function":{"name":"f","arguments":"{}","thought":1,"parsed_arguments":{}}}]},
	{"role":"tool","tool_call_id":"c","content":"r"},
	{"role":"assistant","content":"b","reasoning_details":[]},
	{"role":"user","content":"go on"}`

// TestForeignMembers: what another provider put into an answer is left out of the history,
// and noted once.
func TestForeignMembers(t *testing.T) {
	got, err := Chat{}.Decode([]byte(`{"model":"m","messages":[` + foreignHistory + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"unknown members of assistant messages were left out: messages.content.citations, messages.content.providerOptions, messages.images, messages.provider_specific_fields, " +
		"messages.reasoning_details, messages.thinking_blocks.id, messages.tool_calls.extra_content, messages.tool_calls.function.thought"}
	if diff := cmp.Diff(want, got.Notes); diff != "" {
		t.Error(diff)
	}
	blocks := []chat.Block{chat.Thinking{Text: "hm", Signature: "s"}, text("a"), text("no"), chat.ToolUse{ID: "c", Name: "f", Input: json.RawMessage(`{}`)}}
	if diff := cmp.Diff(blocks, got.Messages[1].Blocks); diff != "" {
		t.Error(diff)
	}
	a, err := Chat{}.Parse(nil, []byte(`{"model":"m","messages":[`+foreignHistory+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := a.Request([]string{"messages.reasoning_details", "messages.tool_calls.extra_content", "messages.images", "messages.provider_specific_fields", "messages.content.citations",
		"messages.content.providerOptions", "messages.thinking_blocks.id", "messages.tool_calls.function.thought"})
	if err != nil || ignored.Notes != nil {
		t.Errorf("%v; the operator knows already: %q", err, ignored.Notes)
	}

	var many strings.Builder
	for i := range 1000 {
		many.WriteString(`,"` + strings.Repeat("é", 100) + strconv.Itoa(i) + `":1`)
	}
	got, err = Chat{}.Decode([]byte(`{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"a"` + many.String() + `,"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1}]}`))
	if err != nil || len(got.Notes) != 1 || len(got.Notes[0]) > 1000 || !strings.HasSuffix(got.Notes[0], "messages.h and 1 more") {
		t.Errorf("%v, %q", err, got.Notes)
	}
}

// TestOnlyTheAssistantsAreForeign: nobody else's words are left out.
func TestOnlyTheAssistantsAreForeign(t *testing.T) {
	for messages, param := range map[string]string{
		`{"role":"user","content":"a","reasoning_details":[]}`:                                             "messages[0].reasoning_details",
		`{"reasoning_details":[],"content":"a","role":"user"}`:                                             "messages[0].reasoning_details",
		`{"role":"system","content":"a","x":1},{"role":"user","content":"a"}`:                              "messages[0].x",
		`{"role":"developer","content":"a","a/b~c":1},{"role":"user","content":"a"}`:                       "messages[0].a/b~c",
		`{"role":"user","content":"a"},{"role":"tool","tool_call_id":"c","content":"r","x":1}`:             "messages[1].x",
		`{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"a","citations":[]}]}`: "messages[0].content[1].citations",
		`{"content":[{"type":"text","text":"a","x":1}],"role":"tool","tool_call_id":"c"}`:                  "messages[0].content[0].x",
		`{"role":"assistant","content":[{"type":"reasoning","reasoning":"a"}]}`:                            "messages[0].content[0]",
		`{"role":"assistant","content":"a","function_call":{"name":"f","arguments":"{}"}}`:                 "messages[0].function_call",
	} {
		if f := refusal(t, `{"model":"m","messages":[`+messages+`]}`); f.Param != param {
			t.Errorf("%s: param %q (%s), want %q", messages, f.Param, f.Message, param)
		}
	}
}

// TestMarksByOtherNames: copilot_cache_control, and marks on calls and on the whole request.
func TestMarksByOtherNames(t *testing.T) {
	hour := chat.CachePoint{TTL: "1h"}
	_, turns := blocksOf(t, `{"role":"user","content":[{"type":"text","text":"a","copilot_cache_control":{"type":"ephemeral"}},{"type":"text","text":"b"}],"copilot_cache_control":{"type":"ephemeral","ttl":"1h"}},
		{"role":"assistant","content":"c","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"},"cache_control":{"type":"ephemeral","ttl":"1h"}},
		 {"id":"2","type":"function","function":{"name":"f","arguments":"{}","cache_control":{"type":"ephemeral"}}},{"id":"3","type":"function","function":{"name":"f","arguments":"{}"}}]},
		{"role":"tool","tool_call_id":"1","content":"r","copilot_cache_control":{"type":"ephemeral"},"cache_control":{"type":"ephemeral","ttl":"1h"}},
		{"role":"user","content":[],"cache_control":{"type":"ephemeral","ttl":"1h"}}`)
	call := func(id string) chat.Block { return chat.ToolUse{ID: id, Name: "f", Input: json.RawMessage(`{}`)} }
	if diff := cmp.Diff([][]chat.Block{
		{text("a"), chat.CachePoint{}, text("b"), hour},
		{text("c"), call("1"), hour, call("2"), chat.CachePoint{}, call("3")},
		{chat.ToolResult{ID: "1", Param: "messages[2].tool_call_id", Blocks: []chat.Block{text("r")}}, hour},
		{hour},
	}, turns); diff != "" {
		t.Error(diff)
	}
	r, err := Chat{}.Decode([]byte(body(`,"cache_control":{"type":"ephemeral","ttl":"1h"}`)))
	if err != nil || r.Cache == nil || *r.Cache != hour {
		t.Errorf("%v, %+v", err, r)
	}
	r, err = Chat{}.Decode([]byte(body(`,"tools":[{"type":"function","function":{"name":"f"},"copilot_cache_control":{"type":"ephemeral","ttl":"1h"}},
		{"type":"function","function":{"name":"g","copilot_cache_control":{"type":"ephemeral","ttl":"1h"}}}]`)))
	if err != nil || len(r.Tools) != 2 || r.Tools[0].Cache == nil || *r.Tools[0].Cache != hour || r.Tools[1].Cache == nil || *r.Tools[1].Cache != hour {
		t.Errorf("%v, %+v", err, r)
	}
	for _, test := range []struct{ body, param string }{
		{body(`,"tools":[{"type":"function","function":{"name":"f"},"copilot_cache_control":{}}]`), "tools[0].copilot_cache_control.type"},
		{body(`,"cache_control":{"type":"ephemeral","ttl":"2h"}`), "cache_control.ttl"},
		{body(`,"cache_control":true`), "cache_control"},
		{`{"model":"m","messages":[{"role":"user","content":"a","copilot_cache_control":{}}]}`, "messages[0].copilot_cache_control.type"},
		{`{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f"},"cache_control":{"type":"x"}}]}]}`, "messages[0].tool_calls[0].cache_control.type"},
	} {
		if f := refusal(t, test.body); f.Param != test.param {
			t.Errorf("%s: param %q (%s), want %q", test.body, f.Param, f.Message, test.param)
		}
	}
}
