package mesh

import (
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"aisix/cmd/internal/certtest"
)

// A recorder is a server that keeps every request that reached it, whole.
type recorder struct {
	*httptest.Server
	mu   sync.Mutex
	seen []request
}

// request is one as it came.
type request struct {
	Method, Host, Path string
	Header             http.Header
	Body               []byte
}

// text is all that came with it, in which a secret would be found.
func (r request) text() string {
	var b strings.Builder
	b.WriteString(r.Method + " " + r.Host + " " + r.Path + "\n")
	r.Header.Write(&b)
	b.Write(r.Body)
	return b.String()
}

// take is what has come since the last time.
func (r *recorder) take() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// host is its address.
func (r *recorder) host() string { _, host, _ := strings.Cut(r.URL, "//"); return host }

func newRecorder(t *testing.T, start func(*httptest.Server), loopback string, answer http.Handler) *recorder {
	t.Helper()
	r := &recorder{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		r.seen = append(r.seen, request{q.Method, q.Host, q.URL.RequestURI(), q.Header.Clone(), body})
		r.mu.Unlock()
		q.Body = io.NopCloser(bytes.NewReader(body))
		answer.ServeHTTP(w, q)
	}))
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	if loopback != "" {
		l, err := net.Listen("tcp", loopback+":0")
		if err != nil {
			t.Fatal(err)
		}
		r.Listener.Close()
		r.Listener = l
	}
	start(r.Server)
	t.Cleanup(r.Close)
	return r
}

// newBedrock is a Bedrock that is recorded: the simulator, which checks signatures, behind a recorder.
// It has a name, which Envoy has to resolve, where its place is not the mesh's choice.
func newBedrock(t *testing.T, simulator, loopback string) *recorder {
	t.Helper()
	r := newRecorder(t, (*httptest.Server).Start, loopback, behind(simulator))
	if loopback == "" {
		r.URL = strings.Replace(r.URL, "127.0.0.1", "localhost", 1)
	}
	return r
}

// newBedrockTLS is the same over TLS; a file has its CA.
func newBedrockTLS(t *testing.T, simulator, loopback string) (r *recorder, caFile string) {
	t.Helper()
	caFile, keyFile := certtest.New(t)
	certificate, err := tls.LoadX509KeyPair(caFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	r = newRecorder(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
		s.StartTLS()
	}, loopback, behind(simulator))
	return r, caFile
}

// behind passes on to the simulator what was signed, host included.
func behind(simulator string) http.Handler {
	to, err := url.Parse(simulator)
	if err != nil {
		panic(err)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = to.Scheme, to.Host
		},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
	}
}

// newShop is the owner's own application: a page, an API, a file that is taken up and a websocket
// that says everything twice.
func newShop(t *testing.T) *recorder {
	t.Helper()
	return newRecorder(t, (*httptest.Server).Start, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.EqualFold(r.Header.Get("upgrade"), "websocket"):
			echo(w)
		case r.Method == http.MethodPost:
			n, _ := io.Copy(io.Discard, r.Body)
			io.WriteString(w, "took "+itoa(n))
		default:
			w.Header().Set("content-type", "text/html")
			io.WriteString(w, "<html><h1>the shop</h1></html>")
		}
	}))
}

// newAuthz lets in who says x-acme: yes.
func newAuthz(t *testing.T) *recorder {
	t.Helper()
	return newRecorder(t, (*httptest.Server).Start, "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("x-acme") != "yes" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
}

// echo takes a connection over as a websocket would, and says each byte again.
func echo(w http.ResponseWriter) {
	c, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
	io.Copy(c, rw)
}
