package extproc_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/admin/store/redistest"
	"aisix/extproc"
	"aisix/extproc/exchange/exchangetest"
	"aisix/extproc/usage"
)

// caller asks one server, again and again, through a scripted Envoy.
type caller struct {
	*extproc.Server
	*recorded
	t        testing.TB
	upstream exchangetest.Reply
}

// server is one with the golden key; model is as in snapshotOf.
func server(t testing.TB, model string, change func(*extproc.Parts)) *caller {
	t.Helper()
	c := &caller{recorded: &recorded{}, t: t, upstream: jsonReply(`{"output":{"message":{"role":"assistant","content":[{"text":"Hello."}]}},"stopReason":"end_turn","usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5}}`)}
	parts := extproc.Parts{
		Config:    extproc.Config{MaxBodyBytes: 1 << 20, Timeout: time.Minute, StreamTimeout: time.Minute},
		Snapshots: snapshotOf(t, model),
		Limiter:   noLimits{t},
		Recorder:  c.recorded,
		Log:       slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&parts)
	}
	c.Server = extproc.New(parts)
	return c
}

func jsonReply(body string) exchangetest.Reply {
	return exchangetest.Reply{Header: http.Header{"Content-Type": {"application/json"}, "X-Amzn-Requestid": {"aws-1"}}, Body: []byte(body)}
}

// ask sends one request with the golden key; header are names and values that replace or, where
// empty, remove.
func (c *caller) ask(method, path, body string, header ...string) *exchangetest.Answer {
	c.t.Helper()
	e := exchangetest.Envoy{Method: method, Path: path, Header: http.Header{"Authorization": {"Bearer " + plaintext}},
		Upstream: func(exchangetest.Forwarded) exchangetest.Reply { return c.upstream }}
	if body != "" {
		e.Body = []byte(body)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if e.Header.Del(header[i]); header[i+1] != "" {
			e.Header.Set(header[i], header[i+1])
		}
	}
	return e.Run(context.Background(), c.t, c.Process)
}

const hello = `{"model":"amazon.nova-pro-v1:0","messages":[{"role":"user","content":"Hi"}]}`

// chat asks a plain question.
func (c *caller) chat(header ...string) *exchangetest.Answer {
	c.t.Helper()
	return c.ask(http.MethodPost, "/v1/chat/completions", hello, header...)
}

// faultOf is type, code and param of an error.
func faultOf(t testing.TB, a *exchangetest.Answer) (kind, code, param string) {
	t.Helper()
	var body struct {
		Error struct{ Type, Code, Param string }
	}
	if err := json.Unmarshal(a.Body, &body); err != nil {
		t.Errorf("%d %s: %v", a.Status, a.Body, err)
	}
	return body.Error.Type, body.Error.Code, body.Error.Param
}

