// Package ratelimit reserves and settles buckets of requests, tokens and
// concurrent calls in Redis, on Redis's clock.
//
// It knows buckets by their scope and does not know what an API key or a model
// is. Windows are fixed and on the wall clock (UTC), so that all processes share
// them. Each bucket is one hash of counters and one sorted set of open
// reservations, in one hash slot. A call is checked in all its buckets and added
// to all or none. Tokens: an estimate is reserved and Settle corrects it, in the
// windows of the reservation: a limit of N lets no more than N pass, plus what
// was in flight. A settlement that others may wait for goes to Redis at once, any
// other with the next reservation in its bucket, or after 50 ms (pressing). Arrive is
// the look before: no round trip, nothing taken.
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
// While Redis is away nobody waits for it; a probe finds it back. Under the policy
// "local" each process then holds limits to what it knows (tally): what Redis last
// said, and what it has let in itself. That is told to Redis once it is back, and
// counters that Redis lost begin with what is known: an outage, or many, adds no
// more than each process's own share of a limit to a window.
//
// An error that concerns one bucket is that bucket's: see deliver.
//
// extproc calls it: Arrive at the headers, Reserve in admit, Settle and Leave at
// every exit.
package ratelimit

import (
	"context"
	"errors"
	"log/slog"
	"math"
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
	Timeout   time.Duration // longest round trip of Reserve, which waits for no more than two; default 250 ms
	SlotTTL   time.Duration // life of a reservation whose process died; default 30 s
	Linger    time.Duration // how long a settlement that nobody waits for may wait for company; default 50 ms
	Probe     time.Duration // how often an absent Redis is tried; default 250 ms
	Now       func() time.Time
	Log       *slog.Logger
	// Failed hears of every call to Redis that failed; Changed of going away (true)
	// and coming back (false), in the order of the changes; Repaired of every key of
	// a bucket that somebody else had written to. None may block, or ask the limiter.
	Failed   func(error)
	Changed  func(away bool)
	Repaired func()
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
	life     any // arguments of the scripts: SlotTTL and grace, ms
	grace    any
	wake     chan struct{}
	lull     *time.Timer // runs while settlements linger
	stop     chan struct{}
	stopped  chan struct{}
	closing  sync.Once
	teller   sync.Mutex // held by who tells

	flights sync.Mutex
	flying  int       // round trips that reserve
	queue   []*errand // that wait for the next one

	mu    sync.Mutex
	away  bool
	late  int
	cause error                           // of being away
	era   int                             // counts the times that Redis came back
	heard struct{ redis, ours time.Time } // when Redis last said its time, on both clocks

	tallies map[Scope]*tally          // by scope
	open    map[*Reservation]struct{} // not settled; without those that Open let pass
	due     map[*tally]struct{}       // have settlements
	waiting int                       // settlements, in all
	linger  bool                      // some wait for lull to end
	lost    int                       // settlements given up
	untold  map[*Reservation]struct{} // admitted here, and Redis was not told yet
	owing   map[*tally]struct{}       // have calls that are over and that Redis was not told of
	posts   []*post                   // what Redis is being told
	blamed  time.Time                 // when a bucket's error was last logged
}

