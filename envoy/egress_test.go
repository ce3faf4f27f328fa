package envoy_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"aisix/envoy"
	"aisix/envoy/envoytest"

	"go.yaml.in/yaml/v3"
)

// wire is an upstream that keeps the heads of requests as they came, byte for
// byte. Each connection carries one.
type wire struct {
	net.Listener
	mu    sync.Mutex
	heads []string
	names []string // of TLS handshakes: the server's name that was asked for
}

// newWire listens on an address of loopback; with a certificate, for TLS.
func newWire(t *testing.T, address string, certificate *tls.Certificate) *wire {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l}
	if certificate != nil {
		// Asked of resumed sessions too, where no certificate is.
		config := &tls.Config{Certificates: []tls.Certificate{*certificate}}
		config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.names = append(w.names, hello.ServerName)
			return nil, nil
		}
		w.Listener = tls.NewListener(l, config)
	}
	served := make(chan struct{})
	go func() { defer close(served); w.serve() }()
	t.Cleanup(func() { l.Close(); <-served })
	return w
}

func (w *wire) serve() {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		c, err := w.Accept()
		if err != nil {
			return
		}
		all.Go(func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			r := bufio.NewReader(c)
			var head strings.Builder
			for line := ""; line != "\r\n"; head.WriteString(line) {
				if first, _ := r.Peek(1); len(first) == 1 && first[0] == 0x16 {
					return // a TLS handshake, where none is spoken
				}
				if line, err = r.ReadString('\n'); err != nil {
					return // a handshake that failed
				}
			}
			io.CopyN(io.Discard, r, 2) // the body is {}
			w.mu.Lock()
			w.heads = append(w.heads, head.String())
			w.mu.Unlock()
			io.WriteString(c, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nfine")
		})
	}
}

// take is what came since the last time.
func (w *wire) take() (heads, names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	heads, names, w.heads, w.names = w.heads, w.names, nil, nil
	return heads, names
}

func (w *wire) port() string {
	_, port, _ := net.SplitHostPort(w.Addr().String())
	return port
}

// issueFor gives a server certificate for names and addresses.
func (a *authority) issueFor(t *testing.T, names []string, addresses ...net.IP) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names, IPAddresses: addresses,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// The host that extproc names is the one that Envoy connects to, that SNI and
// certificate are for, and that stands in Host, to the letter; the caller's own
// is nowhere, and neither are the headers that led the way.
func TestTheWire(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	bundle := write(t, "ca.pem", ca.pem())
	plain4, plain6 := newWire(t, "127.0.0.1", nil), newWire(t, "::1", nil)
	secure4 := newWire(t, "127.0.0.1", ca.issueFor(t, []string{"localhost", "a.localhost"}, net.ParseIP("127.0.0.1")))
	secure6 := newWire(t, "::1", ca.issueFor(t, nil, net.ParseIP("::1")))
	names := newWire(t, "127.0.0.1", ca.issueFor(t, []string{"localhost"})) // no certificate for an address

	for _, mode := range modes(t) {
		t.Run(string(mode), func(t *testing.T) {
			p := &extProc{buffered: mode == envoy.Buffered, decide: func(h map[string]string) decision {
				return decision{set: map[string]string{envoy.EgressHeader: h["x-egress"], envoy.HostHeader: h["x-host"], ":path": "/model/m/converse", "x-signed": h["x-host"]}}
			}}
			o := options(t)
			o.BodyMode, o.UpstreamCAFile = mode, bundle
			o.ExtProc = p.serve(t, "tcp", "127.0.0.1:0")
			address := start(t, o)
			for _, c := range []struct {
				w            *wire
				egress, host string
				sni          string // "-" without TLS
				fails        bool
			}{
				{w: plain4, egress: envoy.EgressPlaintext, host: "127.0.0.1:" + plain4.port(), sni: "-"},
				{w: plain4, egress: envoy.EgressPlaintext, host: "localhost:" + plain4.port(), sni: "-"},
				{w: plain6, egress: envoy.EgressPlaintext, host: "[::1]:" + plain6.port(), sni: "-"},
				{w: secure4, egress: envoy.EgressTLS, host: "localhost:" + secure4.port(), sni: "localhost"},
				// After a session for another name: that one's certificate says nothing of this.
				{w: secure4, egress: envoy.EgressTLS, host: "b.localhost:" + secure4.port(), sni: "b.localhost", fails: true},
				{w: secure4, egress: envoy.EgressTLS, host: "a.localhost:" + secure4.port(), sni: "a.localhost"},
				{w: secure4, egress: envoy.EgressTLS, host: "127.0.0.1:" + secure4.port()},
				{w: secure6, egress: envoy.EgressTLS, host: "[::1]:" + secure6.port()},
				{w: names, egress: envoy.EgressTLS, host: "127.0.0.1:" + names.port(), fails: true},
				{w: secure4, egress: envoy.EgressPlaintext, host: "127.0.0.1:" + secure4.port(), sni: "-", fails: true},
				{w: plain4, egress: envoy.EgressTLS, host: "127.0.0.1:" + plain4.port(), sni: "-", fails: true},
			} {
				t.Run(c.egress+" "+c.host, func(t *testing.T) {
					c.w.take()
					a := post(t, address, `{}`, "Host", "callers.example.com", "x-host", c.host, "x-egress", c.egress,
						"X-Aisix-Host", "evil.example.com", "X-Aisix-Egress", "tls", "X-Forwarded-Host", "evil.example.com")
					heads, names := c.w.take()
					for _, name := range names {
						if name != c.sni {
							t.Errorf("SNI %q, want %q", name, c.sni)
						}
					}
					if c.fails {
						wantError(t, a, 502, "transport_error")
						if len(heads) != 0 {
							t.Errorf("a request went out: %q", heads)
						}
						return
					}
					if a.status != 200 || a.body != "fine" || len(heads) != 1 || (c.sni != "-") != (len(names) == 1) {
						t.Fatalf("%d %s; requests %q, handshakes %q", a.status, a.body, heads, names)
					}
					wantHead(t, heads[0], c.host)
				})
			}
		})
	}
}

