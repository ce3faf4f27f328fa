package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"aisix/extproc/rpc"
)

// echo answers each body message with its body, as an immediate response.
type echo struct {
	extprocv3.UnimplementedExternalProcessorServer
	serve func(extprocv3.ExternalProcessor_ProcessServer) error
}

func (e echo) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	if e.serve != nil {
		return e.serve(stream)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(answer(m.GetRequestBody().GetBody())); err != nil {
			return err
		}
	}
}

func question(body []byte) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: &extprocv3.HttpBody{Body: body}}}
}

func answer(body []byte) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ImmediateResponse{ImmediateResponse: &extprocv3.ImmediateResponse{Body: body}}}
}

// healthy says what a health service says, after what it was told to do first.
type healthy struct {
	healthv1.UnimplementedHealthServer
	first func(context.Context) error
}

func (h healthy) Check(ctx context.Context, _ *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	if h.first != nil {
		if err := h.first(ctx); err != nil {
			return nil, err
		}
	}
	return &healthv1.HealthCheckResponse{Status: healthv1.HealthCheckResponse_SERVING}, nil
}

// start serves on a socket of its own until the test ends.
func start(t testing.TB, o rpc.Options, e echo, h healthy) (*rpc.Server, string) {
	t.Helper()
	s := rpc.NewServer(o)
	extprocv3.RegisterExternalProcessorServer(s, e)
	healthv1.RegisterHealthServer(s, h)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, l.Addr().String()
}

