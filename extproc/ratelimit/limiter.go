// Package ratelimit reserves and settles buckets of requests, tokens and
// concurrent calls in Redis, on Redis's clock.
//
// It knows buckets by their scope and does not know what an API key or a model
// is. Windows are fixed and on the wall clock (UTC), so that all processes share
// them. Each bucket is one hash of counters and one sorted set of open
// reservations, in one hash slot. A call is checked in all its buckets and added
// to all or none. Tokens: an estimate is reserved and Settle corrects it, in the
// windows of the reservation: a limit of N lets no more than N pass, plus what
// was in flight.
//
// One server (or a primary with replicas): one script takes all buckets, in one
// round trip, atomically. Redis Cluster: buckets live in different slots, so
// there is one script per bucket, pipelined in one round trip; when one refuses,
// the others are taken back before Reserve returns. In between, another call may
// see them as used: under contention a cluster may refuse a call that one server
// had admitted, and never admits more.
//
// Redis away is told apart from Redis slow: a refused or broken connection counts
// at once, an answer that is only late has to be late three times in a row.
// While Redis is away nobody waits for it; a probe finds it back, which drops
// the local counters.
//
// extproc calls it: Reserve in admit, Settle at every exit.
package ratelimit

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

// What to do while Redis is away.
const (
	Local  = "local"  // count in this process
	Open   = "open"   // admit everything
	Closed = "closed" // refuse everything that has a limit
)

// grace is how long an expired reservation can still be settled or renewed.
const grace = 10 * time.Minute

// Options are a Limiter's; the zero value has defaults for all.
type Options struct {
	OnFailure string        // Local (default), Open or Closed
	Timeout   time.Duration // longest wait for Redis in Reserve; default 250 ms
	SlotTTL   time.Duration // life of a reservation whose process died; default 30 s
	Linger    time.Duration // how long a settlement may wait for company; default 1 ms
	Probe     time.Duration // how often an absent Redis is tried; default 250 ms
	Now       func() time.Time
	Log       *slog.Logger
	// Failed hears of every call to Redis that failed; Changed of going away (true)
	// and coming back (false). Both must not block.
	Failed  func(error)
	Changed func(away bool)
}

// lateLimit is how many answers in a row must be late for Redis to be away.
const lateLimit = 3

// Limiter reserves. Its client should have ContextTimeoutEnabled set: without it
// go-redis waits for its own, longer timeouts.
type Limiter struct {
	redis    redis.UniversalClient
	cluster  bool
	o        Options
	instance string
	sequence atomic.Uint64
	wake     chan struct{}
	stop     chan struct{}
	stopped  chan struct{}
	closing  sync.Once

	mu      sync.Mutex
	away    bool
	late    int
	cause   error // of being away
	local   *local
	pending map[string][]*settlement // by scope: not yet confirmed by Redis
	waiting int                      // settlements in pending
	lost    int
	open    map[*Reservation]struct{} // reserved in Redis, not settled
}