// wantHead checks the head of a request that went out to host.
func wantHead(t *testing.T, head, host string) {
	t.Helper()
	if !strings.HasPrefix(head, "POST /model/m/converse HTTP/1.1\r\n") {
		t.Errorf("the request line of %q", head)
	}
	lower := strings.ToLower(head)
	if strings.Count(lower, "\r\nhost:") != 1 || !strings.Contains(lower, "\r\nhost: "+host+"\r\n") {
		t.Errorf("not one host, %s, in %q", host, head)
	}
	for _, word := range []string{"x-aisix", "x-envoy", "example.com", "x-forwarded", "x-request-id"} {
		if strings.Contains(strings.Replace(lower, "x-forwarded-host: evil.example.com\r\n", "", 1), word) {
			t.Errorf("%q goes out in %q", word, head)
		}
	}
}

// modes are the ways to hand bodies over that this Envoy has.
func modes(t *testing.T) []envoy.BodyMode {
	t.Helper()
	if options(t).Version < 38 {
		return []envoy.BodyMode{envoy.Buffered}
	}
	return []envoy.BodyMode{envoy.FullDuplex, envoy.Buffered}
}

// One of the two headers is no way out, and neither is a host that is none: such
// a request would go to the caller's own.
func TestNoEgressWithoutHost(t *testing.T) {
	t.Parallel()
	callers := newUpstream(t, httptest.NewServer, ok)
	set := map[string]map[string]string{
		"no host":     {envoy.EgressHeader: envoy.EgressPlaintext},
		"empty host":  {envoy.EgressHeader: envoy.EgressPlaintext, envoy.HostHeader: ""},
		"two hosts":   {envoy.EgressHeader: envoy.EgressPlaintext, envoy.HostHeader: callers.host() + "," + callers.host()},
		"no egress":   {envoy.HostHeader: callers.host()},
		"a host":      {envoy.EgressHeader: envoy.EgressPlaintext, ":authority": callers.host()},
		"the method":  {envoy.EgressHeader: envoy.EgressPlaintext, envoy.HostHeader: callers.host(), ":method": "GET"},
		"the scheme":  {envoy.EgressHeader: envoy.EgressPlaintext, envoy.HostHeader: callers.host(), ":scheme": "https"},
		"host itself": {envoy.EgressHeader: envoy.EgressPlaintext, "host": callers.host()},
	}
	address, _ := serve(t, func(h map[string]string) decision { return decision{set: set[h["x-test"]]} })
	for name := range set {
		t.Run(name, func(t *testing.T) {
			a := post(t, address, `{}`, "Host", callers.host(), "x-test", name, "X-Aisix-Host", callers.host(), "X-Aisix-Egress", "plaintext")
			if a.status == 404 {
				wantError(t, a, 404, "invalid_request_error")
			} else { // a mutation that extproc may not make
				wantError(t, a, 503, "gateway_unavailable")
			}
		})
	}
	if n := len(callers.requests()); n != 0 {
		t.Errorf("%d requests went to the caller's host", n)
	}
}

