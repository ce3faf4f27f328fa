package bedrock

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"aisix/extproc/chat"
)

// Whatever is said of the end of an answer, it is a tool use exactly where the caller
// has calls to run and nothing cut it; the same in all four operations.
func TestStopReasons(t *testing.T) {
	for reason, want := range map[string]struct{ text, calls chat.StopReason }{
		"end_turn": {chat.EndTurn, chat.ToolUseStop}, "tool_use": {chat.EndTurn, chat.ToolUseStop}, "stop_sequence": {chat.StopSequence, chat.ToolUseStop}, "novel": {chat.EndTurn, chat.ToolUseStop},
		"max_tokens": {chat.MaxTokens, chat.MaxTokens}, "model_context_window_exceeded": {chat.ContextExceeded, chat.ContextExceeded}, "pause_turn": {chat.PauseTurn, chat.PauseTurn},
		"guardrail_intervened": {chat.Guardrail, chat.Guardrail}, "content_filtered": {chat.ContentFiltered, chat.ContentFiltered}, "refusal": {chat.Refusal, chat.Refusal},
		"malformed_model_output": {}, "malformed_tool_use": {},
	} {
		for _, answer := range []struct {
			name  string
			tools []string // with the name of its kind before, if the model ran it itself
			want  chat.StopReason
		}{
			{"text", nil, want.text},
			{"a call", []string{"f"}, want.calls},
			{"calls", []string{"f", "g"}, want.calls},
			{"a call that the model ran itself", []string{"server f"}, want.text},
			{"one of each", []string{"server f", "f"}, want.calls},
			{"structured output", []string{"json_output"}, want.text},
			{"structured output and a call", []string{"json_output", "f"}, want.calls},
		} {
			for _, model := range []string{converseModel, "anthropic.claude-3-5-sonnet-20241022-v2:0"} {
				for _, stream := range []bool{false, true} {
					r := asks(chat.ToolChoice{}, chat.Tool{Name: "f"}, chat.Tool{Name: "g"})
					r.Stream, r.Format = stream, &chat.Format{Schema: []byte(`{"type":"object","properties":{"a":{"type":"string"}}}`)}
					reply := newCall(t, r, target(model)).reply(200, http.Header{"Content-Type": {"application/json"}})
					events, err := ended(t, reply, answer.tools, reason, stream)
					var got chat.StopReason
					for _, e := range events {
						if s, ok := e.(chat.Stop); ok {
							got = s.Reason
						}
					}
					if got != answer.want || (err != nil) != (answer.want == "") {
						t.Errorf("%s, streamed %t, %s, %s: %q, %v; want %q", model, stream, reason, answer.name, got, err, answer.want)
					}
					if noted := len(reply.Notes()) > 0; noted != (reason == "novel") {
						t.Errorf("%s, %s: notes %q", model, reason, reply.Notes())
					}
				}
			}
		}
	}
}

// ended is the answer of some text and tools that ends for a reason.
func ended(t *testing.T, reply *Reply, tools []string, reason string, stream bool) ([]chat.Event, error) {
	t.Helper()
	whole, frames := []string{`{"text":"a"}`}, frame(t, "event", "contentBlockDelta", `{"contentBlockIndex":9,"delta":{"text":"a"}}`)
	if reply.call.api.anthropic() {
		whole, frames = []string{`{"type":"text","text":"a"}`}, chunk(t, `{"type":"content_block_start","index":9,"content_block":{"type":"text","text":"a"}}`)
	}
	for i, name := range tools {
		name, server := strings.CutPrefix(name, "server ")
		at := string(rune('0' + i))
		if reply.call.api.anthropic() {
			kind := "tool_use"
			if server {
				kind = "server_tool_use"
			}
			block := `{"type":"` + kind + `","id":"t` + at + `","name":"` + name + `","input":{}}`
			whole = append(whole, block)
			frames = append(frames, chunk(t, `{"type":"content_block_start","index":`+at+`,"content_block":`+block+`}`)...)
			continue
		}
		kind := ""
		if server {
			kind = `,"type":"server_tool_use"`
		}
		block := `"toolUseId":"t` + at + `","name":"` + name + `"` + kind
		whole = append(whole, `{"toolUse":{`+block+`,"input":{}}}`)
		frames = append(frames, frame(t, "event", "contentBlockStart", `{"contentBlockIndex":`+at+`,"start":{"toolUse":{`+block+`}}}`)...)
	}
	content := strings.Join(whole, ",")
	switch {
	case !stream && reply.call.api.anthropic():
		return reply.Whole([]byte(`{"type":"message","id":"m","content":[` + content + `],"stop_reason":"` + reason + `","usage":{"input_tokens":1,"output_tokens":2}}`))
	case !stream:
		return reply.Whole([]byte(`{"output":{"message":{"role":"assistant","content":[` + content + `]}},"stopReason":"` + reason + `","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`))
	case reply.call.api.anthropic():
		frames = append(append(frames, chunk(t, `{"type":"message_delta","delta":{"stop_reason":"`+reason+`"}}`)...), chunk(t, `{"type":"message_stop"}`)...)
	default:
		frames = append(frames, frame(t, "event", "messageStop", `{"stopReason":"`+reason+`"}`)...)
	}
	var events []chat.Event
	e := reply.Events(bytes.NewReader(frames))
	for {
		more, err := e.Next()
		if err == io.EOF {
			return events, nil
		}
		if err != nil {
			return events, err
		}
		events = append(events, more...)
	}
}
