package envoy_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"aisix/envoy"
	"aisix/envoy/envoytest"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// options for a test: loopback, a free port.
func options(t *testing.T) envoy.Options {
	t.Helper()
	o := envoy.Defaults()
	o.Listen = "127.0.0.1:0"
	if o.Version = envoytest.Version(t); o.Version < 38 {
		o.BodyMode = envoy.Buffered
	}
	o.UpstreamCAFile = envoy.SystemCAFile()
	o.ExtProc = "127.0.0.1:1" // nobody
	return o
}

// ownAnswers is how often extproc sees an answer that Envoy has made to a request that had gone
// on: Envoy 1.36 just ends the stream.
func ownAnswers(t *testing.T) int {
	if envoytest.Version(t) < 37 {
		return 0
	}
	return 1
}

// start runs the real Envoy with o until the test ends, and returns the address
// that callers use.
func start(t *testing.T, o envoy.Options) string {
	t.Helper()
	b, err := envoy.Bootstrap(o)
	if err != nil {
		t.Fatal(err)
	}
	return envoytest.Start(t, b).Address(t, "callers")
}

// decision is what the tiny extproc does with one request.
type decision struct {
	set      map[string]string // request headers to set; nothing else of the request changes
	reject   *extprocv3.ImmediateResponse
	fail     bool              // end the stream with an error
	leave    bool              // end the stream without a word: Envoy goes on alone
	own      map[string]string // what Envoy's own answers say from here on
	dies     string            // "waiting" for the upstream, or at its "answer": end the stream with an error then
	hold     bool              // leave the request unanswered; an answer that Envoy makes passes
	response func(h map[string]string) map[string]string
}

// extProc is a processor that remembers what it saw and does as decide says.
type extProc struct {
	extprocv3.UnimplementedExternalProcessorServer
	decide   func(h map[string]string) decision
	buffered bool          // the filter hands request bodies over whole
	reached  chan struct{} // has a value for each request that an upstream has and leaves without an answer

	mu   sync.Mutex
	seen []map[string]string // request headers, and attributes as "attr:<name>"
	back []map[string]string // response headers
}

func (p *extProc) requests() []map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]map[string]string(nil), p.seen...)
}

func (p *extProc) responses() []map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]map[string]string(nil), p.back...)
}

// serve starts p on network and address until the test ends; it returns the
// address as Options.ExtProc wants it.
func (p *extProc) serve(t *testing.T, network, address string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return p.serveOn(t, l)
}

func (p *extProc) serveOn(t *testing.T, l net.Listener) string {
	t.Helper()
	p.buffered = p.buffered || envoytest.Version(t) < 38
	s := grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 1, PermitWithoutStream: true}))
	extprocv3.RegisterExternalProcessorServer(s, p)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return l.Addr().String()
}

func flat(m *extprocv3.HttpHeaders, attributes map[string]string) map[string]string {
	h := map[string]string{}
	for _, kv := range m.GetHeaders().GetHeaders() {
		h[kv.Key] = string(kv.RawValue) + kv.Value
	}
	for k, v := range attributes {
		h["attr:"+k] = v
	}
	return h
}

