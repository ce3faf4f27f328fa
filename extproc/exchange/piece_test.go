package exchange_test

import (
	"bytes"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"

	"aisix/extproc/exchange"
	"aisix/extproc/exchange/exchangetest"
)

// pieces is an exchange whose answer has begun: once has a piece of it come in, and go out.
func pieces(t testing.TB) (once func()) {
	wire := func(m *extprocv3.ProcessingRequest) []byte {
		out, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	s := &script{ctx: background, next: [][]byte{
		wire(exchangetest.First(exchangetest.RequestHeaders(true, ":method", "POST", ":path", "/"), exchangetest.FullDuplex)),
		wire(exchangetest.ResponseHeaders(false, ":status", "200")),
	}}
	x := exchange.New(s)
	t.Cleanup(func() { x.Close() })
	if _, err := x.Header(background); err != nil {
		t.Fatal(err)
	}
	if err := x.Forward(background, exchange.Request{Host: "bedrock", Path: "/", Egress: "tls"}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Response(background); err != nil {
		t.Fatal(err)
	}
	if err := x.Respond(200, nil); err != nil {
		t.Fatal(err)
	}
	message := [][]byte{wire(exchangetest.ResponseBody(bytes.Repeat([]byte("x"), 300), false))}
	return func() {
		s.next = message
		_ = x.SetReadDeadline(time.Now().Add(time.Minute))
		p, err := x.Piece()
		if err != nil || len(p) != 300 {
			t.Fatalf("%d bytes, %v", len(p), err)
		}
		if _, err := x.Write(p); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkPiece is one piece of a streamed answer, in and out, within a deadline.
func BenchmarkPiece(b *testing.B) {
	once := pieces(b)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

func TestPieceAllocates(t *testing.T) {
	if n := testing.AllocsPerRun(100, pieces(t)); n > 0 {
		t.Errorf("%.0f allocations", n)
	}
}