// Of several things that are wrong, the first in the contract's order is told.
func TestOrderOfChecks(t *testing.T) {
	const model = `{"display_name":"here","model_name":"amazon.nova-pro-v1:0","rate_limit":{"rpm":0}}`
	c := server(t, model, func(p *extproc.Parts) { p.Limiter = newGrants(t, redistest.Start(t).Client()) })
	huge := strings.Repeat("x", 2<<20)
	for _, test := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		kind, param              string
	}{
		{"bad key, huge body", "POST", "/v1/chat/completions", huge, []string{"authorization", "Bearer no"}, 401, "invalid_api_key", ""},
		{"no key, unknown path", "GET", "/nowhere", "", []string{"authorization", ""}, 401, "invalid_api_key", ""},
		{"no key, wrong method", "DELETE", "/v1/models", "", []string{"authorization", ""}, 401, "invalid_api_key", ""},
		{"unknown path, huge body", "POST", "/nowhere", huge, nil, 404, "invalid_request_error", ""},
		{"wrong method", "PUT", "/v1/chat/completions", huge, nil, 405, "invalid_request_error", ""},
		{"huge, not JSON", "POST", "/v1/chat/completions", huge, nil, 413, "invalid_request_error", ""},
		{"not JSON", "POST", "/v1/chat/completions", "x", nil, 400, "invalid_request_error", ""},
		{"unknown model, bad request", "POST", "/v1/chat/completions", `{"model":"nowhere","messages":7}`, nil, 404, "model_not_found", "model"},
		{"not allowed, bad request", "POST", "/v1/chat/completions", `{"model":"here","messages":7}`, []string{"authorization", "Bearer sk-narrow"}, 403, "permission_denied", "model"},
		{"bad request, no quota", "POST", "/v1/chat/completions", `{"model":"here","messages":7}`, nil, 400, "invalid_request_error", "messages"},
		{"no quota", "POST", "/v1/chat/completions", `{"model":"here","messages":[{"role":"user","content":"x"}]}`, nil, 429, "rate_limit_exceeded", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := c.ask(test.method, test.path, test.body, test.header...)
			kind, _, param := faultOf(t, a)
			if a.Status != test.status || kind != test.kind || param != test.param {
				t.Errorf("%d %s, want %d %s %s", a.Status, a.Body, test.status, test.kind, test.param)
			}
			if a.Forwarded != nil {
				t.Error("it was forwarded all the same")
			}
			if a.Header.Get("X-Aisix-Request-Id") == "" {
				t.Error("no request id")
			}
			if after := a.Header.Get("Retry-After"); (test.status == 429) != (after != "") || after == "0" {
				t.Errorf("Retry-After %q", after)
			}
		})
	}
}

// A key is refused for what it is, by name.
func TestKeys(t *testing.T) {
	past := time.Now().Add(-time.Second)
	key := func(plaintext string, change func(*resource.APIKey)) snapshot.Row {
		k := &resource.APIKey{KeyHash: hashOf(plaintext), AllowedModels: []string{"*"}}
		change(k)
		return snapshot.Row{ID: plaintext, Value: k}
	}
	c := server(t, "", func(p *extproc.Parts) {
		p.Snapshots = holderOf(t,
			key("sk-disabled", func(k *resource.APIKey) { k.Disabled = true }),
			key("sk-expired", func(k *resource.APIKey) { k.ExpiresAt = &past }),
			key("sk-good", func(k *resource.APIKey) {}))
	})
	for _, test := range []struct {
		header []string
		status int
		code   string
	}{
		{[]string{"authorization", "Bearer sk-good"}, 200, ""},
		{[]string{"authorization", "bearer  sk-good "}, 200, ""},
		{[]string{"authorization", "", "x-api-key", "sk-good"}, 200, ""},
		{[]string{"authorization", "Bearer sk-disabled"}, 401, "api_key_disabled"},
		{[]string{"authorization", "Bearer sk-expired"}, 401, "api_key_expired"},
		{[]string{"authorization", "Bearer sk-other"}, 401, ""},
		{[]string{"authorization", "Bearer"}, 401, ""},
		{[]string{"authorization", "sk-good"}, 401, ""},
		{[]string{"authorization", "Basic sk-good", "x-api-key", "sk-good"}, 401, ""},
		{[]string{"authorization", ""}, 401, ""},
	} {
		a := c.ask(http.MethodGet, "/v1/models", "", test.header...)
		if a.Status != test.status {
			t.Errorf("%q: %d %s", test.header, a.Status, a.Body)
		} else if a.Status != 200 {
			if kind, code, _ := faultOf(t, a); kind != "invalid_api_key" || code != test.code {
				t.Errorf("%q: %s", test.header, a.Body)
			}
		}
	}
}

