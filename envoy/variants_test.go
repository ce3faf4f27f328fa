package envoy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aisix/envoy"
	"aisix/envoy/envoytest"
)

// authority is a CA for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// issue gives a server certificate for a DNS name, as PEM.
func (a *authority) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kb})
}

func write(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tlsUpstream answers under a certificate for name.
func tlsUpstream(t *testing.T, a *authority, name string, sni *string) *upstream {
	cert, key := a.issue(t, name)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return newUpstream(t, func(h http.Handler) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = quiet
		s.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if sni != nil {
				*sni = hello.ServerName
			}
			return &pair, nil
		}}
		s.StartTLS()
		return s
	}, ok)
}

func TestUpstreamTLS(t *testing.T) {
	t.Parallel()
	mine, other := newAuthority(t), newAuthority(t)
	public, err := os.ReadFile(envoy.SystemCAFile())
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := envoy.CABundle(public, mine.pem())
	if err != nil {
		t.Fatal(err)
	}
	var sni string
	good := tlsUpstream(t, mine, "localhost", &sni)
	wrongName := tlsUpstream(t, mine, "elsewhere.example", nil)
	wrongCA := tlsUpstream(t, other, "localhost", nil)
	plain := newUpstream(t, httptest.NewServer, ok)

	p := &extProc{decide: func(h map[string]string) decision {
		d := decision{set: map[string]string{envoy.EgressHeader: envoy.EgressTLS, envoy.HostHeader: h["x-test"], ":path": "/"}}
		if h["x-egress"] != "" {
			d.set[envoy.EgressHeader] = h["x-egress"]
		}
		return d
	}}
	o := options(t)
	o.ExtProc = p.serve(t, "tcp", "127.0.0.1:0")
	o.UpstreamCAFile = write(t, "bundle.pem", bundle)
	address := start(t, o)

	localhost := func(u *upstream) string {
		_, port, _ := net.SplitHostPort(u.host())
		return "localhost:" + port
	}
	if a := post(t, address, `{}`, "x-test", localhost(good)); a.status != 200 || a.body != "fine" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if sni != "localhost" {
		t.Errorf("SNI %q", sni)
	}
	for name, host := range map[string]string{
		"certificate for another name": localhost(wrongName),
		"unknown CA":                   localhost(wrongCA),
		"no TLS there":                 localhost(plain),
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, post(t, address, `{}`, "x-test", host), 502, "transport_error")
		})
	}
	for _, u := range []*upstream{wrongName, wrongCA, plain} {
		if n := len(u.requests()); n != 0 {
			t.Errorf("%s saw %d requests, signatures included", u.URL, n)
		}
	}
}

// callerTLS is Envoy with TLS on the listener; both HTTP versions go over it.
func TestCallerTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "localhost")
	u := newUpstream(t, httptest.NewServer, ok)
	p := &extProc{decide: func(h map[string]string) decision { return forward(u) }}
	o := options(t)
	o.TLSCertFile, o.TLSKeyFile = write(t, "cert.pem", cert), write(t, "key.pem", key)
	o.ExtProc = p.serve(t, "unix", socket(t))
	address := start(t, o)
	_, port, _ := net.SplitHostPort(address)

	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("HTTP/", version), func(t *testing.T) {
			tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: version == 2}
			defer tr.CloseIdleConnections()
			resp, err := (&http.Client{Transport: tr}).Post("https://localhost:"+port+"/v1/chat/completions", "application/json", strings.NewReader(`{}`))
			if err != nil {
				t.Fatal(err)
			}
			if resp.ProtoMajor != version {
				t.Errorf("HTTP/%d", resp.ProtoMajor)
			}
			if a := read(t, resp); a.status != 200 || a.body != "fine" {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	// Nobody gets in without TLS.
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if b, _ := io.ReadAll(c); strings.Contains(string(b), "HTTP/1.1") {
		t.Errorf("answered in the clear: %q", b)
	}
}

