package envoy_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"aisix/envoy"
	"aisix/envoy/envoytest"
)

// Requests that never end fill what extproc takes: one more is told so, and
// probes are answered all the same.
func TestProbesHaveTheirOwnShare(t *testing.T) {
	t.Parallel()
	const share = 3
	p := &extProc{decide: func(h map[string]string) decision {
		if h["x-test"] == "hold" {
			return decision{hold: true}
		}
		return decision{reject: immediate(200, "text/plain", "served")}
	}}
	o := options(t)
	o.ExtProc = p.serve(t, "unix", socket(t))
	o.MaxUpstream = share
	address := start(t, o)
	var held []net.Conn
	for range share {
		c := open(t, address, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-test: hold\r\ncontent-length: 10\r\n\r\n{")
		held = append(held, c)
	}
	eventually(t, func() bool { return len(p.requests()) == share })
	for i := range 2 * share {
		a := post(t, address, `{}`)
		wantError(t, a, 503, "gateway_overloaded")
		if a.header.Get("retry-after") != "1" {
			t.Errorf("Retry-After: %q", a.header.Get("retry-after"))
		}
		method, path := []string{"GET", "HEAD"}[i%2], []string{"/livez", "/readyz", "/livez?x=y"}[i%3]
		if a := raw(t, address, method+" "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); a.status != 200 {
			t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
		}
	}
	// Only probes are probes.
	for _, line := range []string{"POST /livez", "GET /livez/", "GET /livezz", "GET /v1/models", "GET /readyz/x"} {
		wantError(t, raw(t, address, line+" HTTP/1.1\r\nHost: x\r\n\r\n"), 503, "gateway_overloaded")
	}
	if n := len(p.requests()); n != share+2*share {
		t.Errorf("extproc was asked %d times", n)
	}
	for _, c := range held {
		c.Close()
	}
	eventually(t, func() bool { return post(t, address, `{}`).status == 200 })
}

// Whom extproc refuses at the headers takes no share of it, though the body never
// ends: over HTTP/1 and as a hundred streams of one HTTP/2 connection.
func TestUnfinishedBodiesThatAreRefused(t *testing.T) {
	t.Parallel()
	p := &extProc{decide: func(h map[string]string) decision {
		if h["authorization"] == "" {
			return decision{reject: immediate(401, "application/json", "{}")}
		}
		return decision{reject: immediate(200, "text/plain", "served")}
	}}
	o := options(t)
	o.ExtProc = p.serve(t, "unix", socket(t))
	o.MaxUpstream = 3
	b, err := envoy.Bootstrap(o)
	if err != nil {
		t.Fatal(err)
	}
	e := envoytest.Start(t, b)
	address := e.Address(t, "callers")
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	h2 := &http.Client{Transport: tr, Timeout: 20 * time.Second}
	const flood = 100
	for range flood {
		never, end := io.Pipe()
		defer end.Close()
		resp, err := h2.Post("http://"+address+"/v1/chat/completions", "", never)
		if err != nil {
			t.Fatal(err)
		}
		if a := read(t, resp); a.status != 401 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		c := open(t, address, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\ncontent-length: 10\r\n\r\n{")
		if resp, err = http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 401 {
			t.Fatalf("%v, %v", resp, err)
		}
	}
	if a := post(t, address, `{}`, "authorization", "k"); a.status != 200 {
		t.Errorf("a caller who is served: %d %s", a.status, a.body)
	}
	eventually(t, func() bool { return e.Stat(t, "cluster.extproc.upstream_rq_active") == 0 })
	if n := len(p.requests()); n != 2*flood+1 {
		t.Errorf("extproc was asked %d times", n)
	}
}

// A connection that says nothing, or next to nothing, is closed after a time, and
// those who were shut out get in. One that has had a request stays.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "localhost")
	for name, first := range map[string][]string{
		"plaintext": {"", "G", "\x16\x03\x01\x02\x00\x01"},
		"TLS":       {"", "\x16", "\x16\x03\x01\x02\x00\x01"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &extProc{decide: func(map[string]string) decision {
				return decision{reject: immediate(200, "text/plain", "served")}
			}}
			o := options(t)
			o.ExtProc = p.serve(t, "unix", socket(t))
			o.FirstByteTimeout = 300 * time.Millisecond
			o.MaxConnections = len(first) + 1
			if name == "TLS" {
				o.TLSCertFile, o.TLSKeyFile = write(t, "cert.pem", cert), write(t, "key.pem", key)
			}
			address := start(t, o)
			ask := func(c net.Conn) int {
				t.Helper()
				io.WriteString(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\ncontent-length: 2\r\n\r\n{}")
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					return 0
				}
				return read(t, resp).status
			}
			kept := secure(t, open(t, address, ""), name == "TLS", ca)
			if status := ask(kept); status != 200 {
				t.Fatalf("%d", status)
			}
			var silent []net.Conn
			for _, bytes := range first {
				silent = append(silent, open(t, address, bytes))
			}
			for i, c := range silent {
				if b, err := io.ReadAll(c); len(b) != 0 || isTimeout(err) {
					t.Errorf("%q: %q, %v", first[i], b, err)
				}
			}
			if status := ask(kept); status != 200 {
				t.Errorf("the connection that had a request: %d", status)
			}
			if status := ask(secure(t, open(t, address, ""), name == "TLS", ca)); status != 200 {
				t.Errorf("a new connection: %d", status)
			}
		})
	}
}

func TestIdleConnections(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.IdleTimeout = 100 * time.Millisecond
	c := open(t, start(t, o), "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	read(t, resp)
	if b, err := io.ReadAll(r); len(b) != 0 || isTimeout(err) {
		t.Errorf("%q, %v", b, err)
	}
}

// Envoy with its memory all but full takes no new requests, and says so.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.MaxMemoryBytes = 1
	address := start(t, o)
	eventually(t, func() bool { return strings.Contains(post(t, address, `{}`).body, "gateway_overloaded") })
	a := post(t, address, `{}`)
	wantError(t, a, 503, "gateway_overloaded")
	if a.header.Get("retry-after") != "1" {
		t.Errorf("Retry-After: %q", a.header.Get("retry-after"))
	}
}

// An extproc that hangs: its connections stay, and the kernel takes new ones.
// Calls end with a 503 all the same, and work again when it goes on.
func TestExtProcHangs(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, httptest.NewServer, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		if r.Header.Get("x-test") == "stream" {
			<-r.Context().Done()
		}
	})
	p := &extProc{decide: func(h map[string]string) decision {
		if h["x-test"] == "hold" {
			return decision{hold: true}
		}
		return forward(u)
	}}
	g := &gate{}
	o := options(t)
	o.ExtProc = p.serveOn(t, g.listen(t, socket(t)))
	t.Cleanup(g.thaw) // before the server is stopped, which waits
	o.ExtProcSilence = 200 * time.Millisecond
	b, err := envoy.Bootstrap(o)
	if err != nil {
		t.Fatal(err)
	}
	e := envoytest.Start(t, b)
	address := e.Address(t, "callers")

	held := make(chan answer, 1)
	go func() { held <- post(t, address, `{}`, "x-test", "hold") }()
	stream := open(t, address, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-test: stream\r\ncontent-length: 2\r\n\r\n{}")
	r := bufio.NewReader(stream)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return len(p.requests()) == 2 })
	// Silence alone is no reason: pings are answered.
	before := e.Stat(t, "cluster.extproc.http2.keepalive_timeout")
	for range 3 {
		if a := post(t, address, `{}`); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if before != 0 || e.Stat(t, "cluster.extproc.upstream_cx_total") != 1 {
		t.Errorf("%d connections to extproc, %d gave no sign", e.Stat(t, "cluster.extproc.upstream_cx_total"), before)
	}

	g.freeze()
	for range 3 { // the connection that was there, then new ones
		a := post(t, address, `{}`)
		wantError(t, a, 503, "gateway_unavailable")
		if a.header.Get("retry-after") != "1" {
			t.Errorf("Retry-After: %q", a.header.Get("retry-after"))
		}
	}
	wantError(t, raw(t, address, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"), 503, "gateway_unavailable")
	wantError(t, <-held, 503, "gateway_unavailable")
	if rest, err := io.ReadAll(resp.Body); err == nil || isTimeout(err) {
		t.Errorf("the stream in flight: %q, %v", rest, err)
	}
	if n := e.Stat(t, "cluster.extproc.http2.keepalive_timeout"); n < 2 {
		t.Errorf("%d connections gave no sign", n)
	}

	g.thaw()
	eventually(t, func() bool { return post(t, address, `{}`).status == 200 })
}

// gate is what stands between Envoy and an extproc that can be made to hang: the
// kernel takes connections and bytes, and nobody reads or writes.
type gate struct {
	mu     sync.Mutex
	frozen chan struct{} // closed by thaw; nil when open
}

func (g *gate) freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frozen = make(chan struct{})
}

func (g *gate) thaw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.frozen != nil {
		close(g.frozen)
		g.frozen = nil
	}
}

func (g *gate) pass() {
	g.mu.Lock()
	frozen := g.frozen
	g.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

func (g *gate) listen(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return gated{l, g}
}

type gated struct {
	net.Listener
	g *gate
}

func (l gated) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	l.g.pass()
	return gatedConn{c, l.g}, err
}

type gatedConn struct {
	net.Conn
	g *gate
}

func (c gatedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.g.pass()
	return n, err
}

func (c gatedConn) Write(b []byte) (int, error) {
	c.g.pass()
	return c.Conn.Write(b)
}

// secure is TLS over c, where asked for.
func secure(t *testing.T, c net.Conn, really bool, ca *authority) net.Conn {
	t.Helper()
	if !really {
		return c
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	s := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: "localhost"})
	if err := s.Handshake(); err != nil {
		t.Fatal(err)
	}
	return s
}

// open connects and sends the bytes; the connection is the test's.
func open(t *testing.T, address, bytes string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, bytes); err != nil {
		t.Fatal(err)
	}
	return c
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// eventually waits for what is to happen.
func eventually(t *testing.T, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}
