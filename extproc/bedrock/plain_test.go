package bedrock

import (
	"testing"

	"aisix/extproc/chat"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/schemas"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

// samePlain reports whether a frame is plain, and fails where what is read of it is not
// what the SDK reads.
func samePlain(t *testing.T, plain, sdk decoder, schema *smithy.Schema, frame []byte) bool {
	t.Helper()
	got, ok, err := plain.plain(frame)
	if !ok {
		return false
	}
	event, fault := newEventCodec(schema).decode(frame)
	if fault != nil {
		t.Fatalf("%q is read: %v", frame, fault)
	}
	want, fault := sdk.decode(event)
	if (err == nil) != (fault == nil) {
		t.Fatalf("%q: %v, want %v", frame, err, fault)
	}
	if d := cmp.Diff(want, got); len(want)+len(got) > 0 && d != "" {
		t.Fatalf("%q (-want +got):\n%s", frame, d)
	}
	return true
}

// plainEvents are events of ConverseStream that need no SDK.
var plainEvents = [][2]string{
	{"messageStart", `{"p":"abcdefghijklmn","role":"assistant"}`},
	{"contentBlockStart", `{"contentBlockIndex":1,"p":"ab","start":{"toolUse":{"name":"f","toolUseId":"tooluse_1"}}}`},
	{"contentBlockStart", `{"contentBlockIndex":1,"start":{"toolUse":{"name":"f","toolUseId":"t","type":"server_tool_use"}}}`},
	{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":" weather\n\"é\" \ud83d\ude00"},"p":"abcdefghi"}`},
	{"contentBlockDelta", `{"delta":{"text":""}}`},
	{"contentBlockDelta", `{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"a\":"}}}`},
	{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"so"}}}`},
	{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"AbC="}}}`},
	{"contentBlockStop", `{"contentBlockIndex":0,"p":"abcdefghijklmnopqrstuvwxyzABCDEFG"}`},
	{"messageStop", `{"p":"abcdefghijklmn","stopReason":"end_turn"}`},
	{"metadata", `{"metrics":{"latencyMs":551},"p":"abc","serviceTier":{"type":"flex"},"usage":{"cacheReadInputTokenCount":0,"cacheReadInputTokens":0,"inputTokens":3,"outputTokens":4,"totalTokens":7}}`},
}

// otherEvents are the SDK's to read, or to refuse.
var otherEvents = [][2]string{
	{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"a","toolUse":{"input":"b"}}}`},
	{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"redactedContent":"AAE="}}}`},
	{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"a"},"delta":{"text":"b"}}`},
	{"contentBlockDelta", `{"contentBlockIndex":null,"delta":{"text":"a"}}`},
	{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"\ud800"}}`},
	{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{}}`},
	{"contentBlockStart", `{"contentBlockIndex":0,"start":{"image":{"format":"png"}}}`},
	{"messageStop", `{"stopReason":"end_turn","additionalModelResponseFields":{"a":1}}`},
	{"messageStop", `{}`},
	{"metadata", `{"usage":{"inputTokens":1,"cacheDetails":[{"inputTokens":1,"ttl":"1h"}]}}`},
	{"novelEvent", `{}`},
}

