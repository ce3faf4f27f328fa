package bedrock

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/extproc/chat"
	"aisix/extproc/identity"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

var (
	creds = resource.Static{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", SessionToken: "token", Region: "us-west-2"}
	token = identity.Token{AccessKeyID: creds.AccessKeyID, SecretAccessKey: creds.SecretAccessKey, SessionToken: creds.SessionToken}
)

// bodyLimit is what the proxy takes by default.
const bodyLimit = 10 << 20

// target is the model id, compiled with nothing said about it.
func target(id string) *Model { return compile(&resource.Model{ModelName: id}) }

// compile compiles m for creds and the public endpoint.
func compile(m *resource.Model) *Model {
	return compileFor(m, &resource.ProviderKey{Credentials: creds})
}

func compileFor(m *resource.Model, k *resource.ProviderKey) *Model {
	c, err := Compile(m, m.ModelName, k)
	if err != nil {
		panic(err)
	}
	return c
}

// reply is what answers an attempt of c.
func (c *Call) reply(status int, h http.Header) *Reply {
	s, err := c.Sign(token, time.Time{})
	if err != nil {
		panic(err)
	}
	return s.Reply(status, h)
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func userSays(text string) *chat.Request {
	return &chat.Request{Messages: []chat.Message{{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: text}}, Param: "messages[0]"}}}
}

// frame encodes one frame as AWS does.
func frame(t testing.TB, kind, name, payload string) []byte {
	t.Helper()
	m := eventstream.Message{Payload: []byte(payload)}
	m.Headers.Set(":message-type", eventstream.StringValue(kind))
	switch kind {
	case "event":
		m.Headers.Set(":event-type", eventstream.StringValue(name))
	case "exception":
		m.Headers.Set(":exception-type", eventstream.StringValue(name))
	case "error":
		m.Headers.Set(":error-code", eventstream.StringValue(name))
		m.Headers.Set(":error-message", eventstream.StringValue(payload))
	}
	m.Headers.Set(":content-type", eventstream.StringValue("application/json"))
	var buf bytes.Buffer
	if err := eventstream.NewEncoder().Encode(&buf, m); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func newCall(t testing.TB, req *chat.Request, to *Model) *Call {
	t.Helper()
	c, err := NewCall(t.Context(), req, to, bodyLimit)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func all(t testing.TB, e *Events) []chat.Event {
	t.Helper()
	var out []chat.Event
	for {
		events, err := e.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, events...)
	}
}

func TestConverseEncodesTextAndSamplingAsSent(t *testing.T) {
	req := userSays("<hi> & bye")
	temp := 0.7
	req.Temperature = &temp
	req.System = []chat.Block{chat.Text{Text: "be brief"}}
	c := newCall(t, req, target("amazon.nova-pro-v1:0"))
	const want = `{"inferenceConfig":{"temperature":0.7},"messages":[{"content":[{"text":"<hi> & bye"}],"role":"user"}],"system":[{"text":"be brief"}]}`
	if got := canonical(t, c.body); got != want {
		t.Errorf("body\n%s\nwant\n%s", got, want)
	}
	if got := c.address.url.EscapedPath(); got != "/model/amazon.nova-pro-v1%3A0/converse" {
		t.Errorf("path %s", got)
	}
	if c.address.url.Host != "bedrock-runtime.us-west-2.amazonaws.com" || c.address.url.Scheme != "https" {
		t.Errorf("host %s, TLS %v", c.address.url.Host, c.address.url.Scheme == "https")
	}
	s, err := c.Sign(token, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if a := s.Header().Get("Authorization"); !strings.Contains(a, "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token,") {
		t.Errorf("authorization %s", a)
	}
}

// canonical is JSON with sorted keys.
func canonical(t testing.TB, raw []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(buf.String())
}

func TestConverseStreamReadsTextToolsAndUsage(t *testing.T) {
	var s []byte
	for _, f := range [][2]string{
		{"messageStart", `{"role":"assistant","p":"abc"}`},
		{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"Hel"}}`},
		{"somethingNew", `{"x":1}`},
		{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"novel":1}}`},
		{"contentBlockStop", `{"contentBlockIndex":0}`},
		{"contentBlockStart", `{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"t1","name":"f"}}}`},
		{"contentBlockDelta", `{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"a\":1}"}}}`},
		{"contentBlockStop", `{"contentBlockIndex":1}`},
		{"messageStop", `{"stopReason":"tool_use"}`},
		{"metadata", `{"usage":{"inputTokens":3,"outputTokens":4,"totalTokens":7,"cacheReadInputTokens":2},"metrics":{"latencyMs":1}}`},
	} {
		s = append(s, frame(t, "event", f[0], f[1])...)
	}
	req := userSays("hi")
	req.Stream = true
	c := newCall(t, req, target("amazon.nova-pro-v1:0"))
	if c.address.url.EscapedPath() != "/model/amazon.nova-pro-v1%3A0/converse-stream" {
		t.Errorf("path %s", c.address.url.EscapedPath())
	}
	events := all(t, c.reply(200, nil).Events(bytes.NewReader(s)))
	var text, input strings.Builder
	var stop chat.Stop
	var usage chat.Usage
	for _, e := range events {
		switch e := e.(type) {
		case chat.TextDelta:
			text.WriteString(e.Text)
		case chat.ToolDelta:
			input.WriteString(e.JSON)
		case chat.Stop:
			stop = e
		case chat.UsageSnapshot:
			usage = e.Usage
		}
	}
	if text.String() != "Hel" || input.String() != `{"a":1}` || stop.Reason != chat.ToolUseStop || usage.Prompt() != 5 || usage.Completion() != 4 {
		t.Errorf("events %#v", events)
	}
}

func TestWholeConverseReply(t *testing.T) {
	c := newCall(t, userSays("hi"), target("amazon.nova-pro-v1:0"))
	h := http.Header{"Content-Type": {"application/json"}}
	body := `{"output":{"message":{"role":"assistant","content":[{"text":"a"},{"novelBlock":{}},{"toolUse":{"toolUseId":"t","name":"f","input":{"z":1.50,"a":"<&>"}}}]}},"stopReason":"tool_use","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`
	events, err := c.reply(200, h).Whole([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%#v", events)
}

// chunk is one frame of InvokeModelWithResponseStream around Claude's event.
func chunk(t testing.TB, event string) []byte {
	t.Helper()
	return frame(t, "event", "chunk", `{"bytes":"`+base64.StdEncoding.EncodeToString([]byte(event))+`","p":"abcdefg"}`)
}
