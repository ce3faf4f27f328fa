package bedrock

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"aisix/extproc/chat"
)

// TestCallIDs: calls without an id, and calls of one id, get ids of ours, whole and
// streamed, from both operations; a tool that the model ran itself is nobody's to answer.
func TestCallIDs(t *testing.T) {
	ids := []string{"a", "", "b", "a", " ", "b", "a"}
	own := map[int]bool{0: true, 2: true}
	var whole, stream strings.Builder
	for i, id := range ids {
		index := string(rune('0' + i))
		whole.WriteString(`,{"toolUse":{"toolUseId":"` + id + `","name":"f","input":{}}}`)
		stream.Write(frame(t, "event", "contentBlockStart", `{"contentBlockIndex":`+index+`,"start":{"toolUse":{"toolUseId":"`+id+`","name":"f"}}}`))
		stream.Write(frame(t, "event", "contentBlockStop", `{"contentBlockIndex":`+index+`}`))
	}
	usage := `"usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}`
	wholeConverse := `{"output":{"message":{"role":"assistant","content":[` + whole.String()[1:] + `]}},"stopReason":"tool_use",` + usage + `}`
	streamConverse := stream.String() + string(frame(t, "event", "messageStop", `{"stopReason":"tool_use"}`)) + string(frame(t, "event", "metadata", `{`+usage+`}`))

	whole.Reset()
	stream.Reset()
	start := `{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}`
	stream.Write(chunk(t, start))
	for i, id := range ids {
		block := `{"type":"tool_use","id":"` + id + `","name":"f","input":{}}`
		index := string(rune('0' + i))
		whole.WriteString(`,` + block)
		stream.Write(chunk(t, `{"type":"content_block_start","index":`+index+`,"content_block":`+block+`}`))
		stream.Write(chunk(t, `{"type":"content_block_stop","index":`+index+`}`))
	}
	wholeClaude := `{"id":"m","type":"message","role":"assistant","content":[` + whole.String()[1:] + `],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":1}}`
	streamClaude := stream.String() + string(chunk(t, `{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":2}}`)) + string(chunk(t, `{"type":"message_stop"}`))

	seen := map[string]int{} // over all answers: ids of ours are in one alone
	for _, answer := range []struct{ model, whole, stream string }{{converseModel, wholeConverse, streamConverse}, {claudeModel, wholeClaude, streamClaude}} {
		c := newCall(t, userSays("q"), target(answer.model))
		for _, streamed := range []bool{false, true} {
			for _, requestID := range []string{"", "r-" + answer.model} {
				header := http.Header{"Content-Type": {"application/json"}}
				if requestID != "" && !streamed {
					header.Set("X-Amzn-Requestid", requestID)
				}
				var events []chat.Event
				var err error
				if streamed {
					events = all(t, c.reply(200, header).Events(bytes.NewReader([]byte(answer.stream))))
				} else if events, err = c.reply(200, header).Whole([]byte(answer.whole)); err != nil {
					t.Fatal(err)
				}
				n := 0
				for _, e := range events {
					call, ok := e.(chat.ToolStart)
					if !ok {
						continue
					}
					if own[n] != (call.ID == ids[n]) || !legal(call.ID) {
						t.Errorf("%s, streamed %t: call %d has the id %q", answer.model, streamed, n, call.ID)
					}
					if !own[n] {
						seen[call.ID]++
					}
					n++
				}
				if n != len(ids) {
					t.Errorf("%s, streamed %t: %d calls, want %d", answer.model, streamed, n, len(ids))
				}
			}
		}
	}
	for id, n := range seen {
		if n > 1 {
			t.Errorf("%d calls have the id %q", n, id)
		}
	}
	if events := new(callIDs).events([]chat.Event{chat.ToolStart{Server: true}}); events[0].(chat.ToolStart).ID != "" {
		t.Errorf("a server's tool: %+v", events)
	}
}
