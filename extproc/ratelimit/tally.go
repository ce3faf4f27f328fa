package ratelimit

import "time"

// tally is what this process knows of a bucket: what Redis last said of it, and
// what it let in itself that Redis has not heard of. While Redis is away, limits
// are held to it, so that an outage begins with what was known, and the next one
// with what the last one let in. Guarded by Limiter.mu.
type tally struct {
	scope  Scope
	keys   []string // counters and slots
	here   int64    // calls from their headers on (Arrive)
	open   int64    // reservations, in Redis or not
	counts []count
	at     time.Time    // when Redis last spoke of it, on its clock
	asked  time.Time    // the same on ours, or when a call was last let through to ask
	era    int          // of the limiter, at that time: behind it, Redis may have lost the counters
	due    []settlement // not yet confirmed by Redis
	// underway is how many of due, the first ones, go ahead of reservations just now. Where
	// one of these fails, all count as not sent: sent twice is settled once.
	underway int
}

// count is a tally's of one unit and window size, in the window that it last saw.
type count struct {
	unit   Unit
	size   time.Duration
	window int64
	known  int64 // used, as Redis has it
	untold int64 // used besides: let in by this process, and not in Redis yet
	owed   int64 // of these, by calls that are over and in no post
}

const (
	// maxTallies bounds what is remembered: beyond it a bucket without calls goes
	// for each that comes.
	maxTallies = 1 << 16
	// recheck is how long a full window is taken as full without asking: then one
	// call goes through to Redis to see. Others may have given tokens back, or an
	// operator may have.
	recheck = time.Second
)

// tally gives the scope's, made where there is none.
func (l *Limiter) tally(scope Scope) *tally {
	t := l.tallies[scope]
	if t == nil {
		if len(l.tallies) >= maxTallies {
			l.sweep(8, func(*tally) bool { return true })
		}
		t = &tally{scope: scope, keys: []string{countersKey(scope), slotsKey(scope)}, era: l.era}
		l.tallies[scope] = t
	}
	return t
}

// idle reports whether t has no calls, and nothing that Redis is to be told.
func (l *Limiter) idle(t *tally) bool {
	_, owing := l.owing[t]
	return t.here == 0 && t.open == 0 && len(t.due) == 0 && !owing
}

// sweep forgets those of some tallies, chosen at random, that are idle and old.
func (l *Limiter) sweep(some int, old func(*tally) bool) {
	for scope, t := range l.tallies {
		if some--; some < 0 {
			return
		}
		if l.idle(t) && old(t) {
			delete(l.tallies, scope)
		}
	}
}

// over reports whether nothing that t knows is of a window that still lasts.
func (t *tally) over(now time.Time) bool {
	for _, c := range t.counts {
		if c.window == c.limit().window(now) {
			return false
		}
	}
	return true
}

func (c *count) limit() Limit { return Limit{Unit: c.unit, Window: c.size} }

// find gives the count of l's unit and window, nil where there is none.
func (t *tally) find(l Limit) *count {
	for i := range t.counts {
		if c := &t.counts[i]; c.unit == l.Unit && c.size == l.Window {
			return c
		}
	}
	return nil
}

// in is find where its window is the one of at: what is over stays so.
func (t *tally) in(l Limit, at time.Time) *count {
	if c := t.find(l); c != nil && c.window == l.window(at) {
		return c
	}
	return nil
}

// begin is in, with a window begun where there is none.
func (t *tally) begin(l Limit, at time.Time) *count {
	c := t.find(l)
	if c == nil {
		t.counts = append(t.counts, count{unit: l.Unit, size: l.Window})
		c = &t.counts[len(t.counts)-1]
	}
	if w := l.window(at); c.window != w {
		*c = count{unit: l.Unit, size: l.Window, window: w}
	}
	return c
}

// used is what t knows to be used of l at that time; t may be nil.
func (t *tally) used(l Limit, at time.Time) int64 {
	if t == nil {
		return 0
	}
	if l.Unit == Slots {
		return t.open
	}
	if c := t.in(l, at); c != nil {
		return c.known + c.untold
	}
	return 0
}

// learn takes note of what Redis said of the buckets.
func (l *Limiter) learn(buckets []bucket, v verdict) {
	i := 0
	for _, b := range buckets {
		t := l.tally(b.Scope)
		t.asked, t.era = l.heard.ours, l.era
		// Answers may overtake each other; the clock may have been set back.
		if v.at.Before(t.at) && t.at.Sub(v.at) < time.Minute {
			i += len(b.Limits)
			continue
		}
		for _, limit := range b.Limits {
			if limit.Unit != Slots {
				c := t.begin(limit, v.at)
				if c.known < v.used[i] || v.at != t.at {
					c.known = v.used[i]
				}
			}
			i++
		}
		t.at = v.at
	}
}

// clock is Redis's, as far as this process knows it: the windows are on it.
func (l *Limiter) clock() time.Time {
	now := l.o.Now()
	if !l.heard.redis.IsZero() {
		now = l.heard.redis.Add(now.Sub(l.heard.ours))
	}
	return now.Truncate(time.Millisecond)
}

// local reserves in this process alone: the same windows, with the whole limit
// for each process, less what it knows to be used.
func (l *Limiter) local(r *Reservation) verdict {
	v := verdict{at: l.clock(), refused: -1, used: make([]int64, 0, total(r.buckets))}
	longest := time.Duration(-1)
	for _, b := range r.buckets {
		t := l.tallies[b.Scope]
		for _, limit := range b.Limits {
			used := t.used(limit, v.at)
			if wait := limit.wait(v.at); limit.full(used, limit.adds(r.amount)) && wait > longest {
				v.refused, longest = len(v.used), wait
			}
			v.used = append(v.used, used)
		}
	}
	if v.refused >= 0 {
		return v
	}
	i := 0
	for _, b := range r.buckets {
		t := l.tally(b.Scope)
		for _, limit := range b.Limits {
			add := limit.adds(r.amount)
			if limit.Unit != Slots {
				t.begin(limit, v.at).untold += add
			}
			v.used[i] += add
			i++
		}
	}
	return v
}
