package chat

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOrder(t *testing.T) {
	start := func(i int) Event { return ToolStart{Index: i, ID: "c" + strconv.Itoa(i), Name: "f"} }
	in := func(i int, json string) Event { return ToolDelta{Index: i, JSON: json} }
	text := func(i int, s string) Event { return TextDelta{Index: i, Text: s} }
	think := func(i int, s string) Event { return ThinkingDelta{Index: i, Text: s} }
	stop := func(i int) Event { return BlockStop{Index: i} }
	end := Stop{Reason: ToolUseStop}
	for name, test := range map[string]struct {
		come []Event
		told [][]Event // by what came
	}{
		"one after the other is told as it comes": {
			[]Event{Start{ID: "m"}, think(0, "h"), stop(0), text(1, "a"), text(1, "b"), stop(1), start(2), in(2, "{"), in(2, "}"), stop(2), start(3), stop(3), end, counts(1, 1)},
			[][]Event{{Start{ID: "m"}}, {think(0, "h")}, {stop(0)}, {text(1, "a")}, {text(1, "b")}, {stop(1)}, {start(2)}, {in(2, "{")}, {in(2, "}")}, {stop(2)}, {start(3)}, {stop(3)}, {end}, {counts(1, 1)}},
		},
		"two calls at once": {
			[]Event{start(0), start(1), in(0, "{"), in(1, "["), in(0, "}"), in(1, "]"), stop(0), in(1, "!"), stop(1), end},
			[][]Event{{start(0)}, nil, {in(0, "{")}, nil, {in(0, "}")}, nil, {stop(0), start(1), in(1, "[]")}, {in(1, "!")}, {stop(1)}, {end}},
		},
		"three calls, of which the last is the first at its end": {
			[]Event{start(5), start(3), start(4), in(4, "c"), stop(4), in(3, "b"), stop(5), in(3, "b"), stop(3), end},
			[][]Event{{start(5)}, nil, nil, nil, nil, nil, {stop(5), start(3), in(3, "b")}, {in(3, "b")}, {stop(3), start(4), in(4, "c"), stop(4)}, {end}},
		},
		"a call begins while text is open": {
			[]Event{text(0, "a"), start(1), stop(0), in(1, "{}"), stop(1), end},
			[][]Event{{text(0, "a")}, {stop(0), start(1)}, nil, {in(1, "{}")}, {stop(1)}, {end}},
		},
		"text behind a call that goes on": {
			[]Event{text(0, "a"), start(1), text(0, "b"), in(1, "{"), text(0, "c"), in(1, "}"), stop(1), text(0, "d"), stop(0), end},
			[][]Event{{text(0, "a")}, {stop(0), start(1)}, nil, {in(1, "{")}, nil, {in(1, "}")}, {stop(1), text(0, "bc")}, {text(0, "d")}, {stop(0)}, {end}},
		},
		"reasoning between calls": {
			[]Event{start(0), think(1, "h"), ThinkingDelta{Index: 1, Signature: "s", Publisher: "p"}, RedactedDelta{Index: 2, Data: "r"}, start(3), in(0, "{}"), stop(0), stop(3), end},
			[][]Event{{start(0)}, nil, nil, nil, nil, {in(0, "{}")}, {stop(0), ThinkingDelta{Index: 1, Text: "h", Signature: "s", Publisher: "p"}, stop(1), RedactedDelta{Index: 2, Data: "r"}, stop(2), start(3)}, {stop(3)}, {end}},
		},
		"blocks that never stop": {
			[]Event{start(0), start(1), in(1, "x"), text(2, "t"), end},
			[][]Event{{start(0)}, nil, nil, nil, {stop(0), start(1), in(1, "x"), stop(1), text(2, "t"), stop(2), end}},
		},
		"counts and the tier wait for nobody": {
			[]Event{start(0), start(1), counts(1, 1), ServedTier{Name: "flex"}, end},
			[][]Event{{start(0)}, nil, {counts(1, 1)}, {ServedTier{Name: "flex"}}, {stop(0), start(1), stop(1), end}},
		},
		"an index that begins anew": {
			[]Event{start(0), start(0), in(0, "{}"), text(0, "a"), think(0, "h"), end},
			[][]Event{{start(0)}, {stop(0), start(0)}, {in(0, "{}")}, {stop(0), text(0, "a")}, {stop(0), think(0, "h")}, {stop(0), end}},
		},
		"a fragment of no call, and a tool that the model ran itself": {
			[]Event{in(0, "{}"), ToolStart{Index: 1, ID: "s", Name: "search", Server: true}, in(1, "{}"), text(2, "a"), stop(1), end},
			[][]Event{nil, nil, nil, {text(2, "a")}, nil, {stop(2), end}},
		},
		"an answer that breaks off tells no more than what it has told": {
			[]Event{start(0), start(1), in(1, "{}"), stop(1)},
			[][]Event{{start(0)}, nil, nil, nil},
		},
		"what passes in the upstream's own words": {
			[]Event{&Raw{}, start(0), start(1), in(0, "x"), end},
			[][]Event{{&Raw{}}, {start(0)}, {start(1)}, {in(0, "x")}, {end}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var o Order
			var told [][]Event
			for _, e := range test.come {
				told = append(told, o.Append(nil, e))
			}
			if diff := cmp.Diff(test.told, told); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// What waits is counted, and is not once it is told.
func TestOrderCountsWhatWaits(t *testing.T) {
	var o Order
	long := strings.Repeat("x", 1000)
	for _, x := range []struct {
		event       Event
		least, most int
	}{
		{ToolStart{Index: 0}, 0, 0}, {ToolDelta{Index: 0, JSON: long}, 0, 0},
		{ToolStart{Index: 1, ID: long}, 1000, 1300}, {ToolDelta{Index: 1, JSON: long}, 2000, 2300}, {ToolDelta{Index: 1, JSON: long}, 3000, 3300},
		{ThinkingDelta{Index: 2, Text: long, Signature: long}, 5000, 5600}, {TextDelta{Index: 3, Text: long}, 6000, 6800},
		{BlockStop{Index: 0}, 3000, 3600}, {BlockStop{Index: 1}, 0, 0},
	} {
		o.Append(nil, x.event)
		if n := o.Held(); n < x.least || n > x.most {
			t.Errorf("%.40v: %d bytes are held, want %d to %d", x.event, n, x.least, x.most)
		}
	}
}

// Blocks that come one after the other cost no allocation.
func TestOrderAllocates(t *testing.T) {
	var o Order
	var room [4]Event
	events := []Event{TextDelta{Index: 1, Text: "a"}, BlockStop{Index: 1}, ToolStart{Index: 2, ID: "c", Name: "f"}, ToolDelta{Index: 2, JSON: "{}"}, BlockStop{Index: 2}, ThinkingDelta{Text: "h"}}
	if n := testing.AllocsPerRun(100, func() {
		for _, e := range events {
			if told := o.Append(room[:0], e); len(told) == 0 || o.Held() > 0 {
				t.Errorf("%v waits", e)
			}
		}
	}); n > 0 {
		t.Errorf("%.0f allocations", n)
	}
}
