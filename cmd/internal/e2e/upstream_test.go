package e2e

import (
	"bytes"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

// The model ids of the tests.
const (
	nova   = "amazon.nova-pro-v1:0"
	claude = "anthropic.claude-3-5-sonnet-20241022-v2:0"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// upstream is a scripted Bedrock: each request is answered by the test's own function.
type upstream struct {
	*httptest.Server
	mu   sync.Mutex
	seen int
}

// newUpstream starts one. answer may be nil: every request gets a plain answer.
func newUpstream(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *upstream {
	t.Helper()
	u := script(answer)
	u.Start()
	t.Cleanup(u.Close)
	return u
}

// newTLSUpstream is newUpstream over TLS.
func newTLSUpstream(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *upstream {
	t.Helper()
	u := script(answer)
	u.StartTLS()
	t.Cleanup(u.Close)
	return u
}

func script(answer func(w http.ResponseWriter, r *http.Request)) *upstream {
	if answer == nil {
		answer = func(w http.ResponseWriter, r *http.Request) { whole(w, "Hello.") }
	}
	u := &upstream{}
	u.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.seen++
		u.mu.Unlock()
		io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Amzn-Requestid", "aws-request-id")
		answer(w, r)
	}))
	u.Config.ErrorLog = log.New(io.Discard, "", 0)
	return u
}

// requests is how many have come.
func (u *upstream) requests() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seen
}

// upstreamCA is a file, of a gateway's own, with the certificates of all upstreams over TLS.
func upstreamCA(of string) string {
	u := httptest.NewTLSServer(nil)
	defer u.Close()
	path := filepath.Join(bin, of+"-ca.pem")
	all := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: u.Certificate().Raw})
	all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ofLocalhost().Certificate[0]})...)
	if err := os.WriteFile(path, all, 0o600); err != nil {
		panic(err)
	}
	return path
}

// whole answers a Converse request at once.
func whole(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"output":{"message":{"role":"assistant","content":[{"text":"`+text+`"}]}},"stopReason":"end_turn","usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5},"metrics":{"latencyMs":1}}`)
}

// streaming begins an event stream.
func streaming(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
}

// emit sends one frame, at once.
func emit(w http.ResponseWriter, kind, payload string) {
	w.Write(frame(kind, payload))
	w.(http.Flusher).Flush()
}

// frame is one event of an event stream.
func frame(kind, payload string) []byte {
	m := eventstream.Message{Payload: []byte(payload)}
	m.Headers.Set(":message-type", eventstream.StringValue("event"))
	m.Headers.Set(":event-type", eventstream.StringValue(kind))
	m.Headers.Set(":content-type", eventstream.StringValue("application/json"))
	var b bytes.Buffer
	if err := eventstream.NewEncoder().Encode(&b, m); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// delta is a piece of text in a Converse stream.
func delta(text string) string { return `{"contentBlockIndex":0,"delta":{"text":"` + text + `"}}` }

// finish ends a Converse stream as it should end.
func finish(w http.ResponseWriter) {
	emit(w, "contentBlockStop", `{"contentBlockIndex":0}`)
	emit(w, "messageStop", `{"stopReason":"end_turn"}`)
	emit(w, "metadata", `{"usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5},"metrics":{"latencyMs":1}}`)
}

// isStream reports whether a request of Bedrock's asks for an event stream.
func isStream(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "-stream") }
