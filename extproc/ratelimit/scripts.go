package ratelimit

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed reserve.lua
var reserveSource string

//go:embed settle.lua
var settleSource string

//go:embed renew.lua
var renewSource string

var (
	reserveScript = redis.NewScript(reserveSource)
	settleScript  = redis.NewScript(settleSource)
	renewScript   = redis.NewScript(renewSource)
)

// step is one script run.
type step struct {
	script *redis.Script
	keys   []string
	args   []any
}

// run sends the steps in one round trip, in order on each node. Every step may
// run twice without harm, so a server that has forgotten the scripts gets the
// whole lot again with their source.
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
			return send(true)
		}
	}
	return cmds, err
}

func reserveStep(r *Reservation, buckets []bucket, ttl time.Duration) step {
	s := step{script: reserveScript, keys: make([]string, 0, 2*len(buckets)), args: make([]any, 0, 4+dimensions*len(buckets))}
	s.args = append(s.args, r.member, r.tokens, ttl.Milliseconds(), grace.Milliseconds())
	for _, b := range buckets {
		s.keys = append(s.keys, countersKey(b.scope), slotsKey(b.scope))
		for _, limit := range b.limits {
			if limit == nil {
				s.args = append(s.args, "")
			} else {
				s.args = append(s.args, strconv.FormatInt(*limit, 10))
			}
		}
	}
	return s
}

func settleStep(s *settlement) step {
	args := make([]any, 0, 2+windows)
	args = append(args, s.member, s.at.UnixMilli())
	for _, c := range s.corrections {
		args = append(args, c)
	}
	return step{settleScript, []string{countersKey(s.scope), slotsKey(s.scope)}, args}
}

// parse reads reserve.lua's reply for n buckets.
func parse(cmd *redis.Cmd, n int) (verdict, error) {
	reply, err := cmd.Int64Slice()
	if err != nil {
		return verdict{}, err
	}
	if len(reply) != 3+n*dimensions || reply[1] < 0 || reply[1] > int64(n) || reply[2] < 0 || reply[2] > dimensions {
		return verdict{}, fmt.Errorf("reserve.lua answered %d numbers for %d buckets", len(reply), n)
	}
	v := verdict{at: time.UnixMilli(reply[0]), refused: reply[1] > 0, bucket: int(reply[1]) - 1, dim: int(reply[2]) - 1, used: make([][dimensions]int64, n)}
	for i := range n {
		copy(v.used[i][:], reply[3+i*dimensions:])
	}
	return v, nil
}
