package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends bytes as they are, and reads the one answer.
func (g *gateway) raw(t *testing.T, request string) answer {
	t.Helper()
	connection := g.dial(t)
	connection.SetDeadline(time.Now().Add(patience))
	go io.WriteString(connection, request) // an answer may come before all is sent
	method, _, _ := strings.Cut(request, " ")
	r := &http.Request{Method: method}
	response, err := http.ReadResponse(bufio.NewReader(connection), r)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("half an answer: %v", err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

// Whatever is wrong with a request, the caller is told in the contract's shape, nothing reaches the
// upstream, and the next request is served.
func TestBadInput(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	c := shared(t).tenant(t, u.URL, settings{})
	chat := func(body string, header ...string) func(*testing.T) answer {
		return func(t *testing.T) answer {
			a, err := do(t.Context(), http.MethodPost, c.proxy+"/v1/chat/completions", c.key, body, header...)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
	}
	raw := func(request string) func(*testing.T) answer {
		request = strings.NewReplacer("KEY", c.key, "UPSTREAM", strings.TrimPrefix(u.URL, "http://")).Replace(request)
		return func(t *testing.T) answer { return c.raw(t, request) }
	}
	with := func(members string) string { return `{"model":"` + c.alias + `",` + members + `}` }
	const message = `"messages":[{"role":"user","content":"x"}]`
	type want struct {
		status      int
		kind, param string
	}
	invalid := func(status int) want { return want{status: status, kind: "invalid_request_error"} }
	for name, test := range map[string]struct {
		ask func(*testing.T) answer
		want
	}{
		"nothing":                 {chat(" "), invalid(400)},
		"no body":                 {raw("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n"), invalid(400)},
		"an empty chunked body":   {raw("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), invalid(400)},
		"not JSON":                {chat("hello"), invalid(400)},
		"cut JSON":                {chat(`{"model":"x","messages":[`), invalid(400)},
		"two documents":           {chat(with(message) + "{}"), invalid(400)},
		"an array":                {chat("[]"), invalid(400)},
		"invalid UTF-8":           {chat(with("\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]")), invalid(400)},
		"a member twice":          {chat(with(message + `,"model":"y"`)), invalid(400)},
		"a NUL":                   {chat(with(message) + "\x00"), invalid(400)},
		"no model":                {chat("{" + message + "}"), want{400, "invalid_request_error", "model"}},
		"model is a number":       {chat(`{"model":1,` + message + "}"), want{400, "invalid_request_error", "model"}},
		"unknown model":           {chat(`{"model":"nobody",` + message + "}"), want{404, "model_not_found", "model"}},
		"a model like a path":     {chat(`{"model":"../../admin",` + message + "}"), want{404, "model_not_found", "model"}},
		"no messages":             {chat(with(`"stream":false`)), want{400, "invalid_request_error", "messages"}},
		"messages is an object":   {chat(with(`"messages":{}`)), want{400, "invalid_request_error", "messages"}},
		"content is a number":     {chat(with(`"messages":[{"role":"user","content":7}]`)), want{400, "invalid_request_error", "messages[0].content"}},
		"unknown role":            {chat(with(`"messages":[{"role":"wizard","content":"x"}]`)), want{400, "invalid_request_error", "messages[0].role"}},
		"temperature is a string": {chat(with(message + `,"temperature":"hot"`)), want{400, "invalid_request_error", "temperature"}},
		"stream is a string":      {chat(with(message + `,"stream":"yes"`)), want{400, "invalid_request_error", "stream"}},
		"max_tokens is 0":         {chat(with(message + `,"max_tokens":0`)), want{400, "invalid_request_error", "max_tokens"}},
		"max_tokens is huge":      {chat(with(message + `,"max_tokens":1e400`)), want{400, "invalid_request_error", "max_tokens"}},
		"n is 2":                  {chat(with(message + `,"n":2`)), want{400, "invalid_request_error", "n"}},
		"unknown member":          {chat(with(message + `,"frobnicate":1`)), want{400, "invalid_request_error", "frobnicate"}},
		"deep":                    {chat(with(`"messages":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000))), invalid(400)},
		"deep in a schema":        {chat(with(message + `,"tools":[{"type":"function","function":{"name":"f","parameters":` + strings.Repeat(`{"a":`, 400) + "1" + strings.Repeat("}", 400) + "}}]")), invalid(400)},
		"over the limit":          {chat(with(`"messages":[{"role":"user","content":"` + strings.Repeat("x", 11<<20) + `"}]`)), invalid(413)},
		"over the limit, said so": {raw("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: 99999999\r\n\r\n{"), invalid(413)},
		"a gzip bomb":             {chat(bomb(t), "Content-Encoding", "gzip"), invalid(413)},
		"no gzip":                 {chat(with(message), "Content-Encoding", "gzip"), invalid(400)},
		"brotli":                  {chat(with(message), "Content-Encoding", "br"), invalid(415)},

		"no key":              {raw("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"), want{401, "invalid_api_key", ""}},
		"no key, huge body":   {raw("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + strings.Repeat("x", 1<<20)), want{401, "invalid_api_key", ""}},
		"unknown key":         {raw("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-nobody\r\nContent-Length: 2\r\n\r\n{}"), want{401, "invalid_api_key", ""}},
		"basic authorization": {raw("GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Basic KEY\r\nX-Api-Key: KEY\r\n\r\n"), want{401, "invalid_api_key", ""}},
		"two keys":            {raw("GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-nobody\r\nAuthorization: Bearer KEY\r\n\r\n"), want{401, "invalid_api_key", ""}},

		"unknown path without a key": {raw("GET /admin/v1/models HTTP/1.1\r\nHost: x\r\n\r\n"), want{401, "invalid_api_key", ""}},
		"unknown path":               {raw("GET /admin/v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n"), invalid(404)},
		"Bedrock's own path":         {raw("POST /model/amazon.nova-pro-v1%3A0/converse HTTP/1.1\r\nHost: UPSTREAM\r\nAuthorization: Bearer KEY\r\nContent-Length: 2\r\n\r\n{}"), invalid(404)},
		"dot segments":               {raw("POST /v1/chat/completions/../../model/x/converse HTTP/1.1\r\nHost: UPSTREAM\r\nAuthorization: Bearer KEY\r\nContent-Length: 2\r\n\r\n{}"), invalid(404)},
		"encoded dot segments":       {raw("POST /v1/%2e%2e/model/x/converse HTTP/1.1\r\nHost: UPSTREAM\r\nAuthorization: Bearer KEY\r\nContent-Length: 2\r\n\r\n{}"), invalid(404)},
		"encoded slashes":            {raw("POST /v1%2fchat%2fcompletions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: 2\r\n\r\n{}"), invalid(404)},
		"a model that is no model":   {raw("GET /v1/models/..%2f..%2fadmin HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n"), want{404, "model_not_found", "model"}},
		"wrong method":               {raw("GET /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n"), invalid(405)},
		"another's origin":           {raw("POST http://UPSTREAM/model/x/converse HTTP/1.1\r\nHost: UPSTREAM\r\nAuthorization: Bearer KEY\r\nx-aisix-egress: plaintext\r\nContent-Length: 2\r\n\r\n{}"), invalid(404)},
		"smuggled egress":            {raw("GET /anything HTTP/1.1\r\nHost: UPSTREAM\r\nAuthorization: Bearer KEY\r\nx-aisix-egress: plaintext\r\nX-AISIX-EGRESS: tls\r\n\r\n"), invalid(404)},
		"smuggled egress, no key":    {raw("GET / HTTP/1.1\r\nHost: UPSTREAM\r\nx-aisix-egress: plaintext\r\n\r\n"), want{401, "invalid_api_key", ""}},
		"CONNECT":                    {raw("CONNECT UPSTREAM HTTP/1.1\r\nHost: UPSTREAM\r\nAuthorization: Bearer KEY\r\n\r\n"), invalid(405)},
		"an upgrade":                 {raw("GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"), invalid(405)},
		"large headers":              {raw("GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + strings.Repeat("x", 80<<10) + "\r\n\r\n"), invalid(431)},
		"two lengths":                {raw("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), invalid(400)},
		"length and chunked":         {raw("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), invalid(400)},
		"not HTTP":                   {raw("hello\r\n\r\n"), invalid(400)},
	} {
		t.Run(name, func(t *testing.T) {
			a := test.ask(t)
			a.want(t, test.status, test.kind)
			if _, _, param := a.fault(); test.param != "" && param != test.param {
				t.Errorf("param %q, want %q: %s", param, test.param, a.body)
			}
			if a.status == http.StatusMethodNotAllowed && name == "wrong method" && a.header.Get("allow") != "POST" {
				t.Errorf("allow %q", a.header.Get("allow"))
			}
		})
	}
	if n := u.requests(); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
	c.served(t)
}

// bomb is much in little.
func bomb(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for range 64 {
		z.Write(make([]byte, 1<<20))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What a caller says about signing, routing and forwarding reaches neither Bedrock nor anybody else.
func TestSmuggledHeaders(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 1)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		w.Header().Set("X-Amzn-Bedrock-Invocation-Latency", "5")
		w.Header().Set("Via", "1.1 aws")
		whole(w, "Hello.")
	})
	c := shared(t).tenant(t, u.URL, settings{})
	a, err := c.chat(t.Context(), "Hello",
		"X-Amz-Security-Token", "stolen", "X-Amz-Date", "20200101T000000Z", "X-Amz-Target", "x", "X-Amzn-Trace-Id", "x",
		"X-Aisix-Egress", "tls", "X-Envoy-Original-Path", "/x", "X-Envoy-Upstream-Rq-Timeout-Ms", "1", "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Host", "evil.example",
		"Cookie", "a=b", "X-Api-Key", "sk-other", "Accept-Encoding", "gzip", "Te", "trailers", "Forwarded", "for=1.2.3.4", "X-Request-Id", "the-callers-own", "User-Agent", "openai/1")
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %s %v", a.status, a.body, err)
	}
	if id := a.header.Get("x-aisix-request-id"); id != "the-callers-own" {
		t.Errorf("request id %q", id)
	}
	for name := range a.header {
		switch name {
		case "Content-Type", "Content-Length", "Date", "Connection", "X-Aisix-Request-Id", "X-Aisix-Attempts":
		default:
			t.Errorf("the caller sees %s: %q", name, a.header[name])
		}
	}
	r := <-seen
	if got := "http://" + r.Host; got != u.URL {
		t.Errorf("host %q", r.Host)
	}
	for name, values := range r.Header {
		switch name {
		case "Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "Content-Type", "Content-Length", "Accept":
			if len(values) != 1 || strings.Contains(fmt.Sprint(values), "Bearer") || values[0] == "20200101T000000Z" {
				t.Errorf("upstream got %s: %q", name, values)
			}
		default:
			t.Errorf("upstream got %s: %q", name, values)
		}
	}
}

// A slow upload is cut off, by Envoy and in our shape.
func TestSlowUpload(t *testing.T) {
	t.Parallel()
	g := start(t, options{env: []string{"AISIX_TIMEOUTS__REQUEST=300ms"}})
	c := g.tenant(t, newUpstream(t, nil).URL, settings{})
	a := c.raw(t, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+c.key+"\r\nContent-Length: 100\r\n\r\n{")
	a.want(t, http.StatusRequestTimeout, "invalid_request_error")
	line := c.accessLine(t, func(map[string]any) bool { return true })
	if line["status"] != float64(408) && line["outcome"] != "cancelled" {
		t.Errorf("recorded as %v", line)
	}
	c.served(t)
}

// A caller that asks before it sends its body (curl does, with larger ones) is told to go on.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	c := shared(t).tenant(t, newUpstream(t, nil).URL, settings{})
	connection := c.dial(t)
	connection.SetDeadline(time.Now().Add(patience))
	body := c.ask(strings.Repeat("x", 2<<20), false)
	fmt.Fprintf(connection, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", c.key, len(body))
	in := bufio.NewReader(connection)
	line, err := in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("%q, %v", line, err)
	}
	in.ReadString('\n')
	io.WriteString(connection, body)
	response, err := http.ReadResponse(in, nil)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", response, err)
	}
}
