package extproc_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/admin/store/redistest"
	"aisix/extproc"
	"aisix/extproc/chat"
	"aisix/extproc/exchange/exchangetest"
	"aisix/extproc/fetch"
	"aisix/extproc/usage"
)

// half is a call whose body has begun and does not go on.
type half struct {
	*exchangetest.Stream
	returned chan error
}

// begin starts a call, waits until it is counted or refused, and sends it the pieces of a body, as
// far as it takes them.
func (c *caller) begin(key string, pieces ...[]byte) *half {
	c.t.Helper()
	h := &half{exchangetest.New(c.t), make(chan error, 1)}
	before, _ := c.Load()
	go func() {
		err := c.Process(h.Stream)
		h.Reset() // as gRPC does
		h.returned <- err
	}()
	h.Put(exchangetest.First(exchangetest.RequestHeaders(false, ":method", "POST", ":path", "/v1/chat/completions", "authorization", "Bearer "+key), exchangetest.FullDuplex))
	for now := before; now == before && len(h.returned) == 0; now, _ = c.Load() {
		time.Sleep(time.Millisecond)
	}
	for _, piece := range pieces {
		h.TryPut(exchangetest.RequestBody(piece, false), 10*time.Second)
	}
	return h
}

// refused is the immediate answer to the call.
func (h *half) refused(t *testing.T) (status int, retryAfter, body string) {
	t.Helper()
	r := h.Next().GetImmediateResponse()
	for _, o := range r.GetHeaders().GetSetHeaders() {
		if o.GetHeader().GetKey() == "retry-after" {
			retryAfter = string(o.GetHeader().GetRawValue())
		}
	}
	<-h.returned
	return int(r.GetStatus().GetCode()), retryAfter, string(r.GetBody())
}

func (h *half) want(t *testing.T, status int, says string) {
	t.Helper()
	got, retryAfter, body := h.refused(t)
	if got != status || !strings.Contains(body, says) || retryAfter == "" || retryAfter == "0" {
		t.Errorf("%d, Retry-After %q, %s; want %d, %s", got, retryAfter, body, status, says)
	}
}

// leave ends the call as Envoy does when the caller is gone.
func (h *half) leave() { h.Reset(); <-h.returned }

// twoKeys are the golden key and sk-other; golden is what the first one has beside its hash.
func twoKeys(t *testing.T, golden *resource.RateLimit) *snapshot.Holder {
	key := func(plaintext string, limit *resource.RateLimit) snapshot.Row {
		return snapshot.Row{ID: plaintext, Value: &resource.APIKey{KeyHash: hashOf(plaintext), AllowedModels: []string{"*"}, RateLimit: limit}}
	}
	return holderOf(t, key(plaintext, golden), key("sk-other", nil),
		snapshot.Row{ID: providerKeyID, Value: &resource.ProviderKey{DisplayName: "p", Provider: "amazon-bedrock", Adapter: "bedrock",
			Credentials: resource.Static{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "secret", Region: "us-west-2"}}},
		snapshot.Row{ID: "20000000-0000-4000-8000-000000000000", Value: &resource.Model{DisplayName: "*", ModelName: "*", ProviderKeyID: providerKeyID}})
}

// idle fails unless the process holds nothing.
func (c *caller) idle() {
	c.t.Helper()
	if calls, bytes := c.Load(); calls != 0 || bytes != 0 {
		c.t.Errorf("%d calls and %d bytes are left", calls, bytes)
	}
}

// waitFor waits until the process holds so many calls and bytes.
func (c *caller) waitFor(calls, bytes int64) {
	c.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		gotCalls, gotBytes := c.Load()
		if gotCalls == calls && gotBytes == bytes {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("%d calls and %d bytes; want %d, %d", gotCalls, gotBytes, calls, bytes)
		}
	}
}

// What a call's request headers take.
var headerBytes = int64(len("authorization") + len("Bearer "+plaintext))

// A call counts for its key's concurrency from its headers on: the next one is refused before any of
// its body was read, and without a round trip.
func TestConcurrencyCountsFromTheHeadersOn(t *testing.T) {
	one := int64(1)
	limits := newGrants(t, redistest.Start(t).Client())
	c := server(t, "", func(p *extproc.Parts) {
		p.Snapshots, p.Limiter = twoKeys(t, &resource.RateLimit{Concurrency: &one}), limits
	})
	first := c.begin(plaintext, []byte("{"))
	c.begin(plaintext).want(t, 429, `"type":"rate_limit_exceeded"`)
	if got := c.one(t); got.LimitScope != "apikey" || got.Limit != "concurrency" || got.Outcome != usage.Refused || limits.asked != 0 {
		t.Errorf("recorded %+v, Redis asked %d times", got, limits.asked)
	}
	first.leave()
	if a := c.chat(); a.Status != 200 {
		t.Errorf("after the first has left: %d %s", a.Status, a.Body)
	}
	c.idle()
}

