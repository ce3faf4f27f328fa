package envoy_test

import (
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"aisix/envoy"
	"aisix/envoy/envoytest"
)

// Every request has one line: extproc's, or Envoy's where extproc knows nothing
// of it.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, httptest.NewServer, ok)
	p := &extProc{decide: func(h map[string]string) decision {
		switch h["x-test"] {
		case "reject":
			r := immediate(401, "application/json", `{}`)
			r.Details = "aisix_reject"
			return decision{reject: r}
		case "models":
			r := immediate(200, "application/json", `{}`)
			r.Details = "aisix_reject"
			return decision{reject: r}
		case "unreachable":
			return decision{set: map[string]string{envoy.EgressHeader: envoy.EgressPlaintext, envoy.HostHeader: "127.0.0.1:1"}}
		case "fail":
			return decision{fail: true}
		}
		return forward(u)
	}}
	o := options(t)
	o.ExtProc = p.serve(t, "tcp", "127.0.0.1:0")
	o.AllowOrigins = []string{"https://app.example.com"}
	b, err := envoy.Bootstrap(o)
	if err != nil {
		t.Fatal(err)
	}
	e := envoytest.Start(t, b)
	address := e.Address(t, "callers")

	// extproc's to tell.
	post(t, address, `{}`)
	post(t, address, `{}`, "x-test", "reject")
	post(t, address, `{}`, "x-test", "unreachable")
	post(t, address, `{}`, "x-test", "models")
	// Envoy's.
	raw(t, address, question("https://app.example.com"))
	raw(t, address, "POST /v1/chat/completions HTTP/9.9\r\n\r\n")
	raw(t, address, "GET /v1/models?key=sk-secret HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nx-request-id: upgraded\r\n\r\n")
	raw(t, address, "GET / HTTP/1.1\r\nHost: x\r\na: "+strings.Repeat("a", 70<<10)+"\r\n\r\n")
	post(t, address, `{}`, "x-test", "fail", "x-request-id", "the-last")

	var got []string
	for line := range strings.Lines(e.AccessLog(t, "the-last")) {
		if strings.Contains(line, "sk-secret") {
			t.Errorf("a query in the log: %s", line)
		}
		var l struct {
			Time, Level, Msg, Method, Path, Details string
			RequestID                               string `json:"request_id"`
			ClientAddress                           string `json:"client_address"`
			Status                                  int
			LatencyMS                               *int `json:"latency_ms"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if l.Msg != "request" || l.Level != "INFO" || l.Time == "" || l.ClientAddress != "127.0.0.1" || l.LatencyMS == nil || l.Details == "" || l.RequestID == "" {
			t.Errorf("incomplete: %s", line)
		}
		got = append(got, strings.TrimSpace(strings.Join([]string{strconv.Itoa(l.Status), l.Method, l.Path}, " ")))
	}
	want := []string{"204 OPTIONS /v1/chat/completions", "426", "405 GET /v1/models", "431", "503 POST /v1/chat/completions"}
	if !slices.Equal(got, want) {
		t.Errorf("lines of %q, want %q", got, want)
	}
}
