package envoy_test

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"aisix/envoy"
)

// A connection that failed before the request was on it is tried once more, with
// the body once and whole (envoy #46095 has it twice in full duplex).
func TestRetryOfConnecting(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "localhost")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	var refuse atomic.Bool
	var handshakes atomic.Int32
	u := newUpstream(t, func(h http.Handler) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = quiet
		s.Config.SetKeepAlivesEnabled(false) // a handshake for every request
		s.TLS = &tls.Config{SessionTicketsDisabled: true, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			handshakes.Add(1)
			if refuse.CompareAndSwap(true, false) {
				return nil, errors.New("as told")
			}
			return &pair, nil
		}}
		s.StartTLS()
		return s
	}, ok)
	_, port, _ := net.SplitHostPort(u.host())
	p := &extProc{decide: func(map[string]string) decision {
		d := forward(u)
		d.set[envoy.EgressHeader], d.set[envoy.HostHeader] = envoy.EgressTLS, "localhost:"+port
		return d
	}}
	o := options(t)
	o.ExtProc = p.serve(t, "tcp", "127.0.0.1:0")
	o.UpstreamCAFile = write(t, "ca.pem", ca.pem())
	address := start(t, o)
	for _, size := range []int{2, 300 << 10} {
		refuse.Store(true)
		before := handshakes.Load()
		if a := post(t, address, strings.Repeat("x", size)); a.status != 200 {
			t.Errorf("%d bytes: %d %s", size, a.status, a.body)
		}
		if n := handshakes.Load() - before; n != 2 {
			t.Errorf("%d bytes: %d handshakes", size, n)
		}
		u.mu.Lock()
		if last := len(u.size) - 1; last < 0 || u.size[last] != int64(size) || u.seen[last].Host != "localhost:"+port {
			t.Errorf("%d bytes: the upstream got %v of %+v", size, u.size, u.seen)
		}
		u.mu.Unlock()
	}
	// Of a body longer than it keeps (1 MiB) it depends on how much has come: a second
	// try, or a failure to connect like any other.
	refuse.Store(true)
	a := post(t, address, strings.Repeat("x", 3<<20))
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case a.status == 200 && len(u.size) == 3 && u.size[2] == 3<<20:
	case a.status != 200 && len(u.size) == 2:
		wantError(t, a, 502, "transport_error")
	default:
		t.Errorf("%d %s; the upstream got %v", a.status, a.body, u.size)
	}
}
