package rpc_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"aisix/extproc/rpc"
)

// written is a message that is on the wire already.
type written []byte

func (w written) Append(b []byte) []byte { return append(b, w...) }

// large serves a body of 7 MB in pieces of 1 MB, and gives one call that reads it.
func large(t testing.TB) (call func()) {
	piece, err := proto.Marshal(answer(bytes.Repeat([]byte("x"), 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	_, address := start(t, rpc.Options{StreamWindow: 1 << 20, MaxStreams: 10, MaxMessage: 1 << 22}, echo{serve: func(s extprocv3.ExternalProcessor_ProcessServer) error {
		for range 7 {
			if err := s.SendMsg(written(piece)); err != nil {
				return err
			}
		}
		return nil
	}}, healthy{})
	client := extprocv3.NewExternalProcessorClient(dial(t, address, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<22)), grpc.WithInitialWindowSize(1<<23), grpc.WithInitialConnWindowSize(1<<23)))
	return func() {
		stream, err := client.Process(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = stream.Recv()
		}
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
}

// What a large body costs on its way out (the client's part, of the body's size, included).
func BenchmarkLargeBody(b *testing.B) {
	call := large(b)
	b.ReportAllocs()
	for b.Loop() {
		call()
	}
}

// A large body goes out in buffers that are kept: the client allocates its size, and what
// is written before must not be several times as much.
func TestALargeBodyTakesNoBuffersOfItsSize(t *testing.T) {
	call := large(t)
	call()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const calls = 5
	for range calls {
		call()
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / calls; got > 24<<20 {
		t.Errorf("%d bytes are allocated to send 7 MB", got)
	}
}
