package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"aisix/cmd/internal/stack"
)

// What can go wrong on the way to the upstream and back, as the caller and the operator see it.
func TestUpstreamFails(t *testing.T) {
	t.Parallel()
	g := shared(t)
	nobody, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	answers := func(status int, contentType, body string) string {
		return newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Location", "http://"+nobody+"/")
			w.WriteHeader(status)
			io.WriteString(w, body)
		}).URL
	}
	silent := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	begins := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "{")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	short := map[string]any{"timeout": 300}
	for _, test := range []struct {
		name     string
		upstream string
		model    map[string]any
		stream   bool
		status   int
		kind     string
		code     string
		log      string // in the operator's error line
	}{
		{name: "nobody listens", upstream: "http://" + nobody, status: 502, kind: "transport_error", log: "connect"},
		{name: "no such host", upstream: "http://no-such-host.invalid", status: 502, kind: "transport_error", log: "dns"},
		{name: "a certificate of nobody's", upstream: stranger(t), status: 502, kind: "transport_error", log: "CERTIFICATE_VERIFY_FAILED"},
		{name: "plaintext where TLS should be", upstream: strings.Replace(answers(200, "", ""), "http:", "https:", 1), status: 502, kind: "transport_error", log: "TLS"},
		{name: "reset before the headers", upstream: newUpstream(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }).URL, status: 502, kind: "transport_error", log: "reset"},
		{name: "silent", upstream: newUpstream(t, silent).URL, model: short, status: 504, kind: "timeout", log: "deadline"},
		{name: "silent stream", upstream: newUpstream(t, silent).URL, model: map[string]any{"stream_timeout": 300}, stream: true, status: 504, kind: "timeout", log: "deadline"},
		{name: "silent in the middle", upstream: newUpstream(t, begins).URL, model: short, status: 504, kind: "timeout", log: "timeout"},
		{name: "a redirect", upstream: answers(302, "text/html", "moved"), status: 502, kind: "upstream_error"},
		{name: "Bedrock's own 503", upstream: answers(503, "application/json", `{"message":"busy"}`), status: 503, kind: "upstream_error", code: "overloaded", log: "busy"},
		{name: "Bedrock's own 504", upstream: answers(504, "application/json", `{"message":"late"}`), status: 504, kind: "timeout", log: "late"},
		{name: "a huge error", upstream: answers(400, "application/json", `{"message":"`+strings.Repeat("x", 3<<20)+`"}`), status: 400, kind: "upstream_error"},
		{name: "HTML", upstream: answers(200, "text/html", "<html>"), status: 502, kind: "upstream_error", log: "text/html"},
		{name: "a stream answered by JSON", upstream: answers(200, "application/json", `{"message":"x"}`), stream: true, status: 502, kind: "upstream_error"},
		{name: "empty", upstream: answers(200, "application/json", ""), status: 502, kind: "upstream_error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := g.tenant(t, test.upstream, settings{model: test.model})
			a, err := do(t.Context(), http.MethodPost, g.proxy+"/v1/chat/completions", c.key, c.ask("Hello", test.stream))
			if err != nil {
				t.Fatal(err)
			}
			a.want(t, test.status, test.kind)
			if _, code, _ := a.fault(); code != test.code {
				t.Errorf("code %q, want %q", code, test.code)
			}
			for _, word := range []string{"envoy", "127.0.0.1", "invalid:", strings.TrimPrefix(test.upstream, "http://")} {
				if strings.Contains(a.body, word) {
					t.Errorf("the caller sees %q in %s", word, a.body)
				}
			}
			line := c.errorLine(t)
			if text := fmt.Sprint(line["error"]); !strings.Contains(text, test.log) {
				t.Errorf("the operator reads %q, want %q in it", text, test.log)
			}
		})
	}
}

// The operator's line has AWS's own words beside ours; the caller's answer has none of AWS's
// identifiers.
func TestOperatorFindsAWSsWords(t *testing.T) {
	t.Parallel()
	g := shared(t)
	c := g.tenant(t, g.SimURL(), settings{id: claude})
	a, err := c.chat(t.Context(), "Hello sim:deny")
	if err != nil {
		t.Fatal(err)
	}
	a.want(t, http.StatusForbidden, "upstream_error")
	line := c.errorLine(t)
	text := fmt.Sprint(line["error"])
	if !strings.Contains(text, "AccessDeniedException") || !strings.Contains(text, "arn:aws") {
		t.Errorf("the operator reads %q", text)
	}
	ids, _ := line["upstream_request_ids"].([]any)
	if len(ids) != 1 || line["request_id"] != a.header.Get("x-aisix-request-id") {
		t.Fatalf("request ids in %v", line)
	}
	for _, word := range append([]string{"arn:", "us-west-2", "123456789012", "AKIA"}, fmt.Sprint(ids[0])) {
		if strings.Contains(a.body, word) {
			t.Errorf("the caller sees %q: %s", word, a.body)
		}
	}
	for _, part := range g.Parts() {
		if log := string(part.Log()); strings.Contains(log, "YOUR_AWS_SECRET_ACCESS_KEY") || strings.Contains(log, c.key) || strings.Contains(log, "sim:deny") {
			t.Errorf("%s logs a secret or a prompt", part.Name)
		}
	}
}

// A private endpoint over TLS, whose CA is in upstream.ca_file.
func TestPrivateCA(t *testing.T) {
	t.Parallel()
	shared(t).tenant(t, newTLSUpstream(t, nil).URL, settings{}).served(t)
}

// stranger is a TLS server with a certificate that nobody vouches for.
func stranger(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	u := script(nil)
	u.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	u.StartTLS()
	t.Cleanup(u.Close)
	return u.URL
}
