package ratelimit

import (
	"net/http"
	"slices"
)

// Reservation is what a call holds until it is settled.
type Reservation struct {
	limiter *Limiter
	member  any // its name, a string
	buckets []bucket
	tokens  int64
	verdict verdict

	// Guarded by the limiter's mu.
	state  state
	left   int   // posts that Redis has not confirmed
	over   bool  // settled
	undone bool  // as if it had not been
	final  int64 // tokens used, once it is over
}

// state is who knows of a reservation.
type state int

const (
	unlimited state = iota // nobody: there is no limit, or none at the moment
	told                   // Redis
	untold                 // this process
	doubtful               // this process, and perhaps Redis: it gave no answer
	telling                // this process; Redis is being told
)

// Headers are x-ratelimit-{limit,remaining,reset}-{requests,tokens}, each of the
// limit with least left; absent where no limit applies.
func (r *Reservation) Headers() http.Header {
	h := http.Header{}
	if r.verdict.used != nil {
		set(h, r.verdict, r.buckets, func(_ int, l Limit) bool { return l.Unit != Slots })
	}
	return h
}

// Settle gives the slots back and corrects the reserved tokens to what the call
// used, in all; 0 where nothing was. It does not wait for Redis. Only the first
// Settle counts. Call it before the last byte of the answer goes out: then a
// caller that comes straight back finds its slot free.
func (r *Reservation) Settle(tokens int64) {
	l := r.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.over || r.state == unlimited {
		return
	}
	r.over, r.final = true, max(0, tokens)
	delete(l.open, r)
	for _, b := range r.buckets {
		t := l.tally(b.scope)
		t.open--
		for _, limit := range b.limits {
			c := t.in(limit, r.verdict.at)
			if limit.Unit == Slots || c == nil {
				continue
			}
			if r.state == told {
				c.known = max(0, c.known+r.correction(limit))
			} else {
				c.untold += r.correction(limit)
			}
			if r.state == untold {
				c.owed += limit.adds(r.final)
				l.owing[t] = struct{}{}
			}
		}
	}
	switch r.state {
	case told:
		l.settle(r)
	case untold:
		delete(l.untold, r)
	}
	// doubtful and telling: once Redis was told (confirmPost).
}

// settlement is the end of a reservation in one bucket.
type settlement struct {
	r      *Reservation
	bucket int
}

// correction is what the settlement adds to what limit counts.
func (r *Reservation) correction(limit Limit) int64 {
	if r.undone {
		return -limit.adds(r.tokens)
	}
	return limit.adds(r.final) - limit.adds(r.tokens)
}

const (
	// maxPending bounds what is kept for a Redis that is away: beyond it the
	// reservations run out by themselves, and their tokens stay as estimated.
	maxPending = 1 << 16
	// ride is how many settlements of a bucket go ahead of a reservation.
	ride = 64
	// batch is how many the flusher sends at once.
	batch = 256
)

// settle hands r's settlements to the flusher. The caller holds mu.
func (l *Limiter) settle(r *Reservation) {
	for i, b := range r.buckets {
		if l.waiting >= maxPending {
			l.lost++
			continue
		}
		t := l.tally(b.scope)
		t.due = append(t.due, settlement{r, i})
		l.due[t] = struct{}{}
		l.waiting++
	}
	l.poke()
}

// takeBack undoes a reservation that Redis may have taken, as if it had not been.
func (l *Limiter) takeBack(r *Reservation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.verdict.at.IsZero() {
		r.verdict.at = l.clock()
	}
	r.over, r.undone = true, true
	l.settle(r)
}

func (l *Limiter) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// ahead is what goes before a reservation in the buckets: counters that Redis may
// have lost while it was away, then what is to be settled, the oldest first. That
// stays until confirmed: sent twice is settled once.
func (l *Limiter) ahead(buckets []bucket) (steps []step, due []settlement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range buckets {
		t := l.tally(buckets[i].scope)
		buckets[i].keys = t.keys
		if t.era != l.era {
			steps = append(steps, l.repairStep(buckets[i:i+1]))
		}
		due = append(due, t.due[:min(ride, len(t.due))]...)
	}
	for _, s := range due {
		steps = append(steps, l.settleStep(s))
	}
	return steps, due
}

// confirm forgets settlements that Redis has. The caller holds mu.
func (l *Limiter) confirm(done []settlement) {
	for _, s := range done {
		t := l.tallies[s.r.buckets[s.bucket].scope]
		if t == nil {
			continue
		}
		i := slices.Index(t.due, s) // 0, unless both the flusher and a call took it along
		if i < 0 {
			continue
		}
		if i == 0 && len(t.due) > ride {
			t.due = t.due[1:]
		} else {
			t.due = slices.Delete(t.due, i, i+1)
		}
		l.waiting--
		if len(t.due) == 0 {
			delete(l.due, t)
		}
	}
}
