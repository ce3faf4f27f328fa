package ratelimit

import "time"

// Arrival is a call that is here, from its headers on.
type Arrival struct {
	limiter *Limiter
	buckets []bucket
	left    bool
}

// Arrive counts a call from its headers on, in this process only, in all the
// buckets, and refuses it (a *Rejection) when this process knows a bucket to be
// at a limit: a window that Redis said is full and that is not over, or as many
// calls of that scope already here as its concurrency. No round trip. Leave ends
// it; it may be called more than once.
//
// What is known may be out of date, since others give tokens back: for each
// bucket at most one second of refusals follows on Redis's last word, then one
// call goes on to Reserve, to hear the next. A limit that was raised meanwhile is
// looked at as it is now.
func (l *Limiter) Arrive(buckets []Bucket) (*Arrival, error) {
	a := &Arrival{limiter: l, buckets: effective(buckets)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(a.buckets) > 0 && l.away && l.o.OnFailure == Closed {
		return nil, unavailable(l.cause)
	}
	if !l.away || l.o.OnFailure != Open {
		if v := l.look(a.buckets); v.refused >= 0 {
			return nil, rejection(a.buckets, v)
		}
	}
	for _, b := range a.buckets {
		t := l.tally(b.scope)
		t.here++
		t.asked = l.o.Now()
	}
	return a, nil
}

// look is a verdict on one more call in the buckets, without asking Redis.
func (l *Limiter) look(buckets []bucket) verdict {
	v := verdict{at: l.clock(), refused: -1}
	now, longest, place := l.o.Now(), time.Duration(-1), 0
	for _, b := range buckets {
		t := l.tallies[b.scope]
		for _, limit := range b.limits {
			used := t.used(limit, v.at)
			known := limit.Max == 0 || l.away || t != nil && now.Sub(t.asked) < recheck
			if limit.Unit == Slots {
				used, known = 0, true
				if t != nil {
					used = t.here
				}
			}
			if wait := limit.wait(v.at); known && used >= limit.Max && wait > longest {
				v.refused, longest = place, wait
				v.used = append(make([]int64, place), used) // of the others nobody asks
			}
			place++
		}
	}
	return v
}

// Leave ends the call. Call it before the last byte of the answer goes out, as
// Settle: then a caller that comes straight back is let in.
func (a *Arrival) Leave() {
	if a == nil {
		return
	}
	l := a.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.left {
		return
	}
	a.left = true
	for _, b := range a.buckets {
		t := l.tallies[b.scope]
		if t.here--; l.idle(t) && len(t.counts) == 0 {
			delete(l.tallies, b.scope)
		}
	}
}
