package ratelimit

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
	"aisix/admin/store/redistest"
)

// barrier is a way to Redis on which round trips stop until they are let go.
type barrier struct {
	trips   atomic.Int64
	arrived chan struct{}
	pass    chan error // what becomes of each: nil goes on
}

func newBarrier(t *testing.T) *barrier {
	h := &barrier{arrived: make(chan struct{}, 100), pass: make(chan error)}
	t.Cleanup(func() { close(h.pass) }) // open for the limiter's end
	return h
}

func (h *barrier) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *barrier) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h *barrier) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() != "evalsha" { // a new connection says hello
			return next(ctx, cmds)
		}
		h.trips.Add(1)
		h.arrived <- struct{}{}
		if err := <-h.pass; err != nil {
			for _, c := range cmds {
				c.SetErr(err)
			}
			return err
		}
		return next(ctx, cmds)
	}
}

// wait waits until so many wait for company.
func (l *Limiter) wait(t *testing.T, n int) {
	eventually(t, "they wait for company", func() bool {
		l.flights.Lock()
		defer l.flights.Unlock()
		return len(l.queue) == n
	})
}

// Calls that come while others are on their way go together, in one round trip, and
// each gets the answer that is its own.
func TestCallsGoTogether(t *testing.T) {
	c := redistest.Start(t).Client()
	calm(t, c)
	l := limiter(t, c, Options{Linger: time.Hour, Probe: time.Hour, Timeout: time.Minute})
	a, b := of("apikey:a", resource.RateLimit{RPD: n(12)}), of("apikey:b", resource.RateLimit{RPD: n(1 << 40)})
	reserve(t, l, 0, a).Settle(Amount{}) // the scripts are there
	h := newBarrier(t)
	c.AddHook(h)
	var wg sync.WaitGroup
	var admitted, refused [2]atomic.Int64
	call := func(i int) {
		wg.Go(func() {
			_, err := l.Reserve(ctx, []Bucket{[]Bucket{a, b}[i]}, Amount{})
			switch r := (*Rejection)(nil); {
			case err == nil:
				admitted[i].Add(1)
			case errors.As(err, &r) && i == 0:
				refused[i].Add(1)
			default:
				t.Error(err)
			}
		})
	}
	for range most {
		call(0)
		<-h.arrived
	}
	for i := range 40 {
		call(i % 2)
	}
	l.wait(t, 40)
	for range most + 1 {
		h.pass <- nil
	}
	wg.Wait()
	if got := h.trips.Load(); got != most+1 {
		t.Errorf("%d round trips, want %d", got, most+1)
	}
	if admitted[0].Load() != 11 || refused[0].Load() != 20+most-11 || admitted[1].Load() != 20 {
		t.Errorf("admitted %d and %d, refused %d", admitted[0].Load(), admitted[1].Load(), refused[0].Load())
	}
	if l.flying != 0 || len(l.queue) != 0 {
		t.Errorf("%d fly and %d wait at the end", l.flying, len(l.queue))
	}
}

// Calls that come at the same time go together from the start: who leads lets those first who
// are about to ask.
func TestCallsLeaveTogether(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that they come one after the other
	c := redistest.Start(t).Client()
	calm(t, c)
	l := limiter(t, c, Options{Linger: time.Hour, Probe: time.Hour, Timeout: time.Minute})
	b := of("apikey:a", resource.RateLimit{RPD: n(1 << 40)})
	reserve(t, l, 0, b).Settle(Amount{}) // the script is there
	h := newBarrier(t)
	c.AddHook(h)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := l.Reserve(ctx, []Bucket{b}, Amount{}); err != nil {
				t.Error(err)
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	for done := false; !done; {
		select {
		case h.pass <- nil:
		case <-ended:
			done = true
		}
	}
	// Two where the scheduler, once in 61 times, looks first at who has stood back.
	if got := h.trips.Load(); got > 2 {
		t.Errorf("20 calls took %d round trips", got)
	}
	if l.flying != 0 || len(l.queue) != 0 {
		t.Errorf("%d fly and %d wait at the end", l.flying, len(l.queue))
	}
}

// Where Redis is not reached, those that wait follow the policy at once, and those that
// come later are not held up.
func TestCompanyDoesNotWaitTwice(t *testing.T) {
	c := redistest.Start(t).Client()
	l := limiter(t, c, Options{Probe: time.Hour})
	h := newBarrier(t)
	c.AddHook(h)
	b := of("apikey:a", resource.RateLimit{RPD: n(4)})
	var wg sync.WaitGroup
	var admitted atomic.Int64
	call := func() {
		wg.Go(func() {
			if _, err := l.Reserve(ctx, []Bucket{b}, Amount{}); err == nil {
				admitted.Add(1)
			}
		})
	}
	for range most {
		call()
		<-h.arrived
	}
	for range 10 {
		call()
	}
	l.wait(t, 10)
	for range most {
		h.pass <- errors.New("connection refused")
	}
	wg.Wait()
	if got := h.trips.Load(); got != most || admitted.Load() != 4 || !l.Away() {
		t.Errorf("%d round trips, %d of a limit of 4 admitted, away: %v", got, admitted.Load(), l.Away())
	}
	if l.flying != 0 || len(l.queue) != 0 {
		t.Errorf("%d fly and %d wait at the end", l.flying, len(l.queue))
	}
}

// A panic on the way holds nobody up.
func TestPanicOnTheWay(t *testing.T) {
	c := redistest.Start(t).Client()
	l := limiter(t, c, Options{Probe: time.Hour})
	b := of("apikey:a", resource.RateLimit{RPD: n(9)})
	fail := func() (p any) {
		defer func() { p = recover() }()
		l.bring([]*errand{nil})
		return nil
	}
	for range most + 1 {
		l.flying++
		if fail() == nil {
			t.Fatal("no panic")
		}
	}
	if reserve(t, l, 0, b); l.flying != 0 {
		t.Errorf("%d fly", l.flying)
	}
}
