package responses

import (
	"testing"

	"aisix/extproc/chat"
)

// What the upstream ran itself is counted, whole and at the end of a stream, and shown nowhere.
func TestToolsThatTheUpstreamRan(t *testing.T) {
	const answer = `{"id":"r","status":"completed","output":[{"type":"mcp_list_tools","id":"l"},{"type":"mcp_call","id":"a","name":"x","output":"1"},{"type":"web_search_call","id":"b"},` +
		`{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"local_shell_call","call_id":"d"},{"type":"message","content":[{"type":"output_text","text":"t"}]}],"usage":{"input_tokens":1,"output_tokens":2}}`
	whole, err := DecodeResponse([]byte(answer))
	if err != nil {
		t.Fatal(err)
	}
	var d EventDecoder
	streamed, err := d.Decode([]byte(`{"type":"response.completed","response":` + answer + `}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, events := range map[string][]chat.Event{"whole": whole, "streamed": streamed} {
		u, ok := events[len(events)-1].(chat.UsageSnapshot)
		if !ok || u.Usage.ServerTools == nil || *u.Usage.ServerTools != 2 {
			t.Errorf("%s: %+v", name, events[len(events)-1])
		}
	}
}