// Process answers in full duplex as extproc does: the headers when it has the
// whole body. (An answer to each chunk, with more of them to come, stalls one
// request in a few hundred in Envoy up to 1.40.)
func (p *extProc) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	var d decision
	var held *extprocv3.ProcessingResponse
	var body []byte
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
			return nil
		}
		if err != nil {
			return err
		}
		attributes := map[string]string{}
		for _, s := range req.Attributes {
			for k, v := range s.Fields {
				attributes[k] = v.GetStringValue()
			}
		}
		var resp extprocv3.ProcessingResponse
		switch m := req.Request.(type) {
		case *extprocv3.ProcessingRequest_RequestHeaders:
			h := flat(m.RequestHeaders, attributes)
			p.mu.Lock()
			p.seen = append(p.seen, h)
			p.mu.Unlock()
			if d = p.decide(h); d.fail {
				return status.Error(codes.Internal, "as told")
			}
			if d.leave {
				return nil
			}
			if d.reject != nil {
				if err := stream.Send(&extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ImmediateResponse{ImmediateResponse: d.reject}}); err != nil {
					return err
				}
				continue
			}
			resp.Response = &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{
				Response: &extprocv3.CommonResponse{HeaderMutation: &extprocv3.HeaderMutation{SetHeaders: setHeaders(d.set)}},
			}}
			if d.own != nil {
				resp.DynamicMetadata = ownMetadata(d.own)
			}
			if !m.RequestHeaders.EndOfStream && !p.buffered {
				held = &resp
				continue
			}
		case *extprocv3.ProcessingRequest_ResponseHeaders:
			if d.dies == "answer" {
				return status.Error(codes.Internal, "as told")
			}
			h := flat(m.ResponseHeaders, attributes)
			p.mu.Lock()
			p.back = append(p.back, h)
			p.mu.Unlock()
			common := &extprocv3.CommonResponse{}
			if d.response != nil {
				common.HeaderMutation = &extprocv3.HeaderMutation{SetHeaders: setHeaders(d.response(h))}
			}
			resp.Response = &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extprocv3.HeadersResponse{Response: common}}
		case *extprocv3.ProcessingRequest_RequestBody:
			if !p.buffered {
				body = append(body, m.RequestBody.Body...)
				if !m.RequestBody.EndOfStream || d.hold {
					continue
				}
				if err := forwardBody(stream, held, body, true); err != nil {
					return err
				}
				if d.dies == "waiting" {
					return p.die(stream)
				}
				continue
			}
			resp.Response = &extprocv3.ProcessingResponse_RequestBody{RequestBody: &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{}}}
		case *extprocv3.ProcessingRequest_ResponseBody:
			resp.Response = &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: streamed(m.ResponseBody)}
		case *extprocv3.ProcessingRequest_RequestTrailers:
			if !p.buffered && !d.hold {
				if err := forwardBody(stream, held, body, false); err != nil {
					return err
				}
			}
			resp.Response = &extprocv3.ProcessingResponse_RequestTrailers{RequestTrailers: &extprocv3.TrailersResponse{}}
		case *extprocv3.ProcessingRequest_ResponseTrailers:
			resp.Response = &extprocv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: &extprocv3.TrailersResponse{}}
		}
		if _, back := resp.Response.(*extprocv3.ProcessingResponse_ResponseHeaders); back {
			d.hold = false
		}
		if d.hold {
			continue
		}
		if err := stream.Send(&resp); err != nil {
			return err
		}
		if _, sent := resp.Response.(*extprocv3.ProcessingResponse_RequestBody); sent && d.dies == "waiting" {
			return p.die(stream)
		}
	}
}

// die ends a stream with an error, once the upstream has the request.
func (p *extProc) die(stream extprocv3.ExternalProcessor_ProcessServer) error {
	select {
	case <-p.reached:
	case <-stream.Context().Done():
	}
	return status.Error(codes.Internal, "as told")
}

func ownMetadata(own map[string]string) *structpb.Struct {
	members := map[string]any{}
	for k, v := range own {
		members[k] = v
	}
	s, err := structpb.NewStruct(map[string]any{envoy.OwnNamespace: members})
	if err != nil {
		panic(err)
	}
	return s
}

// forwardBody sends the answer to the headers, and the body in pieces; end tells
// that no trailers follow.
func forwardBody(stream extprocv3.ExternalProcessor_ProcessServer, headers *extprocv3.ProcessingResponse, body []byte, end bool) error {
	if err := stream.Send(headers); err != nil {
		return err
	}
	for first := true; first || len(body) > 0; first = false {
		n := min(len(body), 64<<10)
		piece := &extprocv3.HttpBody{Body: body[:n], EndOfStream: end && n == len(body)}
		body = body[n:]
		err := stream.Send(&extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestBody{RequestBody: streamed(piece)}})
		if err != nil {
			return err
		}
	}
	return nil
}

func streamed(b *extprocv3.HttpBody) *extprocv3.BodyResponse {
	return &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{BodyMutation: &extprocv3.BodyMutation{
		Mutation: &extprocv3.BodyMutation_StreamedResponse{StreamedResponse: &extprocv3.StreamedBodyResponse{
			Body: b.Body, EndOfStream: b.EndOfStream,
		}},
	}}}
}

