package exchange_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"go.yaml.in/yaml/v3"

	"aisix/envoy"
	"aisix/envoy/envoytest"
	"aisix/extproc/exchange"
	"aisix/extproc/rpc"
)

// gateway is a real Envoy with an ext_proc server whose handler each test sets.
type gateway struct {
	extprocv3.UnimplementedExternalProcessorServer
	envoys map[string]*envoytest.Envoy // by the mode of request bodies

	mu      sync.Mutex
	handler func(*exchange.Exchange) error
	results chan result // of every stream, in the order of their ends
}

// result is how a handler ended.
type result struct{ handler, close error }

func (g *gateway) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	g.mu.Lock()
	handler := g.handler
	g.mu.Unlock()
	x := exchange.New(stream)
	var r result
	r.handler = handler(x)
	r.close = x.Close()
	g.results <- r
	return r.close
}

// bootstraps are what ships, by the mode of request bodies.
var bootstraps = map[string]string{
	"FULL_DUPLEX_STREAMED": "../../deploy/bootstrap.yaml",
	"BUFFERED":             "../../envoy/testdata/buffered.yaml",
	"counting":             "../../envoy/testdata/counting.yaml",
}

// startGateway runs an Envoy for each mode, in front of one ext_proc server.
func startGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{envoys: map[string]*envoytest.Envoy{}, results: make(chan result, 100)}
	socket := filepath.Join(envoytest.SocketDir(t), "extproc.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(rpc.Options{MaxMessage: 64 << 20})
	extprocv3.RegisterExternalProcessorServer(server, g)
	served := make(chan struct{})
	go func() { defer close(served); server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-served })
	for mode, file := range bootstraps {
		g.envoys[mode] = envoytest.Start(t, adapt(t, file, socket))
	}
	return g
}

// adapt is a bootstrap that ships, but for its addresses and its CAs, for
// trailers, which HTTP/1 passes on only when it is told to, and for its patience
// with slow requests.
func adapt(t *testing.T, file, socket string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := yaml.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	listener := at(root, "static_resources", "listeners", 0)
	listener["address"] = tree(t, `{socket_address: {address: 127.0.0.1, port_value: 0}}`)
	manager := at(listener, "filter_chains", 0, "filters", 0, "typed_config")
	manager["http_protocol_options"] = tree(t, `{enable_trailers: true}`)
	manager["request_timeout"] = "3s"
	extproc := at(root, "static_resources", "clusters", 0)
	// One extproc, whichever the file has.
	at(extproc, "load_assignment", "endpoints", 0)["lb_endpoints"] = tree(t, `[{endpoint: {address: {pipe: {path: `+socket+`}}}}]`)
	options := "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	plaintext := at(root, "static_resources", "clusters", 2)
	at(plaintext, "typed_extension_protocol_options", options, "explicit_http_config")["http_protocol_options"] = tree(t, `{enable_trailers: true}`)
	tls := at(root, "static_resources", "clusters", 1)
	at(tls, "transport_socket", "typed_config", "common_tls_context", "validation_context")["trusted_ca"] = tree(t, `{filename: `+envoy.SystemCAFile()+`}`)
	b, err = yaml.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// at walks down maps by name and lists by index, to a map.
func at(m map[string]any, path ...any) map[string]any {
	var v any = m
	for _, p := range path {
		switch p := p.(type) {
		case string:
			v = v.(map[string]any)[p]
		case int:
			v = v.([]any)[p]
		}
	}
	return v.(map[string]any)
}

func tree(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// scene is one test on one listener.
type scene struct {
	*testing.T
	*gateway
	mode   string
	url    string
	client *http.Client
}

func (s *scene) handle(f func(*exchange.Exchange) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateway.handler = f
}

// upstream starts a server and returns its host:port.
func (s *scene) upstream(f http.HandlerFunc) string {
	server := httptest.NewServer(f)
	s.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return strings.TrimPrefix(server.URL, "http://")
}

// result is how the stream's handler ended.
func (s *scene) result() result {
	s.Helper()
	select {
	case r := <-s.results:
		return r
	case <-time.After(20 * time.Second):
		s.Fatal("the handler does not end")
		return result{}
	}
}

// want checks that the handler and the stream ended as they should.
func (s *scene) want(handler, close error) {
	s.Helper()
	r := s.result()
	if !errors.Is(r.handler, handler) || handler == nil && r.handler != nil {
		s.Errorf("the handler ended with %v, want %v", r.handler, handler)
	}
	if (r.close != nil) != (close != nil) {
		s.Errorf("Close returned %v", r.close)
	}
}

var errAny = errors.New("any error")

// do sends a request; body may be nil. The answer's body is read whole.
func (s *scene) do(method string, body io.Reader, header ...string) (*http.Response, []byte, error) {
	s.Helper()
	req, err := http.NewRequest(method, s.url, body)
	if err != nil {
		s.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	r, err := s.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r, b, err
}

// forward reads the request and sends it to host, upper-cased.
func forward(x *exchange.Exchange, host string) error {
	ctx := x.Context()
	if _, err := x.Header(ctx); err != nil {
		return err
	}
	body, err := x.ReadBody(ctx, exchange.Intake{Limit: limit})
	if err != nil {
		return err
	}
	return x.Forward(ctx, exchange.Request{
		Host: host, Path: "/model/a%3Ab/invoke?x=y", Egress: "plaintext",
		Header: []exchange.KeyValue{{Key: "content-type", Value: "application/json"}, {Key: "authorization", Value: "AWS4"}},
		Body:   bytes.ToUpper(body.Bytes()),
	})
}

// relay forwards and streams the reply back, upper-cased.
func relay(x *exchange.Exchange, host string) error {
	if err := forward(x, host); err != nil {
		return err
	}
	r, err := x.Response(x.Context())
	if err != nil {
		return err
	}
	if r.Local {
		return fmt.Errorf("a local response: %+v", r)
	}
	if err := x.Respond(r.Status, []exchange.KeyValue{{Key: "x-ours", Value: "1"}}); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := x.Read(buf)
		if err == io.EOF {
			return x.Finish(nil)
		}
		if err != nil {
			return err
		}
		if _, err := x.Write(bytes.ToUpper(buf[:n])); err != nil {
			return err
		}
	}
}

// ours are the header fields of an answer of ours: with the request id, which
// tells Envoy to leave it as it is, and others as keys and values in turn.
func ours(kv ...string) []exchange.KeyValue {
	h := []exchange.KeyValue{{Key: "x-aisix-request-id", Value: "i"}}
	for i := 0; i < len(kv); i += 2 {
		h = append(h, exchange.KeyValue{Key: kv[i], Value: kv[i+1]})
	}
	return h
}