// A request without the ext_proc filter's leave: the routes as they are, the
// filter gone. Nothing leaves, whatever a caller says.
func TestRoutesWithoutTheFilter(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, httptest.NewServer, ok)
	o := options(t)
	b, err := envoy.Bootstrap(o)
	if err != nil {
		t.Fatal(err)
	}
	address := envoytest.Start(t, without(t, b, "envoy.filters.http.ext_proc")).Address(t, "callers")
	for _, header := range [][]string{
		{"Host", u.host()},
		{"Host", u.host(), "X-Aisix-Egress", "plaintext", "X-Aisix-Host", u.host()},
		{"Host", u.host(), "x-aisix-egress", "plaintext", "x-aisix-host", u.host(), "connection", "x-aisix-host, x-aisix-egress"},
		{"Host", u.host(), "x_aisix_egress", "plaintext", "x_aisix_host", u.host()},
	} {
		wantError(t, post(t, address, `{}`, header...), 404, "invalid_request_error")
	}
	if n := len(u.requests()); n != 0 {
		t.Errorf("%d requests left without extproc", n)
	}
}

// The forward proxy's filter forgotten by somebody who adds the gateway to an Envoy:
// Envoy 1.36 and newer look hosts up without it. They go to extproc's all the same.
func TestRoutesWithoutTheForwardProxy(t *testing.T) {
	t.Parallel()
	callers := newUpstream(t, httptest.NewServer, ok)
	w := newWire(t, "127.0.0.1", nil)
	p := &extProc{decide: func(map[string]string) decision {
		return decision{set: map[string]string{envoy.EgressHeader: envoy.EgressPlaintext, envoy.HostHeader: "127.0.0.1:" + w.port(), ":path": "/model/m/converse"}}
	}}
	if envoytest.Version(t) < 39 {
		t.Skip("the fragments are for newer Envoys")
	}
	root := rename(t, attached(t, "envoy-1.39"), domain, callers.host()).(map[string]any)
	b := places(t, root, p.serve(t, "unix", socket(t)), callers.host())
	address := envoytest.Start(t, without(t, b, "aisix.forward_proxy")).Address(t, "ingress")
	a := post(t, address, `{}`, "Host", callers.host())
	heads, _ := w.take()
	if a.status != 200 || len(heads) != 1 || len(callers.requests()) != 0 {
		t.Fatalf("%d %s; %d requests went to extproc's host, %d to the caller's", a.status, a.body, len(heads), len(callers.requests()))
	}
	wantHead(t, heads[0], "127.0.0.1:"+w.port())
}

// without is a bootstrap without the HTTP filter of that name, and without what
// routes say of it.
func without(t *testing.T, bootstrap []byte, name string) []byte {
	t.Helper()
	var root map[string]any
	if err := yaml.Unmarshal(bootstrap, &root); err != nil {
		t.Fatal(err)
	}
	found := 0
	var prune func(v any) any
	prune = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			if _, ok := v[name]; ok {
				delete(v, name)
				found++
			}
			for k := range v {
				v[k] = prune(v[k])
			}
		case []any:
			kept := v[:0:0]
			for _, e := range v {
				if m, ok := e.(map[string]any); ok && m["name"] == name {
					found++
					continue
				}
				kept = append(kept, prune(e))
			}
			return kept
		}
		return v
	}
	prune(root)
	if found < 2 {
		t.Fatalf("%s is in %d places", name, found)
	}
	b, err := yaml.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
