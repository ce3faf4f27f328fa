package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
	"aisix/admin/store/redistest"
	"aisix/extproc/fault"
)

// trips counts a client's round trips.
type trips struct{ atomic.Int64 }

func (h *trips) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { h.Add(1); return next(ctx, cmd) }
}

func (h *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { h.Add(1); return next(ctx, cmds) }
}

func arrive(t testing.TB, l *Limiter, buckets ...Bucket) *Arrival {
	t.Helper()
	a, err := l.Arrive(buckets)
	if err != nil {
		t.Fatalf("Arrive: %v", err)
	}
	return a
}

func turnedAway(t testing.TB, l *Limiter, limit string, buckets ...Bucket) *Rejection {
	t.Helper()
	_, err := l.Arrive(buckets)
	var r *Rejection
	if !errors.As(err, &r) {
		t.Fatalf("Arrive gave %v, want a rejection by %s", err, limit)
	}
	if r.Limit != limit {
		t.Fatalf("refused by %q, want %q", r.Limit, limit)
	}
	return r
}

// frozen is a clock that stands still until it is put forward.
type frozen struct {
	mu  sync.Mutex
	now time.Time
}

func (c *frozen) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *frozen) put(forward time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(forward)
}

func TestArriveKnowsWhatIsFull(t *testing.T) {
	for name, test := range map[string]struct {
		limit resource.RateLimit
		asked int // calls until Redis says that it is full
	}{
		"rpm": {resource.RateLimit{RPM: n(2), Concurrency: n(9)}, 2},
		"rph": {resource.RateLimit{RPH: n(1), TPM: n(100)}, 1},
		"rpd": {resource.RateLimit{RPD: n(3), RPS: n(1000)}, 3},
		"tpm": {resource.RateLimit{TPM: n(20), RPM: n(100)}, 2},
		"tpd": {resource.RateLimit{TPD: n(10)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := redistest.Start(t).Client()
			calm(t, c)
			var trips trips
			l := limiter(t, c, Options{Probe: time.Hour, Now: fixed(time.Now())}) // within a second
			b, m := of("apikey:a", test.limit), of("model:m", resource.RateLimit{RPD: n(1000)})
			for range test.asked {
				a := arrive(t, l, b, m)
				reserve(t, l, 10, b, m).Settle(Amount{10})
				a.Leave()
			}
			if err := l.flush(ctx); err != nil {
				t.Fatal(err)
			}
			c.AddHook(&trips)
			const calls = 100
			for range calls {
				turnedAway(t, l, name, b, m)
			}
			if got := trips.Load(); got >= calls { // the limiter's own upkeep may come in between
				t.Errorf("%d round trips for %d calls", got, calls)
			}
			arrive(t, l, m)
			look, asked := turnedAway(t, l, name, m, b), refused(t, l, 10, name, m, b)
			if look.Scope != asked.Scope || look.Fault.Status != asked.Fault.Status || look.Fault.Kind != asked.Fault.Kind || len(look.Headers) != len(asked.Headers) || len(look.Headers) != 3 {
				t.Errorf("Arrive gives %+v, Reserve %+v", look, asked)
			}
			for h := range asked.Headers {
				if look.Headers.Get(h) == "" {
					t.Errorf("no %s", h)
				}
			}
		})
	}
}

