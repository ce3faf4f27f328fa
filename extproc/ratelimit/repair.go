package ratelimit

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// bucketError is an error that Redis answers for a bucket while it serves others.
type bucketError struct{ err error }

func (e *bucketError) Error() string { return e.err.Error() }
func (e *bucketError) Unwrap() error { return e.err }

// deliver runs the steps. Where Redis answers one with an error, it finds out
// whose that is: the bucket's keys are repaired, if somebody else has written to
// them, or a bucket that nobody uses shows whether Redis counts at all. An error
// that then comes again, and stays in a command, is that bucket's; deliver's own
// is Redis's, or of the way there.
func (l *Limiter) deliver(ctx context.Context, steps []step) ([]*redis.Cmd, error) {
	cmds, err := run(ctx, l.redis, steps)
	if err != nil {
		return nil, err
	}
	refused := refusals(cmds)
	if len(refused) == 0 {
		return cmds, nil
	}
	again := make([]step, len(refused))
	for i, place := range refused {
		again[i] = steps[place]
	}
	repaired, err := l.repair(ctx, again)
	if err == nil && !repaired {
		err = l.counts(ctx)
	}
	if err != nil {
		return nil, err
	}
	second, err := run(ctx, l.redis, again)
	for i := range second {
		cmds[refused[i]] = second[i]
	}
	return cmds, err
}

// refusals are the places of the commands that Redis answered with an error.
func refusals(cmds []*redis.Cmd) []int {
	var places []int
	for i, cmd := range cmds {
		if cmd.Err() != nil {
			places = append(places, i)
		}
	}
	return places
}

// repair makes the keys of the steps' buckets countable, and reports whether there
// was anything to do. The error is one of the way to Redis.
func (l *Limiter) repair(ctx context.Context, corrupted []step) (bool, error) {
	var steps []step
	seen := map[Scope]bool{}
	l.mu.Lock()
	for _, s := range corrupted {
		for i, b := range s.buckets {
			if !seen[b.Scope] {
				seen[b.Scope] = true
				steps = append(steps, l.repairStep(s.buckets[i:i+1]))
			}
		}
	}
	l.mu.Unlock()
	cmds, err := run(ctx, l.redis, steps)
	if err != nil {
		return false, err
	}
	return l.report(cmds), nil
}

// report says aloud what repair.lua found, and reports whether that was anything.
func (l *Limiter) report(repairs []*redis.Cmd) bool {
	any := false
	for _, cmd := range repairs {
		wrong, _ := cmd.StringSlice()
		for _, w := range wrong {
			any = true
			l.o.Repaired()
			l.o.Log.Error("a limit's key in Redis was corrupted, and is repaired", "found", strings.ToValidUTF8(w, "?"))
		}
	}
	return any
}

// nobody is a bucket that no call is in.
var nobody = Bucket{Scope{"probe", "limits"}, []Limit{{Unit: Requests, Window: time.Second, Max: 1 << 52}, {Unit: Slots, Max: 1 << 52}}}

// counts fails where Redis does not count, even in a bucket that nobody uses: a
// replica, or one without memory, answers PING all the same.
func (l *Limiter) counts(ctx context.Context) error {
	r := &Reservation{limiter: l, member: l.name(), buckets: []bucket{{Bucket: nobody}}}
	l.mu.Lock()
	r.buckets[0].keys = l.tally(nobody.Scope).keys
	repair := l.repairStep(r.buckets)
	l.mu.Unlock()
	cmds, err := run(ctx, l.redis, []step{repair, l.reserveStep(r, r.buckets, nil), l.settleStep(settlement{r, 0})})
	if err != nil {
		return err
	}
	for _, cmd := range cmds {
		if cmd.Err() != nil {
			return cmd.Err()
		}
	}
	l.report(cmds[:1])
	return nil
}
