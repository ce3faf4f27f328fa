package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
	"aisix/admin/store/redistest"
)

// gate is the way to a server, to be shut and opened, and led to another.
type gate struct {
	mu    sync.Mutex
	addr  string // "" is shut
	conns []net.Conn
}

func (g *gate) lead(addr string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addr = addr
	for _, c := range g.conns {
		c.Close()
	}
	g.conns = nil
}

func (g *gate) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.addr == "" {
		return nil, errors.New("the gate is shut")
	}
	c, err := net.Dial("tcp", g.addr)
	if err == nil {
		g.conns = append(g.conns, c)
	}
	return c, err
}

func (g *gate) client(t testing.TB) *redis.Client {
	c := redis.NewClient(&redis.Options{Dialer: g.dial, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { c.Close() })
	return c
}

// flapper is a limiter behind a gate.
type flapper struct {
	*Limiter
	*gate
	t    *testing.T
	said bool // away, as Changed said it last
}

func newFlapper(t *testing.T, addr string, repaired func()) *flapper {
	f := &flapper{gate: &gate{addr: addr}, t: t}
	f.Limiter = limiter(t, f.client(t), Options{Probe: 2 * time.Millisecond, Changed: f.heard, Repaired: repaired})
	return f
}

// heard is told of every change in turn, one at a time. There may be more of them
// than a test makes: a machine that stands still for a while lets Redis be late, too.
func (f *flapper) heard(away bool) {
	if away == f.said {
		f.t.Errorf("away is %v, said twice", away)
	}
	f.said = away
}

// await waits for Redis to be away, or back. It is found to be away by calls only.
func (f *flapper) await(away bool) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("away is %v", away), func() bool {
		if away && !f.Away() {
			f.try(1, of("apikey:nobody", resource.RateLimit{RPD: n(1 << 40)}))
		}
		return f.Away() == away
	})
}

// shut ends the way to Redis, and lets the limiter find out by a call in b.
func (f *flapper) shut(b Bucket) (admitted int) {
	f.lead("")
	admitted = f.try(1, b)
	f.await(true)
	return admitted
}

// back opens it again.
func (f *flapper) back(addr string) {
	f.lead(addr)
	f.await(false)
}

// try counts how many of n calls in b pass; each is over at once.
func (f *flapper) try(n int, b Bucket) (admitted int) {
	for range n {
		if r, err := f.Reserve(ctx, []Bucket{b}, Amount{}); err == nil {
			r.Settle(Amount{})
			admitted++
		}
	}
	return admitted
}

// A Redis that comes and goes does not multiply a limit: what was let in without
// it counts, in the next outage and once it is back; also where it comes back
// with nothing.
func TestFlapping(t *testing.T) {
	for name, lost := range map[string]bool{"data kept": false, "data lost": true} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			c := s.Client()
			f := newFlapper(t, s.Addr, nil)
			b := of("apikey:a", resource.RateLimit{RPD: n(20)})
			admitted := f.try(2, b)
			for range 9 {
				admitted += f.shut(b) + f.try(1, b)
				if lost {
					if err := c.FlushAll(ctx).Err(); err != nil {
						t.Fatal(err)
					}
				}
				f.back(s.Addr)
				admitted += f.try(1, b)
			}
			if admitted != 20 {
				t.Errorf("%d calls were let in, the limit is 20", admitted)
			}
		})
	}
}

// Calls in flight keep their slots: those that Redis knows while it is away, those
// that were let in without it once it is back, and all where it lost them.
func TestFlappingSlots(t *testing.T) {
	for name, lost := range map[string]bool{"data kept": false, "data lost": true} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			c := s.Client()
			f := newFlapper(t, s.Addr, nil)
			b := of("apikey:a", resource.RateLimit{Concurrency: n(3)})
			held := []*Reservation{reserve(t, f.Limiter, 0, b)}
			f.lead("")
			held = append(held, reserve(t, f.Limiter, 0, b))
			f.await(true)
			held = append(held, reserve(t, f.Limiter, 0, b))
			refused(t, f.Limiter, 0, "concurrency", b)
			if lost {
				if err := c.FlushAll(ctx).Err(); err != nil {
					t.Fatal(err)
				}
			}
			f.back(s.Addr)
			for range 3 { // at Redis, then here
				refused(t, f.Limiter, 0, "concurrency", b)
				refused(t, limiter(t, s.Client(), Options{}), 0, "concurrency", b)
				f.shut(b)
				f.back(s.Addr)
			}
			for _, r := range held {
				r.Settle(Amount{})
			}
			if err := f.flush(ctx); err != nil {
				t.Fatal(err)
			}
			for range 3 { // all are free, at Redis too
				reserve(t, f.Limiter, 0, b)
			}
		})
	}
}

// Two processes without Redis let in a limit each at most, and Redis counts both.
func TestFlappingProcesses(t *testing.T) {
	s := redistest.Start(t)
	one, two := newFlapper(t, s.Addr, nil), newFlapper(t, s.Addr, nil)
	b := of("apikey:a", resource.RateLimit{RPD: n(10)})
	admitted := one.try(2, b) + two.try(2, b) // one knows of 2, two of 4
	for range 6 {
		admitted += one.shut(b) + two.shut(b)
		admitted += one.try(3, b) + two.try(3, b)
		one.back(s.Addr)
		two.back(s.Addr)
	}
	if admitted < 10 || admitted > 20 {
		t.Errorf("%d calls were let in; the limit is 10, for each of 2 processes", admitted)
	}
	third := limiter(t, s.Client(), Options{})
	if used := refused(t, third, 0, "rpd", b).Headers; used.Get("x-ratelimit-remaining-requests") != "0" {
		t.Errorf("%v", used)
	}
	if got := counter(t, s.Client(), "apikey:a", "requests:86400"); got != int64(admitted) {
		t.Errorf("Redis counts %d of %d", got, admitted)
	}
}

