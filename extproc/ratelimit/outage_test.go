package ratelimit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
	"aisix/admin/store/redistest"
)

// buffer is a log that many write to.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.b.String(), s)
}

func TestLateIsNotAwayUntilItRepeats(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	calm(t, c)
	var log buffer
	l := limiter(t, c, Options{Timeout: 50 * time.Millisecond, Probe: 10 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil))})
	b := of("apikey:a", resource.RateLimit{Concurrency: n(9)})
	reserve(t, l, 0, b).Settle(Amount{}) // the scripts are there
	if err := l.flush(ctx); err != nil {
		t.Fatal(err)
	}

	s.Freeze()
	var held []*Reservation
	for i := range lateLimit {
		if l.Away() && i == 0 {
			t.Error("away before anything was late")
		}
		start := time.Now()
		held = append(held, reserve(t, l, 0, b))
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("call %d waited %v", i, took)
		}
	}
	eventually(t, "away", l.Away)
	start := time.Now()
	held = append(held, reserve(t, l, 0, b))
	if took := time.Since(start); took > 40*time.Millisecond {
		t.Errorf("waited %v for an absent Redis", took)
	}
	s.Thaw()
	eventually(t, "back", func() bool { return !l.Away() })
	for _, r := range held {
		r.Settle(Amount{})
	}
	// What the frozen server took after all is given back.
	eventually(t, "no slot is left", func() bool {
		_ = l.flush(ctx)
		return holding(c, named("apikey:a")) == 0
	})
	if log.count("Redis is away") != 1 || log.count("Redis is back") != 1 {
		t.Errorf("log: %s", log.b.String())
	}
}

// A server that takes connections and never answers, and go-redis's own
// timeouts of seconds: the wait is ours.
func TestDetectionIsBounded(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := redis.NewClient(&redis.Options{Addr: silent.Addr().String(), ContextTimeoutEnabled: true})
	defer c.Close()
	l := limiter(t, c, Options{Timeout: 50 * time.Millisecond})
	start := time.Now()
	for range 20 {
		reserve(t, l, 0, of("apikey:a", resource.RateLimit{RPM: n(100)}))
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("20 calls took %v", took)
	}
	if !l.Away() {
		t.Error("not away")
	}
}

func TestSlotsOfDeadProcessesExpire(t *testing.T) {
	s := redistest.Start(t)
	b := of("apikey:a", resource.RateLimit{Concurrency: n(1)})
	dead := New(s.Client(), Options{SlotTTL: 200 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	reserve(t, dead, 0, b)
	other := limiter(t, s.Client(), Options{})
	refused(t, other, 0, "concurrency", b)
	if err := dead.Close(ctx); err != nil { // nobody renews now
		t.Fatal(err)
	}
	eventually(t, "the slot expires", func() bool { _, err := other.Reserve(ctx, []Bucket{b}, Amount{}); return err == nil })
}

func TestLongCallsKeepTheirSlot(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	b := of("apikey:a", resource.RateLimit{Concurrency: n(1)})
	l := limiter(t, c, Options{SlotTTL: 300 * time.Millisecond})
	r := reserve(t, l, 0, b)
	score := func() float64 { return c.ZScore(ctx, slotsKey(named("apikey:a")), r.member.(string)).Val() }
	first := score()
	eventually(t, "it is renewed several times", func() bool { return score() > first+600 })
	refused(t, l, 0, "concurrency", b)
	r.Settle(Amount{})
	again := reserve(t, l, 0, b)
	l.renew()
	if err := c.ZScore(ctx, slotsKey(named("apikey:a")), r.member.(string)).Err(); err != redis.Nil {
		t.Errorf("a settled reservation came back: %v", err)
	}
	again.Settle(Amount{})
}

func TestCallerLeaves(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	l := limiter(t, c, Options{})
	s.Freeze()
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if r, err := l.Reserve(gone, []Bucket{of("apikey:a", resource.RateLimit{RPM: n(1)})}, Amount{}); err != context.Canceled {
		t.Errorf("%v, %v", r, err)
	}
	s.Thaw()
	if l.Away() {
		t.Error("a caller that leaves says nothing about Redis")
	}
}

func TestScriptsForgotten(t *testing.T) {
	c := redistest.Start(t).Client()
	calm(t, c)
	l := limiter(t, c, Options{})
	b := of("apikey:a", resource.RateLimit{RPM: n(9), Concurrency: n(1)})
	for want := range 3 {
		r := reserve(t, l, 0, b)
		if got := r.verdict.used[0]; got != int64(want+1) {
			t.Errorf("used %d", got)
		}
		r.Settle(Amount{})
		if err := c.ScriptFlush(ctx).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSameReservationTwice(t *testing.T) {
	c := redistest.Start(t).Client()
	calm(t, c)
	l := limiter(t, c, Options{})
	b := of("apikey:a", resource.RateLimit{RPM: n(1), TPM: n(10), Concurrency: n(1)})
	r := reserve(t, l, 10, b)
	before := dump(t, c)
	v, err := l.reserve(ctx, r) // as go-redis does after a lost answer
	if err != nil || v.refused >= 0 {
		t.Errorf("%+v, %v", v, err)
	}
	after := dump(t, c)
	if len(before) != 2 || len(after) != 2 || v.used != nil && v.used[0] != 1 {
		t.Errorf("%v, then %v", before, after)
	}
}

// Going away and coming back are told in the order in which they happened, though
// Redis comes back before the first is logged.
func TestChangesAreToldInOrder(t *testing.T) {
	var l *Limiter
	var changes []bool
	back := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.MessageKey && strings.HasPrefix(a.Value.String(), "Redis is away") {
			l.back()
		}
		return a
	}
	l = limiter(t, redistest.Start(t).Client(), Options{
		Log:     slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{ReplaceAttr: back})),
		Changed: func(away bool) { changes = append(changes, away) },
	})
	if l.failed(errors.New("connection refused")); !slices.Equal(changes, []bool{true, false}) {
		t.Errorf("told %v", changes)
	}
}

// A call that failed on a way to Redis that has been found again since does not make
// Redis away once more.
func TestFailureOfBefore(t *testing.T) {
	l := limiter(t, redistest.Start(t).Client(), Options{Probe: time.Hour})
	l.failed(io.EOF)
	l.back()
	if l.failedSince(0, io.EOF); l.Away() {
		t.Error("away for a failure of before")
	}
	if l.failedSince(1, io.EOF); !l.Away() {
		t.Error("not away after a failure of now")
	}
}
