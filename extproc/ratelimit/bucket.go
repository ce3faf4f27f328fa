package ratelimit

import (
	"slices"
	"time"

	"aisix/admin/resource"
)

// Scope is whose limits they are: every process that names it counts together.
type Scope struct{ Kind, ID string } // "apikey", "model"

// Bucket is a scope and its limits.
type Bucket struct {
	Scope  Scope
	Limits []Limit
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

// Amount is what a call uses, besides the one request and the one slot that it is.
type Amount struct{ Tokens int64 }

func (a Amount) positive() Amount { return Amount{max(0, a.Tokens)} }

// Of is the bucket of a resource's rate_limit, which may be nil. The names of its
// members stand here and nowhere else.
func Of(kind, id string, l *resource.RateLimit) Bucket {
	b := Bucket{Scope: Scope{kind, id}}
	if l == nil {
		return b
	}
	for _, member := range []struct {
		max    *int64
		name   string
		unit   Unit
		window time.Duration
	}{
		{l.RPS, "rps", Requests, time.Second},
		{l.RPM, "rpm", Requests, time.Minute},
		{l.RPH, "rph", Requests, time.Hour},
		{l.RPD, "rpd", Requests, 24 * time.Hour},
		{l.TPM, "tpm", Tokens, time.Minute},
		{l.TPD, "tpd", Tokens, 24 * time.Hour},
		{l.Concurrency, "concurrency", Slots, 0},
	} {
		if member.max == nil {
			continue
		}
		if b.Limits == nil {
			b.Limits = make([]Limit, 0, 4)
		}
		b.Limits = append(b.Limits, Limit{member.name, member.unit, member.window, *member.max})
	}
	return b
}

// Only is the bucket with its limits on one unit.
func (b Bucket) Only(u Unit) Bucket {
	b.Limits = slices.DeleteFunc(slices.Clone(b.Limits), func(l Limit) bool { return l.Unit != u })
	return b
}

// adds is what a call adds to what the limit counts.
func (l Limit) adds(a Amount) int64 {
	if l.Unit == Tokens {
		return a.Tokens
	}
	return 1
}

// full reports whether a call that adds so much does not fit. One that adds nothing
// does not fit either where nothing is left.
func (l Limit) full(used, add int64) bool { return used >= l.Max || add > l.Max-used }

// window is the number of the limit's window at t.
func (l Limit) window(t time.Time) int64 {
	if l.Window == 0 {
		return 0
	}
	return t.UnixMilli() / l.Window.Milliseconds()
}

// same reports whether two limits have one counter.
func (l Limit) same(other Limit) bool { return l.Unit == other.Unit && l.Window == other.Window }

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
	Bucket
	keys []string // the tally's
}

// effective leaves out buckets without a limit and counts each scope once.
func effective(buckets []Bucket) []bucket {
	kept := make([]bucket, 0, len(buckets))
	for _, b := range buckets {
		if len(b.Limits) > 0 && !slices.ContainsFunc(kept, func(k bucket) bool { return k.Scope == b.Scope }) {
			kept = append(kept, bucket{Bucket: b})
		}
	}
	return kept
}

func total(buckets []bucket) int {
	n := 0
	for _, b := range buckets {
		n += len(b.Limits)
	}
	return n
}

// countersKey and slotsKey are a bucket's two keys: the hash tag puts them in
// one slot of a cluster.
func countersKey(s Scope) string { return "aisix:limit:{" + s.Kind + ":" + s.ID + "}:windows" }
func slotsKey(s Scope) string    { return "aisix:limit:{" + s.Kind + ":" + s.ID + "}:open" }

// verdict is the answer to a reservation, from Redis or from this process.
type verdict struct {
	at      time.Time // on Redis's clock, to the millisecond
	refused int       // the refusing limit's place among all of the buckets; -1 is none
	used    []int64   // by that place, this call included if it was admitted
}