// A key without a limit of its own on concurrency has the process's, which is no matter of Redis's;
// other keys are served beside it.
func TestCallsPerKey(t *testing.T) {
	c := server(t, "", func(p *extproc.Parts) {
		p.Snapshots, p.Config.CallsPerKey = twoKeys(t, nil), 3
	})
	var open []*half
	for range 3 {
		open = append(open, c.begin(plaintext))
	}
	a := c.chat()
	if kind, _, _ := faultOf(t, a); a.Status != 429 || kind != "rate_limit_exceeded" || a.Header.Get("Retry-After") != "1" || a.Header.Get("X-Ratelimit-Limit-Requests") != "3" || a.Header.Get("X-Ratelimit-Remaining-Requests") != "0" {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
	if got := c.one(t); got.LimitScope != "apikey" || got.Limit != "concurrency" || got.Outcome != usage.Refused {
		t.Errorf("recorded %+v", got)
	}
	if a := c.chat("authorization", "Bearer sk-other"); a.Status != 200 {
		t.Errorf("another key: %d %s", a.Status, a.Body)
	}
	for _, h := range open {
		h.leave()
	}
	c.idle()
}

// A key's own limit wins over the process's, be it higher.
func TestOwnConcurrencyWins(t *testing.T) {
	four := int64(4)
	c := server(t, "", func(p *extproc.Parts) {
		p.Snapshots, p.Limiter, p.Config.CallsPerKey = twoKeys(t, &resource.RateLimit{Concurrency: &four}), newGrants(t, redistest.Start(t).Client()), 2
	})
	var open []*half
	for range 4 {
		open = append(open, c.begin(plaintext))
	}
	c.begin(plaintext).want(t, 429, "concurrency, 4 requests at a time")
	for _, h := range open {
		h.leave()
	}
	c.idle()
}

// The process takes so many calls: who takes all it can leaves room for others, and probes are
// answered whatever there is in flight.
func TestCallsOfTheProcess(t *testing.T) {
	c := server(t, "", func(p *extproc.Parts) {
		p.Snapshots, p.Config.MaxCalls = twoKeys(t, nil), 8
	})
	var open []*half
	for range 4 {
		open = append(open, c.begin(plaintext))
	}
	c.begin(plaintext).want(t, 503, `"type":"gateway_overloaded"`)
	for range 2 {
		open = append(open, c.begin("sk-other"))
	}
	c.begin("sk-other").want(t, 503, `"type":"gateway_overloaded"`)
	c.waitFor(6, 4*headerBytes+2*(headerBytes-1))
	for _, path := range []string{"/livez", "/readyz"} {
		if a := c.ask(http.MethodGet, path, "", "authorization", ""); a.Status != 200 {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	for _, got := range c.calls {
		if got.Outcome != usage.Refused || got.Status != 503 {
			t.Errorf("recorded %+v", got)
		}
	}
	for _, h := range open {
		h.leave()
	}
	c.idle()
}

// Bytes of bodies are counted as they come, and given back when the call is over.
func TestBytesOfTheProcess(t *testing.T) {
	c := server(t, "", func(p *extproc.Parts) {
		p.Snapshots, p.Config.MaxBufferedBytes = twoKeys(t, nil), 1<<20
	})
	piece := make([]byte, 100<<10)
	first := c.begin(plaintext, piece, piece, piece)
	second := c.begin(plaintext, piece, piece)
	c.waitFor(2, 2*headerBytes+500<<10)
	second.Put(exchangetest.RequestBody(piece, false))
	second.want(t, 503, `"type":"gateway_overloaded"`)
	c.waitFor(1, headerBytes+300<<10)
	c.begin(plaintext, piece, piece, piece).want(t, 503, "") // what is announced, or comes, is too much
	if a := c.chat("authorization", "Bearer sk-other"); a.Status != 200 {
		t.Errorf("another key: %d %s", a.Status, a.Body)
	}
	first.leave()
	c.idle()

	announced := c.ask(http.MethodPost, "/v1/chat/completions", hello, "content-length", "700000")
	if announced.Status != 503 {
		t.Errorf("announced more than there is room for: %d %s", announced.Status, announced.Body)
	}
	if a := c.ask(http.MethodPost, "/v1/chat/completions", hello, "x-padding", strings.Repeat("x", 600<<10)); a.Status != 503 {
		t.Errorf("headers that are too much: %d %s", a.Status, a.Body)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(bytes.Repeat([]byte(" "), 700<<10))
	z.Close()
	if a := c.ask(http.MethodPost, "/v1/chat/completions", packed.String(), "content-encoding", "gzip"); a.Status != 503 {
		t.Errorf("unpacked it is too much: %d %s", a.Status, a.Body)
	}
	c.idle()
}

// While the upstream thinks no more is held than the texts of the request, which AWS's messages may
// quote; of an answer what has come is counted.
func TestNothingIsHeldThatIsNotNeeded(t *testing.T) {
	c := server(t, "", func(p *extproc.Parts) { p.Config.MaxBufferedBytes = 64 << 20 })
	picture := base64.StdEncoding.EncodeToString(append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 600<<10)...))
	body := `{"model":"amazon.nova-pro-v1:0","messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + picture + `"}}]}]}`
	h := c.begin(plaintext, []byte(body))
	c.waitFor(1, headerBytes+int64(len(body)))
	h.Put(exchangetest.RequestBody(nil, true))
	forwarded := 0
	for end := false; !end; {
		m := h.Next()
		if m == nil {
			return
		}
		s := m.GetRequestBody().GetResponse().GetBodyMutation().GetStreamedResponse()
		forwarded, end = forwarded+len(s.GetBody()), s.GetEndOfStream()
	}
	if forwarded < len(picture) {
		t.Errorf("%d bytes were forwarded", forwarded)
	}
	c.waitFor(1, headerBytes+int64(len("What is this?")))
	h.Put(exchangetest.Attribute(exchangetest.ResponseHeaders(false, ":status", "200", "content-type", "application/json"), "response.code_details", "via_upstream"))
	h.Put(exchangetest.ResponseBody([]byte("{     "), false))
	c.waitFor(1, headerBytes+int64(len("What is this?{     ")))
	h.leave()
	c.idle()
}

// Answers count too: one that there is no room for ends, before it is whole.
func TestAnswersAreBounded(t *testing.T) {
	c := server(t, "", func(p *extproc.Parts) { p.Config.MaxBufferedBytes = 1 << 20 })
	whole := c.upstream
	c.upstream = jsonReply(`{"output":{"message":{"role":"assistant","content":[{"text":"` + strings.Repeat("word ", 200<<10) + `"}]}},"stopReason":"end_turn","usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5}}`)
	a := c.chat()
	if kind, _, _ := faultOf(t, a); a.Status != 503 || kind != "gateway_overloaded" || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %.200s", a.Status, a.Body)
	}
	c.idle()
	c.upstream = whole
	if a := c.chat(); a.Status != 200 {
		t.Errorf("the next call: %d %s", a.Status, a.Body)
	}
}

// A body that drips is a 408 of ours.
func TestSlowBody(t *testing.T) {
	c := server(t, "", func(p *extproc.Parts) {
		p.Config.MinBodyRate, p.Config.BodyWindow = 1000, 10*time.Millisecond
	})
	h := c.begin(plaintext, []byte("{"))
	if status, _, body := h.refused(t); status != 408 || !strings.Contains(body, `"type":"invalid_request_error"`) || !strings.Contains(body, "fewer than 10 bytes in 10ms") {
		t.Errorf("%d %s", status, body)
	}
	if got := c.one(t); got.Outcome != usage.Refused || got.Status != 408 {
		t.Errorf("recorded %+v", got)
	}
	c.idle()
}

// held is a translation that does not end before it is let go: its images are prepared in the midst
// of it.
type held struct{ entered, release chan struct{} }

func (h held) Prepare(r *chat.Request) (*chat.Request, error) {
	if len(r.Messages) > 1 {
		h.entered <- struct{}{}
		<-h.release
	}
	return r, nil
}

func (held) Images(context.Context, fetch.Caller, *chat.Request) (*chat.Request, error) {
	panic("there are none")
}

// Large bodies are translated in turn: who waits too long is told to come back; small ones go on.
func TestTranslationInTurn(t *testing.T) {
	images := held{make(chan struct{}), make(chan struct{})}
	c := server(t, "", func(p *extproc.Parts) {
		p.Images, p.Config.MaxTranslating, p.Config.TranslationWait = images, 100<<10, 5*time.Millisecond
	})
	large := strings.Replace(hello, `"messages":[`, `"messages":[{"role":"user","content":"`+strings.Repeat("x", 200<<10)+`"},`, 1)
	first := c.begin(plaintext, []byte(large))
	first.Put(exchangetest.RequestBody(nil, true))
	<-images.entered
	if a := c.ask(http.MethodPost, "/v1/chat/completions", large); a.Status != 503 || a.Header.Get("Retry-After") != "1" {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	} else if kind, _, _ := faultOf(t, a); kind != "gateway_overloaded" {
		t.Errorf("%s", a.Body)
	}
	if a := c.chat(); a.Status != 200 {
		t.Errorf("a small one: %d %s", a.Status, a.Body)
	}
	close(images.release)
	if first.Next().GetRequestHeaders() == nil {
		t.Error("the first was not forwarded")
	}
	first.leave()
	go func() { <-images.entered }()
	if a := c.ask(http.MethodPost, "/v1/chat/completions", large); a.Status != 200 {
		t.Errorf("afterwards: %d %s", a.Status, a.Body)
	}
	c.idle()
}