func dial(t testing.TB, address string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(address, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Many streams at a time, messages of all sizes, windows that are full: all arrives, in order.
func TestStreams(t *testing.T) {
	_, address := start(t, rpc.Options{MaxMessage: 20 << 20}, echo{}, healthy{})
	client := extprocv3.NewExternalProcessorClient(dial(t, address, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(20<<20))))
	var group errgroup.Group
	for n := range 40 {
		group.Go(func() error {
			stream, err := client.Process(t.Context())
			if err != nil {
				return err
			}
			for i := range 20 {
				size := []int{0, 1, 100, 5000, 16379, 16384, 65531, 70000, 300000}[(n+i)%9]
				if n == 0 && i == 10 {
					size = 12 << 20
				}
				body := bytes.Repeat([]byte{byte(n + i)}, size)
				if err := stream.Send(question(body)); err != nil {
					return err
				}
				m, err := stream.Recv()
				if err != nil {
					return err
				}
				if !bytes.Equal(m.GetImmediateResponse().GetBody(), body) {
					return errors.New("another body came back")
				}
			}
			if err := stream.CloseSend(); err != nil {
				return err
			}
			if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// What is sent ahead of a handler that does not read stays within the stream's window,
// and does not stop other streams.
func TestASlowHandlerHoldsItsStreamOnly(t *testing.T) {
	read := make(chan struct{})
	var once sync.Once
	e := echo{serve: func(stream extprocv3.ExternalProcessor_ProcessServer) error {
		m, err := stream.Recv()
		if err != nil || len(m.GetRequestBody().GetBody()) == 0 {
			return errors.Join(err, stream.Send(answer(nil)))
		}
		<-read
		var got int
		for err == nil {
			got += len(m.GetRequestBody().GetBody())
			m, err = stream.Recv()
		}
		return status.Errorf(codes.Aborted, "%d", got)
	}}
	_, address := start(t, rpc.Options{}, e, healthy{})
	client := extprocv3.NewExternalProcessorClient(dial(t, address))
	slow, err := client.Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const messages, size = 100, 30 << 10
	sent := make(chan error, 1)
	go func() {
		for range messages {
			if err := slow.Send(question(make([]byte, size))); err != nil {
				sent <- err
				return
			}
		}
		sent <- slow.CloseSend()
	}()
	for range 10 {
		quick, err := client.Process(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := quick.Send(question(nil)); err != nil {
			t.Fatal(err)
		}
		if _, err := quick.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	once.Do(func() { close(read) })
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if _, err := slow.Recv(); status.Code(err) != codes.Aborted || status.Convert(err).Message() != "3072000" {
		t.Errorf("%v, want all %d bytes", err, messages*size)
	}
}

func TestStatuses(t *testing.T) {
	said := status.Error(codes.FailedPrecondition, "50 % of ü\n")
	_, address := start(t, rpc.Options{MaxMessage: 1000}, echo{}, healthy{first: func(ctx context.Context) error {
		if _, ok := ctx.Deadline(); ok {
			<-ctx.Done()
			return status.FromContextError(ctx.Err()).Err()
		}
		return said
	}})
	c := dial(t, address)
	if _, err := healthv1.NewHealthClient(c).Check(t.Context(), &healthv1.HealthCheckRequest{}); status.Convert(err).Message() != "50 % of ü\n" || status.Code(err) != codes.FailedPrecondition {
		t.Errorf("%v, want %v", err, said)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := healthv1.NewHealthClient(c).Check(short, &healthv1.HealthCheckRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v, want DeadlineExceeded", err)
	}
	if err := c.Invoke(t.Context(), "/no/such", &healthv1.HealthCheckRequest{}, &healthv1.HealthCheckResponse{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("%v, want Unimplemented", err)
	}
	stream, err := extprocv3.NewExternalProcessorClient(c).Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(question(make([]byte, 2000))); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("a message over the limit was taken")
	}
}

// A peer that gives a stream up ends its context, with or without a message on the way.
func TestACallerWhoLeaves(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan error, 1)
	e := echo{serve: func(stream extprocv3.ExternalProcessor_ProcessServer) error {
		close(begun)
		<-stream.Context().Done()
		ended <- stream.Send(answer(make([]byte, 1<<20)))
		return nil
	}}
	_, address := start(t, rpc.Options{}, e, healthy{})
	ctx, leave := context.WithCancel(t.Context())
	if _, err := extprocv3.NewExternalProcessorClient(dial(t, address)).Process(ctx); err != nil {
		t.Fatal(err)
	}
	<-begun
	leave()
	if err := <-ended; err == nil {
		t.Error("a message to nobody was sent")
	}
}

// Calls that have begun end in their own time, and none begins.
func TestGracefulStop(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	e := echo{serve: func(stream extprocv3.ExternalProcessor_ProcessServer) error {
		close(begun)
		<-release
		return stream.Send(answer([]byte("done")))
	}}
	s, address := start(t, rpc.Options{}, e, healthy{})
	stream, err := extprocv3.NewExternalProcessorClient(dial(t, address)).Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	stopped := make(chan struct{})
	go func() { s.GracefulStop(); close(stopped) }()
	for { // the listener is closed first
		nc, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		nc.Close()
	}
	select {
	case <-stopped:
		t.Fatal("stopped under a call")
	default:
	}
	close(release)
	if m, err := stream.Recv(); err != nil || string(m.GetImmediateResponse().GetBody()) != "done" {
		t.Errorf("%v %v", m, err)
	}
	<-stopped
}

// What is no HTTP/2 ends the connection, and nothing else.
func TestRubbish(t *testing.T) {
	_, address := start(t, rpc.Options{}, echo{}, healthy{})
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, random.IntN(200))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		if random.IntN(2) == 0 {
			b = append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"), b...)
		}
		nc.Write(b)
		nc.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, nc)
		nc.Close()
	}
	if _, err := healthv1.NewHealthClient(dial(t, address)).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
}

// A peer that allows no table of headers is told that none is used (RFC 7541, 4.2), before
// the first header block only.
func TestHeadersWithoutATable(t *testing.T) {
	_, address := start(t, rpc.Options{}, echo{}, healthy{})
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	var block bytes.Buffer
	h := hpack.NewEncoder(&block)
	f := http2.NewFramer(nc, nc)
	io.WriteString(nc, http2.ClientPreface)
	f.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
	for _, id := range []uint32{1, 3} {
		block.Reset()
		for _, field := range []hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/no/such"}, {Name: ":authority", Value: "x"}} {
			h.WriteField(field)
		}
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if answer, ok := frame.(*http2.HeadersFrame); ok {
				if first := answer.HeaderBlockFragment()[0] == 0x20; first != (id == 1) {
					t.Errorf("stream %d: a size update: %t", id, first)
				}
				break
			}
		}
	}
}

// The last message brings the stream's end along: what its handler says later is nobody's.
func TestSendLast(t *testing.T) {
	release := make(chan struct{})
	e := echo{serve: func(stream extprocv3.ExternalProcessor_ProcessServer) error {
		w := stream.(*grpc.GenericServerStream[extprocv3.ProcessingRequest, extprocv3.ProcessingResponse]).ServerStream.(rpc.Waiter)
		if err := w.SendLast(answer([]byte("a")), answer([]byte("b"))); err != nil {
			return err
		}
		<-release
		return errors.New("too late")
	}}
	_, address := start(t, rpc.Options{}, e, healthy{})
	stream, err := extprocv3.NewExternalProcessorClient(dial(t, address)).Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a", "b"} {
		if m, err := stream.Recv(); err != nil || string(m.GetImmediateResponse().GetBody()) != want {
			t.Errorf("%v %v, want %s", m, err, want)
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want a good end", err)
	}
	close(release)
}
