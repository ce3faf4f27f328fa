package ratelimit

import (
	"time"

	"aisix/admin/resource"
)

// Bucket is a scope and its limits: its counters are shared by every process
// that names the same scope.
type Bucket struct {
	Scope string // "apikey:<id>", "model:<id>"
	Limit resource.RateLimit
}

// Unit is what a limit counts.
type Unit string

// The units. A slot is held while a call lasts; the others are used up.
const (
	Requests Unit = "requests"
	Tokens   Unit = "tokens"
	Slots    Unit = "slots"
)

// Limit is the most that may be used of a unit in a window. A bucket has at most
// one of each unit and window.
type Limit struct {
	Name   string // the Admin API's: "rpm"
	Unit   Unit
	Window time.Duration // whole seconds; 0 for slots
	Max    int64         // 0 blocks
}

// limits are the limits of l, by their names in the Admin API.
func limits(l resource.RateLimit) []Limit {
	var all []Limit
	for _, d := range []struct {
		Limit
		max *int64
	}{
		{Limit{Name: "rps", Unit: Requests, Window: time.Second}, l.RPS},
		{Limit{Name: "rpm", Unit: Requests, Window: time.Minute}, l.RPM},
		{Limit{Name: "rph", Unit: Requests, Window: time.Hour}, l.RPH},
		{Limit{Name: "rpd", Unit: Requests, Window: 24 * time.Hour}, l.RPD},
		{Limit{Name: "tpm", Unit: Tokens, Window: time.Minute}, l.TPM},
		{Limit{Name: "tpd", Unit: Tokens, Window: 24 * time.Hour}, l.TPD},
		{Limit{Name: "concurrency", Unit: Slots}, l.Concurrency},
	} {
		if d.max != nil {
			d.Max = *d.max
			all = append(all, d.Limit)
		}
	}
	return all
}

// adds is what a call that uses so many tokens adds to what the limit counts.
func (l Limit) adds(tokens int64) int64 {
	if l.Unit == Tokens {
		return tokens
	}
	return 1
}

// full tells whether a call that adds so much does not fit. One that adds nothing
// does not fit either where nothing is left.
func (l Limit) full(used, add int64) bool { return used >= l.Max || add > l.Max-used }

// window is the number of the limit's window at t.
func (l Limit) window(t time.Time) int64 {
	if l.Window == 0 {
		return 0
	}
	return t.UnixMilli() / l.Window.Milliseconds()
}

// reset is how long from t until the limit's window ends.
func (l Limit) reset(t time.Time) time.Duration {
	if l.Window == 0 {
		return time.Second // when a slot frees is not known
	}
	size := l.Window.Milliseconds()
	return time.Duration(size-t.UnixMilli()%size) * time.Millisecond
}

// wait is by how much one refusal outranks another: the longest counts. A slot
// may be free at once.
func (l Limit) wait(t time.Time) time.Duration {
	if l.Window == 0 {
		return 0
	}
	return l.reset(t)
}

// bucket is a Bucket that limits something.
type bucket struct {
	scope  string
	limits []Limit
	keys   []string // the tally's
}

// effective leaves out buckets without a limit and counts each scope once.
func effective(buckets []Bucket) []bucket {
	var kept []bucket
next:
	for _, b := range buckets {
		for _, k := range kept {
			if k.scope == b.Scope {
				continue next
			}
		}
		if l := limits(b.Limit); len(l) > 0 {
			kept = append(kept, bucket{scope: b.Scope, limits: l})
		}
	}
	return kept
}

func total(buckets []bucket) int {
	n := 0
	for _, b := range buckets {
		n += len(b.limits)
	}
	return n
}

// countersKey and slotsKey are a bucket's two keys: the hash tag puts them in
// one slot of a cluster.
func countersKey(scope string) string { return "aisix:limit:{" + scope + "}:windows" }
func slotsKey(scope string) string    { return "aisix:limit:{" + scope + "}:open" }

// verdict is the answer to a reservation, from Redis or from this process.
type verdict struct {
	at      time.Time // on Redis's clock, to the millisecond
	refused int       // the refusing limit's place among all of the buckets; -1 is none
	used    []int64   // by that place, this call included if it was admitted
}
