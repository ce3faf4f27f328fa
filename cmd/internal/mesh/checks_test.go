package mesh

import (
	"bufio"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// check is one thing that is asked in every cell. They run in this order, on one attachment.
type check struct {
	name string
	ask  func(t *testing.T, a *attachment, c *caller)
}

var checks = []check{
	{"ready", func(t *testing.T, a *attachment, c *caller) { a.ready(t) }},
	{"a chat", func(t *testing.T, a *attachment, c *caller) {
		a.bedrock.take()
		if got := c.chat(t, c.plain, "Hello"); got.status != 200 || !strings.Contains(got.body, `"finish_reason":"stop"`) {
			t.Fatal(got)
		}
		wentUp(t, a, a.bedrock, c)
	}},
	{"a chat over TLS", func(t *testing.T, a *attachment, c *caller) {
		if got := c.chat(t, c.tls, "Hello"); got.status != 200 {
			t.Fatal(got)
		}
		wentUp(t, a, a.tls, c)
	}},
	{"a stream", func(t *testing.T, a *attachment, c *caller) {
		got := c.call(t, http.MethodPost, "/v1/chat/completions", ask(c.plain, "Tell me a story.", true))
		if got.status != 200 || !strings.Contains(got.body, "data: [DONE]") {
			t.Fatal(got)
		}
	}},
	{"a stream comes as it is made", func(t *testing.T, a *attachment, c *caller) {
		r := a.request(t, t.Context(), http.MethodPost, a.domain, "/v1/chat/completions", ask(c.plain, "sim:after=3 sim:stall-mid Tell me a story.", true), "Authorization", "Bearer "+c.key)
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		// The first event and a comment: the answer does not end.
		lines := bufio.NewScanner(response.Body)
		for _, want := range []string{"data: ", ":"} {
			for {
				if !lines.Scan() {
					t.Fatalf("no line with %q: %v", want, lines.Err())
				}
				if strings.HasPrefix(lines.Text(), want) {
					break
				}
			}
		}
	}},
	{"five megabytes", func(t *testing.T, a *attachment, c *caller) {
		a.bedrock.take()
		text := strings.Repeat("x", 5<<20)
		if got := c.chat(t, c.plain, text); got.status != 200 {
			t.Fatal(got)
		}
		if up := a.bedrock.take(); len(up) != 1 || strings.Count(string(up[0].Body), "x") < len(text) {
			t.Fatalf("%d requests went up, not one whole", len(up))
		}
	}},
	{"five megabytes over HTTP/2", func(t *testing.T, a *attachment, c *caller) {
		a.bedrock.take()
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		transport := &http.Transport{Protocols: protocols}
		defer transport.CloseIdleConnections()
		r := a.request(t, t.Context(), http.MethodPost, a.domain, "/v1/chat/completions", ask(c.plain, strings.Repeat("x", 5<<20), false), "Authorization", "Bearer "+c.key)
		response, err := (&http.Client{Transport: transport, Timeout: patience}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, response); got.status != 200 || response.ProtoMajor != 2 || len(a.bedrock.take()) != 1 {
			t.Fatal(got)
		}
	}},
	{"a key that is not one", func(t *testing.T, a *attachment, c *caller) {
		c.chat(t, c.plain, "Hello", "Authorization", "Bearer wrong").wantError(t, 401, "invalid_api_key")
	}},
	{"another port in Host", func(t *testing.T, a *attachment, c *caller) {
		got := send(t, a.request(t, t.Context(), http.MethodPost, a.domain+":8443", "/v1/chat/completions", ask(c.plain, "Hello", false), "Authorization", "Bearer "+c.key))
		if got.status != 200 {
			t.Error(got)
		}
	}},
	{"the caller's request id", func(t *testing.T, a *attachment, c *caller) {
		if got := c.chat(t, c.plain, "Hello", "x-request-id", "the-callers-own").header.Get("x-aisix-request-id"); got != "the-callers-own" {
			t.Errorf("request id %q", got)
		}
	}},
	{"a page of a browser", func(t *testing.T, a *attachment, c *caller) {
		const page = "https://app.example.com"
		for _, origin := range []string{page, "https://elsewhere.example.com"} {
			allowed := ""
			if origin == page {
				allowed = page
			}
			got := send(t, a.request(t, t.Context(), http.MethodOptions, a.domain, "/v1/chat/completions", "",
				"Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type"))
			if (got.status == 204) != (allowed != "") || got.header.Get("access-control-allow-origin") != allowed {
				t.Errorf("a preflight of %s: %v", origin, got)
			}
			if allowed != "" && got.header.Get("access-control-allow-headers") != "authorization,content-type" {
				t.Errorf("a preflight of %s: %v", origin, got)
			}
			for _, got := range []answer{c.chat(t, c.plain, "Hello", "Origin", origin), c.chat(t, c.plain, "Hello", "Origin", origin, "Authorization", "Bearer wrong"), c.chat(t, c.dead, "Hello", "Origin", origin)} {
				if got.header.Get("access-control-allow-origin") != allowed || strings.Contains(got.header.Get("access-control-expose-headers"), "x-aisix-request-id") != (allowed != "") {
					t.Errorf("an answer to %s: %v", origin, got)
				}
			}
			if got := send(t, a.request(t, t.Context(), http.MethodGet, a.owner, "/", "", append(a.theirs(), "Origin", origin)...)); got.header.Get("access-control-allow-origin") != "" {
				t.Errorf("the owner's own: %v", got)
			}
		}
	}},
	{"an upstream that is gone", func(t *testing.T, a *attachment, c *caller) {
		c.chat(t, c.dead, "Hello").wantError(t, 502, "transport_error")
	}},
	{"another target", func(t *testing.T, a *attachment, c *caller) {
		for _, stream := range []bool{false, true} {
			a.bedrock.take()
			got := c.call(t, http.MethodPost, "/v1/chat/completions", ask(c.two, "Hello", stream))
			if !a.egress { // then a call has one try
				got.wantError(t, 502, "transport_error")
				continue
			}
			if got.status != 200 || stream != strings.HasSuffix(got.body, "data: [DONE]\n\n") || got.header.Get("x-aisix-target") != "well" || got.header.Get("x-aisix-attempts") != "2" {
				t.Error(got)
			}
			wentUp(t, a, a.bedrock, c)
		}
	}},
	{"callers open no way out", func(t *testing.T, a *attachment, c *caller) {
		a.bedrock.take()
		for _, host := range []string{a.domain, a.owner, "elsewhere.example.com"} {
			for _, key := range []string{"wrong", c.key} {
				send(t, a.request(t, t.Context(), http.MethodPost, host, "/model/x/converse", `{}`,
					"Authorization", "Bearer "+key, "x-aisix-egress", "plaintext", "x-aisix-host", a.bedrock.host()))
			}
		}
		if up := a.bedrock.take(); len(up) != 0 {
			t.Errorf("went up: %s", up[0].text())
		}
		for _, r := range a.shop.take() {
			if r.Host != a.owner || r.Header.Get("x-aisix-host")+r.Header.Get("x-aisix-egress") != "" {
				t.Errorf("the shop got %s", r.text())
			}
		}
	}},
	{"the owner's own site", ownSite},
	{"extproc is killed", func(t *testing.T, a *attachment, c *caller) {
		a.process.Kill()
		a.bedrock.take()
		a.shop.take()
		c.chat(t, c.plain, "Hello").wantError(t, 503, "gateway_unavailable")
		ownSite(t, a, c)
		if up := a.bedrock.take(); len(up) != 0 {
			t.Errorf("went up without extproc: %s", up[0].text())
		}
		if err := a.process.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.ready(t)
		if got := c.chat(t, c.plain, "Hello"); got.status != 200 {
			t.Error(got)
		}
	}},
	{"the owner's access log", func(t *testing.T, a *attachment, c *caller) {
		if a.log == nil {
			return
		}
		send(t, a.request(t, t.Context(), http.MethodGet, a.owner, "/the-last", "", theirs()...))
		eventually(t, func() error {
			if !strings.Contains(a.log(), "/the-last") {
				return fmt.Errorf("no line of theirs: %s", a.log())
			}
			return nil
		})
		for line := range strings.Lines(a.log()) { // of what went to another host, the owner logs what he likes
			if strings.Contains(line, "AWS4-HMAC") || strings.Contains(line, c.key) && strings.Contains(line, a.domain) {
				t.Errorf("the log has %s", line)
			}
		}
	}},
}

// wentUp fails unless one request did, signed, with nothing of ours or the caller's.
func wentUp(t *testing.T, a *attachment, to *recorder, c *caller) {
	t.Helper()
	up := to.take()
	if len(up) != 1 {
		t.Fatalf("%d requests went up", len(up))
	}
	r := up[0]
	if !signed(r, to, c) {
		t.Errorf("went up: %s", r.text())
	}
	for name := range r.Header {
		if name := strings.ToLower(name); strings.HasPrefix(name, "x-aisix-") || strings.HasPrefix(name, "x-envoy-") || name == "cookie" || name == "x-request-id" || strings.HasPrefix(name, "x-forwarded") {
			t.Errorf("%s went up", name)
		}
	}
}

// theirs are the headers of the owner's own users.
func theirs() []string {
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"acme","sub":"ann"}`))
	mac := hmac.New(sha256.New, []byte("acme's own secret"))
	mac.Write([]byte(claims))
	return []string{"x-acme", "yes", "x-acme-token", claims + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), "Authorization", "Bearer theirs", "x-amz-date", "theirs"}
}

// theirs are those where the owner has his users authorize themselves by a token of his own.
func (a *attachment) theirs() []string {
	headers := theirs()
	if a.ownerToken != "" {
		headers[slices.Index(headers, "Authorization")+1] = "Bearer " + a.ownerToken
	}
	return headers
}

// ownSite is that the owner's own callers see no difference: a page, a file, a websocket.
func ownSite(t *testing.T, a *attachment, c *caller) {
	t.Helper()
	a.shop.take()
	if got := send(t, a.request(t, t.Context(), http.MethodGet, a.owner, "/", "", a.theirs()...)); got.status != 200 || got.body != "<html><h1>the shop</h1></html>" {
		t.Errorf("a page: %v", got)
	}
	if r := a.shop.take(); len(r) != 1 || r[0].Header.Get("authorization") != "Bearer "+cmp.Or(a.ownerToken, "theirs") || r[0].Header.Get("x-amz-date") != "theirs" || strings.Contains(strings.ToLower(r[0].text()), "aisix") {
		t.Errorf("the shop got %+v", r)
	}
	if got := send(t, a.request(t, t.Context(), http.MethodPost, a.owner, "/upload", strings.Repeat("y", 3<<20), a.theirs()...)); got.status != 200 || got.body != fmt.Sprint("took ", 3<<20) {
		t.Errorf("a file: %v", got)
	}
	more := ""
	for i, h := 0, a.theirs(); i < len(h); i += 2 {
		more += h[i] + ": " + h[i+1] + "\r\n"
	}
	conn, r, response := a.raw(t, "GET /socket HTTP/1.1\r\nHost: "+a.owner+"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"+more+"\r\n")
	if response.StatusCode != 101 {
		t.Fatalf("a websocket: %v", response.Status)
	}
	io.WriteString(conn, "again")
	said := make([]byte, 5)
	if _, err := io.ReadFull(r, said); err != nil || string(said) != "again" {
		t.Errorf("a websocket said %q, %v", said, err)
	}
	a.shop.take()
	if !a.guarded {
		return
	}
	if got := send(t, a.request(t, t.Context(), http.MethodGet, a.owner, "/", "")); got.status != 401 || !strings.HasPrefix(got.body, "<html><h1>ACME") {
		t.Errorf("a stranger: %v", got)
	}
	if r := a.shop.take(); len(r) != 0 {
		t.Errorf("the shop got a stranger's %+v", r)
	}
	for _, r := range a.authz.take() {
		if r.Host == a.domain || strings.Contains(r.text(), c.key) {
			t.Errorf("their authorization was asked about %s", r.text())
		}
	}
}

// leaksNothing is what must hold whichever part of the gateway is gone: whatever callers say, nothing
// reaches an upstream or the owner's application. Where callers are served still, what goes up is what
// extproc has signed.
func leaksNothing(t *testing.T, a *attachment, c *caller, served bool) {
	t.Helper()
	if served {
		a.ready(t)
	}
	a.bedrock.take()
	a.tls.take()
	a.shop.take()
	body := ask(c.plain, "a prompt that is nobody else's", false)
	for _, host := range []string{a.domain, a.domain + ":8443"} {
		for _, path := range []string{"/v1/chat/completions", "/model/amazon.nova-pro-v1%3A0/converse", "/"} {
			for _, more := range [][]string{nil, {"x-aisix-egress", "plaintext", "x-aisix-host", a.bedrock.host()}, {"x-aisix-egress", "tls", "x-aisix-host", a.tls.host()}, {"x-aisix-egress", "plaintext", "x-aisix-host", a.shop.host()}} {
				got := send(t, a.request(t, t.Context(), http.MethodPost, host, path, body, append([]string{"Authorization", "Bearer " + c.key}, more...)...))
				if got.status < 400 && !(served && path == "/v1/chat/completions") {
					t.Errorf("%s %s %v: %v", host, path, more, got)
				}
			}
		}
	}
	up := a.bedrock.take()
	if served {
		up = slices.DeleteFunc(up, func(q request) bool { return signed(q, a.bedrock, c) })
	}
	for _, q := range up {
		t.Errorf("Bedrock got %s", q.text())
	}
	for name, r := range map[string]*recorder{"Bedrock over TLS": a.tls, "the shop": a.shop} {
		for _, q := range r.take() {
			t.Errorf("%s got %s", name, q.text())
		}
	}
	ownSite(t, a, c)
}

// signed reports whether a request is extproc's, with nothing of the caller's.
func signed(r request, to *recorder, c *caller) bool {
	return r.Host == to.host() && strings.HasPrefix(r.Header.Get("authorization"), "AWS4-HMAC-SHA256 ") && !strings.Contains(r.text(), c.key)
}
