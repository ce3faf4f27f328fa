package envoy_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
)

// Envoy's own answers are in Anthropic's shape where its clients ask, and there only.
func TestRepliesInAnthropicsShape(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, httptest.NewServer, ok)
	address, _ := serve(t, func(h map[string]string) decision {
		if h["x-test"] == "fails" {
			return decision{fail: true}
		}
		return decision{} // no way out: no route
	})
	const id = `quote"back\slash`
	request := func(line string, headers ...string) string {
		return line + " HTTP/1.1\r\nHost: " + u.host() + "\r\nx-request-id: " + id + "\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
	}
	fails := "x-test: fails"
	for _, c := range []struct {
		name, request string
		status        int
		kind          string
	}{
		{"extproc fails", request("POST /v1/messages?beta=true", fails, "content-length: 2") + "{}", 529, "overloaded_error"},
		{"extproc fails under it", request("POST /v1/messages/count_tokens", fails, "content-length: 2") + "{}", 529, "overloaded_error"},
		{"no route", request("POST /v1/messages", "content-length: 2") + "{}", 404, "not_found_error"},
		{"an upgrade", request("GET /v1/messages", "connection: upgrade", "upgrade: websocket"), 405, "invalid_request_error"},
		{"models", request("GET /v1/models?limit=1", fails, "anthropic-version: 2023-06-01"), 529, "overloaded_error"},
	} {
		a := raw(t, address, c.request)
		var body struct {
			Type      string
			Error     struct{ Type, Message string }
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(a.body), &body); err != nil {
			t.Errorf("%s: %d %s: %v", c.name, a.status, a.body, err)
			continue
		}
		if a.status != c.status || body.Type != "error" || body.Error.Type != c.kind || body.Error.Message == "" || body.RequestID != id {
			t.Errorf("%s: %d %s, want %d %s", c.name, a.status, a.body, c.status, c.kind)
		}
		if a.header.Get("request-id") != id || a.header.Get("x-aisix-request-id") != id || a.header.Get("content-type") != "application/json" {
			t.Errorf("%s: header %v", c.name, a.header)
		}
		if c.status == 529 && a.header.Get("retry-after") != "1" {
			t.Errorf("%s: retry-after %q", c.name, a.header.Get("retry-after"))
		}
	}
	// Without an id of the caller's both headers and the body have the same one.
	a := raw(t, address, "POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-test: fails\r\ncontent-length: 0\r\n\r\n")
	if made := a.header.Get("request-id"); len(made) < 16 || made != a.header.Get("x-aisix-request-id") || !strings.Contains(a.body, `"`+made+`"`) {
		t.Errorf("%v %s", a.header, a.body)
	}
	for _, line := range []string{"POST /v1/messagesandmore", "POST /v1/chat/completions", "GET /v1/models"} {
		a := raw(t, address, request(line, fails, "content-length: 0"))
		wantError(t, a, 503, "gateway_unavailable")
		if a.header.Get("request-id") != "" {
			t.Errorf("%s: request-id %q", line, a.header.Get("request-id"))
		}
	}
}
