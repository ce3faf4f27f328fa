package rpc_test

import (
	"bytes"
	"io"
	"net"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	"aisix/extproc/rpc"
)

// one is a listener of a single connection.
type one struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *one) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *one) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *one) Addr() net.Addr { return &net.TCPAddr{} }

// conversation is what a client of one call sends after the preface.
func conversation(tb testing.TB) []byte {
	var out, block bytes.Buffer
	f := http2.NewFramer(&out, nil)
	h := hpack.NewEncoder(&block)
	for _, field := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: extprocv3.ExternalProcessor_Process_FullMethodName},
		{Name: ":authority", Value: "x"}, {Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	} {
		if err := h.WriteField(field); err != nil {
			tb.Fatal(err)
		}
	}
	message, err := proto.Marshal(question([]byte("hello")))
	if err != nil {
		tb.Fatal(err)
	}
	message = append([]byte{0, 0, 0, 0, byte(len(message))}, message...)
	for _, err := range []error{
		f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100}),
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}),
		f.WriteData(1, false, message[:7]),
		f.WriteData(1, false, message[7:]),
		f.WriteWindowUpdate(1, 1000),
		f.WritePing(false, [8]byte{1}),
		f.WriteData(1, true, message),
		f.WriteRSTStream(1, http2.ErrCodeCancel),
	} {
		if err != nil {
			tb.Fatal(err)
		}
	}
	return out.Bytes()
}

// Whatever a peer sends, the connection ends when the peer has, and with it all that
// served it.
func FuzzFrames(f *testing.F) {
	whole := conversation(f)
	f.Add(whole)
	for n := 0; n < len(whole); n += 9 {
		f.Add(whole[:n])
	}
	f.Add([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x05\x01\x04\x00\x00\x00\x01\x82\x86\x84\x3f\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := rpc.NewServer(rpc.Options{MaxMessage: 1 << 16, MaxStreams: 100})
		extprocv3.RegisterExternalProcessorServer(s, echo{})
		l := &one{conns: make(chan net.Conn, 1), done: make(chan struct{})}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		ours, theirs := net.Pipe()
		l.conns <- theirs
		read := make(chan struct{})
		go func() { defer close(read); io.Copy(io.Discard, ours) }()
		ours.Write(append([]byte(http2.ClientPreface), b...)) // an error is a peer that was refused
		ours.Close()
		<-read
		s.GracefulStop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}
