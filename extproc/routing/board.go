package routing

import (
	"sync"
	"sync/atomic"
	"time"

	"aisix/admin/cooling"
)

// How long targets cool down.
const (
	throttledFirst = time.Second // doubling
	failedFirst    = 5 * time.Second
	longestDoubled = time.Minute
	longestAsked   = time.Hour // by a Retry-After

	failures = 3 // within window
	window   = 10 * time.Second

	forgetting = 2 * time.Minute // after which doubling begins anew
)

// Board is what is known of targets that failed. Its methods may be called from any goroutine.
type Board struct {
	now   func() time.Time
	busy  atomic.Int64 // entries: none is the usual case, which takes no lock
	dirty chan struct{}

	mu      sync.Mutex
	entries map[string]*entry
}

// entry is a target that failed.
type entry struct {
	cooling.Down
	recent []time.Time // failures since the last one
	told   bool        // the others know it as it is
}

// NewBoard makes a board that knows nothing; now may be nil.
func NewBoard(now func() time.Time) *Board {
	if now == nil {
		now = time.Now
	}
	return &Board{now: now, dirty: make(chan struct{}, 1), entries: map[string]*entry{}}
}

// Quiet reports whether nothing is known of any target: the usual case.
func (b *Board) Quiet() bool { return b.busy.Load() == 0 }

// until is when the target's cool-down ends, zero where it is well.
func (b *Board) until(id string, now time.Time) time.Time {
	if b.Quiet() {
		return time.Time{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[id]; e != nil && e.Until.After(now) {
		return e.Until
	}
	return time.Time{}
}

// Throttled takes note that the target refused a call for its rate. after is how long it wants
// to be left alone, 0 where it does not say.
func (b *Board) Throttled(id, reason string, after time.Duration) {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(id, now)
	if after > 0 {
		if until := now.Add(min(after, longestAsked)); until.After(e.Until) {
			b.cool(e, reason, now, until)
		}
		return
	}
	if !e.Until.After(now) { // those that were under way together count as one
		b.cool(e, reason, now, now.Add(doubled(throttledFirst, e.InARow)))
	}
}

// Failed takes note that the target failed.
func (b *Board) Failed(id, reason string) {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(id, now)
	if e.Until.After(now) {
		return
	}
	if e.recent = append(e.recent, now); len(e.recent) < failures {
		return
	}
	e.recent = e.recent[len(e.recent)-failures:]
	if now.Sub(e.recent[0]) <= window {
		b.cool(e, reason, now, now.Add(doubled(failedFirst, e.InARow)))
	}
}

// Served takes note that the target answered a call that was sent at that time: it is well,
// unless that was before it began to cool down.
func (b *Board) Served(id string, sent time.Time) {
	if b.Quiet() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[id]
	if e == nil || sent.Before(e.Since) {
		return
	}
	if e.InARow = 0; e.Until.After(b.now()) {
		e.Until = time.Time{}
		b.tell(e)
	}
	e.recent = nil
}

// entry is the target's. The caller holds mu.
func (b *Board) entry(id string, now time.Time) *entry {
	e := b.entries[id]
	if e == nil {
		e = &entry{told: true}
		b.entries[id] = e
		b.busy.Add(1)
	}
	if !e.Until.IsZero() && now.Sub(e.Until) > forgetting {
		e.InARow = 0
	}
	return e
}

func (b *Board) cool(e *entry, reason string, now, until time.Time) {
	e.Down = cooling.Down{Since: now, Until: until, InARow: e.InARow + 1, Reason: reason}
	e.recent = nil
	b.tell(e)
}

// tell has the others told of an entry.
func (b *Board) tell(e *entry) {
	e.told = false
	select {
	case b.dirty <- struct{}{}:
	default:
	}
}

// forget drops what tells nothing any more. The caller holds mu.
func (b *Board) forget(now time.Time) {
	for id, e := range b.entries {
		last := e.Until
		if n := len(e.recent); n > 0 && e.recent[n-1].After(last) {
			last = e.recent[n-1]
		}
		if e.told && now.Sub(last) > forgetting {
			delete(b.entries, id)
			b.busy.Add(-1)
		}
	}
}

func doubled(first time.Duration, times int) time.Duration {
	if times < 0 || times > 6 {
		return longestDoubled
	}
	return min(first<<times, longestDoubled)
}
