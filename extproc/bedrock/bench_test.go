package bedrock

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"aisix/extproc/chat"
)

// conversation is a request of some length, with tools and history.
func conversation() *chat.Request {
	r := userSays("What is the weather in Oslo?")
	r.System = []chat.Block{chat.Text{Text: "You are helpful."}}
	r.Tools = []chat.Tool{{Name: "get_weather", Description: "Weather of a city", Schema: json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}`)}}
	for range 5 {
		r.Messages = append(r.Messages,
			chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.ToolUse{ID: "toolu_1", Name: "get_weather", Input: json.RawMessage(`{"city":"Oslo"}`)}}},
			chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "toolu_1", Blocks: []chat.Block{chat.Text{Text: "rain, 7 degrees"}}}, chat.Text{Text: "And now?"}}})
	}
	return r
}

// wholes are whole replies.
var wholes = []struct{ name, model, reply string }{
	{"Converse", converseModel, `{"metrics":{"latencyMs":9},"output":{"message":{"role":"assistant","content":[{"text":"It rains."},{"toolUse":{"toolUseId":"t","name":"get_weather","input":{"city":"Oslo"}}}]}},"stopReason":"tool_use","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`},
	{"InvokeModel", claudeModel, `{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"text","text":"It rains."},{"type":"tool_use","id":"t","name":"get_weather","input":{"city":"Oslo"}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}}`},
}

// A whole call but for the network: check, tidy, encode, sign, decode.
func BenchmarkWhole(b *testing.B) {
	header := http.Header{"Content-Type": {"application/json"}}
	for _, x := range wholes {
		b.Run(x.name, func(b *testing.B) {
			r, to, reply := conversation(), target(x.model), []byte(x.reply)
			b.ReportAllocs()
			for b.Loop() {
				c, err := NewCall(b.Context(), r, to, bodyLimit)
				if err != nil {
					b.Fatal(err)
				}
				s, err := c.Sign(token, signedAt)
				if err != nil {
					b.Fatal(err)
				}
				events, err := s.Reply(200, header).Whole(reply)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := chat.Collect(events); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The way down alone: what becomes of a whole reply.
func BenchmarkReply(b *testing.B) {
	header := http.Header{"Content-Type": {"application/json"}}
	for _, x := range wholes {
		b.Run(x.name, func(b *testing.B) {
			s, err := newCall(b, userSays("q"), target(x.model)).Sign(token, signedAt)
			if err != nil {
				b.Fatal(err)
			}
			reply := []byte(x.reply)
			b.ReportAllocs()
			for b.Loop() {
				events, err := s.Reply(200, header).Whole(reply)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := chat.Collect(events); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// deltas are frames that most of a stream is made of.
func deltas(t testing.TB) []struct {
	name, model string
	frame       []byte
} {
	return []struct {
		name, model string
		frame       []byte
	}{
		{"ConverseStream", converseModel, frame(t, "event", "contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":" weather"},"p":"abcdefghijklm"}`)},
		{"InvokeModelWithResponseStream", claudeModel, chunk(t, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" weather"}}`)},
	}
}

// One event of a stream: cut, check, decode.
func BenchmarkEvent(b *testing.B) {
	for _, x := range deltas(b) {
		b.Run(x.name, func(b *testing.B) {
			r := userSays("q")
			r.Stream = true
			e := newCall(b, r, target(x.model)).reply(200, nil).Events(&endless{frame: x.frame})
			b.ReportAllocs()
			b.SetBytes(int64(len(x.frame)))
			for b.Loop() {
				if _, err := e.Next(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// endless repeats one frame, in one piece.
type endless struct {
	frame []byte
	r     bytes.Reader
}

func (e *endless) Piece() ([]byte, error) { return e.frame, nil }

func (e *endless) Read(p []byte) (int, error) {
	if e.r.Len() == 0 {
		e.r.Reset(e.frame)
	}
	return e.r.Read(p)
}
