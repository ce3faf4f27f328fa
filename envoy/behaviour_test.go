package envoy_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"aisix/envoy"
	"aisix/envoy/envoytest"
)

// serve starts Envoy with a processor that decides so.
func serve(t *testing.T, decide func(h map[string]string) decision) (string, *extProc) {
	t.Helper()
	p := &extProc{decide: decide}
	o := options(t)
	o.ExtProc = p.serve(t, "tcp", "127.0.0.1:0")
	return start(t, o), p
}

func TestExtProcGone(t *testing.T) {
	t.Parallel()
	address := start(t, options(t))
	wantError(t, post(t, address, `{}`), 503, "gateway_unavailable")
	wantError(t, raw(t, address, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"), 503, "gateway_unavailable")
}

// Whatever becomes of the stream to extproc, nothing leaves that it did not
// send.
func TestNoEgressWithoutExtProc(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, httptest.NewServer, ok)
	address, p := serve(t, func(h map[string]string) decision {
		switch h["x-test"] {
		case "fails":
			return decision{fail: true}
		case "leaves":
			return decision{leave: true}
		case "wrong egress":
			return forward(u, envoy.EgressHeader, "elsewhere")
		case "empty egress":
			return forward(u, envoy.EgressHeader, "")
		case "two egresses":
			return forward(u, envoy.EgressHeader, "tls,plaintext")
		}
		return decision{} // passes it on without a word
	})
	for _, c := range []struct {
		name, behaviour string
		header          []string
		status          int
		kind            string
	}{
		{"stream fails", "fails", nil, 503, "gateway_unavailable"},
		{"stream ends", "leaves", nil, 404, "invalid_request_error"},
		{"no egress chosen", "", nil, 404, "invalid_request_error"},
		{"unknown egress", "wrong egress", nil, 404, "invalid_request_error"},
		{"empty egress", "empty egress", nil, 404, "invalid_request_error"},
		{"list of egresses", "two egresses", nil, 404, "invalid_request_error"},
		{"caller says plaintext", "", []string{"x-aisix-egress", "plaintext"}, 404, "invalid_request_error"},
		{"caller says tls", "", []string{"x-aisix-egress", "tls"}, 404, "invalid_request_error"},
		{"caller says it twice", "", []string{"x-aisix-egress", "x", "X-Aisix-Egress", "plaintext"}, 404, "invalid_request_error"},
		{"caller shouts", "", []string{"X-AISIX-EGRESS", "plaintext"}, 404, "invalid_request_error"},
		{"caller underscores", "", []string{"x_aisix_egress", "plaintext"}, 404, "invalid_request_error"},
		{"caller says it, stream ends", "leaves", []string{"x-aisix-egress", "plaintext"}, 404, "invalid_request_error"},
		{"caller names it hop by hop", "", []string{"x-aisix-egress", "plaintext", "connection", "x-aisix-egress"}, 404, "invalid_request_error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := post(t, address, `{}`, append([]string{"Host", u.host(), "x-test", c.behaviour}, c.header...)...)
			wantError(t, a, c.status, c.kind)
		})
	}
	// The host of the caller's own URL would be the upstream's, were there a way out.
	a := raw(t, address, "POST http://"+u.host()+"/v1/chat/completions HTTP/1.1\r\nHost: "+u.host()+"\r\nx-aisix-egress: plaintext\r\ncontent-length: 2\r\n\r\n{}")
	wantError(t, a, 404, "invalid_request_error")
	if n := len(u.requests()); n != 0 {
		t.Errorf("%d requests left without extproc's leave", n)
	}
	for _, h := range p.requests() {
		for k := range h {
			if strings.Contains(k, "egress") {
				t.Errorf("extproc was shown the caller's %s", k)
			}
		}
	}
}

