package bedrock

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"aisix/extproc/chat"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	"github.com/google/go-cmp/cmp"
)

// reading is what matters of an answer: text, reasoning, calls, stop reason and
// tokens. The tests below hold the SDK's own reading of some bytes against ours.
type reading struct {
	Text     string
	Thought  string   // texts and signatures, in order
	Redacted string   // as it is sent back, in order
	Calls    []string // id, name and input, JSON with its digits
	Stop     string
	Tokens   []int // prompt, completion, cache read, cache write
}

// think adds a block of reasoning; one that says nothing is none.
func (r *reading) think(text, signature string) {
	if text+signature != "" {
		r.Thought += text + "|" + signature + "|"
	}
}

// redact adds a block of redacted reasoning; one without data is none.
func (r *reading) redact(data string) {
	if data != "" {
		r.Redacted += data + "|"
	}
}

func (r *reading) call(id, name, input string) {
	r.Calls = append(r.Calls, id+" "+name+" "+canonicalNumbers(input))
}

// canonicalNumbers sorts keys and leaves digits alone.
func canonicalNumbers(raw string) string {
	dec := json.NewDecoder(strings.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return "not JSON: " + raw
	}
	out, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// ours is this package's reading, through the same fold as the gateway's.
func ours(t testing.TB, events []chat.Event) reading {
	t.Helper()
	answer, err := chat.Collect(events)
	if err != nil {
		t.Fatal(err)
	}
	r := reading{Stop: string(answer.Stop)}
	for _, b := range answer.Blocks {
		switch b := b.(type) {
		case chat.Text:
			r.Text += b.Text
		case chat.Thinking:
			r.think(b.Text, b.Signature)
		case chat.Redacted:
			r.Redacted += b.Data + "|"
		case chat.ToolUse:
			r.call(b.ID, b.Name, string(b.Input))
		}
	}
	u := answer.Usage
	r.Tokens = []int{u.Prompt(), u.Completion(), num(u.CacheRead), num(u.CacheWrite)}
	return r
}

func num(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// sdk is the SDK's client, answered by one fixed reply.
func sdk(contentType string, body []byte) *bedrockruntime.Client {
	return bedrockruntime.New(bedrockruntime.Options{
		Region: "us-west-2",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}, nil
		}),
		RetryMaxAttempts: 1,
		HTTPClient: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body))}, nil
		}),
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) Do(r *http.Request) (*http.Response, error) { return f(r) }

var (
	converseModel = "amazon.nova-pro-v1:0"
	claudeModel   = "anthropic.claude-sonnet-4-5-20250929-v1:0"
)

func sdkUsage(u *types.TokenUsage) []int {
	n := func(p *int32) int { return int(aws.ToInt32(p)) }
	read, write := n(u.CacheReadInputTokens), n(u.CacheWriteInputTokens)
	return []int{n(u.InputTokens) + read + write, n(u.OutputTokens), read, write}
}

func sdkConverse(t testing.TB, body []byte) reading {
	t.Helper()
	out, err := sdk("application/json", body).Converse(t.Context(), &bedrockruntime.ConverseInput{ModelId: &converseModel})
	if err != nil {
		t.Fatal(err)
	}
	r := reading{Stop: string(out.StopReason), Tokens: sdkUsage(out.Usage)}
	for _, b := range out.Output.(*types.ConverseOutputMemberMessage).Value.Content {
		switch b := b.(type) {
		case *types.ContentBlockMemberText:
			r.Text += b.Value
		case *types.ContentBlockMemberCitationsContent:
			for _, c := range b.Value.Content {
				r.Text += c.(*types.CitationGeneratedContentMemberText).Value
			}
		case *types.ContentBlockMemberReasoningContent:
			switch x := b.Value.(type) {
			case *types.ReasoningContentBlockMemberReasoningText:
				r.think(aws.ToString(x.Value.Text), aws.ToString(x.Value.Signature))
			case *types.ReasoningContentBlockMemberRedactedContent:
				r.redact(base64.StdEncoding.EncodeToString(x.Value))
			}
		case *types.ContentBlockMemberToolUse:
			if b.Value.Type == types.ToolUseTypeServerToolUse {
				continue
			}
			input, err := b.Value.Input.MarshalSmithyDocument()
			if err != nil {
				t.Fatal(err)
			}
			r.call(aws.ToString(b.Value.ToolUseId), aws.ToString(b.Value.Name), string(input))
		}
	}
	return r
}

// block is a block under construction in a stream.
type block struct {
	text, signature, input, redacted string
	id, name                         string
	thought, tool                    bool
}

