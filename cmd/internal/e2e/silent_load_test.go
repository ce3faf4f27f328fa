package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	usagev1 "aisix/proto/aisix/v1"
)

// Targets that hang, reset and throttle in turn, under load: every call is served by the one that is
// well, none is asked again once it has begun to answer, and the records have each upstream call. What
// was silent cools down, and says why.
func TestNoCallIsLostToSilence(t *testing.T) {
	t.Parallel()
	g := shared(t)
	var n, began atomic.Int32
	ways := []func(w http.ResponseWriter, r *http.Request){hangs, resets, silences["behind its headers"], says(429, "ThrottlingException"), silences["but for what says nothing"], silences["in its first frame"]}
	moody := func(w http.ResponseWriter, r *http.Request) { ways[int(n.Add(1))%len(ways)](w, r) }
	east, south := newRegion(t, "east", moody), newRegion(t, "south", moody)
	west := newRegion(t, "west", func(w http.ResponseWriter, r *http.Request) {
		began.Add(1)
		good("west")(w, r)
	})
	c := g.over(t, map[string]any{"routing": map[string]any{"first_byte_timeout": 500}}, east, south, west)
	const calls, lanes = 48, 12
	var all sync.WaitGroup
	for lane := range lanes {
		all.Go(func() {
			for i := range calls / lanes {
				stream := (lane+i)%2 == 0
				a := c.askAt(t, t.Context(), stream, nil, "X-Aisix-Request-Id", fmt.Sprint("silence-", lane, "-", i))
				if a.status != http.StatusOK || !strings.Contains(a.body, `"content":"west"`) || stream != strings.HasSuffix(a.body, "data: [DONE]\n\n") {
					t.Errorf("%d %s %v", a.status, a.body, a.header)
				}
			}
		})
	}
	all.Wait()
	tries, served := 0, 0
	for _, r := range c.recorded(t, calls) {
		tries += len(r.Tries)
		if last := r.Tries[len(r.Tries)-1]; last.Target == "west" && last.Reason == "served" && r.Outcome == usagev1.Outcome_OUTCOME_SUCCEEDED {
			served++
		}
	}
	if asked := east.requests() + south.requests() + west.requests(); tries != asked || served != calls || int(began.Load()) != calls {
		t.Errorf("%d tries in the records, %d upstream calls; %d calls served of %d, by %d answers", tries, asked, served, calls, began.Load())
	}
}

// A target that is silent three times in a row is asked last, and shows so.
func TestASilentTargetCools(t *testing.T) {
	t.Parallel()
	east, west := newRegion(t, "east", hangs), newRegion(t, "west", good("west"))
	c := shared(t).over(t, giveUp, east, west)
	for range 3 {
		c.askAt(t, t.Context(), false, nil).is(t, false, "west", 2)
	}
	eventually(t, patience, func() error {
		if names := c.cooling(t); len(names) != 1 || names[0] != "east" {
			return fmt.Errorf("%v cool down", names)
		}
		return nil
	})
	c.askAt(t, t.Context(), true, nil).is(t, true, "west", 1)
	if east.requests() != 3 {
		t.Errorf("%d requests", east.requests())
	}
}