// HTTP/2 callers get the same answers.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, httptest.NewServer, ok)
	address, p := serve(t, func(h map[string]string) decision {
		if h["x-test"] == "" {
			return decision{}
		}
		return forward(u)
	})
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	h2 := &http.Client{Transport: tr, Timeout: 20 * time.Second}
	send := func(header ...string) (*http.Response, error) {
		req, _ := http.NewRequest("POST", "http://"+address+"/v1//chat/completions", strings.NewReader(strings.Repeat("x", 3<<20)))
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		return h2.Do(req)
	}
	do := func(t *testing.T, header ...string) answer {
		t.Helper()
		resp, err := send(header...)
		if err != nil {
			t.Fatal(err)
		}
		if resp.ProtoMajor != 2 {
			t.Errorf("HTTP/%d", resp.ProtoMajor)
		}
		return read(t, resp)
	}
	if a := do(t, "x-test", "forward"); a.status != 200 || a.body != "fine" {
		t.Errorf("%d %s", a.status, a.body)
	}
	wantError(t, do(t, "x-aisix-egress", "plaintext"), 404, "invalid_request_error")
	// Envoy's HTTP/2 codec resets a stream whose headers are too large, and can't be told to answer.
	if resp, err := send("x-large", strings.Repeat("a", 70<<10)); err == nil {
		t.Errorf("headers too large: %d %s", resp.StatusCode, read(t, resp).body)
	}
	if a := do(t, "x-test", "forward"); a.status != 200 {
		t.Errorf("the connection is of no more use: %d %s", a.status, a.body)
	}
	if n := len(p.requests()); n != 3 {
		t.Errorf("extproc was asked %d times", n)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.size) != 2 || u.size[0] != 3<<20 || u.size[1] != 3<<20 {
		t.Errorf("upstream got bodies of %v", u.size)
	}
}

// Both modes carry a body as large as the limit; Buffered refuses one that is
// larger (in FullDuplex that is extproc's to do).
func TestLargeBodies(t *testing.T) {
	t.Parallel()
	const limit = 10 << 20
	for _, mode := range []envoy.BodyMode{envoy.FullDuplex, envoy.Buffered} {
		if mode == envoy.FullDuplex && envoytest.Version(t) < 38 {
			continue // Bootstrap refuses it, see TestVariants
		}
		t.Run(string(mode), func(t *testing.T) {
			u := newUpstream(t, httptest.NewServer, func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, strings.Repeat("y", 3<<20))
			})
			p := &extProc{decide: func(map[string]string) decision { return forward(u) }, buffered: mode == envoy.Buffered}
			o := options(t)
			o.BodyMode = mode
			o.MaxRequestBytes = limit
			o.ExtProc = p.serve(t, "tcp", "127.0.0.1:0")
			address := start(t, o)
			a := post(t, address, strings.Repeat("x", limit))
			if a.status != 200 || len(a.body) != 3<<20 {
				t.Fatalf("%d, %d bytes: %.200s", a.status, len(a.body), a.body)
			}
			tr := &http.Transport{Protocols: new(http.Protocols)}
			tr.Protocols.SetUnencryptedHTTP2(true)
			defer tr.CloseIdleConnections()
			resp, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Post("http://"+address+"/v1/chat/completions", "", strings.NewReader(strings.Repeat("x", limit)))
			if err != nil {
				t.Fatal(err)
			}
			if a := read(t, resp); a.status != 200 || len(a.body) != 3<<20 {
				t.Fatalf("HTTP/2: %d, %d bytes: %.200s", a.status, len(a.body), a.body)
			}
			u.mu.Lock()
			if len(u.size) != 2 || u.size[0] != limit || u.size[1] != limit {
				t.Errorf("upstream got bodies of %d", u.size)
			}
			u.mu.Unlock()
			if mode == envoy.Buffered {
				wantError(t, post(t, address, strings.Repeat("x", limit+1)), 413, "invalid_request_error")
			}
		})
	}
}

func TestTrustedHops(t *testing.T) {
	t.Parallel()
	for hops, want := range map[int]string{0: "127.0.0.1", 1: "198.51.100.2", 2: "203.0.113.1"} {
		t.Run(fmt.Sprint(hops), func(t *testing.T) {
			p := &extProc{decide: func(map[string]string) decision { return decision{} }}
			o := options(t)
			o.TrustedHops = hops
			o.ExtProc = p.serve(t, "tcp", "127.0.0.1:0")
			post(t, start(t, o), `{}`, "x-forwarded-for", "203.0.113.1, 198.51.100.2", "x-envoy-external-address", "203.0.113.9")
			if got := p.requests()[0]["x-envoy-external-address"]; got != want {
				t.Errorf("x-envoy-external-address %q, want %q", got, want)
			}
		})
	}
}
