package envoy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"aisix/envoy"
)

// question is a browser's question before a call of that origin.
func question(origin string) string {
	return "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: x\r\nOrigin: " + origin +
		"\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,content-type,x-stainless-lang,x-of-the-page\r\n\r\n"
}

// wantCORS checks that a page of the origin may read the answer, or that nothing is said of
// it where the origin is "".
func wantCORS(t *testing.T, a answer, origin string) {
	t.Helper()
	if origin == "" {
		for name := range a.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %q", name, a.header[name])
			}
		}
		return
	}
	if got := a.header.Values("access-control-allow-origin"); len(got) != 1 || got[0] != origin {
		t.Errorf("access-control-allow-origin %q, want %q", got, origin)
	}
	if got := a.header.Values("access-control-allow-credentials"); got != nil {
		t.Errorf("access-control-allow-credentials %q", got)
	}
}

func wantExposed(t *testing.T, a answer) {
	t.Helper()
	exposed := a.header.Get("access-control-expose-headers")
	for _, name := range []string{"x-aisix-request-id", "retry-after", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-requests", "request-id", "x-aisix-target"} {
		if !strings.Contains(", "+exposed+",", ", "+name+",") {
			t.Errorf("%s is not in access-control-expose-headers %q", name, exposed)
		}
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, httptest.NewServer, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("access-control-allow-origin", "https://upstream.example") // extproc drops such, and here the filter replaces it
		w.Header().Set("content-type", "text/event-stream")
		for range 3 {
			io.WriteString(w, "data: {}\n\n")
			w.(http.Flusher).Flush()
		}
	})
	p := &extProc{decide: func(h map[string]string) decision {
		switch h["x-test"] {
		case "forward":
			return forward(u, "origin", "https://taken.off.example") // extproc takes it off
		case "fails":
			return decision{fail: true}
		case "gone":
			return decision{set: map[string]string{envoy.EgressHeader: envoy.EgressPlaintext, envoy.HostHeader: "127.0.0.1:1"}}
		case "nothing":
			return decision{}
		}
		return decision{reject: immediate(401, "application/json", `{"error":{}}`)}
	}}
	o := options(t)
	o.ExtProc = p.serve(t, "tcp", "127.0.0.1:0")
	o.AllowOrigins = []string{"https://app.example.com", "https://*.example.org", "http://localhost:*", "http://[::1]:3000"}
	address := start(t, o)
	o.AllowOrigins = []string{"*"}
	open := start(t, o)
	o.AllowOrigins = nil
	closed := start(t, o)

	const app = "https://app.example.com"
	t.Run("preflights of who may", func(t *testing.T) {
		asked := len(p.requests())
		for _, origin := range []string{app, "https://a.example.org", "https://a.b-c.example.org", "http://localhost", "http://localhost:5173", "http://[::1]:3000"} {
			a := raw(t, address, question(origin))
			wantCORS(t, a, origin)
			if a.status != 204 || a.body != "" {
				t.Errorf("%s: %d %q", origin, a.status, a.body)
			}
			for name, want := range map[string]string{"access-control-allow-methods": "POST", "access-control-allow-headers": "authorization,content-type,x-stainless-lang,x-of-the-page", "x-aisix-request-id": ""} {
				if got := a.header.Get(name); !strings.Contains(got, want) {
					t.Errorf("%s: %s %q", origin, name, got)
				}
			}
			if a.header.Get("access-control-max-age") == "" {
				t.Errorf("%s: no access-control-max-age", origin)
			}
		}
		wantCORS(t, raw(t, open, question("https://anybody.example")), "https://anybody.example")
		if n := len(p.requests()) - asked; n != 0 {
			t.Errorf("extproc was asked about %d preflights", n)
		}
	})
	t.Run("and of who may not", func(t *testing.T) {
		for _, origin := range []string{"https://stranger.example", "http://app.example.com", "https://app.example.com:444", "https://example.org", "https://example.org.stranger.example",
			"https://xexample.org", "https://a.example.org:444", "https://stranger.example/.example.org", "http://localhost.stranger.example", "http://localhost:5173.stranger.example", "null", ""} {
			a := raw(t, address, question(origin))
			wantCORS(t, a, "")
			if a.status != 401 { // a request like any: extproc's to refuse
				t.Errorf("%s: %d", origin, a.status)
			}
		}
		wantCORS(t, raw(t, closed, question(app)), "")
	})
	t.Run("what is no preflight is asked for a key", func(t *testing.T) {
		a := raw(t, address, "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: x\r\nOrigin: "+app+"\r\n\r\n")
		wantCORS(t, a, app)
		if a.status != 401 {
			t.Errorf("%d", a.status)
		}
	})
	for _, c := range []struct {
		name, test string
		status     int
	}{
		{"a stream", "forward", 200}, {"extproc's own error", "", 401},
		{"extproc fails", "fails", 503}, {"the upstream can't be reached", "gone", 502}, {"no way out", "nothing", 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			for at, origins := range map[string][2]string{address: {app, app}, open: {"https://anybody.example", "https://anybody.example"}} {
				a := post(t, at, `{}`, "Origin", origins[0], "x-test", c.test)
				wantCORS(t, a, origins[1])
				wantExposed(t, a)
				if a.status != c.status {
					t.Errorf("%d, want %d", a.status, c.status)
				}
			}
			for at, header := range map[string][]string{address: {"x-test", c.test, "Origin", "https://stranger.example"}, closed: {"x-test", c.test, "Origin", app}} {
				a := post(t, at, `{}`, header...)
				if c.test == "forward" { // this upstream says something of its own
					a.header.Del("access-control-allow-origin")
				}
				wantCORS(t, a, "")
			}
			if a := post(t, address, `{}`, "x-test", c.test); c.test != "forward" {
				wantCORS(t, a, "") // of no page
			}
		})
	}
	// What Envoy answers before any filter has seen the request. Where its headers are not known
	// all pages may read the answer: it holds nothing of anybody's.
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"an upgrade":   {"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nOrigin: %s\r\n\r\n", 405},
		"old version":  {"GET / HTTP/1.0\r\nOrigin: %s\r\n\r\n", 426},
		"no host":      {"GET / HTTP/1.1\r\nOrigin: %s\r\n\r\n", 400},
		"a fragment":   {"GET /v1/models#x HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\n\r\n", 400},
		"many headers": {"GET / HTTP/1.1\r\nOrigin: %s\r\nHost: x\r\n" + strings.Repeat("x-many: a\r\n", 150) + "\r\n", 431},
	} {
		t.Run(name, func(t *testing.T) {
			allowed, strangers := app, ""
			if c.status == 431 || c.status == 426 {
				allowed, strangers = "*", "*"
			}
			a := raw(t, address, strings.Replace(c.request, "%s", app, 1))
			wantError(t, a, c.status, "invalid_request_error")
			wantCORS(t, a, allowed)
			wantExposed(t, a)
			wantCORS(t, raw(t, address, strings.Replace(c.request, "%s", "https://stranger.example", 1)), strangers)
			wantCORS(t, raw(t, closed, strings.Replace(c.request, "%s", "https://stranger.example", 1)), "")
			wantCORS(t, raw(t, closed, strings.Replace(c.request, "%s", app, 1)), "")
		})
	}
}

