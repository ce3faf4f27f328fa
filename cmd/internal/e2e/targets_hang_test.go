package e2e

import (
	"fmt"
	"net/http"
	"testing"
)

// A whole answer that does not come, before or after its head, has all of the call's time, and no
// other target is asked once that is over.
func TestAWholeAnswerHangs(t *testing.T) {
	t.Parallel()
	g := shared(t)
	east, west := newRegion(t, "east", nil), newRegion(t, "west", good("west"))
	for name, does := range map[string]func(http.ResponseWriter, *http.Request){
		"before": hangs,
		"after": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"output":`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	} {
		east.behave(does)
		for _, d := range doors {
			c := g.over(t, map[string]any{"timeout": 400}, east, west)
			k := &called{id: name + "-" + d.dialect, door: d}
			k.ask(t, c, nil)
			if k.err != nil || k.answer.status != http.StatusGatewayTimeout || k.answer.header.Get("X-Aisix-Attempts") != "1" || west.requests() != 0 {
				t.Errorf("%s its head, at %s: %d %s %v", name, d.path, k.answer.status, k.answer.body, k.err)
			}
			k.wantError(t.Errorf)
			if tries := c.recorded(t, 1)[0].Tries; len(tries) != 1 || tries[0].Reason != "timeout" {
				t.Errorf("recorded %v", tries)
			}
		}
	}
}