func TestForwarded(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, httptest.NewServer, func(w http.ResponseWriter, r *http.Request) {
		for k, v := range map[string]string{"server": "AmazonS3", "via": "1.1 x", "x-amzn-requestid": "aws-1", "x-amz-id-2": "z", "x-envoy-upstream-service-time": "3", envoy.DetailsHeader: "forged", "content-type": "application/json"} {
			w.Header().Set(k, v)
		}
		io.WriteString(w, `{"ok":true}`)
	})
	address, p := serve(t, func(map[string]string) decision {
		return forward(u, "authorization", "AWS4-HMAC-SHA256 ours", "x-amz-date", "20261124T000000Z", "content-length", "2")
	})
	a := post(t, address, `{}`, "Authorization", "Bearer sk-caller", "X-Amz-Security-Token", "stolen", "x-amz-target", "t", "X-Amzn-Trace-Id", "r",
		"X-Envoy-Original-Path", "/x", "x-envoy-retry-on", "5xx", "x-envoy-upstream-rq-timeout-ms", "1", "x-envoy-upstream-alt-stat-name", "s", "x-envoy-decorator-operation", "d",
		"X-Request-Id", "caller-id", "cookie", "a=b", "x-api-key", "sk-2", "X_Amz_Date", "u")
	if a.status != 200 || a.body != `{"ok":true}` {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for k := range a.header {
		switch strings.ToLower(k) {
		case "content-type", "content-length", "date", "connection", "transfer-encoding":
		default:
			t.Errorf("caller sees %s: %q", k, a.header[k])
		}
	}

	seen := p.requests()[0]
	for k, v := range seen {
		for _, prefix := range []string{"x-amz", "x-envoy", "x_"} {
			if strings.HasPrefix(k, prefix) && k != "x-envoy-external-address" {
				t.Errorf("extproc was shown the caller's %s: %s", k, v)
			}
		}
	}
	if seen["authorization"] != "Bearer sk-caller" || seen["x-request-id"] != "caller-id" {
		t.Errorf("extproc did not get what it needs: %v", seen)
	}
	back := p.responses()[0]
	if back["x-amzn-requestid"] != "aws-1" {
		t.Errorf("extproc was not shown AWS's request id: %v", back)
	}
	if d, there := back[envoy.DetailsHeader]; there {
		t.Errorf("extproc takes the upstream's word %q for Envoy's", d)
	}

	r := u.requests()[0]
	want := map[string]string{"Authorization": "AWS4-HMAC-SHA256 ours", "X-Amz-Date": "20261124T000000Z"}
	for k, v := range want {
		if got := r.Header.Values(k); len(got) != 1 || got[0] != v {
			t.Errorf("upstream got %s: %q", k, got)
		}
	}
	if r.ContentLength != 2 || r.URL.Path != "/model/m/converse" || r.Host != u.host() {
		t.Errorf("upstream got %s %s, length %d", r.Host, r.URL.Path, r.ContentLength)
	}
	for k, v := range r.Header {
		switch k {
		case "Authorization", "X-Amz-Date", "Content-Length", "User-Agent", "Accept-Encoding": // the last two are extproc's to remove
		default:
			t.Errorf("upstream got %s: %q", k, v)
		}
	}
}

func TestUpgradesRefused(t *testing.T) {
	t.Parallel()
	address, p := serve(t, func(map[string]string) decision { return decision{} })
	for name, request := range map[string]string{
		"CONNECT":            "CONNECT bedrock.example:443 HTTP/1.1\r\nHost: bedrock.example:443\r\n\r\n",
		"websocket":          "GET /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		"upgrade and a body": "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: spdy/3\r\nContent-Length: 1000000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, raw(t, address, request), 405, "invalid_request_error")
		})
	}
	if n := len(p.requests()) + len(p.responses()); n != 0 {
		t.Errorf("extproc was asked %d times", n)
	}
	// Java's HTTP client and `curl --http2` offer h2c; the offer is ignored.
	a := raw(t, address, "GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
	wantError(t, a, 404, "invalid_request_error")
}

