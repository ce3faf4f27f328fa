package extproc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"

	"aisix/admin/snapshot"
	"aisix/extproc"
	"aisix/extproc/exchange/exchangetest"
	"aisix/extproc/usage"
)

// script is a stream that plays one call over and over, without a wire.
type script struct {
	extprocv3.ExternalProcessor_ProcessServer
	all, next [][]byte
	sent      []byte
	word      []byte // that a good answer has in it
	ok        int    // answers that have it
}

func (s *script) Context() context.Context { return context.Background() }

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
	if s.sent = m.(interface{ Append([]byte) []byte }).Append(s.sent[:0]); bytes.Contains(s.sent, s.word) {
		s.ok++
	}
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

// unrecorded takes no note of calls.
type unrecorded struct{}

func (unrecorded) Record(*usage.Facts) {}

// whole is a call that is answered at once, at a server that has the snapshot.
func whole(tb testing.TB, holder *snapshot.Holder) (play func()) {
	tb.Helper()
	s := server(tb, "", func(p *extproc.Parts) { p.Snapshots, p.Recorder = holder, unrecorded{} })
	script := &script{word: []byte(`"finish_reason":"stop"`)}
	for _, m := range []*extprocv3.ProcessingRequest{
		exchangetest.First(exchangetest.RequestHeaders(false, ":method", "POST", ":path", "/v1/chat/completions", ":authority", "gw", ":scheme", "http", "authorization", "Bearer "+plaintext, "content-type", "application/json"), exchangetest.FullDuplex),
		exchangetest.RequestBody([]byte(`{"model":"here","messages":[{"role":"user","content":"Hi"}]}`), false),
		exchangetest.RequestBody(nil, true),
		exchangetest.ResponseHeaders(false, ":status", "200", "content-type", "application/json", "x-amzn-requestid", "r"),
		exchangetest.ResponseBody(s.upstream.Body, false),
		exchangetest.ResponseBody(nil, true),
	} {
		wire, err := proto.Marshal(m)
		if err != nil {
			tb.Fatal(err)
		}
		script.all = append(script.all, wire)
	}
	return func() {
		script.next, script.ok = script.all, 0
		if err := s.Process(script); err != nil || script.ok != 1 {
			tb.Fatalf("%d good answers, %v", script.ok, err)
		}
	}
}

// sizes are snapshots by how many targets their one model has; 0 is a model without.
func sizes(tb testing.TB) map[string]*snapshot.Holder {
	tb.Helper()
	return map[string]*snapshot.Holder{
		"none":    snapshotOf(tb, `{"display_name":"here","model_name":"amazon.nova-pro-v1:0"}`),
		"one":     modelOf(tb, "amazon.nova-pro-v1:0"),
		"two":     modelOf(tb, "amazon.nova-pro-v1:0", "amazon.nova-pro-v1:0"),
		"sixteen": modelOf(tb, many("amazon.nova-pro-v1:0", 16)...),
	}
}

func many(text string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = text
	}
	return all
}

// What a call costs by its model's targets, of which the first answers.
func BenchmarkTargets(b *testing.B) {
	for _, name := range []string{"none", "one", "two", "sixteen"} {
		b.Run(name, func(b *testing.B) {
			play := whole(b, sizes(b)[name])
			b.ReportAllocs()
			for b.Loop() {
				play()
			}
		})
	}
}

// A model without targets costs nothing of them, and with them a call costs a few allocations, which
// do not grow with their number.
func TestTargetsCostAFewAllocations(t *testing.T) {
	count := map[string]float64{}
	for name, holder := range sizes(t) {
		play := whole(t, holder)
		play() // compiles the model
		count[name] = testing.AllocsPerRun(200, play)
	}
	if count["none"] > wholeCall || count["one"]-count["none"] > 6 || count["two"]-count["one"] > 14 || count["sixteen"]-count["two"] > 4 {
		t.Errorf("allocations by targets: %v", count)
	}
}

// wholeCall is the most that a plain call may allocate, its answer included, in this rig: 134 before
// there were targets, 136 with them, 95 since calls have got cheaper; the race detector makes a few
// more. What may be asked of a second target is kept, and copied where a lone call's is not: 12.
const wholeCall = 110
