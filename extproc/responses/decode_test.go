package responses

import (
	"reflect"
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

// What is not told may hold anything: it neither shows nor breaks the answer. What is told has to
// be what it is.
func TestWhatIsNotToldMayHoldAnything(t *testing.T) {
	const (
		search = `{"type":"tool_search_call","id":"t","call_id":null,"execution":"server","arguments":{"queries":["a"]},"content":{},"name":5}`
		found  = `{"type":"tool_search_output","id":"u","tools":[{}],"summary":7,"encrypted_content":[]}`
		said   = `{"type":"message","content":[{"type":"output_text","text":"t"},{"type":"novel","text":{"a":1}}]}`
		usage  = `"usage":{"input_tokens":1,"output_tokens":2}}`
		answer = `{"id":"r","status":"completed","output":[` + search + `,` + found + `,` + said + `],` + usage
	)
	whole, err := DecodeResponse([]byte(answer))
	if err != nil {
		t.Fatal(err)
	}
	var d EventDecoder
	var streamed []chat.Event
	for _, data := range []string{
		`{"type":"response.created","response":{"id":"r","status":"in_progress","output":[` + search + `]}}`,
		`{"type":"response.output_item.added","output_index":0,"item":` + search + `}`,
		`{"type":"response.output_item.done","output_index":0,"item":` + search + `}`,
		`{"type":"response.output_item.done","output_index":1,"item":` + found + `}`,
		`{"type":"response.shell_call_output_content.delta","output_index":1,"delta":{"stdout":"x"}}`,
		`{"type":"response.novel","delta":[1],"code":4,"message":{},"param":[],"error":8,"item":null}`,
		`{"type":"response.output_text.delta","output_index":2,"delta":"t"}`,
		`{"type":"response.output_item.done","output_index":2,"item":` + said + `}`,
		`{"type":"response.completed","response":` + answer + `}`,
	} {
		events, err := d.Decode([]byte(data))
		if err != nil {
			t.Fatal(data, err)
		}
		streamed = append(streamed, events...)
		if _, _, err := new(EventDecoder).Raw([]byte(data)); err != nil {
			t.Fatal(data, err)
		}
	}
	if !reflect.DeepEqual(whole, streamed) {
		t.Errorf("whole %+v\nstreamed %+v", whole, streamed)
	}
	for _, data := range []string{
		`{"type":"response.output_text.delta","output_index":0,"delta":{"a":1}}`,
		`{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","arguments":{}}}`,
		`{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":5}]}}`,
		`{"type":"response.output_item.done","output_index":0,"item":[]}`,
	} {
		if events, err := d.Decode([]byte(data)); err == nil {
			t.Errorf("%s: %+v", data, events)
		}
	}
}