// New starts a Limiter. Close stops it.
func New(client redis.UniversalClient, o Options) *Limiter {
	setDefault(&o.OnFailure, Local)
	setDefault(&o.Timeout, 250*time.Millisecond)
	setDefault(&o.SlotTTL, 30*time.Second)
	setDefault(&o.Linger, 50*time.Millisecond)
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
	if o.Repaired == nil {
		o.Repaired = func() {}
	}
	l := &Limiter{
		redis: client, o: o, instance: uuid.NewString(), life: o.SlotTTL.Milliseconds(), grace: grace.Milliseconds(),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
		tallies: map[Scope]*tally{}, open: map[*Reservation]struct{}{}, due: map[*tally]struct{}{},
		untold: map[*Reservation]struct{}{}, owing: map[*tally]struct{}{},
		lull: time.NewTimer(math.MaxInt64),
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

// name is unique over all processes.
func (l *Limiter) name() string {
	return l.instance + "-" + strconv.FormatUint(l.sequence.Add(1), 36)
}

// Reserve admits one call to all the buckets, or refuses it and leaves no trace
// in any. amount is what the call is sure to use. The error is a *Rejection, a
// fault where amount is more than a whole window holds, or ctx's. Every
// Reservation must be settled.
func (l *Limiter) Reserve(ctx context.Context, buckets []Bucket, amount Amount) (*Reservation, error) {
	r := &Reservation{limiter: l, buckets: effective(buckets), amount: amount.positive()}
	if len(r.buckets) == 0 {
		return r, nil
	}
	r.member = l.name()

	l.mu.Lock()
	away, cause, era := l.away, l.cause, l.era
	l.mu.Unlock()
	if !away || l.o.OnFailure != Open {
		if f := tooLarge(r.buckets, r.amount); f != nil {
			return nil, f
		}
	}
	if !away {
		v, err := l.reserve(ctx, r)
		if err == nil {
			return l.conclude(r, v, told)
		}
		if ctx.Err() != nil {
			l.takeBack(r)
			return nil, context.Cause(ctx)
		}
		l.failedSince(era, err)
		cause = err
	}
	switch l.o.OnFailure {
	case Open:
		if !away {
			l.takeBack(r)
		}
		return r, nil
	case Closed:
		if !away {
			l.takeBack(r)
		}
		return nil, unavailable(cause)
	}
	if away {
		return l.conclude(r, verdict{}, untold)
	}
	return l.conclude(r, verdict{}, doubtful)
}

// conclude makes a reservation or a rejection of the verdict: Redis's, or this
// process's own where Redis was not asked (untold) or gave no answer (doubtful).
func (l *Limiter) conclude(r *Reservation, v verdict, s state) (*Reservation, error) {
	l.mu.Lock()
	if s != told {
		v = l.local(r)
	}
	if v.refused < 0 {
		r.verdict, r.state = v, s
		l.open[r] = struct{}{}
		for i, b := range r.buckets {
			t := l.tally(b.Scope)
			t.open++
			r.buckets[i].keys = t.keys
		}
		if s != told {
			l.untold[r] = struct{}{}
		}
	}
	l.mu.Unlock()
	if s == doubtful {
		if v.refused >= 0 {
			l.takeBack(r)
		}
		l.poke()
	}
	if v.refused >= 0 {
		return nil, rejection(r.buckets, v)
	}
	return r, nil
}

// reserve asks Redis. What is still to be settled in the same buckets goes
// along in the same round trip: a caller that comes straight back finds its slot
// free and its tokens counted.
func (l *Limiter) reserve(ctx context.Context, r *Reservation) (verdict, error) {
	if ctx.Err() != nil {
		return verdict{}, context.Cause(ctx)
	}
	e := &errand{r: r}
	l.fly(e)
	var v verdict
	err := e.err
	if err == nil {
		if v, err = join(e.steps[e.ahead:], e.cmds[e.ahead:]); err != nil {
			err = &bucketError{err}
		}
	}
	l.mu.Lock()
	if err != nil {
		l.stranded(e.due)
		l.mu.Unlock()
		return verdict{}, err
	}
	l.late = 0
	l.heard.redis, l.heard.ours = v.at, e.sent
	l.confirm(e.due)
	l.learn(r.buckets, v)
	l.mu.Unlock()
	l.report(e.cmds[:e.ahead])
	if l.cluster && v.refused >= 0 {
		l.undo(r, v)
	}
	return v, nil
}

// join makes one verdict of the answers: on a cluster there is one per bucket.
func join(steps []step, cmds []*redis.Cmd) (verdict, error) {
	var all verdict
	longest := time.Duration(-1)
	for i, cmd := range cmds {
		text, err := cmd.Text()
		if err != nil {
			return verdict{}, err
		}
		v, err := parse(text, total(steps[i].buckets))
		if err != nil {
			return verdict{}, err
		}
		if i == 0 && len(cmds) == 1 {
			return v, nil
		}
		if i == 0 {
			all = verdict{at: v.at, refused: -1}
		}
		if v.refused >= 0 {
			if wait := steps[i].buckets[0].Limits[v.refused].wait(v.at); wait > longest {
				all.at, all.refused, longest = v.at, len(all.used)+v.refused, wait
			}
		}
		all.used = append(all.used, v.used...)
	}
	return all, nil
}

// undo takes r back from single buckets of a cluster that admitted it while
// another refused. Those that refused do not know it.
func (l *Limiter) undo(r *Reservation, v verdict) {
	r.verdict.at = v.at
	l.takeBack(r)
	steps, due := make([]step, len(r.buckets)), make([]settlement, len(r.buckets))
	for i := range r.buckets {
		due[i] = settlement{r, i}
		steps[i] = l.settleStep(due[i])
	}
	if _, err := l.deliver(until{context.Background(), time.Now().Add(l.o.Timeout)}, steps); err == nil { // else the flusher goes on trying
		l.mu.Lock()
		l.confirm(due)
		l.mu.Unlock()
	}
}

// failedSince is failed for a call that began in that era: where Redis was away and
// has come back since, its failure is of the time before.
func (l *Limiter) failedSince(era int, err error) {
	l.mu.Lock()
	now := l.era
	l.mu.Unlock()
	if era != now {
		l.o.Failed(err)
		return
	}
	l.failed(err)
}

// failed decides whether Redis is away, after a call that did not go through.
func (l *Limiter) failed(err error) {
	l.o.Failed(err)
	now := l.o.Now()
	l.mu.Lock()
	if b := (*bucketError)(nil); errors.As(err, &b) {
		blame := now.Sub(l.blamed) >= time.Second
		if blame {
			l.blamed = now
		}
		l.mu.Unlock()
		if blame {
			l.o.Log.Error("Redis does not count for a bucket: its limits follow the policy, those of others do not", "policy", l.o.OnFailure, "error", err)
		}
		return
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		l.late++
	} else {
		l.late = lateLimit
	}
	gone := l.late >= lateLimit && !l.away
	if gone {
		l.away, l.cause = true, err
		l.o.Changed(true)
	}
	l.mu.Unlock()
	if gone {
		l.o.Log.Error("Redis is away: limits follow the policy until it is back", "policy", l.o.OnFailure, "error", err)
		l.poke()
	}
}

// back ends the time of local counting.
func (l *Limiter) back() {
	l.mu.Lock()
	was := l.away
	l.away, l.late, l.cause = false, 0, nil
	if was {
		l.era++
		l.o.Changed(false)
	}
	l.mu.Unlock()
	if was {
		l.o.Log.Info("Redis is back: limits are shared again")
	}
}

// Away reports whether limits follow the failure policy at the moment.
func (l *Limiter) Away() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.away
}
