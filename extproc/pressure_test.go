package extproc_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aisix/extproc"
	"aisix/extproc/admission"
)

// Past capacity the share that is too much is refused, before any of its body is read, in the
// contract's words; the rest is answered, and so is everybody once it is over. Probes and the list
// of models are not calls.
func TestPastCapacity(t *testing.T) {
	var clock atomic.Int64
	clock.Store(1_800_000_000e9)
	c := server(t, "", func(p *extproc.Parts) {
		p.Config.MaxDelay = 20 * time.Millisecond
		p.Now = func() time.Time { return time.Unix(0, clock.Load()) } // no silence, however slow this test is
	})
	late := func(d time.Duration, steps int) {
		for range steps {
			c.Late(d, time.Unix(0, clock.Add(int64(admission.Step))))
		}
	}
	const body = `{"model":"amazon.nova-pro-v1:0","messages":[{"role":"user","content":"Hi"}]}`
	ask := func(n int) (answered, refused int) {
		t.Helper()
		for range n {
			a := c.ask("POST", "/v1/chat/completions", body)
			switch {
			case a.Status == 200:
				answered++
			case a.Status == 503 && a.Header.Get("retry-after") == "1" && strings.Contains(string(a.Body), `"type":"gateway_overloaded","code":null`):
				refused++
			default:
				t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
			}
		}
		return answered, refused
	}
	if answered, refused := ask(20); answered != 20 {
		t.Errorf("%d refused where nothing is late", refused)
	}
	late(time.Second, 50)
	if answered, refused := ask(100); refused < 94 || refused > 95 {
		t.Errorf("%d answered and %d refused of 100, want 95 refused", answered, refused)
	}
	for _, path := range []string{"/livez", "/readyz", "/v1/models"} {
		for range 5 {
			if a := c.ask("GET", path, ""); a.Status != 200 {
				t.Errorf("%s: %d %s", path, a.Status, a.Body)
			}
		}
	}
	late(0, 30)
	if answered, refused := ask(20); answered != 20 {
		t.Errorf("%d refused once it is over", refused)
	}
	c.idle()
}
