package ratelimit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed reserve.lua
var reserveSource string

//go:embed settle.lua
var settleSource string

//go:embed tell.lua
var tellSource string

//go:embed renew.lua
var renewSource string

//go:embed repair.lua
var repairSource string

var (
	reserveScript = redis.NewScript(reserveSource)
	settleScript  = redis.NewScript(settleSource)
	tellScript    = redis.NewScript(tellSource)
	renewScript   = redis.NewScript(renewSource)
	repairScript  = redis.NewScript(repairSource)
)

// step is one script run, in buckets.
type step struct {
	script  *redis.Script
	buckets []bucket
	keys    []string
	args    []any
}

// run sends the steps in one round trip, in order on each node. Every step may
// run twice without harm, so a server that has forgotten the scripts gets the
// whole lot again with their source. The error is one of getting there: what
// Redis answered, errors too, is in the commands.
func run(ctx context.Context, client redis.UniversalClient, steps []step) ([]*redis.Cmd, error) {
	send := func(source bool) ([]*redis.Cmd, error) {
		cmds := make([]*redis.Cmd, len(steps))
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, s := range steps {
				if source {
					cmds[i] = s.script.Eval(ctx, p, s.keys, s.args...)
				} else {
					cmds[i] = s.script.EvalSha(ctx, p, s.keys, s.args...)
				}
			}
			return nil
		})
		return cmds, err
	}
	cmds, err := send(false)
	if err == nil {
		return cmds, nil
	}
	for _, c := range cmds {
		if redis.HasErrorPrefix(c.Err(), "NOSCRIPT") {
			cmds, err = send(true)
			break
		}
	}
	for _, c := range cmds {
		if c.Err() != nil && !isReply(c.Err()) {
			return nil, c.Err()
		}
	}
	if err != nil && !isReply(err) {
		return nil, err
	}
	return cmds, nil
}

// isReply tells an error that Redis answered from one of not getting there.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// reserveStep reserves r in the buckets, some or all of its own, after those of due that
// are in them were settled.
func (l *Limiter) reserveStep(r *Reservation, buckets []bucket, due []settlement) step {
	s := step{script: reserveScript, buckets: buckets, keys: make([]string, 0, 2*len(buckets)), args: make([]any, 0, 3+len(buckets)+3*len(due))}
	s.args = append(s.args, r.member, l.life, l.grace)
	for _, b := range buckets {
		s.keys = append(s.keys, b.keys...)
		limits := make([]byte, 0, 48*len(b.Limits))
		for _, limit := range b.Limits {
			limits = limit.appendField(limits)
			limits = strconv.AppendInt(limits, limit.Max, 10)
			limits = append(limits, ' ')
			limits = strconv.AppendInt(limits, limit.adds(r.amount), 10)
			limits = append(limits, ' ')
		}
		s.args = append(s.args, limits)
	}
	for _, over := range due {
		place := 0
		for i, b := range buckets {
			if b.Scope == over.bucketOf().Scope {
				s.args = append(s.args, i+1, over.r.member, over.appendPlaced(nil, b.Limits, place))
			}
			place += len(b.Limits)
		}
	}
	return s
}

func (l *Limiter) settleStep(s settlement) step {
	buckets := s.r.buckets[s.bucket : s.bucket+1]
	var corrections []byte
	for limit, by := range s.corrections() {
		corrections = appendChange(corrections, limit, s.r.verdict.at, by)
	}
	return step{settleScript, buckets, buckets[0].keys, []any{s.r.member, corrections}}
}

// appendPlaced writes the settlement's corrections as reserve.lua reads them, by the
// places that limits have, which hold all that are corrected (within).
func (s settlement) appendPlaced(b []byte, limits []Limit, before int) []byte {
	for limit, by := range s.corrections() {
		place := slices.IndexFunc(limits, limit.same)
		b = strconv.AppendInt(b, int64(before+place+1), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, limit.window(s.r.verdict.at), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, by, 10)
		b = append(b, ' ')
	}
	return b
}

func (l *Limiter) tellStep(p *post) step {
	var counts []byte
	for _, c := range p.counts {
		counts = appendChange(counts, c.limit, c.at, c.by)
	}
	life := l.life
	if p.reservation == nil {
		life = 0
	}
	return step{tellScript, p.buckets, p.buckets[0].keys, []any{p.member, life, l.grace, counts}}
}

// kept is how long a key that was not ours is kept.
const kept = 24 * time.Hour

// repairStep gives back what is known of the bucket's counters, should they be
// gone. The caller holds mu.
func (l *Limiter) repairStep(one []bucket) step {
	t := l.tally(one[0].Scope)
	now := l.clock()
	var known []byte
	for _, c := range t.counts {
		if limit := c.limit(); c.window == limit.window(now) && c.known > 0 {
			known = appendChange(known, limit, now, c.known)
		}
	}
	return step{repairScript, one, []string{t.keys[0], t.keys[1], t.keys[0] + ":broken", t.keys[1] + ":broken"},
		[]any{kept.Milliseconds(), l.grace, known}}
}

// appendField writes the field of the hash of counters that counts for the limit,
// and the window's seconds.
func (l Limit) appendField(b []byte) []byte {
	seconds := int64(l.Window / time.Second)
	b = append(b, l.Unit...)
	b = append(b, ':')
	b = strconv.AppendInt(b, seconds, 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, seconds, 10)
	return append(b, ' ')
}

// appendChange writes what a script does to the limit's counter of the time at.
func appendChange(b []byte, l Limit, at time.Time, by int64) []byte {
	b = l.appendField(b)
	b = strconv.AppendInt(b, l.window(at), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, by, 10)
	return append(b, ' ')
}

// parse reads reserve.lua's answer about so many limits.
func parse(text string, limits int) (verdict, error) {
	v := verdict{refused: -1, used: make([]int64, 0, limits)}
	for i := 0; text != ""; i++ {
		var word string
		word, text, _ = strings.Cut(text, " ")
		n, err := strconv.ParseInt(word, 10, 64)
		switch {
		case err != nil:
			return verdict{}, fmt.Errorf("reserve.lua's answer: %w", err)
		case i == 0:
			v.at = time.UnixMilli(n)
		case i == 1 && n >= 0 && n <= int64(limits):
			v.refused = int(n) - 1
		case i > 1 && len(v.used) < limits && n >= 0:
			v.used = append(v.used, n)
		default:
			return verdict{}, fmt.Errorf("reserve.lua's answer: %d in place %d", n, i)
		}
	}
	if len(v.used) < limits {
		return verdict{}, fmt.Errorf("reserve.lua answered of %d limits, not %d", len(v.used), limits)
	}
	return v, nil
}
