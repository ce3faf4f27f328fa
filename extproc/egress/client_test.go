package egress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// listener is what stands in for Envoy's: a server on a Unix socket that counts its connections.
type listener struct {
	client *Client
	mu     sync.Mutex
	conns  int
	heads  []*http.Request
	bodies []string
}

func listen(t *testing.T, secret string, answer http.HandlerFunc) *listener {
	t.Helper()
	dir, err := os.MkdirTemp("", "egress") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	nl, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{client: New(Options{"unix", path, secret})}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		l.mu.Lock()
		l.heads, l.bodies = append(l.heads, r), append(l.bodies, string(body))
		l.mu.Unlock()
		answer(w, r)
	}))
	s.Listener.Close()
	s.Listener = nl
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			l.mu.Lock()
			l.conns++
			l.mu.Unlock()
		}
	}
	s.Start()
	t.Cleanup(func() { l.client.Close(); s.CloseClientConnections(); s.Close() })
	return l
}

func to(raw, body string) Request {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	return Request{URL: u, Header: http.Header{"Authorization": {"AWS4 …"}, "Content-Type": {"application/json"}}, Body: []byte(body)}
}

func soon() time.Time { return time.Now().Add(time.Minute) }

func upstreams(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(detailsHeader, viaUpstream)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// What goes to Envoy is the request as it was signed, and the way out; nothing that Go adds of
// its own. Connections are used again, for other upstreams too.
func TestRequest(t *testing.T) {
	l := listen(t, "correct horse battery", upstreams(200, "fine"))
	for _, host := range []string{"https://bedrock-runtime.us-east-1.amazonaws.com", "http://127.0.0.1:3010//prefix"} {
		r, err := l.client.Post(t.Context(), to(host+"/model/arn%3Aaws%2Fx/invoke", `{"a":1}`), soon())
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "fine" || r.Status != 200 || r.Local || r.Header.Get(detailsHeader) != "" {
			t.Errorf("%+v %s %v", r, body, err)
		}
		r.Body.Close()
	}
	if l.conns != 1 || len(l.heads) != 2 {
		t.Fatalf("%d connections for %d requests", l.conns, len(l.heads))
	}
	for i, want := range []struct{ uri, way, host string }{
		{"/model/arn%3Aaws%2Fx/invoke", "tls", "bedrock-runtime.us-east-1.amazonaws.com"},
		{"//prefix/model/arn%3Aaws%2Fx/invoke", "plaintext", "127.0.0.1:3010"},
	} {
		h := l.heads[i]
		if h.RequestURI != want.uri || h.Host != want.host || h.Header.Get("x-aisix-egress") != want.way || h.Header.Get("x-aisix-host") != want.host {
			t.Errorf("%s, host %s, %v", h.RequestURI, h.Host, h.Header)
		}
		if l.bodies[i] != `{"a":1}` || h.ContentLength != 7 || h.Header.Get(secretHeader) != "correct horse battery" {
			t.Errorf("body %q of %d, %v", l.bodies[i], h.ContentLength, h.Header)
		}
		for _, name := range []string{"User-Agent", "Accept-Encoding", "Transfer-Encoding"} {
			if _, there := h.Header[name]; there {
				t.Errorf("%s is added: %v", name, h.Header)
			}
		}
	}
}

// Redirects, packed bodies and errors are answers like others; Envoy's own say so, and what
// does not say whose it is counts as Envoy's.
func TestAnswersAreNotActedOn(t *testing.T) {
	packed := "\x1f\x8bnot gzip at all"
	l := listen(t, "", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			w.Header().Set(detailsHeader, viaUpstream)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(307)
		case "/packed":
			w.Header().Set(detailsHeader, viaUpstream)
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, packed)
		case "/local":
			w.Header().Set(detailsHeader, "upstream_reset_before_response_started{connection_timeout}")
			w.WriteHeader(503)
		default:
			w.WriteHeader(404)
		}
	})
	for _, want := range []struct {
		path, body, details string
		status              int
		local               bool
	}{
		{"/redirect", "", viaUpstream, 307, false},
		{"/packed", packed, viaUpstream, 200, false},
		{"/local", "", "upstream_reset_before_response_started{connection_timeout}", 503, true},
		{"/nothing", "", "", 404, true},
	} {
		r, err := l.client.Post(t.Context(), to("http://u"+want.path, ""), soon())
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != want.body || r.Status != want.status || r.Local != want.local || r.Details != want.details {
			t.Errorf("%s: %d %q %v %q, %v", want.path, r.Status, body, r.Local, r.Details, err)
		}
		r.Body.Close()
	}
	if len(l.heads) != 4 {
		t.Errorf("%d requests, want 4", len(l.heads))
	}
}

