package ratelimit

import (
	"iter"
	"slices"
	"time"
)

// Reservation is what a call holds until it is settled.
type Reservation struct {
	limiter *Limiter
	member  any // its name, a string
	buckets []bucket
	amount  Amount
	verdict verdict

	// Guarded by the limiter's mu.
	state  state
	left   int       // posts that Redis has not confirmed
	over   bool      // settled
	undone bool      // as if it had not been
	final  Amount    // used in all, once it is over
	ended  time.Time // when it was settled, on this process's clock
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

// Headers calls f with x-ratelimit-{limit,remaining,reset}-{requests,tokens}, in this
// order, each of the limit with least left; not with those where no limit applies.
func (r *Reservation) Headers(f func(name, value string)) {
	if r.verdict.used != nil {
		each(least(r.verdict, r.buckets, func(_ int, l Limit) bool { return l.Unit != Slots }), f)
	}
}

// Settle gives the slots back and corrects the reserved amount to what the call
// used, in all; zero where nothing was. It does not wait for Redis. Only the first
// Settle counts. Call it before the last byte of the answer goes out: then a
// caller that comes straight back finds its slot free.
func (r *Reservation) Settle(used Amount) {
	l := r.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.over || r.state == unlimited {
		return
	}
	r.over, r.final = true, used.positive()
	delete(l.open, r)
	for _, b := range r.buckets {
		t := l.tally(b.Scope)
		t.open--
		for _, limit := range b.Limits {
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

func (s settlement) bucketOf() bucket { return s.r.buckets[s.bucket] }

// corrections are the limits whose counters the settlement changes, and by how much.
func (s settlement) corrections() iter.Seq2[Limit, int64] {
	return func(yield func(Limit, int64) bool) {
		for _, limit := range s.bucketOf().Limits {
			if by := s.r.correction(limit); by != 0 && limit.Unit != Slots && !yield(limit, by) {
				return
			}
		}
	}
}

// within reports whether all that is corrected is among limits.
func (s settlement) within(limits []Limit) bool {
	for limit := range s.corrections() {
		if !slices.ContainsFunc(limits, limit.same) {
			return false
		}
	}
	return true
}

// correction is what the settlement adds to what limit counts.
func (r *Reservation) correction(limit Limit) int64 {
	if r.undone {
		return -limit.adds(r.amount)
	}
	return limit.adds(r.final) - limit.adds(r.amount)
}

const (
	// maxPending bounds what is kept for a Redis that is away: beyond it the
	// reservations run out by themselves, and their tokens stay as estimated.
	maxPending = 1 << 16
	// ride is how many settlements of a bucket go ahead of a reservation.
	ride = 64
	// batch is how many the flusher sends at once.
	batch = 256
	// prompt is how long a settlement may wait for company where somebody may be
	// waiting for it.
	prompt = time.Millisecond
)

// settle hands r's settlements to the flusher. The caller holds mu.
func (l *Limiter) settle(r *Reservation) {
	r.ended = time.Now()
	pressing := false
	for i, b := range r.buckets {
		if l.waiting >= maxPending {
			l.lost++
			continue
		}
		t := l.tally(b.Scope)
		t.due = append(t.due, settlement{r, i})
		l.due[t] = struct{}{}
		l.waiting++
		pressing = pressing || t.pressing(r, b)
	}
	if pressing {
		l.poke()
	} else {
		l.rest(l.o.Linger)
	}
}

// pressing reports whether somebody may be waiting for r's settlement in the
// bucket, or would be misled without it: it frees a slot, or a window is nearly
// used up, before or after it, or it changes much of one. The others can linger:
// by them, what other processes see is wrong by little, and not for long.
func (t *tally) pressing(r *Reservation, b bucket) bool {
	if r.undone {
		return true
	}
	for _, limit := range b.Limits {
		if limit.Unit == Slots {
			return true
		}
		by := r.correction(limit)
		used := t.used(limit, r.verdict.at)
		if near := limit.Max - limit.Max/8; used >= near || used-by >= near || max(by, -by) > limit.Max/16 {
			return true
		}
	}
	return false
}

// tight reports whether a reservation in the bucket could be refused for want of a
// settlement that is under way.
func (t *tally) tight(b bucket, now time.Time) bool {
	for _, limit := range b.Limits {
		if limit.Unit == Slots || t.used(limit, now) >= limit.Max-limit.Max/8 {
			return true
		}
	}
	return false
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
// have lost while it was away; and what goes along with it: what is to be settled, the
// oldest first. That stays until confirmed: sent twice is settled once.
func (l *Limiter) ahead(buckets []bucket) (steps []step, due []settlement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range buckets {
		t := l.tally(buckets[i].Scope)
		buckets[i].keys = t.keys
		if t.era != l.era {
			steps = append(steps, l.repairStep(buckets[i:i+1]))
		}
		// What is under way with another call need not go twice, but where this one may
		// overtake it, and be refused for what it gives back.
		if t.underway > 0 && t.tight(buckets[i], l.clock()) {
			t.underway = 0
		}
		n := min(t.underway+ride, len(t.due))
		for ; t.underway < n && t.due[t.underway].within(buckets[i].Limits); t.underway++ {
			due = append(due, t.due[t.underway])
		}
	}
	return steps, due
}

// stranded takes note that settlements which went ahead of a reservation are to be
// sent again. The caller holds mu.
func (l *Limiter) stranded(due []settlement) {
	for _, s := range due {
		if t := l.tallies[s.r.buckets[s.bucket].Scope]; t != nil {
			t.underway = 0
		}
	}
}

// confirm forgets settlements that Redis has. The caller holds mu.
func (l *Limiter) confirm(done []settlement) {
	for _, s := range done {
		t := l.tallies[s.r.buckets[s.bucket].Scope]
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
		if i < t.underway {
			t.underway--
		}
		l.waiting--
		if len(t.due) == 0 {
			delete(l.due, t)
		}
	}
}
