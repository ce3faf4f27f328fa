// Package exchangetest plays Envoy's side of an ext_proc stream in tests: Stream
// message by message, Envoy as a whole caller and upstream.
//
// It knows the rules of Envoy 1.40's ext_proc filter that a handler can break,
// and fails the test where one does. It is for tests only; exchange's own and
// those of package extproc use it.
package exchangetest

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// patience is how long the fake waits for the other side before the test fails.
const patience = 10 * time.Second

// The body modes of a stream.
const (
	FullDuplex = filterv3.ProcessingMode_FULL_DUPLEX_STREAMED
	Buffered   = filterv3.ProcessingMode_BUFFERED
)

// Stream is the server's side of an ext_proc stream whose other side a test
// plays by hand.
type Stream struct {
	extprocv3.ExternalProcessor_ProcessServer // nil: what a handler must not call panics

	t      testing.TB
	ctx    context.Context
	cancel context.CancelFunc
	in     chan *extprocv3.ProcessingRequest
	out    chan *extprocv3.ProcessingResponse
	half   chan struct{} // closed by CloseSend
	once   sync.Once
	ready  chan struct{}

	mu  sync.Mutex
	end func(error)
}

// New makes a stream that ends with the test.
func New(t testing.TB) *Stream {
	s := &Stream{
		t:    t,
		in:   make(chan *extprocv3.ProcessingRequest, 1),
		out:  make(chan *extprocv3.ProcessingResponse, 1024),
		half: make(chan struct{}), ready: make(chan struct{}, 1),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	t.Cleanup(s.cancel)
	return s
}

// Context, Poll, Ready, OnEnd and Send are the handler's side (rpc.Waiter).
func (s *Stream) Context() context.Context { return s.ctx }

func (s *Stream) Poll(into any) (bool, error) {
	select {
	case m := <-s.in:
		b, err := proto.Marshal(m)
		if err != nil {
			return false, err
		}
		return true, into.(interface{ Decode([]byte) error }).Decode(b)
	default:
		return false, s.over()
	}
}

// over is why nothing more will come.
func (s *Stream) over() error {
	select {
	case <-s.half:
		return io.EOF
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	default:
		return nil
	}
}

func (s *Stream) Ready() <-chan struct{} { return s.ready }

func (s *Stream) OnEnd(f func(error)) {
	s.mu.Lock()
	s.end = f
	s.mu.Unlock()
	if err := s.over(); err != nil {
		f(err)
	}
}

// signal has the handler look again.
func (s *Stream) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// ended tells the handler that nothing more will come.
func (s *Stream) ended() {
	s.mu.Lock()
	f := s.end
	s.mu.Unlock()
	if f != nil {
		f(s.over())
	}
	s.signal()
}

func (s *Stream) SendBoth(first, second any) error {
	if err := s.SendMsg(first); err != nil {
		return err
	}
	return s.SendMsg(second)
}

func (s *Stream) SendLast(first, second any) error {
	if first != nil {
		return s.SendBoth(first, second)
	}
	return s.SendMsg(second)
}

func (s *Stream) SendMsg(m any) error {
	if s.ctx.Err() != nil {
		return status.Error(codes.Canceled, "stream reset")
	}
	answer := new(extprocv3.ProcessingResponse)
	if err := proto.Unmarshal(m.(interface{ Append([]byte) []byte }).Append(nil), answer); err != nil {
		s.t.Errorf("exchangetest: the handler sent what is no ProcessingResponse: %v", err)
	}
	select {
	case s.out <- answer:
		return nil
	case <-s.ctx.Done():
		return status.Error(codes.Canceled, "stream reset")
	}
}

// Put gives the handler a message, and waits until it took the one before.
func (s *Stream) Put(m *extprocv3.ProcessingRequest) {
	s.t.Helper()
	if !s.TryPut(m, patience) {
		s.t.Errorf("exchangetest: nobody received %T", m.GetRequest())
	}
}

// TryPut is Put that gives up, and says whether the message was taken.
func (s *Stream) TryPut(m *extprocv3.ProcessingRequest, within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case s.in <- m:
		s.signal()
		return true
	case <-s.ctx.Done():
		return false
	case <-timer.C:
		return false
	}
}