func settleBlocks(r *reading, order []int, blocks map[int]*block) {
	for _, i := range order {
		b := blocks[i]
		switch {
		case b.tool:
			if b.input == "" {
				b.input = "{}"
			}
			r.call(b.id, b.name, b.input)
		case b.thought:
			r.think(b.text, b.signature)
		default:
			r.Text += b.text
		}
		r.redact(b.redacted)
	}
}

func sdkConverseStream(t testing.TB, body []byte) reading {
	t.Helper()
	out, err := sdk("application/vnd.amazon.eventstream", body).ConverseStream(t.Context(), &bedrockruntime.ConverseStreamInput{ModelId: &converseModel})
	if err != nil {
		t.Fatal(err)
	}
	defer out.GetStream().Close()
	var r reading
	var order []int
	blocks := map[int]*block{}
	at := func(i *int32) *block {
		n := int(aws.ToInt32(i))
		if blocks[n] == nil {
			blocks[n] = &block{}
			order = append(order, n)
		}
		return blocks[n]
	}
	for e := range out.GetStream().Events() {
		switch e := e.(type) {
		case *types.ConverseStreamOutputMemberContentBlockStart:
			if s, ok := e.Value.Start.(*types.ContentBlockStartMemberToolUse); ok && s.Value.Type != types.ToolUseTypeServerToolUse {
				b := at(e.Value.ContentBlockIndex)
				b.tool, b.id, b.name = true, aws.ToString(s.Value.ToolUseId), aws.ToString(s.Value.Name)
			}
		case *types.ConverseStreamOutputMemberContentBlockDelta:
			switch d := e.Value.Delta.(type) {
			case *types.ContentBlockDeltaMemberText:
				at(e.Value.ContentBlockIndex).text += d.Value
			case *types.ContentBlockDeltaMemberToolUse:
				if b := blocks[int(aws.ToInt32(e.Value.ContentBlockIndex))]; b != nil {
					b.input += aws.ToString(d.Value.Input)
				}
			case *types.ContentBlockDeltaMemberReasoningContent:
				b := at(e.Value.ContentBlockIndex)
				switch x := d.Value.(type) {
				case *types.ReasoningContentBlockDeltaMemberText:
					b.thought, b.text = true, b.text+x.Value
				case *types.ReasoningContentBlockDeltaMemberSignature:
					b.thought, b.signature = true, b.signature+x.Value
				case *types.ReasoningContentBlockDeltaMemberRedactedContent:
					sofar, _ := base64.StdEncoding.DecodeString(b.redacted)
					b.redacted = base64.StdEncoding.EncodeToString(append(sofar, x.Value...))
				}
			}
		case *types.ConverseStreamOutputMemberMessageStop:
			r.Stop = string(e.Value.StopReason)
		case *types.ConverseStreamOutputMemberMetadata:
			r.Tokens = sdkUsage(e.Value.Usage)
		}
	}
	if err := out.GetStream().Err(); err != nil {
		t.Fatal(err)
	}
	settleBlocks(&r, order, blocks)
	return r
}

func claudeTokens(u map[string]any) []int {
	n := func(k string) int { f, _ := u[k].(float64); return int(f) }
	read, write := n("cache_read_input_tokens"), n("cache_creation_input_tokens")
	return []int{n("input_tokens") + read + write, n("output_tokens"), read, write}
}

// sdkInvoke is what InvokeModel's caller finds in the body that the SDK hands out.
func sdkInvoke(t testing.TB, body []byte) reading {
	t.Helper()
	out, err := sdk("application/json", body).InvokeModel(t.Context(), &bedrockruntime.InvokeModelInput{ModelId: &claudeModel})
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Content []struct {
			Type, Text, Thinking, Signature, Data, ID, Name string
			Input                                           json.RawMessage
		}
		StopReason string         `json:"stop_reason"`
		Usage      map[string]any `json:"usage"`
	}
	if err := json.Unmarshal(out.Body, &m); err != nil {
		t.Fatal(err)
	}
	r := reading{Stop: m.StopReason, Tokens: claudeTokens(m.Usage)}
	for _, b := range m.Content {
		switch b.Type {
		case "text":
			r.Text += b.Text
		case "thinking":
			r.think(b.Thinking, b.Signature)
		case "redacted_thinking":
			r.redact(b.Data)
		case "tool_use":
			r.call(b.ID, b.Name, string(b.Input))
		}
	}
	return r
}

