package envoy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"aisix/envoy"
	"aisix/envoy/envoytest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Envoy connects to the host that extproc has set, and to no other: not to the
// caller's, and not to where credentials lie about.
func TestOnlyWhereExtProcSays(t *testing.T) {
	t.Parallel()
	signed := newUpstream(t, httptest.NewServer, ok)
	callers := newUpstream(t, httptest.NewServer, ok) // the caller's Host
	address, p := serve(t, func(h map[string]string) decision {
		d := forward(signed)
		if host, ok := h["x-host"]; ok {
			d.set[envoy.HostHeader] = host
		}
		return d
	})
	for _, request := range []string{
		"POST /a HTTP/1.1\r\nHost: " + callers.host(),
		"POST http://" + callers.host() + "/a HTTP/1.1\r\nHost: x",
		"POST http://" + callers.host() + "/a HTTP/1.1\r\nHost: " + callers.host(),
		"POST /a HTTP/1.1\r\nHost: " + callers.host() + "\r\nHost: " + callers.host(),
		"POST //" + callers.host() + "/a HTTP/1.1\r\nHost: x",
		"POST /a HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: " + callers.host(),
		"POST /a HTTP/1.1\r\nHost: x\r\nX-Envoy-Original-Host: " + callers.host() + "\r\nX-Envoy-Original-Dst-Host: " + callers.host(),
		"POST /a HTTP/1.1\r\nHost: x\r\n:authority: " + callers.host(),
		"POST /a HTTP/1.1\r\nHost: x\r\nX-Original-URL: http://" + callers.host() + "/\r\nX-Rewrite-URL: http://" + callers.host() + "/",
	} {
		a := raw(t, address, request+"\r\ncontent-length: 2\r\n\r\n{}")
		if strings.Contains(request, "\r\n:authority") {
			wantError(t, a, 400, "invalid_request_error")
		} else if a.status != 200 {
			t.Errorf("%q: %d %s", request, a.status, a.body)
		}
	}
	went := len(signed.requests())
	for host, details := range map[string]string{
		// Metadata services, in every form that an address has.
		"169.254.169.254":          "address_denied",
		"169.254.170.2:80":         "address_denied",
		"[::ffff:169.254.169.254]": "address_denied",
		"[::ffff:a9fe:a9fe]:80":    "address_denied",
		"[64:ff9b::a9fe:a9fe]":     "address_denied",
		"[fe80::1]":                "address_denied",
		"[fd00:ec2::254]":          "address_denied",
		"100.100.100.200":          "address_denied",
		"168.63.129.16":            "address_denied",
		"[::ffff:192.0.0.192]":     "address_denied",
		"[64:ff9b:1::a9fe:a9fe]":   "address_denied",
		"[2002:a9fe:a9fe::1]":      "address_denied",
		"[fd20:ce::254]":           "address_denied",
		"2852039166":               "dns_resolution_failure", // no number is an address to Envoy's resolver
		"0xa9fea9fe":               "dns_resolution_failure",
		"0251.0376.0251.0376":      "dns_resolution_failure",
		"169.254.43518":            "dns_resolution_failure",
		// No hosts.
		"a b":       "dns_resolution_failure",
		"user@host": "dns_resolution_failure",
		"a/b":       "dns_resolution_failure",
		"a:b":       "dns_resolution_failure",
		"a:99999":   "dns_resolution_failure",
		"[::1":      "dns_resolution_failure",
		".":         "dns_resolution_failure",
	} {
		if (details == "address_denied" || host == ".") && envoytest.Version(t) < 39 {
			continue // docs/attach.md says that those Envoys would go there
		}
		before := len(p.responses())
		a := post(t, address, `{}`, "Host", callers.host(), "x-host", host)
		wantError(t, a, 502, "transport_error")
		if back := p.responses()[before:]; len(back) != ownAnswers(t) || len(back) == 1 && !strings.Contains(back[0][envoy.DetailsHeader], details) {
			t.Errorf("%s: not stopped for what it is: %v", host, back)
		}
	}
	if n := len(callers.requests()); n != 0 {
		t.Errorf("%d requests went where the caller said", n)
	}
	if n := len(signed.requests()) - went; n != 0 {
		t.Errorf("%d requests went out in place of those refused", n)
	}
}

