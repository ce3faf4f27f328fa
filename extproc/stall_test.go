package extproc_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"aisix/extproc"
	"aisix/extproc/exchange/exchangetest"
	"aisix/extproc/usage"
)

// A stream that stands still after more than Envoy holds for a caller may be one that nobody reads:
// it counts as cancelled, not as a fault of the upstream's, and the caller, should there be one,
// is told so.
func TestStalledReaderIsNoUpstreamTimeout(t *testing.T) {
	for _, test := range []struct {
		deltas  int // of 100 kB
		outcome usage.Outcome
		code    string
	}{{1, usage.Failed, ""}, {12, usage.Cancelled, "stalled"}} {
		t.Run(strconv.Itoa(test.deltas), func(t *testing.T) {
			c := server(t, "", func(p *extproc.Parts) { p.Config.StreamTimeout = 300 * time.Millisecond })
			delta := `{"type":"contentBlockDelta","payload":{"contentBlockIndex":0,"delta":{"text":"` + strings.Repeat("0123456789", 10_000) + `"}}}`
			body := frames(t, `{"type":"messageStart","payload":{"role":"assistant"}}`+strings.Repeat("\n"+delta, test.deltas))
			s := exchangetest.New(t)
			returned := make(chan error, 1)
			go func() { returned <- c.Process(s) }()
			s.Put(exchangetest.First(exchangetest.RequestHeaders(false, ":method", "POST", ":path", "/v1/chat/completions", "authorization", "Bearer "+plaintext), exchangetest.FullDuplex))
			s.Put(exchangetest.RequestBody([]byte(`{"model":"amazon.nova-pro-v1:0","stream":true,"messages":[{"role":"user","content":"Hi"}]}`), true))
			s.Put(exchangetest.Attribute(exchangetest.ResponseHeaders(false, ":status", "200", "content-type", "application/vnd.amazon.eventstream"), "response.code_details", "via_upstream"))
			s.Put(exchangetest.ResponseBody(body, false))
			if err := <-returned; err != nil {
				t.Error(err)
			}
			var last []byte
			for m := s.Sent(); m != nil; m = s.Sent() {
				if r, ok := m.GetResponse().(*extprocv3.ProcessingResponse_ResponseBody); ok {
					last = append(last, r.ResponseBody.GetResponse().GetBodyMutation().GetStreamedResponse().GetBody()...)
				}
			}
			if event := string(last[max(0, len(last)-400):]); !strings.Contains(event, `"type":"timeout"`) || strings.Contains(event, `"code":"stalled"`) != (test.code != "") || strings.Contains(event, "[DONE]") {
				t.Errorf("the stream ends with %s", event)
			}
			if got := c.one(t); got.Outcome != test.outcome || got.ErrorCode != test.code || !got.Partial {
				t.Errorf("recorded %+v", got)
			}
			c.idle()
		})
	}
}
