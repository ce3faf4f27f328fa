package anthropic

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Blocks, deltas and events that are not told may hold anything: they neither show nor break the
// answer. What is told has to be what it is.
func TestWhatIsNotToldMayHoldAnything(t *testing.T) {
	const (
		block = `{"type":"novel_result","id":7,"name":{},"text":{"a":1},"data":[],"thinking":false}`
		usage = `"usage":{"input_tokens":3,"output_tokens":2}`
	)
	whole, err := DecodeResponse([]byte(`{"type":"message","id":"m","content":[` + block + `,{"type":"text","text":"t"}],"stop_reason":"end_turn",` + usage + `}`))
	if err != nil {
		t.Fatal(err)
	}
	events := []string{
		`{"type":"message_start","message":{"type":"message","id":"m","content":[],"usage":{"input_tokens":3,"output_tokens":0}}}`,
		`{"type":"content_block_start","index":0,"content_block":` + block + `}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"novel_delta","text":{"a":1},"signature":5,"stop_reason":[]}}`,
		`{"type":"content_block_stop","index":0}`,
		`{"type":"novel","message":"m","delta":[],"index":"x","content_block":4,"usage":true,"error":"e"}`,
		`{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}`,
		`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"t"}}`,
		`{"type":"content_block_stop","index":1}`,
		`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}`,
		`{"type":"message_stop"}`,
	}
	var lines []byte
	for _, e := range events {
		lines = append(append(lines, e...), '\n')
		if raw, _, err := new(EventDecoder).Raw([]byte(e)); err != nil || string(raw.Data) != e {
			t.Errorf("%s: passes as %s, %v", e, raw.Data, err)
		}
	}
	if d := cmp.Diff(fold(whole), fold(streamEvents(t, lines))); d != "" {
		t.Error(d)
	}
	for _, e := range []string{
		`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":{"a":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":7}}`,
		`{"type":"message_delta","delta":{"stop_reason":4}}`,
		`{"type":4}`,
	} {
		if got, err := new(EventDecoder).Decode([]byte(e)); err == nil {
			t.Errorf("%s: %v", e, got)
		}
	}
}

// A stream is one message. Another one in its midst, as from a service that began anew, would be
// told as more of it, and a call that was cut as a whole one; its start said twice is nothing, and
// neither is what comes behind its end.
func TestAStreamIsOneMessage(t *testing.T) {
	const (
		first, second = `{"type":"message_start","message":{"type":"message","id":"a","content":[],"usage":{}}}`, `{"type":"message_start","message":{"type":"message","id":"b","content":[],"usage":{}}}`
		call          = `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}`
		end           = `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}`
		stop          = `{"type":"message_stop"}`
	)
	for _, tt := range []struct {
		events []string
		fails  bool // the last of them
	}{
		{[]string{first, first, call, end, stop}, false},
		{[]string{first, call, end, stop, second, call}, false},
		{[]string{first, second}, true},
		{[]string{first, call, second}, true},
		{[]string{first, call, end, second}, true},
		{[]string{first, call, `{"type":"message_start","message":{"type":"message","id":"b","Content":[],"usage":{}}}`}, true}, // not plain
	} {
		var d, passing EventDecoder
		for i, e := range tt.events {
			_, err := d.Decode([]byte(e))
			_, _, passes := passing.Raw([]byte(e))
			if fails := tt.fails && i == len(tt.events)-1; (err != nil) != fails || (passes != nil) != fails {
				t.Errorf("%v: event %d: %v, %v", tt.events, i, err, passes)
			}
		}
	}
}
