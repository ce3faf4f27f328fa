// Package cooling is what all processes know in Redis of models' targets that cool down.
//
//	{aisix:targets}:cooling   hash: target's id -> "<since ms> <until ms> <in a row> <reason>"
//
// A target is not well until then; what is over tells nothing, and goes as somebody sees it.
// Processes' clocks agree as far as signatures need it. Callers: extproc/routing tells and
// learns, admin shows.
package cooling

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	key  = "{aisix:targets}:cooling"
	life = 2 * time.Hour // of the whole hash, longer than any cool-down
)

// Down is one cool-down.
type Down struct {
	Since, Until time.Time
	InARow       int
	Reason       string
}

func (d Down) String() string {
	return fmt.Sprintf("%d %d %d %s", d.Since.UnixMilli(), d.Until.UnixMilli(), d.InARow, d.Reason)
}

func parse(text string) (d Down, err error) {
	var since, until int64
	if _, err = fmt.Sscanf(text, "%d %d %d %s", &since, &until, &d.InARow, &d.Reason); err != nil {
		return Down{}, fmt.Errorf("cooling: %q is no cool-down: %w", text, err)
	}
	d.Since, d.Until = time.UnixMilli(since), time.UnixMilli(until)
	return d, nil
}

// Shared is the hash.
type Shared struct{ redis redis.UniversalClient }

// New makes a Shared of a client.
func New(client redis.UniversalClient) *Shared { return &Shared{client} }

// Tell writes cool-downs, and takes others away.
func (s *Shared) Tell(ctx context.Context, set map[string]Down, gone []string) error {
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		if len(set) > 0 {
			fields := make(map[string]any, len(set))
			for id, d := range set {
				fields[id] = d.String()
			}
			p.HSet(ctx, key, fields)
			p.Expire(ctx, key, life)
		}
		if len(gone) > 0 {
			p.HDel(ctx, key, gone...)
		}
		return nil
	})
	return err
}

// Read gives all cool-downs by target's id, those that are over too. What is none is taken away.
func (s *Shared) Read(ctx context.Context) (map[string]Down, error) {
	all, err := s.redis.HGetAll(ctx, key).Result()
	if err != nil {
		return nil, err
	}
	out := make(map[string]Down, len(all))
	for id, text := range all {
		if d, err := parse(text); err == nil {
			out[id] = d
		} else if err := s.redis.HDel(ctx, key, id).Err(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