func TestPaths(t *testing.T) {
	t.Parallel()
	address, p := serve(t, func(map[string]string) decision { return decision{reject: immediate(200, "text/plain", "seen")} })
	for sent, want := range map[string]string{
		"/v1/models":                  "/v1/models",
		"/v1//chat///completions":     "/v1/chat/completions",
		"//v1/models":                 "/v1/models",
		"/v1/../admin/v1/models":      "/admin/v1/models",
		"/v1/%2e%2e/models":           "/models",
		"/v1/./models":                "/v1/models",
		"/v1/models/meta%2Fllama":     "/v1/models/meta%2Fllama",
		"/v1/models/a%3Ab":            "/v1/models/a%3Ab",
		"/v1/models?x=//..":           "/v1/models?x=//..",
		"/v1/models/..%2f..%2fadmin":  "/v1/models/..%2f..%2fadmin",
		"/v1\\models":                 "/v1/models",
		"/v1/models;x=y":              "/v1/models;x=y", // paths are exact in extproc: nobody serves such a one
		"/v1/..;/models":              "/models",
		"/v1/models%2e":               "/v1/models.",
		"/v1/models/%2e%2e%2f":        "/v1/models/..%2f",
		"/v1/%5c..%5cx":               "/v1/%5c..%5cx",
		"/%zz":                        "/%zz",
		"/v1/models%":                 "/v1/models%",
		"http://elsewhere/v1/models":  "/v1/models",
		"/../../../../etc/passwd":     "/etc/passwd",
		"/v1/chat/completions/../../": "/v1/",
	} {
		if sent == "/v1/..;/models" && envoytest.Version(t) < 39 {
			want = sent // a name like any, and served by nobody
		}
		t.Run(sent, func(t *testing.T) {
			before := len(p.requests())
			if a := raw(t, address, "GET "+sent+" HTTP/1.1\r\nHost: x\r\n\r\n"); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if got := p.requests()[before][":path"]; got != want {
				t.Errorf("extproc sees %q, want %q", got, want)
			}
		})
	}
}

