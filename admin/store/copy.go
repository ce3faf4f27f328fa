package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
)

// Copy is a store's rows at one revision, as they stand in Redis: secrets are sealed in
// them too. The indexes are not in it, since they follow from the rows.
type Copy struct {
	Epoch    string
	Revision int64
	Canary   string                              // says which master key opens the secrets
	Replaced map[string]string                   // epochs of earlier stores that an operator let go -> when
	Rows     map[resource.Kind]map[string]string // kind -> id -> "<revision> <row JSON>"

	// Unreadable are the rows that this version can't read, or that somebody else has
	// written. They are in Rows all the same.
	Unreadable []error
}

// ErrEmpty is a store without a single row, of which there is nothing to copy.
var ErrEmpty = errors.New("the store is empty")

// Copy reads all rows at one revision, while the store goes on being written to. Of a
// lost store it makes none: that would be a copy of what is missing.
func (s *Store) Copy(ctx context.Context) (*Copy, error) {
	for range 5 {
		c, err := s.copy(ctx)
		if c != nil || err != nil {
			return c, err
		}
	}
	return nil, fmt.Errorf("copy: %w: it is written to faster than it can be read", ErrUnavailable)
}

// copy is nil where the log of writes does not tell what was written meanwhile.
func (s *Store) copy(ctx context.Context) (*Copy, error) {
	base, err := s.look(ctx, "copy", nil)
	if err != nil {
		return nil, err
	}
	c := &Copy{Rows: map[resource.Kind]map[string]string{}}
	for _, kind := range resource.Kinds {
		if c.Rows[kind], err = s.scanRows(ctx, kind); err != nil {
			return nil, err
		}
	}
	w := &watch{store: s, at: base}
	at, ok, err := w.follow(ctx, base, func(kind resource.Kind, id, stored string) {
		if stored == "" {
			delete(c.Rows[kind], id)
			return
		}
		c.Rows[kind][id] = stored
	})
	if err != nil || !ok {
		return nil, err
	}
	c.Epoch, c.Revision = at.epoch, at.revision
	same, err := s.copyMarks(ctx, c)
	if err != nil || !same {
		return nil, err
	}
	if c.Len() == 0 {
		return nil, ErrEmpty
	}
	for kind, rows := range c.Rows {
		for id, stored := range rows {
			if _, err := s.decode(kind, id, stored, s.decodeRow); err != nil {
				c.Unreadable = append(c.Unreadable, err)
			}
		}
	}
	return c, s.checkCanary(c.Canary)
}

// Len is how many rows there are.
func (c *Copy) Len() (n int) {
	for _, rows := range c.Rows {
		n += len(rows)
	}
	return n
}

// scanRows reads a kind's rows page by page: they may be more than one answer should hold.
func (s *Store) scanRows(ctx context.Context, kind resource.Kind) (map[string]string, error) {
	rows := map[string]string{}
	for cursor := uint64(0); ; {
		bounded, cancel := context.WithTimeout(ctx, timeout)
		found, next, err := s.redis.HScan(bounded, rowsKey(kind), cursor, "", pageSize).Result()
		cancel()
		if err != nil {
			return nil, unavailable("copy", err)
		}
		for i := 0; i+1 < len(found); i += 2 {
			rows[found[i]] = found[i+1]
		}
		if cursor = next; cursor == 0 {
			return rows, nil
		}
	}
}

// copyMarks reads what stands beside the rows; same reports whether it is still of
// their store.
func (s *Store) copyMarks(ctx context.Context, c *Copy) (same bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var at *redis.SliceCmd
	var replaced *redis.MapStringStringCmd
	_, err = s.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		at = p.MGet(ctx, epochKey(), canaryKey())
		replaced = p.HGetAll(ctx, replacedKey())
		return nil
	})
	if err != nil {
		return false, unavailable("copy", err)
	}
	c.Canary, c.Replaced = text(at.Val()[1]), replaced.Val()
	return text(at.Val()[0]) == c.Epoch, nil
}
