package completions

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/chat"
)

// Two calls are two, where a service gives both the same index, and a start that comes twice is one.
func TestCallsOfOneIndex(t *testing.T) {
	var d EventDecoder
	var got []chat.Event
	for _, chunk := range []string{
		`{"id":"x","choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}}]}}]}`,
		`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"1}"}}]}}]}`,
		`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"b","function":{"name":"g","arguments":"{"}}]}}]}`,
		`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]},"finish_reason":"tool_calls"}]}`,
	} {
		events, err := d.Decode([]byte(chunk))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, events...)
	}
	want := []chat.Event{
		chat.Start{ID: "x"},
		chat.ToolStart{Index: 0, ID: "a", Name: "f"}, chat.ToolDelta{Index: 0, JSON: `{"x":`}, chat.ToolDelta{Index: 0, JSON: "1}"}, chat.BlockStop{Index: 0},
		chat.ToolStart{Index: 1, ID: "b", Name: "g"}, chat.ToolDelta{Index: 1, JSON: "{"}, chat.ToolDelta{Index: 1, JSON: "}"}, chat.BlockStop{Index: 1},
		chat.Stop{Reason: chat.ToolUseStop},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What a model of Mistral's thought stands among the parts of its content. Whole and in chunks it
// is told as reasoning; a part of another kind is not told.
func TestContentInParts(t *testing.T) {
	const thought, said = `{"type":"thinking","closed":true,"thinking":[{"type":"text","text":"so "},{"type":"text","text":"be it"}]}`, `{"type":"text","text":"Yes"}`
	whole, err := DecodeCompletion([]byte(`{"id":"x","choices":[{"message":{"content":[` + thought + `,{"type":"reference","text":{"a":1}},` + said + `]},"finish_reason":"stop"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var d EventDecoder
	var streamed []chat.Event
	for _, chunk := range []string{
		`{"id":"x","choices":[{"delta":{"role":"assistant","content":""}}]}`,
		`{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"so "}]}]}}]}`,
		`{"choices":[{"delta":{"content":[{"type":"thinking","thinking":"be it"}]}}]}`,
		`{"choices":[{"delta":{"content":[` + said + `]}}]}`,
		`{"choices":[{"delta":{"content":null},"finish_reason":"stop"}]}`,
	} {
		events, err := d.Decode([]byte(chunk))
		if err != nil {
			t.Fatal(chunk, err)
		}
		streamed = append(streamed, events...)
	}
	want := []chat.Event{
		chat.Start{ID: "x"},
		chat.ThinkingDelta{Index: 0, Text: "so "}, chat.ThinkingDelta{Index: 0, Text: "be it"}, chat.BlockStop{Index: 0},
		chat.TextDelta{Index: 1, Text: "Yes"}, chat.BlockStop{Index: 1}, chat.Stop{Reason: chat.EndTurn},
	}
	for how, got := range map[string][]chat.Event{"whole": whole, "streamed": streamed} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", how, diff)
		}
	}
	for _, body := range []string{`{"type":"text","text":5}`, `{"type":"thinking","thinking":[{"text":5}]}`, `7`} {
		if events, err := DecodeCompletion([]byte(`{"choices":[{"message":{"content":[` + body + `]}}]}`)); err == nil {
			t.Errorf("%s: %v", body, events)
		}
	}
}

// What was written to the cache was not read from it, whatever a service counts twice.
func TestSharesOfAPrompt(t *testing.T) {
	for _, tt := range []struct{ prompt, read, written, uncached, asWritten int }{
		{100, 60, 30, 10, 30},
		{2168, 2161, 2161, 0, 7},
		{7, 161, 5, 0, 0}, // as much as was read there was
		{5, 0, 2, 3, 2},
	} {
		uncached, written := Shares(&tt.prompt, &tt.read, &tt.written)
		if *uncached != tt.uncached || *written != tt.asWritten {
			t.Errorf("%+v: %d, %d", tt, *uncached, *written)
		}
	}
	n := 3
	if uncached, written := Shares(nil, &n, &n); uncached != nil || written != &n {
		t.Error("an unknown prompt has shares")
	}
	if uncached, written := Shares(&n, nil, nil); *uncached != 3 || written != nil {
		t.Error("shares that were not told are told")
	}
}