// Requests over whose end two parsers may disagree get an answer or a broken
// connection, at once, and take nothing along.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, httptest.NewServer, ok)
	address, p := serve(t, func(h map[string]string) decision { return forward(u) })
	const post = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, c := range map[string]struct {
		request string
		status  int // 0: the connection is broken off
	}{
		"length and chunked":        {post + "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 400},
		"chunked and length":        {post + "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n" + smuggled, 400},
		"chunked, identity":         {post + "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + smuggled, 501},
		"identity, chunked":         {post + "transfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n" + smuggled, 501},
		"gzip, chunked":             {post + "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + smuggled, 501},
		"chunked twice":             {post + "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 501},
		"chunked behind a tab":      {post + "transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + smuggled, 400},
		"space before the colon":    {post + "transfer-encoding : chunked\r\n\r\n0\r\n\r\n" + smuggled, 400},
		"two lengths":               {post + "content-length: 0\r\ncontent-length: 44\r\n\r\n" + smuggled, 400},
		"two lengths that agree":    {post + "content-length: 2\r\ncontent-length: 2\r\n\r\n{}", 400},
		"a list of lengths":         {post + "content-length: 2, 2\r\n\r\n{}", 400},
		"a length with a sign":      {post + "content-length: +2\r\n\r\n{}", 400},
		"a negative length":         {post + "content-length: -2\r\n\r\n{}", 400},
		"a length in hex":           {post + "content-length: 0x2\r\n\r\n{}", 400},
		"a length past 64 bits":     {post + "content-length: 18446744073709551618\r\n\r\n{}", 400},
		"zero byte in the path":     {"GET /v1/models%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"space in the path":         {"GET /v1/mod els HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"no path":                   {"GET  HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"asterisk":                  {"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"relative path":             {"GET v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"another scheme":            {"GET ftp://x/v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"https, but in the clear":   {"GET https://x/v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 403},
		"a path for a host":         {"GET /v1/models HTTP/1.1\r\nHost: x/y\r\n\r\n", 400},
		"header without a name":     {"GET /v1/models HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", 400},
		"HTTP/1.0":                  {"GET /v1/models HTTP/1.0\r\nHost: x\r\n\r\n", 426},
		"HTTP/0.9":                  {"GET /v1/models\r\n\r\n", 426},
		"HTTP/3.0":                  {"GET /v1/models HTTP/3.0\r\nHost: x\r\n\r\n", 426},
		"TLS on a plaintext port":   {clientHello(t), 400},
		"a chunk size that is none": {post + "transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n" + smuggled, 0},
		"a chunk size past 64 bits": {post + "transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n" + smuggled, 0},
		"a negative chunk size":     {post + "transfer-encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n" + smuggled, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := exchange(t, address, c.request)
			switch {
			case c.status != 0 && err != nil:
				t.Fatal(err)
			case c.status != 0:
				wantError(t, a, c.status, "invalid_request_error")
			case err == nil && a.status < 400:
				t.Errorf("answered with %d %s", a.status, a.body)
			case err != nil && errors.Is(err, os.ErrDeadlineExceeded):
				t.Error("left hanging")
			}
		})
	}
	for _, h := range p.requests() {
		if h[":path"] == "/smuggled" {
			t.Error("a request came in with another's body")
		}
	}
	// What two parsers do agree on is served.
	for name, request := range map[string]string{
		"chunk extensions": post + "transfer-encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n",
		"trailers":         post + "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx-aisix-egress: tls\r\n\r\n",
		"a folded header":  post + "x-a: b\r\n c\r\ncontent-length: 2\r\n\r\n{}",
		"bare line feeds":  "GET /v1/models HTTP/1.1\nHost: x\n\n",
		"pipelined":        post + "content-length: 2\r\n\r\n{}" + post + "content-length: 2\r\n\r\n{}",
	} {
		if a := raw(t, address, request); a.status != 200 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for _, r := range u.requests() {
		if len(r.Trailer) > 0 {
			t.Errorf("the upstream got trailers %v", r.Trailer)
		}
	}
}

// clientHello is the first that a TLS client says.
func clientHello(t *testing.T) string {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go tls.Client(client, &tls.Config{ServerName: "x"}).Handshake() //nolint:errcheck // it ends with the pipe
	b := make([]byte, 16<<10)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// exchange sends bytes and reads one answer, or says how there was none.
func exchange(t *testing.T, address, request string) (answer, error) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	go io.WriteString(c, request) // the answer may come before all of it is taken
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b)}, err
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, httptest.NewServer, ok)
	address, _ := serve(t, func(h map[string]string) decision {
		if h["authorization"] == "" {
			return decision{reject: immediate(401, "application/json", "{}")}
		}
		return forward(u)
	})
	for authorization, want := range map[string]int{"": 401, "authorization: Bearer k\r\n": 200} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"+authorization+"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode == 100 {
			io.WriteString(c, "{}")
			if resp, err = http.ReadResponse(r, nil); err != nil {
				t.Fatal(err)
			}
		}
		if resp.StatusCode != want {
			t.Errorf("%q: %d", authorization, resp.StatusCode)
		}
	}
}

// Headers that drip in end within the timeout of the whole request.
func TestSlowHeaders(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.RequestTimeout = time.Second
	address := start(t, o)
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		for _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nx-slow: "); err == nil; _, err = io.WriteString(c, "a") {
			time.Sleep(20 * time.Millisecond)
		}
	}()
	began := time.Now()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, read(t, resp), 408, "invalid_request_error")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// HTTP/2 requests that no library sends: each is refused, or is what extproc made
// of it.
func TestHTTP2Attacks(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, httptest.NewServer, ok)
	evil := newUpstream(t, httptest.NewServer, ok)
	address, p := serve(t, func(h map[string]string) decision {
		if h[":path"] == "/v1/models" || h[":path"] == "/" {
			return forward(u)
		}
		return decision{reject: immediate(404, "application/json", "{}")}
	})
	base := func(more ...string) []string {
		return append([]string{":method", "POST", ":scheme", "http", ":authority", "x", ":path", "/v1/models"}, more...)
	}
	for name, c := range map[string]struct {
		fields []string
		want   string // statuses that are right; "reset" where the stream or connection ends
	}{
		"as it should be":           {base(), "200"},
		"another host":              {base("host", evil.host()), "200 400 reset"},
		"the evil authority":        {[]string{":method", "POST", ":scheme", "http", ":authority", evil.host(), ":path", "/v1/models"}, "200"},
		"host in place of it":       {[]string{":method", "POST", ":scheme", "http", ":path", "/v1/models", "host", evil.host()}, "200"},
		"authority with user":       {[]string{":method", "POST", ":scheme", "http", ":authority", "u@" + evil.host(), ":path", "/v1/models"}, "200 400 reset"},
		"two authorities":           {[]string{":method", "POST", ":scheme", "http", ":authority", "x", ":authority", evil.host(), ":path", "/v1/models"}, "400 reset"},
		"two paths":                 {base(":path", "/other"), "400 reset"},
		"no path":                   {[]string{":method", "POST", ":scheme", "http", ":authority", "x"}, "400 reset"},
		"empty path":                {[]string{":method", "POST", ":scheme", "http", ":authority", "x", ":path", ""}, "400 reset"},
		"absolute path":             {[]string{":method", "POST", ":scheme", "http", ":authority", "x", ":path", "http://" + evil.host() + "/v1/models"}, "400 404 reset"},
		"asterisk":                  {[]string{":method", "OPTIONS", ":scheme", "http", ":authority", "x", ":path", "*"}, "400 404 reset"},
		"dots":                      {[]string{":method", "POST", ":scheme", "http", ":authority", "x", ":path", "/v1/../v1//models"}, "200"},
		"fragment":                  {[]string{":method", "POST", ":scheme", "http", ":authority", "x", ":path", "/v1/models#x"}, "400 reset"},
		"no method":                 {[]string{":scheme", "http", ":authority", "x", ":path", "/v1/models"}, "400 reset"},
		"unknown scheme":            {[]string{":method", "POST", ":scheme", "ftp", ":authority", "x", ":path", "/v1/models"}, "200 400 403 reset"},
		"unknown pseudo-header":     {base(":egress", "tls"), "400 reset"},
		"pseudo-header behind":      {[]string{":method", "POST", ":scheme", "http", ":authority", "x", "x-a", "b", ":path", "/v1/models"}, "400 reset"},
		"upper case":                {base("X-Aisix-Egress", "tls"), "400 reset"},
		"routing header":            {base("x-aisix-egress", "tls", "x-envoy-original-path", "/x"), "200"},
		"transfer-encoding":         {base("transfer-encoding", "chunked"), "200 400 reset"},
		"connection":                {base("connection", "x-aisix-egress"), "200 400 reset"},
		"upgrade":                   {base("upgrade", "websocket"), "400 405 reset"},
		"line feed in a value":      {base("x-a", "b\r\nx-aisix-egress: tls"), "400 reset"},
		"zero byte in a value":      {base("x-a", "b\x00c"), "400 reset"},
		"a length that is too long": {base("content-length", "10"), "400 reset"},
		"two lengths":               {base("content-length", "0", "content-length", "1"), "400 reset"},
		"CONNECT":                   {[]string{":method", "CONNECT", ":authority", evil.host()}, "400 403 405 reset"},
		"extended CONNECT":          {[]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", evil.host(), ":path", "/v1/models"}, "400 405 reset"},
	} {
		if name == "pseudo-header behind" && envoytest.Version(t) < 37 {
			c.want = "200 " + c.want // it is put in its place
		}
		t.Run(name, func(t *testing.T) {
			got := http2Request(t, address, c.fields)
			if !strings.Contains(c.want, got) {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	if n := len(evil.requests()); n != 0 {
		t.Errorf("%d requests went where the caller said", n)
	}
	for _, r := range u.requests() {
		if r.Host != u.host() || r.URL.Path != "/model/m/converse" {
			t.Errorf("the upstream got %s %s", r.Host, r.URL)
		}
	}
	for _, h := range p.requests() {
		for k := range h {
			if strings.Contains(k, "egress") || strings.HasPrefix(k, "x-envoy-original") {
				t.Errorf("extproc was shown the caller's %s", k)
			}
		}
	}
}

// http2Request sends header fields as they are, on a connection of their own, and
// says what status came of it, or "reset".
func http2Request(t *testing.T, address string, fields []string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, c)
	f.WriteSettings()
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		frame, err := f.ReadFrame()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("left hanging")
		}
		if err != nil {
			return "reset"
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "reset"
		}
	}
}