func TestBadHTTP(t *testing.T) {
	t.Parallel()
	address, p := serve(t, func(map[string]string) decision { return decision{} })
	for _, c := range []struct {
		name, request string
		status        int
	}{
		{"headers too large", "GET / HTTP/1.1\r\nHost: x\r\nx-large: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", 431},
		{"many headers", "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("x-many: a\r\n", 150) + "\r\n", 431},
		{"long path", "GET /" + strings.Repeat("a", 70<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
		{"no host", "GET / HTTP/1.1\r\n\r\n", 400},
		{"not HTTP", "hello\r\n\r\n", 400},
		{"unknown method", "BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"two lengths", "POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 400},
		{"length and chunked", "POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"space in header name", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
		{"zero byte in a header", "GET / HTTP/1.1\r\nHost: x\r\nx-a: b\x00c\r\n\r\n", 400},
		{"old version", "GET / HTTP/1.0\r\n\r\n", 426},
		{"unknown transfer encoding", "POST / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: brotli\r\n\r\n", 501},
		{"fragment", "GET /v1/models#x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantError(t, raw(t, address, c.request), c.status, "invalid_request_error")
		})
	}
	if n := len(p.requests()) + len(p.responses()); n != 0 {
		t.Errorf("extproc was asked %d times: %v %v", n, p.requests(), p.responses())
	}
}

func TestImmediateResponsesPass(t *testing.T) {
	t.Parallel()
	const mine = `{"error":{"message":"a \"quoted\" 100% %REQ(authorization)% mine","type":"x","code":null,"param":null}}`
	address, _ := serve(t, func(h map[string]string) decision {
		switch h["x-test"] {
		case "text":
			return decision{reject: immediate(200, "text/plain; charset=utf-8", "ok\n")}
		case "empty":
			return decision{reject: immediate(204, "text/plain", "")}
		case "401":
			return decision{reject: immediate(401, "application/json", mine)}
		case "503":
			return decision{reject: immediate(503, "application/json", mine)}
		}
		return decision{reject: immediate(413, "application/json", mine)}
	})
	for _, c := range []struct {
		name, test, contentType, body string
		status                        int
	}{
		{"unauthorized", "401", "application/json", mine, 401},
		{"too large", "413", "application/json", mine, 413},
		{"unavailable", "503", "application/json", mine, 503},
		{"text", "text", "text/plain; charset=utf-8", "ok\n", 200},
		{"empty", "empty", "", "", 204},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := post(t, address, strings.Repeat("x", 300<<10), "x-test", c.test, "authorization", "secret")
			if a.status != c.status || a.body != c.body || a.header.Get("content-type") != c.contentType || a.header.Get(envoy.RequestIDHeader) != "from-extproc" {
				t.Errorf("%d %v %q", a.status, a.header, a.body)
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	address := start(t, options(t))
	long := strings.Repeat("a", 256)
	for _, c := range []struct{ name, aisix, plain, want string }{
		{"the caller's own", "mine-1", "other", "mine-1"},
		{"x-request-id", "", "other", "other"},
		{"a UUID stays to the letter", "", "7b0c1f4e-9d5c-4b8a-8f43-1c2d3e4f5a6b", "7b0c1f4e-9d5c-4b8a-8f43-1c2d3e4f5a6b"},
		{"longest", long, "", long},
		{"none", "", "", "uuid"},
		{"too long", long + "a", "", "uuid"},
		{"too long, other valid", long + "a", "other", "other"},
		{"with a space", "a b", "", "uuid"},
		{"not ASCII", "h\xc3\xa9", "", "uuid"},
		{"quotes are visible ASCII", `a"b{}`, "", `a"b{}`},
		{"both bad", "a b", "c d", "uuid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h []string
			if c.aisix != "" {
				h = append(h, "x-aisix-request-id", c.aisix)
			}
			if c.plain != "" {
				h = append(h, "x-request-id", c.plain)
			}
			a := post(t, address, `{}`, h...)
			wantError(t, a, 503, "gateway_unavailable")
			got := a.header.Values(envoy.RequestIDHeader)
			if len(got) != 1 || (c.want == "uuid" && len(got[0]) != 36) || (c.want != "uuid" && got[0] != c.want) {
				t.Errorf("request id %q, want %s", got, c.want)
			}
		})
	}
}

func TestUpstreamFails(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	resets := newUpstream(t, httptest.NewServer, func(w http.ResponseWriter, _ *http.Request) {
		panic(http.ErrAbortHandler)
	})
	address, p := serve(t, func(h map[string]string) decision {
		d := forward(resets)
		switch h["x-test"] {
		case "nobody":
			d.set[envoy.HostHeader] = nobody
		case "no such name":
			d.set[envoy.HostHeader] = "no-such-host.invalid"
		}
		return d
	})
	for _, name := range []string{"nobody", "resets", "no such name"} {
		t.Run(name, func(t *testing.T) {
			before := len(p.responses())
			wantError(t, post(t, address, `{}`, "x-test", name), 502, "transport_error")
			if back := p.responses()[before:]; len(back) != ownAnswers(t) || len(back) == 1 && back[0][envoy.DetailsHeader] == "" {
				t.Errorf("extproc can't tell Envoy's own answer: %v", back)
			}
		})
	}
	if n := len(resets.requests()); n != 1 {
		t.Errorf("the upstream that reset saw %d requests: a body that went up may not go twice", n)
	}
}

func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.MaxConnections = 1
	address := start(t, o)
	first, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	request := "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	io.WriteString(first, request)
	if n, err := first.Read(make([]byte, 1)); n != 1 {
		t.Fatal(err)
	}
	second, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	second.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(second, request)
	if b, err := io.ReadAll(second); len(b) != 0 {
		t.Errorf("one connection too many was served: %q %v", b, err)
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Error("one connection too many was left hanging")
	}
}

func TestSlowRequest(t *testing.T) {
	t.Parallel()
	p := &extProc{decide: func(map[string]string) decision { return decision{hold: true} }}
	o := options(t)
	o.ExtProc = p.serve(t, "tcp", "127.0.0.1:0")
	o.RequestTimeout = 300 * time.Millisecond
	address := start(t, o)
	wantError(t, raw(t, address, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\ncontent-length: 10\r\n\r\n{"), 408, "invalid_request_error")
}

// Nothing moves for longer than Envoy waits: the net below extproc's own
// deadlines.
func TestSilence(t *testing.T) {
	t.Parallel()
	p := &extProc{decide: func(map[string]string) decision { return decision{hold: true} }}
	o := options(t)
	o.ExtProc = p.serve(t, "tcp", "127.0.0.1:0")
	o.StreamIdleTimeout = 300 * time.Millisecond
	address := start(t, o)
	wantError(t, post(t, address, `{}`), 504, "timeout")
}