func sdkInvokeStream(t testing.TB, body []byte) reading {
	t.Helper()
	out, err := sdk("application/vnd.amazon.eventstream", body).InvokeModelWithResponseStream(t.Context(), &bedrockruntime.InvokeModelWithResponseStreamInput{ModelId: &claudeModel})
	if err != nil {
		t.Fatal(err)
	}
	defer out.GetStream().Close()
	var r reading
	var order []int
	blocks := map[int]*block{}
	usage := map[string]any{}
	for e := range out.GetStream().Events() {
		part, ok := e.(*types.ResponseStreamMemberChunk)
		if !ok {
			continue
		}
		var m struct {
			Type    string
			Index   int
			Message struct{ Usage map[string]any }
			Block   struct{ Type, ID, Name, Data string } `json:"content_block"`
			Delta   struct {
				Type, Text, Thinking, Signature string
				Partial                         string `json:"partial_json"`
				Stop                            string `json:"stop_reason"`
			}
			Usage map[string]any
		}
		if err := json.Unmarshal(part.Value.Bytes, &m); err != nil {
			t.Fatal(err)
		}
		for _, u := range []map[string]any{m.Message.Usage, m.Usage} {
			for k, v := range u {
				usage[k] = v
			}
		}
		switch m.Type {
		case "content_block_start":
			b := &block{id: m.Block.ID, name: m.Block.Name}
			switch m.Block.Type {
			case "text":
			case "thinking":
				b.thought = true
			case "tool_use":
				b.tool = true
			case "redacted_thinking":
				b.redacted = m.Block.Data
			default:
				continue
			}
			blocks[m.Index] = b
			order = append(order, m.Index)
		case "content_block_delta":
			if b := blocks[m.Index]; b != nil {
				b.text += m.Delta.Text + m.Delta.Thinking
				b.signature += m.Delta.Signature
				b.input += m.Delta.Partial
			}
		case "message_delta":
			r.Stop = m.Delta.Stop
		}
	}
	if err := out.GetStream().Err(); err != nil {
		t.Fatal(err)
	}
	r.Tokens = claudeTokens(usage)
	settleBlocks(&r, order, blocks)
	return r
}

// A corpus of answers, generated: whatever the SDK reads out of the bytes, we do.
func TestWhatTheSDKReadsIsWhatWeRead(t *testing.T) {
	for seed := range 60 {
		g := generator{rand.New(rand.NewPCG(uint64(seed), 7))}
		a := g.answer()
		name := fmt.Sprintf("seed %d", seed)
		json := http.Header{"Content-Type": {"application/json"}}
		whole := newCall(t, userSays("hi"), target(converseModel))
		streaming := userSays("hi")
		streaming.Stream = true

		body := g.converse(a)
		events, err := whole.reply(200, json).Whole(body)
		if err != nil {
			t.Fatalf("%s: %v in %s", name, err, body)
		}
		got := ours(t, events)
		if d := cmp.Diff(sdkConverse(t, body), got); d != "" {
			t.Fatalf("%s, Converse (-SDK +ours):\n%s\n%s", name, d, body)
		}
		stream := g.converseStream(t, a)
		streamed := ours(t, all(t, newCall(t, streaming, target(converseModel)).reply(200, nil).Events(g.chunks(stream))))
		if d := cmp.Diff(sdkConverseStream(t, stream), streamed); d != "" {
			t.Fatalf("%s, ConverseStream (-SDK +ours):\n%s", name, d)
		}
		if d := cmp.Diff(got, streamed); d != "" {
			t.Fatalf("%s, Converse (-whole +stream):\n%s", name, d)
		}

		body = g.claude(a)
		events, err = newCall(t, userSays("hi"), target(claudeModel)).reply(200, json).Whole(body)
		if err != nil {
			t.Fatalf("%s: %v in %s", name, err, body)
		}
		got = ours(t, events)
		if d := cmp.Diff(sdkInvoke(t, body), got); d != "" {
			t.Fatalf("%s, InvokeModel (-SDK +ours):\n%s\n%s", name, d, body)
		}
		stream = g.claudeStream(t, a)
		streamed = ours(t, all(t, newCall(t, streaming, target(claudeModel)).reply(200, nil).Events(g.chunks(stream))))
		if d := cmp.Diff(sdkInvokeStream(t, stream), streamed); d != "" {
			t.Fatalf("%s, InvokeModelWithResponseStream (-SDK +ours):\n%s", name, d)
		}
		if d := cmp.Diff(got, streamed); d != "" {
			t.Fatalf("%s, Claude (-whole +stream):\n%s", name, d)
		}
	}
}