// Next is the next message that the handler sent; nil (and a failed test) when
// none comes.
func (s *Stream) Next() *extprocv3.ProcessingResponse {
	s.t.Helper()
	select {
	case m := <-s.out:
		return m
	case <-time.After(patience):
		s.t.Errorf("exchangetest: the handler sent nothing")
		return nil
	}
}

// Sent is the next message that the handler has sent already, nil when there is
// none.
func (s *Stream) Sent() *extprocv3.ProcessingResponse {
	select {
	case m := <-s.out:
		return m
	default:
		return nil
	}
}

// Quiet fails the test when the handler has sent something that was not taken.
func (s *Stream) Quiet() {
	s.t.Helper()
	if m := s.Sent(); m != nil {
		s.t.Errorf("exchangetest: unexpected message %v", m)
	}
}

// CloseSend ends the stream from Envoy's side in order: Recv gives io.EOF.
func (s *Stream) CloseSend() { s.once.Do(func() { close(s.half); s.ended() }) }

// Reset ends the stream as Envoy does when the caller left or the upstream broke
// off, and as gRPC does when the handler returned: its context is cancelled.
func (s *Stream) Reset() { s.cancel(); s.ended() }

// First adds protocol_config, as Envoy does on a stream's first message. Response
// bodies are FULL_DUPLEX_STREAMED.
func First(m *extprocv3.ProcessingRequest, request filterv3.ProcessingMode_BodySendMode) *extprocv3.ProcessingRequest {
	m.ProtocolConfig = &extprocv3.ProtocolConfiguration{RequestBodyMode: request, ResponseBodyMode: FullDuplex}
	return m
}

// Attribute adds an attribute, as request_attributes and response_attributes of
// the filter's configuration do.
func Attribute(m *extprocv3.ProcessingRequest, name, value string) *extprocv3.ProcessingRequest {
	const space = "envoy.filters.http.ext_proc"
	if m.Attributes == nil {
		m.Attributes = map[string]*structpb.Struct{space: {Fields: map[string]*structpb.Value{}}}
	}
	m.Attributes[space].Fields[name] = structpb.NewStringValue(value)
	return m
}

// RequestHeaders and the functions below it make Envoy's messages. kv are keys
// and values in turn.
func RequestHeaders(end bool, kv ...string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{
		RequestHeaders: &extprocv3.HttpHeaders{Headers: headerMap(kv), EndOfStream: end},
	}}
}

func RequestBody(b []byte, end bool) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
		RequestBody: &extprocv3.HttpBody{Body: b, EndOfStream: end},
	}}
}

func RequestTrailers(kv ...string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestTrailers{
		RequestTrailers: &extprocv3.HttpTrailers{Trailers: headerMap(kv)},
	}}
}

func ResponseHeaders(end bool, kv ...string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseHeaders{
		ResponseHeaders: &extprocv3.HttpHeaders{Headers: headerMap(kv), EndOfStream: end},
	}}
}

func ResponseBody(b []byte, end bool) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{
		ResponseBody: &extprocv3.HttpBody{Body: b, EndOfStream: end},
	}}
}

func ResponseTrailers(kv ...string) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseTrailers{
		ResponseTrailers: &extprocv3.HttpTrailers{Trailers: headerMap(kv)},
	}}
}

func headerMap(kv []string) *corev3.HeaderMap {
	m := &corev3.HeaderMap{}
	for i := 0; i+1 < len(kv); i += 2 {
		m.Headers = append(m.Headers, &corev3.HeaderValue{Key: kv[i], RawValue: []byte(kv[i+1])})
	}
	return m
}
