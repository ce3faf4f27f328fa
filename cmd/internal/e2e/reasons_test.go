package e2e

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	usagev1 "aisix/proto/aisix/v1"
)

// reasons are the deeds of a first target that another makes good, by what the record says of them.
var reasons = map[string][]string{
	"throttled":       {"throttled", "quota", "exception first"},
	"model_not_ready": {"not ready"},
	"timeout":         {"timeout", "hangs", "head, and hangs"},
	"server_error":    {"internal", "model error", "a page", "nothing"},
	"overloaded":      {"unavailable", "overloaded"},
	"transport":       {"RST", "half a head"},
	"access_denied":   {"denied"},
	"model_not_found": {"no model"},
}

// cell is one call: what the first of two targets does with it, which APIs they have, at which door it
// comes, and whether it wants a stream.
type cell struct {
	called
	reason, deed  string
	first, second *liar
	alias         string
}

// Each reason for another try, at each door, to each upstream API, streamed and not: the caller sees
// the second target's answer and nothing of the first.
func TestEachReasonAtEachDoor(t *testing.T) {
	t.Parallel()
	g := shared(t)
	all := regionsThatLie(t, 1)
	of := unique("cells")
	key := &tenant{gateway: g, key: "sk-" + of}
	ids := map[*liar]string{}
	for _, l := range all {
		ids[l] = l.providerKey(t, g, of)
	}
	cells := cellsOf(all, of)
	key.keyID = g.create(t, "apikeys", map[string]any{"key_hash": hex.EncodeToString(sum(key.key)), "allowed_models": []string{of + "*"}})

	// A model for each, since what a target does wrong puts it at the end of the next call's order.
	each(cells, func(c *cell) {
		first, second := c.first.target(ids[c.first]), c.second.target(ids[c.second])
		second["priority"] = 1
		g.create(t, "models", map[string]any{"display_name": c.alias, "targets": []any{first, second},
			"stream_timeout": 1500, "routing": map[string]any{"also_on": []string{"access_denied", "model_not_found"}}})
	})
	key.alias = cells[len(cells)-1].alias
	key.inForce(t)
	each(cells, func(c *cell) {
		at := *key
		at.alias = c.alias
		c.ask(t, &at, nil)
	})

	records := key.recordsByID(t, len(cells))
	believed(t, all)
	for _, c := range cells {
		c.judge(t, all, records[c.id])
	}
	t.Logf("%d cells", len(cells))
}

// cellsOf are the cells that there are, of models that begin with a name.
func cellsOf(all []*liar, of string) (cells []*cell) {
	for reason, does := range reasons {
		for _, name := range does {
			for i, first := range all {
				for _, at := range doors {
					for _, stream := range []bool{false, true} {
						if !deeds[name].of.has(first, stream) {
							continue
						}
						n := len(cells)
						c := &cell{reason: reason, deed: name, first: first, second: all[(i+1+n%(len(all)-1))%len(all)], alias: fmt.Sprint(of, "-", n)}
						c.called = called{id: fmt.Sprintf("call-%d-", 10_000+n), door: at, stream: stream}
						first.does[c.id], c.second.does[c.id] = name, "good"
						cells = append(cells, c)
					}
				}
			}
		}
	}
	return cells
}

// each does something for each cell, some at a time.
func each(cells []*cell, do func(*cell)) {
	var group sync.WaitGroup
	next := make(chan *cell)
	for range 12 {
		group.Go(func() {
			for c := range next {
				do(c)
			}
		})
	}
	for _, c := range cells {
		next <- c
	}
	close(next)
	group.Wait()
}

// judge fails unless the second target served the call, and the record tells why the first did not.
func (c *cell) judge(t *testing.T, all []*liar, r *usagev1.Record) {
	t.Helper()
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s by %s, then %s, at %s, stream %v: %s\n\t%d %s %v\n\t%v", c.deed, c.first.api, c.second.api, c.door.path, c.stream, fmt.Sprintf(format, args...), c.answer.status, c.answer.body, c.err, r.Tries)
	}
	if a := c.answer; c.err != nil || a.status != http.StatusOK || a.header.Get("X-Aisix-Attempts") != "2" && !c.early() {
		wrong("attempts %q", a.header.Get("X-Aisix-Attempts"))
		return
	}
	c.judgeServed(wrong, c.second, r)
	if tries := r.Tries; len(tries) != 2 || tries[0].Target != c.first.name || tries[0].Reason != c.reason || tries[1].Target != c.second.name {
		wrong("recorded so")
	}
	if _, at := trace(c.id, all); !slices.Equal(at, []*liar{c.first, c.second}) {
		wrong("%d upstream calls", len(at))
	}
}
