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

// The dimensions of a bucket, in the order that the Lua scripts know.
const (
	rps = iota
	rpm
	rph
	rpd
	tpm
	tpd
	concurrency
	dimensions
)

// windows is how many of the dimensions are counted in time windows.
const windows = concurrency

var names = [dimensions]string{"rps", "rpm", "rph", "rpd", "tpm", "tpd", "concurrency"}

var sizes = [windows]time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour, time.Minute, 24 * time.Hour}

// limits are a bucket's limits by dimension; nil is none.
type limits [dimensions]*int64

func (b Bucket) limits() limits {
	l := b.Limit
	return limits{l.RPS, l.RPM, l.RPH, l.RPD, l.TPM, l.TPD, l.Concurrency}
}

func counted(d int, tokens int64) int64 {
	if d == tpm || d == tpd {
		return tokens
	}
	return 1
}

// bucket is a Bucket that limits something, made ready for the scripts.
type bucket struct {
	scope  string
	limits limits
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
		l := b.limits()
		if l == (limits{}) {
			continue
		}
		kept = append(kept, bucket{scope: b.Scope, limits: l})
	}
	return kept
}

// countersKey and slotsKey are a bucket's two keys: the hash tag puts them in
// one slot of a cluster.
func countersKey(scope string) string { return "aisix:limit:{" + scope + "}:counters" }
func slotsKey(scope string) string    { return "aisix:limit:{" + scope + "}:open" }

// verdict is the answer to a reservation, from Redis or from the local counters.
type verdict struct {
	at      time.Time // on the clock that owns the windows, to the millisecond
	refused bool
	bucket  int // the refusing one, index into the buckets asked for
	dim     int // its dimension
	used    [][dimensions]int64
}

// reset is how long from at until dimension d's window ends.
func reset(at time.Time, d int) time.Duration {
	if d >= windows {
		return time.Second // when a slot frees is not known
	}
	size := sizes[d].Milliseconds()
	return time.Duration(size-at.UnixMilli()%size) * time.Millisecond
}
