// Package store keeps resources in Redis.
//
// It knows the keys, the atomic write script with its revision, uniqueness and
// references, how secrets are sealed, and how a change reaches a snapshot. It knows
// no HTTP, and takes values as already validated by admin/resource. Callers: admin
// (reads and writes), extproc's wiring (Watch; it needs no right to write).
package store

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
)

// timeout bounds one round trip: Redis away must be an answer, not a wait.
const timeout = 2 * time.Second

// Entry is a resource with what the store knows about it.
type Entry struct {
	ID        string
	Revision  int64 // the store-wide write counter at this entry's last write
	CreatedAt time.Time
	UpdatedAt time.Time
	Value     resource.Resource

	stale bool // its secret is sealed under a previous master key
}

// Store reads and writes resources. Errors are the ones of this package, or wrap
// ErrUnavailable when Redis did not answer as it should.
type Store struct {
	redis  redis.UniversalClient
	sealer *Sealer
	now    func() time.Time
	log    *slog.Logger

	masterKey atomic.Bool          // it was seen to fit
	known     atomic.Pointer[head] // the store that was read from or written to, nil before; admin's, a watch keeps its own
	alarm     alarm                // of a lost store
}

// New makes a store. The client should have ContextTimeoutEnabled, so that a silent
// Redis is noticed within the store's own two seconds.
func New(client redis.UniversalClient, sealer *Sealer) *Store {
	return &Store{redis: client, sealer: sealer, now: time.Now, log: slog.Default()}
}

// Get reads one resource; ErrNotFound if there is none.
func (s *Store) Get(ctx context.Context, kind resource.Kind, id string) (*Entry, error) {
	stored, err := s.get(ctx, kind, id)
	if err != nil {
		return nil, err
	}
	return s.decode(kind, id, stored, s.decodeRow)
}

// bare is Get of a resource whose secret is of no interest: it is not opened.
func (s *Store) bare(ctx context.Context, kind resource.Kind, id string) (*Entry, error) {
	stored, err := s.get(ctx, kind, id)
	if err != nil {
		return nil, err
	}
	return s.decode(kind, id, stored, bareRow)
}

func (s *Store) get(ctx context.Context, kind resource.Kind, id string) (string, error) {
	var stored *redis.StringCmd
	if _, err := s.look(ctx, "get", func(p redis.Pipeliner) { stored = p.HGet(ctx, rowsKey(kind), id) }); err != nil {
		return "", err
	}
	if errors.Is(stored.Err(), redis.Nil) {
		return "", ErrNotFound
	}
	if stored.Err() != nil {
		return "", unavailable("get", stored.Err())
	}
	return stored.Val(), nil
}

// List reads up to limit resources (0: all), oldest first, behind the id after (""
// from the first). after need not exist any more. next is what to give as after for
// those that follow, "" if none do. What can't be read is logged and left out: the
// others must stay within reach.
func (s *Store) List(ctx context.Context, kind resource.Kind, after string, limit int) (list []*Entry, next string, err error) {
	by := &redis.ZRangeBy{Min: "-", Max: "+"}
	if after != "" {
		by.Min = "(" + after
	}
	if limit > 0 {
		by.Count = int64(limit) + 1 // one more reports whether others follow
	}
	ids, err := s.ids(ctx, kind, by)
	if err != nil {
		return nil, "", err
	}
	if limit > 0 && len(ids) > limit {
		ids = ids[:limit]
		next = ids[limit-1]
	}
	list = []*Entry{}
	for batch := range slices.Chunk(ids, 512) {
		rows, err := s.rows(ctx, kind, batch)
		if err != nil {
			return nil, "", err
		}
		for i, stored := range rows {
			if stored == nil { // deleted meanwhile
				continue
			}
			e, err := s.decode(kind, batch[i], stored.(string), s.decodeRow)
			if err != nil {
				s.log.Error("a resource can't be read and is left out of the list", "kind", kind, "id", batch[i], "error", err)
				continue
			}
			list = append(list, e)
		}
	}
	if _, err := s.look(ctx, "list", nil); err != nil {
		return nil, "", err
	}
	return list, next, nil
}

func (s *Store) ids(ctx context.Context, kind resource.Kind, by *redis.ZRangeBy) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ids, err := s.redis.ZRangeByLex(ctx, orderKey(kind), by).Result()
	if err != nil {
		return nil, unavailable("list", err)
	}
	return ids, nil
}

// rows reads some rows, nil for those that are not there.
func (s *Store) rows(ctx context.Context, kind resource.Kind, ids []string) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	rows, err := s.redis.HMGet(ctx, rowsKey(kind), ids...).Result()
	if err != nil {
		return nil, unavailable("list", err)
	}
	return rows, nil
}

// Revision is the store-wide write counter, 0 before the first write. It is also
// the question whether the store can be used: Redis answers, and holds what the
// sealer opens, and what it held before.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	if err := s.useMasterKey(ctx); err != nil {
		return 0, err
	}
	found, err := s.look(ctx, "revision", nil)
	return found.revision, err
}