// Bodies may be compressed; what they hold has the same limit.
func TestContentEncoding(t *testing.T) {
	c := server(t, "", nil)
	compress := map[string]func(string) string{
		"identity": func(s string) string { return s },
		"gzip": func(s string) string {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write([]byte(s))
			z.Close()
			return b.String()
		},
		"zstd": func(s string) string {
			z, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			return string(z.EncodeAll([]byte(s), nil))
		},
	}
	for name, f := range compress {
		for _, test := range []struct {
			what, body string
			status     int
		}{
			{"good", f(hello), 200},
			{"too large inside", f(strings.Repeat(" ", 1<<20) + hello), 413},
			{"broken", "x" + f(hello), 400},
			{"cut", f(hello)[:len(f(hello))-9], 400},
		} {
			a := c.ask(http.MethodPost, "/v1/chat/completions", test.body, "content-encoding", name)
			if a.Status != test.status {
				t.Errorf("%s, %s: %d %s", name, test.what, a.Status, a.Body)
			}
			if a.Forwarded != nil && a.Forwarded.Header.Get("content-encoding") != "" {
				t.Errorf("%s: content-encoding went upstream", name)
			}
		}
	}
	for _, name := range []string{"br", "deflate", "gzip, gzip"} {
		if a := c.ask(http.MethodPost, "/v1/chat/completions", hello, "content-encoding", name); a.Status != 415 {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
}

// A panic is a 500 in our shape, told to the operator with its stack and counted; the reservation is
// given back, and the next request is served.
func TestPanic(t *testing.T) {
	ids := 0
	c := server(t, `{"display_name":"*","model_name":"*","rate_limit":{"concurrency":1}}`, func(p *extproc.Parts) {
		p.Limiter = newGrants(t, redistest.Start(t).Client())
		p.NewID = func() string {
			if ids++; ids == 2 { // the answer's id
				panic("out of ids")
			}
			return "id"
		}
	})
	a := c.chat()
	if kind, _, _ := faultOf(t, a); a.Status != 500 || kind != "internal_error" || strings.Contains(string(a.Body), "ids") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if got := c.one(t); !got.Panicked || got.Outcome != usage.Failed || !strings.Contains(got.Err.Error(), "out of ids") || !strings.Contains(got.Err.Error(), "call.go") {
		t.Errorf("recorded %+v", got)
	}
	if a := c.chat(); a.Status != 200 {
		t.Errorf("the next request: %d %s", a.Status, a.Body)
	}
}

// Limits guard every operation that reaches Bedrock.
func TestLimitsGuardEveryOperation(t *testing.T) {
	limits := newGrants(t, redistest.Start(t).Client())
	c := server(t, `{"display_name":"*","model_name":"*","rate_limit":{"rpm":0}}`, func(p *extproc.Parts) { p.Limiter = limits })
	for path, methods := range c.Table() {
		for _, method := range methods {
			body := ""
			if method == http.MethodPost {
				body = hello
			}
			if a := c.ask(method, path, body); a.Forwarded != nil {
				t.Errorf("%s %s reaches the upstream past the limits", method, path)
			}
		}
	}
	if limits.asked+limits.refused == 0 {
		t.Error("no operation asked for limits")
	}
}

// Probes need no key, and leave no trace.
func TestProbes(t *testing.T) {
	holder := new(snapshot.Holder)
	c := server(t, "", func(p *extproc.Parts) { p.Snapshots = holder })
	status := func(path string, want int) {
		t.Helper()
		if a := c.ask(http.MethodGet, path, "", "authorization", ""); a.Status != want {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	status("/livez", 200)
	status("/readyz", 503)
	if a := c.chat(); a.Status != 503 {
		t.Errorf("without a snapshot: %d %s", a.Status, a.Body)
	} else if kind, _, _ := faultOf(t, a); kind != "gateway_unavailable" {
		t.Errorf("without a snapshot: %s", a.Body)
	}
	holder.Store(snapshotOf(t, "").Load())
	status("/readyz", 200)
	if a := c.chat(); a.Status != 200 {
		t.Errorf("with a snapshot: %d %s", a.Status, a.Body)
	}
	c.Drain()
	status("/livez", 200)
	status("/readyz", 503)
	if a := c.chat(); a.Status != 200 {
		t.Errorf("while draining: %d %s", a.Status, a.Body)
	}
	if a := c.ask(http.MethodPost, "/livez", "", "authorization", ""); a.Status != 401 {
		t.Errorf("POST /livez: %d", a.Status)
	}
	if n := len(c.calls); n != 4 { // three chats and the POST
		t.Errorf("%d calls recorded", n)
	}
}
