package openai

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// TestMessageNamesTheBody: there is no param to say where.
func TestMessageNamesTheBody(t *testing.T) {
	if f := refusal(t, `[]`); f.Message != "the body must be an object, not an array" {
		t.Errorf("%q", f.Message)
	}
	// What a caller wrote is no format string of ours.
	if f := refusal(t, `{"model":"m","%d%s":1}`); f.Param != "%d%s" || f.Message != "%d%s: unknown member" {
		t.Errorf("%q: %q", f.Param, f.Message)
	}
}

// refusal decodes a body that must be refused and gives the fault.
func refusal(t *testing.T, body string) *fault.Error {
	t.Helper()
	_, err := Chat{}.Decode([]byte(body))
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("Decode(%.200s) = %v, want a fault", body, err)
	}
	if f.Status != 400 || f.Kind != fault.InvalidRequest || f.Message == "" {
		t.Errorf("Decode(%.200s) = %+v, want a 400 invalid_request_error with a message", body, f)
	}
	return f
}

func TestDecodeText(t *testing.T) {
	got, err := Chat{}.Decode([]byte(`{"model":"claude","messages":[
		{"role":"system","content":"Be brief."},
		{"role":"user","content":"Hi \ud83d\ude00\n"},
		{"role":"developer","content":[{"type":"text","text":"And kind."}]},
		{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},
		{"role":"tool","tool_call_id":"c1","content":"ok"}],
		"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required",
		"max_tokens":5,"max_completion_tokens":7,"stop":["","END"],"stream":true,"stream_options":{"include_usage":true}}`))
	if err != nil {
		t.Fatal(err)
	}
	seven := 7
	want := &chat.Request{
		System: []chat.Block{chat.Text{Text: "Be brief."}, chat.Text{Text: "And kind."}},
		Messages: []chat.Message{
			{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: "Hi 😀\n"}}, Param: "messages[1]"},
			{Role: chat.Assistant, Blocks: []chat.Block{chat.ToolUse{ID: "c1", Name: "f", Input: []byte(`{"a":1}`)}}, Param: "messages[3]"},
			{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "c1", Blocks: []chat.Block{chat.Text{Text: "ok"}}, Param: "messages[4].tool_call_id"}}, Param: "messages[4]"},
		},
		Tools:      []chat.Tool{{Name: "f", Schema: []byte(anyObject)}},
		ToolChoice: chat.ToolChoice{Mode: chat.ToolChoiceAny},
		MaxTokens:  &seven, Stop: []string{"END"}, Stream: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	with := func(members string) string {
		return `{"model":"m","messages":[{"role":"user","content":"hi"}],` + members + `}`
	}
	for body, param := range map[string]string{
		``:                              "",
		`[]`:                            "",
		`{"model":"m"`:                  "",
		`{"model":"m"} x`:               "",
		`{}`:                            "model",
		`{"model":1}`:                   "model",
		`{"model":"m"}`:                 "messages",
		`{"model":"m","model":"m"}`:     "model",
		`{"model":"m","messages":[]}`:   "messages",
		`{"model":"m","messages":"hi"}`: "messages",
		`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":5}]}]}`: "messages[0].content[0].text",
		`{"model":"m","messages":[{"role":"user","content":[{"type":"input_audio"}]}]}`:   "messages[0].content[0]",
		with(`"foo":1`):           "foo",
		with(`"n":2`):             "n",
		with(`"max_tokens":0`):    "max_tokens",
		with(`"max_tokens":"5"`):  "max_tokens",
		with(`"temperature":"x"`): "temperature",
		with(`"logprobs":true`):   "logprobs",
		with(`"tools":[{"type":"function","function":{"name":"f","parameters":[]}}]`):            "tools[0].function.parameters",
		with(`"tools":[{"type":"function","function":{"name":"f","parameters":{"a":1,"a":2}}}]`): "tools[0].function.parameters.a",
		with(`"tool_choice":"required"`): "tool_choice",
	} {
		if f := refusal(t, body); f.Param != param {
			t.Errorf("Decode(%s): param %q (%s), want %q", body, f.Param, f.Message, param)
		}
	}
}
