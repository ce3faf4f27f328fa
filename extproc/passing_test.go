package extproc

import (
	"encoding/base64"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"aisix/admin/resource"
	"aisix/extproc/anthropic"
	"aisix/extproc/bedrock"
	"aisix/extproc/chat"
	"aisix/extproc/identity"
	"aisix/extproc/openai"
)

// passings are the lanes in which an upstream's own events pass, each with a delta as it
// comes.
func passings(tb testing.TB) []struct{ name, body, model, api, first, delta string } {
	frame := func(payload string) string {
		var out strings.Builder
		m := eventstream.Message{Payload: []byte(`{"bytes":"` + base64.StdEncoding.EncodeToString([]byte(payload)) + `","p":"abcdefg"}`)}
		for _, h := range [][2]string{{":message-type", "event"}, {":event-type", "chunk"}, {":content-type", "application/json"}} {
			m.Headers.Set(h[0], eventstream.StringValue(h[1]))
		}
		if err := eventstream.NewEncoder().Encode(&out, m); err != nil {
			tb.Fatal(err)
		}
		return out.String()
	}
	event := func(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }
	const (
		start    = `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"usage":{"input_tokens":9,"output_tokens":1}}}`
		delta    = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" weather"}}`
		created  = `{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","status":"in_progress","model":"gpt","output":[]}}`
		said     = `{"type":"response.output_text.delta","content_index":0,"delta":" weather","item_id":"msg_0a1b2c","logprobs":[],"obfuscation":"aB3dE","output_index":1,"sequence_number":17}`
		messages = `{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"q"}]}`
	)
	return []struct{ name, body, model, api, first, delta string }{
		{"Messages by InvokeModel", messages, "anthropic.claude-sonnet-4-5-20250929-v1:0", "", frame(start), frame(delta)},
		{"Messages on mantle", messages, "anthropic.claude-sonnet-4-5-20250929-v1:0", "messages", event("message_start", start), event("content_block_delta", delta)},
		{"Responses", `{"model":"m","input":"q","stream":true}`, "openai.gpt-5.5", "responses", event("response.created", created), event("response.output_text.delta", said)},
	}
}

// flowing is a stream's first event and then one delta for ever, in one piece each.
type flowing struct{ first, delta []byte }

func (f *flowing) Read([]byte) (int, error) { return 0, io.ErrNoProgress } // pieces are asked for

func (f *flowing) Piece() ([]byte, error) {
	if first := f.first; first != nil {
		f.first = nil
		return first, nil
	}
	return f.delta, nil
}

// passing takes a stream of a lane to where it writes its next delta.
func passing(tb testing.TB, body, id, api, first, delta string) (step func()) {
	tb.Helper()
	resourced := &resource.Model{ModelName: id, API: api}
	if api != "" {
		resourced.Host = "mantle"
	}
	model, err := bedrock.Compile(resourced, id, &resource.ProviderKey{Credentials: resource.Static{Region: "us-west-2"}})
	if err != nil {
		tb.Fatal(err)
	}
	var asked chat.Asked
	if strings.Contains(body, `"input"`) {
		asked, err = openai.Responses{}.Parse(nil, []byte(body))
	} else {
		asked, err = anthropic.Messages{}.Parse(noHeader{}, []byte(body))
	}
	if err != nil {
		tb.Fatal(err)
	}
	adopted, err := bedrock.Adopt(asked.Verbatim(model.API()), model)
	if err != nil {
		tb.Fatal(err)
	}
	signed, err := adopted.Sign(identity.Token{AccessKeyID: "a", SecretAccessKey: "s"}, time.Unix(1, 0))
	if err != nil {
		tb.Fatal(err)
	}
	events := signed.Reply(200, nil).Events(&flowing{[]byte(first), []byte(delta)})
	y := relay{c: &call{began: true}, s: &Server{}}
	y.c.asked = asked
	y.writer = asked.Stream(chat.Heading{ID: "id", Created: time.Unix(1, 0)})
	return func() {
		batch, err := events.Next()
		if err != nil {
			tb.Fatal(err)
		}
		y.out = y.out[:0]
		if err := y.append(batch); err != nil {
			tb.Fatal(err)
		}
		if len(y.out) == 0 {
			tb.Fatal("nothing was written")
		}
	}
}

type noHeader struct{}

func (noHeader) Values(string) []string { return nil }

// What passes as it came is cut, looked at, metered and written without an allocation, whoever's
// delta it is.
func TestPassingAllocatesNothing(t *testing.T) {
	for _, x := range passings(t) {
		t.Run(x.name, func(t *testing.T) {
			step := passing(t, x.body, x.model, x.api, x.first, x.delta)
			step()
			step() // what is kept for all deltas is there
			if n := testing.AllocsPerRun(100, step); n != 0 {
				t.Errorf("%v allocations a delta", n)
			}
		})
	}
}

func BenchmarkPassing(b *testing.B) {
	for _, x := range passings(b) {
		b.Run(x.name, func(b *testing.B) {
			step := passing(b, x.body, x.model, x.api, x.first, x.delta)
			step()
			b.ReportAllocs()
			b.SetBytes(int64(len(x.delta)))
			for b.Loop() {
				step()
			}
		})
	}
}