// Of one moment, a rejection is the same whoever gives it.
func TestArriveRejectsAsReserveDoes(t *testing.T) {
	for name, limit := range map[string]resource.RateLimit{"rph": {RPM: n(1), RPH: n(1), Concurrency: n(1)}, "tpd": {TPD: n(10)}, "rpd": {RPD: n(0)}, "concurrency": {Concurrency: n(1)}} {
		t.Run(name, func(t *testing.T) {
			l := limiter(t, absent(t), Options{Now: fixed(noon)})
			b := of("apikey:a", limit)
			if name != "rpd" {
				arrive(t, l, b)
				reserve(t, l, 10, b)
			}
			if d := cmp.Diff(refused(t, l, 10, name, b), turnedAway(t, l, name, b)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestArriveCountsCallsThatAreHere(t *testing.T) {
	l := limiter(t, redistest.Start(t).Client(), Options{})
	b, m := of("apikey:a", resource.RateLimit{Concurrency: n(2)}), of("model:m", resource.RateLimit{Concurrency: n(3)})
	first := arrive(t, l, b, b, m) // a scope counts once
	arrive(t, l, b, m)
	turnedAway(t, l, "concurrency", b, m)
	third := arrive(t, l, m) // the refusal has left no trace
	turnedAway(t, l, "concurrency", m)
	first.Leave()
	first.Leave()
	arrive(t, l, b, m)
	turnedAway(t, l, "concurrency", b)
	third.Leave()
	arrive(t, l, m)
	turnedAway(t, l, "concurrency", m)
	arrive(t, l, of("apikey:a", resource.RateLimit{Concurrency: n(3)})) // raised
	arrive(t, l, of("apikey:a", resource.RateLimit{RPM: n(3)}))         // taken away
	arrive(t, l).Leave()
	(*Arrival)(nil).Leave()
}

// A call as extproc has them, of a bucket that has nothing but slots.
func TestArriveReserveSettleLeave(t *testing.T) {
	c := redistest.Start(t).Client()
	l := limiter(t, c, Options{})
	b := of("apikey:a", resource.RateLimit{Concurrency: n(1)})
	for range 20 {
		a := arrive(t, l, b)
		turnedAway(t, l, "concurrency", b)
		r := reserve(t, l, 0, b)
		r.Settle(Amount{})
		a.Leave()
	}
	if err := l.flush(ctx); err != nil {
		t.Fatal(err)
	}
	if held := holding(c, named("apikey:a")); held != 0 || l.waiting != 0 {
		t.Errorf("%d slots are held, %d settlements wait", held, l.waiting)
	}
}

func TestArriveAtTheSameTime(t *testing.T) {
	l := limiter(t, redistest.Start(t).Client(), Options{})
	b := of("apikey:a", resource.RateLimit{Concurrency: n(10)})
	var here, most, passed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				a, err := l.Arrive([]Bucket{b})
				if err != nil {
					continue
				}
				if n := here.Add(1); n > most.Load() {
					most.Store(n)
				}
				passed.Add(1)
				here.Add(-1)
				a.Leave()
			}
		})
	}
	wg.Wait()
	if most.Load() > 10 || passed.Load() < 10 || len(l.tallies) != 0 {
		t.Errorf("%d at a time, %d in all; %d tallies are left", most.Load(), passed.Load(), len(l.tallies))
	}
}

func TestArriveZeroBlocks(t *testing.T) {
	l := limiter(t, redistest.Start(t).Client(), Options{})
	for limit, b := range map[string]resource.RateLimit{"tpm": {TPM: n(0)}, "rps": {RPS: n(0)}, "concurrency": {Concurrency: n(0)}} {
		turnedAway(t, l, limit, of("apikey:a", b))
	}
	if len(l.tallies) != 0 {
		t.Errorf("%d tallies are left", len(l.tallies))
	}
}

// No call that Redis would admit is refused for longer than a second: limits are
// raised, tokens given back, counters deleted, windows end.
func TestArriveForgets(t *testing.T) {
	limit := resource.RateLimit{TPD: n(100)}
	full := of("apikey:a", limit)
	for name, test := range map[string]struct {
		change func(t *testing.T, c *redis.Client, other *Limiter, mine, theirs *Reservation)
		limit  resource.RateLimit
		wait   time.Duration
	}{
		"a raised limit":          {limit: resource.RateLimit{TPD: n(200)}},
		"a limit taken away":      {limit: resource.RateLimit{TPM: n(100)}},
		"tokens that I gave back": {change: func(_ *testing.T, _ *redis.Client, _ *Limiter, mine, _ *Reservation) { mine.Settle(Amount{1}) }, limit: limit},
		"tokens that others gave back": {change: func(t *testing.T, _ *redis.Client, other *Limiter, _, theirs *Reservation) {
			theirs.Settle(Amount{1})
			if err := other.flush(ctx); err != nil {
				t.Fatal(err)
			}
		}, limit: limit, wait: recheck},
		"deleted counters": {change: func(_ *testing.T, c *redis.Client, _ *Limiter, _, _ *Reservation) {
			c.Del(ctx, countersKey(named("apikey:a")))
		}, limit: limit, wait: recheck},
	} {
		t.Run(name, func(t *testing.T) {
			c := redistest.Start(t).Client()
			clock := frozen{now: time.Now()}
			l, other := limiter(t, c, Options{Now: clock.Now, Probe: time.Hour}), limiter(t, c, Options{Probe: time.Hour})
			theirs, mine := reserve(t, other, 50, full), reserve(t, l, 50, full)
			turnedAway(t, l, "tpd", full)
			if test.change != nil {
				test.change(t, c, other, mine, theirs)
			}
			b := of("apikey:a", test.limit)
			if test.wait > 0 {
				turnedAway(t, l, "tpd", b)
				clock.put(test.wait)
			}
			arrive(t, l, b)
			reserve(t, l, 1, b)
		})
	}
}

// While a bucket stays full, one call a second goes on to ask.
func TestArriveLetsOneAsk(t *testing.T) {
	c := redistest.Start(t).Client()
	clock := frozen{now: time.Now()}
	l := limiter(t, c, Options{Now: clock.Now, Probe: time.Hour})
	b := of("apikey:a", resource.RateLimit{RPD: n(1)})
	reserve(t, l, 0, b).Settle(Amount{})
	passed := 0
	for range 5 {
		for range 20 {
			if a, err := l.Arrive([]Bucket{b}); err == nil {
				passed++
				a.Leave()
			}
		}
		clock.put(recheck)
	}
	if passed != 4 {
		t.Errorf("%d calls passed in 4 seconds", passed)
	}
}

func TestArriveKnowsWhenAWindowEnds(t *testing.T) {
	clock := frozen{now: noon}
	l := limiter(t, absent(t), Options{Now: clock.Now})
	b := of("apikey:a", resource.RateLimit{RPM: n(1)})
	arrive(t, l, b).Leave()
	reserve(t, l, 0, b).Settle(Amount{})
	turnedAway(t, l, "rpm", b)
	clock.put(3 * time.Second)
	if got := turnedAway(t, l, "rpm", b).Fault.RetryAfter; got != "1" {
		t.Errorf("Retry-After %s", got)
	}
	clock.put(time.Second)
	arrive(t, l, b)
}

// The windows end on Redis's clock: an hour of difference is known.
func TestArriveOnRedissClock(t *testing.T) {
	c := redistest.Start(t).Client()
	calm(t, c)
	l := limiter(t, c, Options{Now: func() time.Time { return time.Now().Add(90 * time.Minute) }})
	b := of("apikey:a", resource.RateLimit{RPM: n(1)})
	reserve(t, l, 0, b).Settle(Amount{})
	look, asked := turnedAway(t, l, "rpm", b), refused(t, l, 0, "rpm", b)
	one, err1 := time.ParseDuration(look.Headers.Get("x-ratelimit-reset-requests"))
	two, err2 := time.ParseDuration(asked.Headers.Get("x-ratelimit-reset-requests"))
	if err := errors.Join(err1, err2); err != nil || (one-two).Abs() > 5*time.Second {
		t.Errorf("resets in %v and %v: %v", one, two, err)
	}
}

func TestArrivePolicies(t *testing.T) {
	b := of("apikey:a", resource.RateLimit{RPD: n(0), Concurrency: n(0)})
	away := func(policy string) *Limiter {
		l := limiter(t, absent(t), Options{OnFailure: policy})
		l.Reserve(ctx, []Bucket{of("apikey:b", resource.RateLimit{RPD: n(9)})}, Amount{})
		if !l.Away() {
			t.Fatal("not away")
		}
		return l
	}
	arrive(t, away(Open), b).Leave()
	turnedAway(t, away(Local), "rpd", b)
	if r := turnedAway(t, away(Closed), "", b); r.Fault.Status != 503 || r.Fault.Kind != fault.LimitsUnavailable || r.Fault.Err == nil {
		t.Error(r.Fault)
	}
	arrive(t, away(Closed)).Leave() // no limit, no Redis
}

// What is known of many scopes is bounded, and goes with their windows.
func TestTalliesAreBounded(t *testing.T) {
	now := noon
	l := limiter(t, absent(t), Options{Now: func() time.Time { return now }, Probe: time.Hour})
	open := of("apikey:open", resource.RateLimit{RPM: n(1), Concurrency: n(1)})
	r := reserve(t, l, 0, open)
	for i := range maxTallies + 1000 {
		b := of(fmt.Sprintf("apikey:%d", i), resource.RateLimit{RPM: n(1)})
		a := arrive(t, l, b)
		l.mu.Lock()
		l.tally(b.Scope).begin(b.Limits[0], l.clock()).known = 1
		l.mu.Unlock()
		a.Leave()
	}
	if got := len(l.tallies); got > maxTallies {
		t.Errorf("%d tallies", got)
	}
	turnedAway(t, l, "rpm", open)
	refused(t, l, 0, "rpm", open)
	now = now.Add(time.Minute)
	for range maxTallies {
		if l.forget(); len(l.tallies) == 1 {
			break
		}
	}
	if len(l.tallies) != 1 {
		t.Errorf("%d tallies are left, of one call", len(l.tallies))
	}
	refused(t, l, 0, "concurrency", open)
	r.Settle(Amount{})
}