// The tokens of calls that ended in an outage, or after it, are told too.
func TestFlappingTokens(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	f := newFlapper(t, s.Addr, nil)
	b, m := of("apikey:a", resource.RateLimit{TPD: n(1000)}), of("model:m", resource.RateLimit{TPD: n(1000)})
	before := reserve(t, f.Limiter, 10, b, m)
	f.lead("")
	doubtful := reserve(t, f.Limiter, 10, b, m)
	f.await(true)
	within, after := reserve(t, f.Limiter, 10, b, m), reserve(t, f.Limiter, 10, b, m)
	within.Settle(Amount{100})
	doubtful.Settle(Amount{200})
	f.back(s.Addr)
	after.Settle(Amount{300})
	before.Settle(Amount{50})
	if err := f.flush(ctx); err != nil {
		t.Fatal(err)
	}
	for _, scope := range []string{"apikey:a", "model:m"} {
		if got := counter(t, c, scope, "tokens:86400"); got != 650 {
			t.Errorf("%s: %d tokens, want 650", scope, got)
		}
	}
	f.shut(b)
	if r := reserve(t, f.Limiter, 0, b, m); r.verdict.used[0] != 650 || r.verdict.used[1] != 650 {
		t.Errorf("known are %v", r.verdict.used)
	}
}

// An answer that never came: whether or not Redis took the call, it is counted
// once, and so is a refusal not at all.
func TestDoubtfulIsCountedOnce(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	l := limiter(t, c, Options{Timeout: 50 * time.Millisecond, Probe: 5 * time.Millisecond})
	b := of("apikey:a", resource.RateLimit{RPD: n(4), Concurrency: n(4)})
	reserve(t, l, 0, b).Settle(Amount{}) // the scripts are there
	if err := l.flush(ctx); err != nil {
		t.Fatal(err)
	}
	s.Freeze()
	held := []*Reservation{reserve(t, l, 0, b), reserve(t, l, 0, b), reserve(t, l, 0, b)} // late, and away
	refused(t, l, 0, "rpd", b)
	s.Thaw()
	eventually(t, "back", func() bool { return !l.Away() })
	refused(t, l, 0, "rpd", b)
	eventually(t, "all are told", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.untold)+len(l.posts)+l.waiting == 0
	})
	if got := counter(t, c, "apikey:a", "requests:86400"); got != 4 {
		t.Errorf("Redis counts %d of 4", got)
	}
	if got := holding(c, named("apikey:a")); got != 3 {
		t.Errorf("%d slots are held, want 3", got)
	}
	for _, r := range held {
		r.Settle(Amount{})
	}
	eventually(t, "no slot is left", func() bool { return holding(c, named("apikey:a")) == 0 })
}

// Many calls at a time while the way to Redis breaks again and again: all that
// were let in are counted, each once, and they are no more than the limit and
// what was in flight.
func TestFlappingUnderLoad(t *testing.T) {
	const limit, callers = 1000, 8
	s := redistest.Start(t)
	f := newFlapper(t, s.Addr, nil)
	b, m := of("apikey:a", resource.RateLimit{RPD: n(limit), TPD: n(1 << 40), Concurrency: n(callers)}), of("model:m", resource.RateLimit{RPD: n(1 << 40)})
	var admitted, refused atomic.Int64
	var done sync.WaitGroup
	calls := make(chan struct{})
	for range callers {
		done.Go(func() {
			for range calls {
				r, err := f.Reserve(ctx, []Bucket{b, m}, Amount{5})
				if err != nil {
					refused.Add(1)
					continue
				}
				if len(headers(r)) != 6 {
					t.Errorf("headers %v", headers(r))
				}
				admitted.Add(1)
				r.Settle(Amount{7})
			}
		})
	}
	some := func() {
		for range 25 {
			calls <- struct{}{}
		}
	}
	flaps := 0
	for ; refused.Load() < 100; flaps++ {
		some()
		f.lead("")
		some()
		f.await(true)
		some()
		f.back(s.Addr)
	}
	close(calls)
	done.Wait()
	if flaps < 10 {
		t.Errorf("%d flaps only", flaps)
	}
	if got := admitted.Load(); got < limit || got > limit+callers {
		t.Errorf("%d calls were let in, the limit is %d", got, limit)
	}
	for f.flush(ctx) != nil || f.Away() {
	}
	c := s.Client()
	for _, at := range []struct {
		scope, field string
		want         int64
	}{{"apikey:a", "requests:86400", admitted.Load()}, {"model:m", "requests:86400", admitted.Load()}, {"apikey:a", "tokens:86400", 7 * admitted.Load()}} {
		if got := counter(t, c, at.scope, at.field); got != at.want {
			t.Errorf("%s %s: Redis counts %d of %d, after %d flaps", at.scope, at.field, got, at.want, flaps)
		}
	}
	for range callers { // no slot is lost
		reserve(t, f.Limiter, 0, m, of("apikey:a", resource.RateLimit{Concurrency: n(callers)}))
	}
}

// counter is what Redis has in a bucket's field.
func counter(t testing.TB, c *redis.Client, scope, field string) int64 {
	t.Helper()
	value := c.HGet(ctx, countersKey(named(scope)), field).Val()
	_, used, _ := strings.Cut(value, ":")
	n, err := strconv.ParseInt(used, 10, 64)
	if err != nil {
		t.Errorf("%s %s is %q", scope, field, value)
	}
	return n
}
