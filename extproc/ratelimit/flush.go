package ratelimit

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

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
				_ = l.renew()
			}
		case <-probe.C:
			l.forget()
			if l.Away() {
				l.probe()
			} else {
				l.flush(context.Background()) // what an earlier try left
			}
		case <-l.lull.C:
			if l.ripe() && !l.Away() {
				l.flush(context.Background())
			}
		case <-l.wake:
			select {
			case <-time.After(min(prompt, l.o.Linger)):
			case <-l.stop:
				return
			}
			if !l.Away() {
				l.flush(context.Background())
			}
		}
	}
}

// ripe reports whether a settlement has lingered long enough. Most have gone ahead
// of the next reservation in their bucket by then, and cost no round trip.
func (l *Limiter) ripe() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.linger = false
	old := time.Now().Add(-l.o.Linger / 2)
	for t := range l.due {
		if t.underway >= len(t.due) {
			continue
		}
		if t.due[t.underway].r.ended.Before(old) {
			return true
		}
		l.rest(l.o.Linger / 2)
	}
	return false
}

// rest has what waits looked at after d, unless it is to be already. The caller
// holds mu.
func (l *Limiter) rest(d time.Duration) {
	if !l.linger {
		l.linger = true
		l.lull.Reset(d)
	}
}

// forget drops what is over, some of it at a time.
func (l *Limiter) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	l.sweep(1000, func(t *tally) bool { return t.over(now) })
}

// probe ends the time of local counting, if Redis counts again. Before calls go
// there, it is told of those that were let in meanwhile and of those in flight.
func (l *Limiter) probe() {
	ctx, cancel := context.WithTimeout(context.Background(), l.o.Timeout)
	defer cancel()
	if l.counts(ctx) != nil || l.tell(context.Background()) != nil || l.renew() != nil {
		return
	}
	l.back()
	l.flush(context.Background())
}

// flush tells and settles all that is to be; what fails stays for the next time.
func (l *Limiter) flush(ctx context.Context) error {
	for {
		if err := l.tell(ctx); err != nil {
			return err
		}
		l.mu.Lock()
		var due []settlement
		for t := range l.due {
			due = append(due, t.due[:min(len(t.due), batch-len(due))]...)
			if len(due) == batch {
				break
			}
		}
		lost := l.lost
		l.lost = 0
		l.mu.Unlock()
		if lost > 0 {
			l.o.Log.Warn("settlements dropped: too many were waiting for Redis", "count", lost)
		}
		if len(due) == 0 {
			return nil
		}
		steps := make([]step, len(due))
		for i, s := range due {
			steps[i] = l.settleStep(s)
		}
		if _, err := l.send(ctx, steps); err != nil {
			return err
		}
		l.mu.Lock()
		l.confirm(due)
		l.mu.Unlock()
		if len(due) < batch {
			return nil // those that came meanwhile have their own time
		}
	}
}

// post tells Redis, in one bucket, of a reservation that was made without it, or
// of several that are over.
type post struct {
	buckets     []bucket // the one
	member      any      // its name
	counts      []change
	reservation *Reservation // nil for several
}

// change is what is added to what a limit counts.
type change struct {
	limit Limit // its unit and window
	at    time.Time
	by    int64
}

// tell tells Redis what it was not there for. A post stays until it is confirmed:
// sent twice is counted once.
func (l *Limiter) tell(ctx context.Context) error {
	l.teller.Lock()
	defer l.teller.Unlock()
	for {
		l.mu.Lock()
		l.collect()
		posts := l.posts
		steps := make([]step, 0, 2*len(posts))
		seen := map[Scope]bool{}
		for _, p := range posts { // counters that Redis lost begin with what is known, not with this
			if scope := p.buckets[0].Scope; !seen[scope] {
				seen[scope] = true
				steps = append(steps, l.repairStep(p.buckets))
			}
		}
		first := len(steps)
		for _, p := range posts {
			steps = append(steps, l.tellStep(p))
		}
		l.mu.Unlock()
		if len(posts) == 0 {
			return nil
		}
		cmds, err := l.send(ctx, steps)
		if err != nil {
			return err
		}
		l.report(cmds[:first])
		l.mu.Lock()
		l.posts = nil
		for i, p := range posts {
			l.confirmPost(p, cmds[first+i])
		}
		l.mu.Unlock()
	}
}

