package ratelimit

import (
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/admin/store/redistest"
)

// A settlement that nobody waits for takes no round trip of its own: it goes ahead
// of the next reservation in its bucket.
func TestSettlementRidesAlong(t *testing.T) {
	c := redistest.Start(t).Client()
	l := limiter(t, c, Options{Linger: time.Hour, Probe: time.Hour})
	b := of("apikey:a", resource.RateLimit{RPM: n(1 << 40), TPD: n(1 << 40)})
	open := func() int64 { return holding(c, named("apikey:a")) }
	reserve(t, l, 5, b).Settle(Amount{7})
	if open() != 1 || len(l.wake) > 0 {
		t.Errorf("%d open, woken %d times: it did not linger", open(), len(l.wake))
	}
	r := reserve(t, l, 5, b)
	if used := r.verdict.used[1]; open() != 1 || used != 12 {
		t.Errorf("%d open and %d tokens used after the next call, want its own and 12", open(), used)
	}
	r.Settle(Amount{7})
	if err := l.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if got := counter(t, c, "apikey:a", "tokens:86400"); got != 14 || open() != 0 {
		t.Errorf("a clean stop left %d tokens and %d open, want 14 and none", got, open())
	}
}

// One that lingers goes out in the end, where no call comes to take it along.
func TestSettlementLingersNotForEver(t *testing.T) {
	c := redistest.Start(t).Client()
	l := limiter(t, c, Options{Linger: time.Millisecond, Probe: time.Hour})
	reserve(t, l, 5, of("apikey:a", resource.RateLimit{TPD: n(1 << 40)})).Settle(Amount{7})
	eventually(t, "settled", func() bool { return holding(c, named("apikey:a")) == 0 })
}

// What somebody may be waiting for goes out at once: a slot, a window that is nearly
// used up, and what changes much of one.
func TestPressingSettlementGoesAtOnce(t *testing.T) {
	c := redistest.Start(t).Client()
	l := limiter(t, c, Options{Linger: time.Hour, Probe: time.Hour})
	for name, test := range map[string]struct {
		limit          resource.RateLimit
		reserved, used int64
	}{
		"a slot":            {resource.RateLimit{Concurrency: n(1 << 40)}, 0, 0},
		"the last request":  {resource.RateLimit{RPD: n(1)}, 0, 0},
		"nearly used up":    {resource.RateLimit{TPD: n(1000)}, 860, 890},
		"tokens given back": {resource.RateLimit{TPD: n(1000)}, 900, 880},
		"much of a window":  {resource.RateLimit{TPD: n(1000)}, 1, 100},
	} {
		b := of("apikey:"+name, test.limit)
		reserve(t, l, test.reserved, b).Settle(Amount{test.used})
		eventually(t, name, func() bool { return holding(c, b.Scope) == 0 })
	}
}

// What is under way with one call does not go with the next one too, but for where
// that one could be refused for want of it, or where it did not get there.
func TestSettlementIsSentOnce(t *testing.T) {
	l := limiter(t, redistest.Start(t).Client(), Options{Linger: time.Hour, Probe: time.Hour})
	for name, test := range map[string]struct {
		limit resource.RateLimit
		again int
	}{
		"roomy": {resource.RateLimit{RPD: n(1 << 40)}, 0},
		"slots": {resource.RateLimit{Concurrency: n(1 << 40)}, 2},
		"tight": {resource.RateLimit{RPD: n(2)}, 2},
	} {
		b := of("apikey:"+name, test.limit)
		first, second := reserve(t, l, 0, b), reserve(t, l, 0, b)
		l.mu.Lock()
		for _, r := range []*Reservation{first, second} {
			r.over = true
			l.due[l.tally(b.Scope)] = struct{}{}
			l.tally(b.Scope).due = append(l.tally(b.Scope).due, settlement{r, 0})
			l.waiting++
		}
		l.mu.Unlock()
		buckets := effective([]Bucket{b})
		_, took := l.ahead(buckets)
		_, again := l.ahead(buckets)
		if len(took) != 2 || len(again) != test.again {
			t.Errorf("%s: %d, then %d, want 2, then %d", name, len(took), len(again), test.again)
		}
		l.mu.Lock()
		l.stranded(took)
		l.mu.Unlock()
		if _, took = l.ahead(buckets); len(took) != 2 {
			t.Errorf("%s: %d after a failure, want both", name, len(took))
		}
		l.mu.Lock()
		l.confirm(took)
		left := l.tally(b.Scope)
		l.mu.Unlock()
		if left.underway != 0 || len(left.due) != 0 {
			t.Errorf("%s: %d under way of %d at the end", name, left.underway, len(left.due))
		}
	}
}