func TestPlainEvents(t *testing.T) {
	for _, x := range plainEvents {
		if !samePlain(t, new(converseStream), new(converseStream), schemas.ConverseStreamOutput, frame(t, "event", x[0], x[1])) {
			t.Errorf("%s is left to the SDK", x)
		}
	}
	for _, x := range otherEvents {
		if samePlain(t, new(converseStream), new(converseStream), schemas.ConverseStreamOutput, frame(t, "event", x[0], x[1])) {
			t.Errorf("%s is read without the SDK", x)
		}
	}
	good := chunk(t, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}`)
	if !samePlain(t, new(invokeStream), new(invokeStream), schemas.ResponseStream, good) {
		t.Errorf("%q is left to the SDK", good)
	}
	for _, payload := range []string{`{"bytes":"e30=","novel":1}`, `{"bytes":"e3"}`, `{"bytes":"e\u0033\u0030="}`, `{"bytes":null}`, `{}`} {
		if samePlain(t, new(invokeStream), new(invokeStream), schemas.ResponseStream, frame(t, "event", "chunk", payload)) {
			t.Errorf("%s is read without the SDK", payload)
		}
	}
}

// A frame that is an exception, or has headers that are not usual, is the SDK's.
func TestOtherFrames(t *testing.T) {
	for _, f := range [][]byte{
		frame(t, "exception", "throttlingException", `{"message":"m"}`),
		frame(t, "error", "InternalFailure", `m`),
	} {
		if _, _, ok := eventOf(f); ok {
			t.Errorf("%q is an event", f)
		}
	}
}

var plainReplies = []string{
	`{"metrics":{"latencyMs":9},"output":{"message":{"role":"assistant","content":[{"text":"It\n rains."},{"toolUse":{"toolUseId":"t","name":"f","input":{"b":[1.50,"<"],"a":null}}}]}},"stopReason":"tool_use","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`,
	`{"output":{"message":{"content":[{"reasoningContent":{"reasoningText":{"text":"so","signature":"s"}}},{"toolUse":{"name":"f","toolUseId":"t","type":"server_tool_use","input":null}}],"role":"assistant"}},"serviceTier":{"type":"priority"},"stopReason":"end_turn","usage":{"outputTokens":2}}`,
	`{"output":{"message":{"content":[]}},"stopReason":"end_turn","usage":{"inputTokens":1}}`,
}

var otherReplies = []string{
	`{"output":{"message":{"content":[{"novel":1},{"text":"a"}]}},"stopReason":"end_turn","usage":{"inputTokens":1}}`,
	`{"output":{"message":{"content":[{"reasoningContent":{"redactedContent":"AAE="}}]}},"stopReason":"end_turn","usage":{"inputTokens":1}}`,
	`{"output":{"message":{"content":[{"toolUse":{"toolUseId":"t","name":"f","input":{"a":1e400}}}]}},"stopReason":"end_turn","usage":{"inputTokens":1}}`,
	`{"output":{"message":{"content":[{"text":"a"}]}},"stopReason":"end_turn","usage":{"inputTokens":1},"trace":{}}`,
	`{"output":{"message":{"content":[{"text":"a"}]}},"stopReason":"","usage":{"inputTokens":1}}`,
	`{"output":{"message":{"content":[{"text":"a"}]}},"stopReason":"end_turn","usage":{}}`,
	`{"output":{"message":{"content":[{"text":"a"}]}},"stopReason":"end_turn"}`,
	`{"stopReason":"end_turn","usage":{"inputTokens":1}}`,
	`{}`, ``, `null`,
}

// samePlainReply is samePlain for a whole reply of Converse.
func samePlainReply(t *testing.T, body []byte) bool {
	t.Helper()
	got, ok := plainReply(body)
	if !ok {
		return false
	}
	want, err := anyReply(body)
	if err != nil {
		t.Fatalf("%q is read: %v", body, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("%q (-want +got):\n%s", body, d)
	}
	return true
}

func TestPlainReply(t *testing.T) {
	for _, s := range plainReplies {
		if !samePlainReply(t, []byte(s)) {
			t.Errorf("%s is left to the SDK", s)
		}
	}
	for _, s := range otherReplies {
		if samePlainReply(t, []byte(s)) {
			t.Errorf("%s is read without the SDK", s)
		}
	}
}

// A delta costs its text, and the event that carries it.
func TestDeltasAllocate(t *testing.T) {
	for _, x := range deltas(t) {
		r := userSays("q")
		r.Stream = true
		e := newCall(t, r, target(x.model)).reply(200, nil).Events(&endless{frame: x.frame})
		if n := testing.AllocsPerRun(100, func() {
			if events, err := e.Next(); err != nil || len(events) != 1 || events[0] != (chat.TextDelta{Text: " weather"}) {
				t.Errorf("%v, %v", events, err)
			}
		}); n > 2 {
			t.Errorf("%s: %.0f allocations, want 2", x.name, n)
		}
	}
}

// A stream that stands still between two frames keeps no bytes of those before, and a
// frame that is in one piece is not copied.
func TestAnOpenStreamKeepsNothing(t *testing.T) {
	for _, x := range deltas(t) {
		f := frameReader{body: &endless{frame: x.frame}}
		got, err := f.next()
		if err != nil || &got[0] != &x.frame[0] || f.rest != nil {
			t.Errorf("%s: %d bytes, %d kept, %v", x.name, len(got), cap(f.rest), err)
		}
		r := userSays("q")
		r.Stream = true
		e := newCall(t, r, target(x.model)).reply(200, nil).Events(&endless{frame: x.frame})
		if _, err := e.Next(); err != nil || e.codec != nil {
			t.Errorf("%s: a codec of the SDK's is kept: %v", x.name, err)
		}
	}
}

// FuzzPlain reads a payload as each of the events that are known, and as a whole reply.
func FuzzPlain(f *testing.F) {
	for _, x := range append(plainEvents, otherEvents...) {
		f.Add([]byte(x[1]))
	}
	for _, s := range append(plainReplies, otherReplies...) {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"bytes":"eyJ0eXBlIjoicGluZyJ9","p":"a"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, name := range []string{"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"} {
			samePlain(t, new(converseStream), new(converseStream), schemas.ConverseStreamOutput, frame(t, "event", name, string(payload)))
		}
		samePlain(t, new(invokeStream), new(invokeStream), schemas.ResponseStream, frame(t, "event", "chunk", string(payload)))
		samePlainReply(t, payload)
	})
}