// A silence before the head ends at its deadline, or with the caller; each is told.
func TestNoHead(t *testing.T) {
	came, gone := make(chan struct{}, 16), make(chan struct{}, 16)
	l := listen(t, "", func(w http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	})
	heard := func() { // and Envoy hears of it
		t.Helper()
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			t.Fatal("the listener did not hear within 10 s that the request has ended")
		}
	}
	arrived := false
	for wait := 20 * time.Millisecond; !arrived && wait < 10*time.Second; wait *= 2 { // a slow machine may end it before it is sent
		if _, err := l.client.Post(t.Context(), to("http://u/", "{}"), time.Now().Add(wait)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		select {
		case <-came:
			arrived = true
		default:
		}
	}
	if !arrived {
		t.Fatal("no request arrived")
	}
	heard()
	for len(came) > 0 { // one that arrived after it had ended
		<-came
		heard()
	}
	left := errors.New("the caller left")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	go func() {
		select {
		case <-came:
		case <-time.After(10 * time.Second):
		}
		cancel(left)
	}()
	if _, err := l.client.Post(ctx, to("http://u/", "{}"), time.Now().Add(time.Minute)); !errors.Is(err, left) {
		t.Error(err)
	}
	heard()
}

// A body is read within a deadline that may be moved, and a passed one loses nothing.
func TestDeadlineOfTheBody(t *testing.T) {
	on := make(chan struct{})
	l := listen(t, "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(detailsHeader, viaUpstream)
		io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-on
		io.WriteString(w, "second")
	})
	r, err := l.client.Post(t.Context(), to("http://u/", "{}"), soon())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	r.Body.SetReadDeadline(soon())
	if p, err := r.Body.Piece(); string(p) != "first" || err != nil {
		t.Fatalf("%q %v", p, err)
	}
	r.Body.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	for range 2 {
		if p, err := r.Body.Piece(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%q %v", p, err)
		}
	}
	close(on)
	r.Body.SetReadDeadline(time.Time{})
	var b [3]byte
	if n, err := r.Body.Read(b[:]); string(b[:n]) != "sec" || err != nil {
		t.Fatalf("%q %v", b[:n], err)
	}
	if p, err := r.Body.Piece(); string(p) != "ond" || err != nil {
		t.Fatalf("%q %v", p, err)
	}
	if p, err := r.Body.Piece(); err != io.EOF {
		t.Fatalf("%q %v", p, err)
	}
}

// An answer that breaks off is no whole one, with a length and without; a dead connection
// before it is none either.
func TestBrokenAnswers(t *testing.T) {
	for _, test := range []struct{ name, says, got string }{
		{"with a length", "HTTP/1.1 200 OK\r\nx-aisix-details: via_upstream\r\ncontent-length: 9\r\n\r\nhalf", "half"},
		{"chunked", "HTTP/1.1 200 OK\r\nx-aisix-details: via_upstream\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "half"},
		{"in the head", "HTTP/1.1 200 OK\r\nx-aisix-det", ""},
		{"a head too large", "HTTP/1.1 200 OK\r\nx: " + strings.Repeat("y", 2*maxHeader) + "\r\n\r\n", ""},
	} {
		a, b := net.Pipe()
		go func() {
			r := bufio.NewReader(b)
			if _, err := http.ReadRequest(r); err == nil {
				go io.Copy(io.Discard, r)
				io.WriteString(b, test.says)
			}
			b.Close()
		}()
		c := New(Options{})
		c.transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return a, nil }
		r, err := c.Post(t.Context(), to("http://u/", ""), soon())
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r.Body)
			r.Body.Close()
		}
		if !errors.Is(err, ErrBroken) || string(got) != test.got {
			t.Errorf("%s: %q %v", test.name, got, err)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	c := New(Options{Network: "unix", Address: filepath.Join(t.TempDir(), "none")})
	if _, err := c.Post(t.Context(), to("http://u/", ""), soon()); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
}

// A body that nobody reads to its end leaves nothing behind once it is closed, and holds no
// more than a few pieces until then.
func TestCloseLeavesNothing(t *testing.T) {
	wrote := make(chan int, 100)
	l := listen(t, "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(detailsHeader, viaUpstream)
		n := 0
		for block := bytes.Repeat([]byte("x"), 64<<10); n < 64<<20; n += len(block) {
			if _, err := w.Write(block); err != nil {
				break
			}
		}
		wrote <- n
	})
	before := runtime.NumGoroutine()
	for range 5 {
		r, err := l.client.Post(t.Context(), to("http://u/", ""), soon())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Body.Piece(); err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if p, err := r.Body.Piece(); err == nil {
			t.Errorf("a closed body gave %d bytes", len(p))
		}
		if n := <-wrote; n > 8<<20 {
			t.Errorf("%d bytes of a body that nobody read were taken", n)
		}
	}
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, before %d", n, before)
	}
}
