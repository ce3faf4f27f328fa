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

// BenchmarkPiece is one piece of a streamed answer, in and out, within a deadline.
func BenchmarkPiece(b *testing.B) {
	wire := func(m *extprocv3.ProcessingRequest) []byte {
		out, err := proto.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		return out
	}
	s := &script{ctx: background, next: [][]byte{
		wire(exchangetest.First(exchangetest.RequestHeaders(true, ":method", "POST", ":path", "/"), exchangetest.FullDuplex)),
		wire(exchangetest.ResponseHeaders(false, ":status", "200")),
	}}
	x := exchange.New(s)
	defer x.Close()
	if _, err := x.Header(background); err != nil {
		b.Fatal(err)
	}
	if err := x.Forward(background, exchange.Request{Host: "bedrock", Path: "/", Egress: "tls"}); err != nil {
		b.Fatal(err)
	}
	if _, err := x.Response(background); err != nil {
		b.Fatal(err)
	}
	if err := x.Respond(200, nil); err != nil {
		b.Fatal(err)
	}
	piece := [][]byte{wire(exchangetest.ResponseBody(bytes.Repeat([]byte("x"), 300), false))}
	b.ReportAllocs()
	for b.Loop() {
		s.next = piece
		_ = x.SetReadDeadline(time.Now().Add(time.Minute))
		p, err := x.Piece()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := x.Write(p); err != nil {
			b.Fatal(err)
		}
	}
}
