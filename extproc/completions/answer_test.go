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
