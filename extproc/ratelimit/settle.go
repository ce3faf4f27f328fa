package ratelimit

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Reservation is what a call holds until it is settled.
type Reservation struct {
	limiter *Limiter
	member  string
	buckets []bucket
	tokens  int64
	counted bool // verdict is set: in Redis, or in local where that is set
	verdict verdict
	local   *local
	once    sync.Once
}

// Headers are x-ratelimit-{limit,remaining,reset}-{requests,tokens}, each of the
// limit with least left; absent where no limit applies.
func (r *Reservation) Headers() http.Header {
	h := http.Header{}
	if r.counted {
		set(h, r.verdict, r.buckets, func(_, d int) bool { return d != concurrency })
	}
	return h
}

// Settle gives the slots back and corrects the reserved tokens to what the call
// used, in all; 0 where nothing was. It does not wait for Redis. Only the first
// Settle counts. Call it before the last byte of the answer goes out: then a
// caller that comes straight back finds its slot free.
func (r *Reservation) Settle(tokens int64) {
	r.once.Do(func() {
		l := r.limiter
		switch {
		case !r.counted:
		case r.local != nil:
			r.local.settle(r.verdict.at, l.o.Now(), r.buckets, max(0, tokens)-r.tokens)
		default:
			l.mu.Lock()
			delete(l.open, r)
			l.mu.Unlock()
			l.settle(r.corrections(r.verdict.at, max(0, tokens)-r.tokens))
		}
	})
}

// settlement is the end of a reservation in one bucket.
type settlement struct {
	scope       string
	member      string
	at          time.Time // of the reservation, on Redis's clock; zero if unknown
	corrections [windows]int64
}

func (r *Reservation) corrections(at time.Time, tokens int64) []*settlement {
	due := make([]*settlement, len(r.buckets))
	for i, b := range r.buckets {
		s := &settlement{scope: b.scope, member: r.member, at: at}
		for _, d := range []int{tpm, tpd} {
			if b.limits[d] != nil {
				s.corrections[d] = tokens
			}
		}
		due[i] = s
	}
	return due
}

// undo takes the reservation in bucket i back as if it had not been.
func (r *Reservation) undo(i int, at time.Time) *settlement {
	s := &settlement{scope: r.buckets[i].scope, member: r.member, at: at}
	for d := range windows {
		if r.buckets[i].limits[d] != nil {
			s.corrections[d] = -counted(d, r.tokens)
		}
	}
	return s
}

const (
	// maxPending bounds what is kept for a Redis that is away: beyond it the
	// reservations run out by themselves, and their tokens stay as estimated.
	maxPending = 1 << 16
	// ride is how many settlements of a bucket go ahead of a reservation.
	ride = 64
	// batch is how many the flusher sends at once.
	batch = 256
)

func (l *Limiter) settle(due []*settlement) {
	l.mu.Lock()
	for _, s := range due {
		if l.waiting >= maxPending {
			l.lost++
			continue
		}
		l.pending[s.scope] = append(l.pending[s.scope], s)
		l.waiting++
	}
	l.mu.Unlock()
	l.poke()
}

func (l *Limiter) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// due is what is to be settled in the buckets, the oldest first. It stays
// pending until confirmed: sent twice is settled once.
func (l *Limiter) due(buckets []bucket) []*settlement {
	l.mu.Lock()
	defer l.mu.Unlock()
	var due []*settlement
	for _, b := range buckets {
		p := l.pending[b.scope]
		due = append(due, p[:min(ride, len(p))]...)
	}
	return due
}

func (l *Limiter) confirm(done []*settlement) {
	if len(done) == 0 {
		return
	}
	sent, scopes := make(map[*settlement]bool, len(done)), map[string]bool{}
	for _, s := range done {
		sent[s], scopes[s.scope] = true, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for scope := range scopes {
		old := l.pending[scope]
		var kept []*settlement
		for _, p := range old {
			if !sent[p] {
				kept = append(kept, p)
			}
		}
		l.waiting -= len(old) - len(kept)
		if len(kept) == 0 {
			delete(l.pending, scope)
		} else {
			l.pending[scope] = kept
		}
	}
}

// maintain flushes settlements, renews open reservations and looks for a Redis
// that is away, until Close.
func (l *Limiter) maintain() {
	defer close(l.stopped)
	renew := time.NewTicker(l.o.SlotTTL / 3)
	defer renew.Stop()
	probe := time.NewTicker(l.o.Probe)
	defer probe.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-renew.C:
			if !l.Away() {
				l.renew()
			}
		case <-probe.C:
			if l.Away() {
				l.probe()
			} else {
				l.flush(context.Background()) // what an earlier try left
			}
		case <-l.wake:
			select {
			case <-time.After(l.o.Linger):
			case <-l.stop:
				return
			}
			if !l.Away() {
				l.flush(context.Background())
			}
		}
	}
}

func (l *Limiter) probe() {
	ctx, cancel := context.WithTimeout(context.Background(), l.o.Timeout)
	defer cancel()
	// A write, since a replica that answers PING can still not count.
	if err := l.redis.Set(ctx, "aisix:limit:probe", l.instance, time.Minute).Err(); err != nil {
		return
	}
	l.back()
	l.renew()
	l.flush(context.Background())
}

// flush settles all that is pending; what fails stays for the next time.
func (l *Limiter) flush(ctx context.Context) error {
	for {
		l.mu.Lock()
		var due []*settlement
		for _, p := range l.pending {
			due = append(due, p[:min(len(p), batch-len(due))]...)
			if len(due) == batch {
				break
			}
		}
		lost := l.lost
		l.lost = 0
		l.mu.Unlock()
		if lost > 0 {
			l.o.Log.Warn("settlements given up: too many were waiting for Redis", "count", lost)
		}
		if len(due) == 0 {
			return nil
		}
		steps := make([]step, len(due))
		for i, s := range due {
			steps[i] = settleStep(s)
		}
		if err := l.send(ctx, steps); err != nil {
			return err
		}
		l.confirm(due)
	}
}

// renew keeps the reservations of calls in flight alive.
func (l *Limiter) renew() {
	l.mu.Lock()
	members := map[string][]any{}
	for r := range l.open {
		for _, b := range r.buckets {
			members[b.scope] = append(members[b.scope], r.member)
		}
	}
	l.mu.Unlock()
	var steps []step
	for scope, names := range members {
		for len(names) > 0 {
			n := min(len(names), batch)
			args := append([]any{l.o.SlotTTL.Milliseconds(), grace.Milliseconds()}, names[:n]...)
			steps = append(steps, step{renewScript, []string{slotsKey(scope)}, args})
			names = names[n:]
		}
	}
	if len(steps) > 0 {
		_ = l.send(context.Background(), steps)
	}
}

func (l *Limiter) send(ctx context.Context, steps []step) error {
	ctx, cancel := context.WithTimeout(ctx, 4*l.o.Timeout)
	defer cancel()
	_, err := run(ctx, l.redis, steps)
	if err != nil {
		l.failed(err)
	}
	return err
}

// Close settles what is pending, within ctx, and stops. Reservations that are
// still open run out by themselves.
func (l *Limiter) Close(ctx context.Context) error {
	l.closing.Do(func() { close(l.stop) })
	<-l.stopped
	return l.flush(ctx)
}