// New starts a Limiter. Close stops it.
func New(client redis.UniversalClient, o Options) *Limiter {
	setDefault(&o.OnFailure, Local)
	setDefault(&o.Timeout, 250*time.Millisecond)
	setDefault(&o.SlotTTL, 30*time.Second)
	setDefault(&o.Linger, time.Millisecond)
	setDefault(&o.Probe, 250*time.Millisecond)
	setDefault(&o.Log, slog.Default())
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Failed == nil {
		o.Failed = func(error) {}
	}
	if o.Changed == nil {
		o.Changed = func(bool) {}
	}
	l := &Limiter{
		redis: client, o: o, instance: uuid.NewString(),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
		local: newLocal(), pending: map[string][]*settlement{}, open: map[*Reservation]struct{}{},
	}
	switch client.(type) {
	case *redis.ClusterClient, *redis.Ring:
		l.cluster = true
	}
	go l.maintain()
	return l
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// Reserve admits one call to all the buckets, or refuses it and leaves no trace
// in any. id is the call's, for who looks into Redis; it need not be unique.
// tokens is what the call is sure to use. The error is a *Rejection, or ctx's.
// Every Reservation must be settled.
func (l *Limiter) Reserve(ctx context.Context, id string, buckets []Bucket, tokens int64) (*Reservation, error) {
	r := &Reservation{limiter: l, buckets: effective(buckets), tokens: max(0, tokens)}
	if len(r.buckets) == 0 {
		return r, nil
	}
	r.member = l.instance + "-" + strconv.FormatUint(l.sequence.Add(1), 36) + " " + id

	l.mu.Lock()
	away, cause := l.away, l.cause
	l.mu.Unlock()
	if !away {
		v, err := l.reserve(ctx, r)
		if err == nil {
			return l.conclude(r, v)
		}
		l.settle(r.corrections(time.Time{}, 0)) // if Redis did take it, the slot is given back
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		l.failed(err)
		cause = err
	}
	switch l.o.OnFailure {
	case Open:
		return r, nil
	case Closed:
		return nil, unavailable(cause)
	}
	l.mu.Lock()
	r.local = l.local
	l.mu.Unlock()
	return l.conclude(r, r.local.reserve(l.o.Now(), r.buckets, r.tokens))
}

func (l *Limiter) conclude(r *Reservation, v verdict) (*Reservation, error) {
	if v.refused {
		return nil, rejection(r.buckets, v)
	}
	r.verdict, r.counted = v, true
	if r.local == nil {
		l.mu.Lock()
		l.open[r] = struct{}{}
		l.mu.Unlock()
	}
	return r, nil
}

// reserve asks Redis. What is still to be settled in the same buckets goes
// ahead in the same round trip: a caller that comes straight back finds its slot
// free and its tokens counted.
func (l *Limiter) reserve(ctx context.Context, r *Reservation) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, l.o.Timeout)
	defer cancel()
	due := l.due(r.buckets)
	steps := make([]step, 0, len(due)+len(r.buckets))
	for _, s := range due {
		steps = append(steps, settleStep(s))
	}
	if l.cluster {
		for i := range r.buckets {
			steps = append(steps, reserveStep(r, r.buckets[i:i+1], l.o.SlotTTL))
		}
	} else {
		steps = append(steps, reserveStep(r, r.buckets, l.o.SlotTTL))
	}
	cmds, err := run(ctx, l.redis, steps)
	if err != nil {
		return verdict{}, err
	}
	l.confirm(due)
	l.mu.Lock()
	l.late = 0
	l.mu.Unlock()
	cmds = cmds[len(due):]
	if !l.cluster {
		return parse(cmds[0], len(r.buckets))
	}
	return l.join(ctx, r, cmds)
}

// join makes one verdict of one per bucket, and takes back what was admitted if
// any refused.
func (l *Limiter) join(ctx context.Context, r *Reservation, cmds []*redis.Cmd) (verdict, error) {
	all := verdict{}
	var admitted []*settlement
	for i, cmd := range cmds {
		v, err := parse(cmd, 1)
		if err != nil {
			return verdict{}, err
		}
		if i == 0 {
			all.at = v.at
		}
		all.used = append(all.used, v.used[0])
		if !v.refused {
			admitted = append(admitted, r.undo(i, v.at))
		} else if !all.refused || reset(v.at, v.dim) > reset(all.at, all.dim) {
			all.refused, all.bucket, all.dim, all.at = true, i, v.dim, v.at
		}
	}
	if !all.refused || len(admitted) == 0 {
		return all, nil
	}
	l.settle(admitted)
	steps := make([]step, len(admitted))
	for i, s := range admitted {
		steps[i] = settleStep(s)
	}
	if _, err := run(ctx, l.redis, steps); err == nil {
		l.confirm(admitted)
	}
	return all, nil // else the flusher goes on trying
}

// failed decides whether Redis is away, after a call that did not go through.
func (l *Limiter) failed(err error) {
	l.o.Failed(err)
	l.mu.Lock()
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		l.late++
	} else {
		l.late = lateLimit
	}
	gone := l.late >= lateLimit && !l.away
	if gone {
		l.away, l.cause = true, err
	}
	l.mu.Unlock()
	if gone {
		l.o.Log.Error("Redis is away: limits follow the policy until it is back", "policy", l.o.OnFailure, "error", err)
		l.o.Changed(true)
		l.poke()
	}
}

// back ends the time of local counting.
func (l *Limiter) back() {
	l.mu.Lock()
	was := l.away
	l.away, l.late, l.cause = false, 0, nil
	if was {
		l.local = newLocal()
	}
	l.mu.Unlock()
	if was {
		l.o.Log.Info("Redis is back: limits are shared again")
		l.o.Changed(false)
	}
}

// Away tells whether limits follow the failure policy at the moment.
func (l *Limiter) Away() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.away
}
