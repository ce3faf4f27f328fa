package exchange_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"

	"aisix/extproc/exchange"
	"aisix/extproc/exchange/exchangetest"
)

// script is a stream that plays one request over and over, without a wire.
type script struct {
	extprocv3.ExternalProcessor_ProcessServer
	ctx  context.Context
	next [][]byte
	sent []byte
}

func (s *script) Context() context.Context { return s.ctx }

func (s *script) Poll(into any) (bool, error) {
	if len(s.next) == 0 {
		return false, io.EOF
	}
	b := s.next[0]
	s.next = s.next[1:]
	return true, into.(interface{ Decode([]byte) error }).Decode(b)
}

func (s *script) Ready() <-chan struct{} { return nil }
func (s *script) OnEnd(func(error))      {}

func (s *script) SendMsg(m any) error {
	s.sent = m.(interface{ Append([]byte) []byte }).Append(s.sent[:0])
	return nil
}

func (s *script) SendLast(first, second any) error {
	if first != nil {
		return s.SendBoth(first, second)
	}
	return s.SendMsg(second)
}

func (s *script) SendBoth(first, second any) error {
	return errors.Join(s.SendMsg(first), s.SendMsg(second))
}

// BenchmarkRoundTrip is one request and its answer through an exchange: what this
// package costs beside gRPC and the handler.
func BenchmarkRoundTrip(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 1<<10)
	headers := []string{":method", "POST", ":path", "/v1/chat/completions", ":authority", "gw", ":scheme", "http", "authorization", "Bearer sk",
		"content-type", "application/json", "user-agent", "bench", "x-request-id", "1", "x-forwarded-proto", "http"}
	var messages [][]byte
	for _, m := range []*extprocv3.ProcessingRequest{
		exchangetest.First(exchangetest.RequestHeaders(false, headers...), exchangetest.FullDuplex),
		exchangetest.RequestBody(body, false),
		exchangetest.RequestBody(nil, true),
		exchangetest.ResponseHeaders(false, ":status", "200", "content-type", "application/json", "x-amzn-requestid", "r"),
		exchangetest.ResponseBody(body, false),
		exchangetest.ResponseBody(nil, true),
	} {
		wire, err := proto.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		messages = append(messages, wire)
	}
	request := exchange.Request{Host: "bedrock", Path: "/model/m/converse", Egress: "tls", Body: body,
		Header: []exchange.KeyValue{{Key: "authorization", Value: "AWS4"}, {Key: "content-type", Value: "application/json"}}}
	answer := []exchange.KeyValue{{Key: "content-type", Value: "application/json"}, {Key: "x-aisix-request-id", Value: "1"}}
	buf := make([]byte, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		x := exchange.New(&script{ctx: background, next: messages})
		if _, err := x.Header(background); err != nil {
			b.Fatal(err)
		}
		if _, err := x.ReadBody(background, exchange.Intake{Limit: limit}); err != nil {
			b.Fatal(err)
		}
		if err := x.Forward(background, request); err != nil {
			b.Fatal(err)
		}
		if _, err := x.Response(background); err != nil {
			b.Fatal(err)
		}
		if err := x.Respond(200, answer); err != nil {
			b.Fatal(err)
		}
		for {
			n, err := x.Read(buf)
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			if _, err := x.Write(buf[:n]); err != nil {
				b.Fatal(err)
			}
		}
		if err := x.Finish(nil); err != nil {
			b.Fatal(err)
		}
		x.Close()
	}
}