func setHeaders(m map[string]string) []*corev3.HeaderValueOption {
	var hs []*corev3.HeaderValueOption
	for k, v := range m {
		hs = append(hs, &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: k, RawValue: []byte(v)},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	return hs
}

// immediate is an answer of extproc's own, marked as all of them are.
func immediate(code int, contentType, body string) *extprocv3.ImmediateResponse {
	return &extprocv3.ImmediateResponse{
		Status:  &typev3.HttpStatus{Code: typev3.StatusCode(code)},
		Headers: &extprocv3.HeaderMutation{SetHeaders: setHeaders(map[string]string{"content-type": contentType, envoy.RequestIDHeader: "from-extproc"})},
		Body:    []byte(body),
	}
}

// upstream remembers the requests that reached it.
type upstream struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*http.Request
	size []int64
}

func newUpstream(t *testing.T, newServer func(http.Handler) *httptest.Server, answer http.HandlerFunc) *upstream {
	t.Helper()
	u := &upstream{}
	u.Server = newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		u.mu.Lock()
		u.seen, u.size = append(u.seen, r), append(u.size, n)
		u.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) requests() []*http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]*http.Request(nil), u.seen...)
}

func (u *upstream) host() string { return strings.SplitN(u.URL, "//", 2)[1] }

// quiet swallows what a TLS server says of handshakes that are meant to fail.
var quiet = log.New(io.Discard, "", 0)

func ok(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") }

// forward is the decision to send a request to u in the clear.
func forward(u *upstream, more ...string) decision {
	d := decision{set: map[string]string{
		envoy.EgressHeader: envoy.EgressPlaintext, envoy.HostHeader: u.host(), ":path": "/model/m/converse",
	}}
	for i := 0; i < len(more); i += 2 {
		d.set[more[i]] = more[i+1]
	}
	return d
}

// answer is an HTTP answer as a test looks at it.
type answer struct {
	status int
	header http.Header
	body   string
}

// raw sends bytes as they are and reads one answer.
func raw(t *testing.T, address, request string) answer {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go io.WriteString(c, request) // the answer may come before all of it is taken
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.80q: %v", request, err)
	}
	return read(t, resp)
}

func read(t *testing.T, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// post sends one chat request with these headers ("k", "v", …).
func post(t *testing.T, address, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequest("POST", "http://"+address+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" { // net/http takes that from elsewhere
			req.Host = headers[i+1]
			continue
		}
		req.Header[headers[i]] = append(req.Header[headers[i]], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

// client makes a connection per request, so that no answer hangs on another's.
var client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// wantError checks one of Envoy's own answers against the contract.
func wantError(t *testing.T, a answer, code int, kind string) {
	t.Helper()
	wantShape(t, a, code, kind)
	for _, h := range []string{"server", "x-envoy-upstream-service-time", envoy.EgressHeader, envoy.DetailsHeader} {
		if v := a.header.Values(h); len(v) > 0 {
			t.Errorf("header %s: %q goes out", h, v)
		}
	}
}

// wantShape is what of it holds in somebody else's Envoy too.
func wantShape(t *testing.T, a answer, code int, kind string) {
	t.Helper()
	if a.status != code {
		t.Errorf("status %d, want %d; body %s", a.status, code, a.body)
	}
	if ct := a.header.Get("content-type"); ct != "application/json" {
		t.Errorf("content-type %q", ct)
	}
	var e struct {
		Error map[string]any `json:"error"`
	}
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		t.Fatalf("body is no JSON: %v: %q", err, a.body)
	}
	for _, member := range []string{"message", "type", "code", "param"} {
		if _, ok := e.Error[member]; !ok {
			t.Errorf("error lacks %q: %s", member, a.body)
		}
	}
	if e.Error["type"] != kind {
		t.Errorf("type %v, want %s", e.Error["type"], kind)
	}
	if id := a.header.Get(envoy.RequestIDHeader); id == "" || id == "-" {
		t.Errorf("request id %q", id)
	}
}
