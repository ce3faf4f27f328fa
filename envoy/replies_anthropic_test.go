package envoy_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"aisix/envoy"
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

// A request that has gone on has the upstream's path, and none of its caller's headers: should
// extproc be gone by then, Envoy's own answer still is in the door's shape, and has the call's id.
func TestRepliesOfRequestsThatWentOn(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{}, 1)
	u := newUpstream(t, httptest.NewServer, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("x-hangs") != "" {
			reached <- struct{}{}
			<-r.Context().Done()
		}
	})
	p := &extProc{reached: reached, decide: func(h map[string]string) decision {
		d := forward(u, "x-request-id", "taken off", "x-hangs", h["x-hangs"])
		d.dies = h["x-test"]
		d.own = map[string]string{envoy.OwnRequestID: "the-call"}
		if h[":path"] == "/v1/messages" {
			d.own[envoy.OwnDoor] = envoy.DoorAnthropic
		}
		return d
	}}
	o := options(t)
	o.ExtProc = p.serve(t, "tcp", "127.0.0.1:0")
	address := start(t, o)
	for _, moment := range []string{"waiting", "answer"} {
		for path, want := range map[string]string{
			"/v1/messages":         `{"type":"error","error":{"type":"overloaded_error","message":"the gateway is temporarily unavailable"},"request_id":"the-call"}`,
			"/v1/chat/completions": `{"error":{"message":"the gateway is temporarily unavailable","type":"gateway_unavailable","code":null,"param":null}}`,
		} {
			hangs := ""
			if moment == "waiting" {
				hangs = "x-hangs: yes\r\n"
			}
			a := raw(t, address, "POST "+path+" HTTP/1.1\r\nHost: x\r\nx-request-id: mine\r\nx-test: "+moment+"\r\n"+hangs+"content-length: 2\r\n\r\n{}")
			var got, wanted any
			if err := json.Unmarshal([]byte(a.body), &got); err != nil {
				t.Fatalf("%s %s: %d %s", path, moment, a.status, a.body)
			}
			json.Unmarshal([]byte(want), &wanted)
			if !reflect.DeepEqual(got, wanted) || a.header.Get("x-aisix-request-id") != "the-call" || (a.header.Get("request-id") == "the-call") != (path == "/v1/messages") {
				t.Errorf("%s %s: %d %v %s", path, moment, a.status, a.header, a.body)
			}
			if status := map[string]int{"/v1/messages": 529, "/v1/chat/completions": 503}[path]; a.status != status {
				t.Errorf("%s %s: %d, want %d", path, moment, a.status, status)
			}
			if v := a.header.Values(envoy.DetailsHeader); len(v) > 0 {
				t.Errorf("%s %s: details go out: %q", path, moment, v)
			}
		}
	}
}

// What Envoy has not read has the members of both APIs, since nobody knows who asks; a request that
// it has read as far as its path is answered by that, however slow its body.
func TestRepliesToWhatWasNotRead(t *testing.T) {
	t.Parallel()
	p := &extProc{decide: func(map[string]string) decision { return decision{hold: true} }}
	o := options(t)
	o.ExtProc = p.serve(t, "tcp", "127.0.0.1:0")
	o.RequestTimeout = 300 * time.Millisecond
	address := start(t, o)
	members := func(a answer) (all []string, e map[string]any) {
		var body map[string]any
		if err := json.Unmarshal([]byte(a.body), &body); err != nil {
			t.Fatalf("%d %s", a.status, a.body)
		}
		e, _ = body["error"].(map[string]any)
		for _, m := range []map[string]any{body, e} {
			all = append(all, strings.Join(slices.Sorted(maps.Keys(m)), " "))
		}
		return all, e
	}
	openai, anthropic, both := []string{"error", "code message param type"}, []string{"error request_id type", "message type"}, []string{"error request_id type", "code message param type"}
	many := strings.Repeat("x-many: a\r\n", 150) + "\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
		kind    string
		want    []string
	}{
		"many headers":            {"POST /v1/messages HTTP/1.1\r\nHost: x\r\n" + many, 431, "invalid_request_error", both},
		"many headers, elsewhere": {"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + many, 431, "invalid_request_error", both},
		"old version":             {"POST /v1/messages HTTP/1.0\r\n\r\n", 426, "invalid_request_error", both},
		"no host":                 {"POST /v1/messages HTTP/1.1\r\n\r\n", 400, "invalid_request_error", anthropic},
		"slow":                    {"POST /v1/messages HTTP/1.1\r\nHost: x\r\ncontent-length: 10\r\n\r\n{", 408, "invalid_request_error", anthropic},
		"slow, of Responses":      {"POST /v1/responses HTTP/1.1\r\nHost: x\r\ncontent-length: 10\r\n\r\n{", 408, "invalid_request_error", openai},
	} {
		a := raw(t, address, c.request)
		got, e := members(a)
		id := a.header.Get("request-id")
		if a.status != c.status || e["type"] != c.kind || !slices.Equal(got, c.want) || a.header.Get("x-aisix-request-id") == "" || (id == "") != slices.Equal(got, openai) || id != "" && a.header.Get("x-aisix-request-id") != id || id != "" && !strings.Contains(a.body, id) {
			t.Errorf("%s: %d %v %s, want %d %s, members %q", name, a.status, a.header, a.body, c.status, c.kind, c.want)
		}
	}
}
