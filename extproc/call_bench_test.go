package extproc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"

	"aisix/extproc"
	"aisix/extproc/exchange/exchangetest"
	"aisix/extproc/usage"
)

// played is a stream that Envoy has said all on already, without a wire.
type played struct {
	extprocv3.ExternalProcessor_ProcessServer
	next [][]byte
	sent []byte
}

func (p *played) Poll(into any) (bool, error) {
	if len(p.next) == 0 {
		return false, io.EOF
	}
	b := p.next[0]
	p.next = p.next[1:]
	return true, into.(interface{ Decode([]byte) error }).Decode(b)
}

func (p *played) Context() context.Context { return context.Background() }
func (p *played) Ready() <-chan struct{}   { return nil }
func (p *played) OnEnd(func(error))        {}

func (p *played) SendMsg(m any) error {
	p.sent = m.(interface{ Append([]byte) []byte }).Append(p.sent)
	return nil
}

func (p *played) SendBoth(first, second any) error {
	return errors.Join(p.SendMsg(first), p.SendMsg(second))
}

func (p *played) SendLast(first, second any) error {
	if first != nil {
		return p.SendBoth(first, second)
	}
	return p.SendMsg(second)
}

// BenchmarkCall is one call of Claude from its headers to its record, but for limits (package
// ratelimit has those) and the wire.
func BenchmarkCall(b *testing.B) {
	request := []byte(`{"model":"m","max_tokens":512,"temperature":0.2,"messages":[{"role":"system","content":"You are a careful assistant. Answer in plain English."},` +
		`{"role":"user","content":"What did we decide about the retry policy?"},{"role":"assistant","content":"Two retries with jitter, and none after the first byte was sent to the client."},` +
		`{"role":"user","content":"` + strings.Repeat("Summarize what was said. ", 40) + `"}]}`)
	answer := []byte(`{"id":"msg_bdrk_01","type":"message","role":"assistant","model":"claude-3-5-sonnet-20240620","content":[{"type":"text","text":"` + strings.Repeat("The gateway ", 75) + `"}],` +
		`"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":212,"output_tokens":190}}`)
	var wire [][]byte
	for _, m := range []*extprocv3.ProcessingRequest{
		exchangetest.First(exchangetest.RequestHeaders(false, ":method", "POST", ":path", "/v1/chat/completions", ":authority", "gw", ":scheme", "http", "authorization", "Bearer "+plaintext,
			"content-type", "application/json", "accept", "*/*", "user-agent", "OpenAI/Python 2.54.0", "content-length", "1413", "x-envoy-external-address", "10.0.0.1",
			"x-request-id", "11111111-1111-4111-8111-111111111111", "x-forwarded-proto", "http"), exchangetest.FullDuplex),
		exchangetest.RequestBody(request, true),
		exchangetest.ResponseHeaders(false, ":status", "200", "content-type", "application/json", "x-amzn-requestid", "11111111-1111-4111-8111-111111111111",
			"x-amzn-bedrock-invocation-latency", "1", "x-amzn-bedrock-input-token-count", "212", "x-amzn-bedrock-output-token-count", "190", "content-length", "1100", "date", "Thu, 26 Nov 2026 05:00:00 GMT"),
		exchangetest.ResponseBody(answer, true),
	} {
		bytes, err := proto.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		wire = append(wire, bytes)
	}
	quiet := slog.New(slog.DiscardHandler)
	s := extproc.New(extproc.Parts{
		Config:    extproc.Config{MaxBodyBytes: 1 << 20, Timeout: 1 << 40, StreamTimeout: 1 << 40, MaxCalls: 100, MaxBufferedBytes: 1 << 30, MaxTranslating: 1 << 30, MinBodyRate: 1, BodyWindow: 1 << 40},
		Snapshots: snapshotOf(b, `{"display_name":"m","model_name":"anthropic.claude-3-5-sonnet-20240620-v1:0"}`),
		Limiter:   noLimits{b}, Recorder: usage.NewRecorder(io.Discard, quiet, usage.NewMetrics(), nil), Log: quiet,
	})
	p := &played{}
	b.ReportAllocs()
	for b.Loop() {
		*p = played{next: wire, sent: p.sent[:0]}
		if err := s.Process(p); err != nil || len(p.next) > 0 || !bytes.Contains(p.sent, []byte(`"finish_reason":"stop"`)) {
			b.Fatalf("%v %q", err, p.sent)
		}
	}
}