// Envoy's own answers to a body are in its pages' reach like any.
func TestOriginsOfBodies(t *testing.T) {
	t.Parallel()
	p := &extProc{decide: func(map[string]string) decision { return decision{hold: true} }, buffered: true}
	o := options(t)
	o.ExtProc = p.serve(t, "tcp", "127.0.0.1:0")
	o.BodyMode, o.MaxRequestBytes, o.RequestTimeout = envoy.Buffered, 64<<10, 300*time.Millisecond
	o.AllowOrigins = []string{"https://app.example.com"}
	address := start(t, o)
	for _, path := range []string{"/v1/chat/completions", "/v1/messages"} {
		head := "POST " + path + " HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\ncontent-length: 200000\r\n\r\n"
		for status, request := range map[int]string{413: head + strings.Repeat("x", 200000), 408: head + "{"} {
			for origin, want := range map[string]string{"https://app.example.com": "https://app.example.com", "https://stranger.example": ""} {
				a := raw(t, address, strings.Replace(request, "%s", origin, 1))
				wantCORS(t, a, want)
				if want != "" {
					wantExposed(t, a)
				}
				if a.status != status || a.header.Get("x-aisix-request-id") == "" {
					t.Errorf("%s: %d %v, want %d", path, a.status, a.header, status)
				}
			}
		}
	}
}