// collect makes posts of some of what Redis was not told of. The caller holds mu.
func (l *Limiter) collect() {
	for r := range l.untold {
		if len(l.posts) >= batch {
			return
		}
		delete(l.untold, r)
		r.state, r.left = telling, len(r.buckets)
		for i, b := range r.buckets {
			p := &post{buckets: r.buckets[i : i+1], member: r.member, reservation: r}
			for _, limit := range b.Limits {
				if limit.Unit != Slots {
					p.counts = append(p.counts, change{limit, r.verdict.at, limit.adds(r.amount)})
				}
			}
			l.posts = append(l.posts, p)
		}
	}
	now := l.clock()
	for t := range l.owing {
		if len(l.posts) >= batch {
			return
		}
		delete(l.owing, t)
		p := &post{buckets: []bucket{{Bucket{Scope: t.scope}, t.keys}}, member: l.name()}
		for i := range t.counts {
			c := &t.counts[i]
			if limit := c.limit(); c.owed != 0 && c.window == limit.window(now) {
				p.counts = append(p.counts, change{limit, now, c.owed})
			}
			c.owed = 0
		}
		if len(p.counts) > 0 {
			l.posts = append(l.posts, p)
		}
	}
}

// confirmPost takes note that Redis was told. A bucket for which Redis does not
// count stays this process's own. The caller holds mu.
func (l *Limiter) confirmPost(p *post, cmd *redis.Cmd) {
	now, err := cmd.Int64()
	r := p.reservation
	if t := l.tallies[p.buckets[0].Scope]; t != nil && err == nil {
		heard := !time.UnixMilli(now).After(t.at) // by a later answer
		for _, change := range p.counts {
			c := t.in(change.limit, change.at)
			if c == nil {
				continue
			}
			by := change.by
			c.untold -= by
			if !heard {
				c.known += by
			}
		}
	}
	if r == nil {
		return
	}
	if r.left--; r.left > 0 {
		return
	}
	r.state = told
	if r.over {
		for _, b := range r.buckets {
			for _, limit := range b.Limits {
				if c := l.tally(b.Scope).in(limit, r.verdict.at); c != nil {
					c.untold -= r.correction(limit)
					c.known = max(0, c.known+r.correction(limit))
				}
			}
		}
		l.settle(r)
	}
}

// renew keeps the reservations of calls in flight alive. One that Redis has lost,
// though its call goes on, is put back.
func (l *Limiter) renew() error {
	gone, err := l.renewed(0, func(r *Reservation, _ bucket) bool { return r.state == told })
	if err != nil || len(gone) == 0 {
		return err
	}
	_, err = l.renewed(1, func(r *Reservation, b bucket) bool { return gone[held{b.Scope, r.member}] })
	return err
}

// held is a reservation in a bucket.
type held struct {
	scope  Scope
	member any
}

// renewed runs renew.lua for the open reservations in the buckets that which
// picks, and gives those that Redis did not have.
func (l *Limiter) renewed(comeBack int, which func(*Reservation, bucket) bool) (map[held]bool, error) {
	byScope := map[Scope]*step{}
	var steps []step
	l.mu.Lock()
	for r := range l.open {
		for i, b := range r.buckets {
			if !which(r, b) {
				continue
			}
			s := byScope[b.Scope]
			if s == nil {
				s = &step{renewScript, r.buckets[i : i+1], b.keys[1:], []any{l.life, l.grace, comeBack}}
				byScope[b.Scope] = s
			}
			if s.args = append(s.args, r.member); len(s.args) > batch {
				steps = append(steps, *s)
				delete(byScope, b.Scope)
			}
		}
	}
	l.mu.Unlock()
	for _, s := range byScope {
		steps = append(steps, *s)
	}
	if len(steps) == 0 {
		return nil, nil
	}
	cmds, err := l.send(context.Background(), steps)
	if err != nil {
		return nil, err
	}
	gone := map[held]bool{}
	for i, cmd := range cmds {
		names, _ := cmd.StringSlice()
		for _, name := range names {
			gone[held{steps[i].buckets[0].Scope, name}] = true
		}
	}
	return gone, nil
}

// send delivers what no call waits for. What a bucket refuses is given up.
func (l *Limiter) send(ctx context.Context, steps []step) ([]*redis.Cmd, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*l.o.Timeout)
	defer cancel()
	cmds, err := l.deliver(ctx, steps)
	if err != nil {
		l.failed(err)
		return nil, err
	}
	for _, place := range refusals(cmds) {
		l.failed(&bucketError{cmds[place].Err()})
	}
	return cmds, nil
}

// Close tells and settles what is pending, within ctx, and stops. Reservations
// that are still open run out by themselves.
func (l *Limiter) Close(ctx context.Context) error {
	l.closing.Do(func() { close(l.stop) })
	<-l.stopped
	return l.flush(ctx)
}
