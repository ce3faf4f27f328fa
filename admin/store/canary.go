package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
)

const canaryText = "the master key fits"

// CheckMasterKey reports whether this store was written with the sealer's master
// key; the first caller makes that so. admin calls it before it serves.
func (s *Store) CheckMasterKey(ctx context.Context) error {
	b, err := s.sealer.seal(canaryKey(), []byte(canaryText))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := s.redis.SetNX(ctx, canaryKey(), b.text(), 0).Err(); err != nil {
		return unavailable("check the master key", err)
	}
	stored, err := s.redis.Get(ctx, canaryKey()).Result()
	if err != nil {
		return unavailable("check the master key", err)
	}
	return s.checkCanary(stored)
}

// masterKeyChange writes what is sealed anew.
const masterKeyChange Actor = "master_key_change"

// Reseal seals anew, under the sealer's first key, what was sealed under another,
// and tells how many secrets that were. Afterwards the other key is not needed any
// more. admin calls it when it starts.
func (s *Store) Reseal(ctx context.Context) (n int, err error) {
	same := func(e *Entry) (resource.Resource, error) { return e.Value, nil }
	for _, row := range resource.Table {
		if row.Secret == nil {
			continue
		}
		entries, _, err := s.List(ctx, row.Kind, "", 0)
		if err != nil {
			return n, err
		}
		for _, e := range entries {
			if !e.stale {
				continue
			}
			if _, err := s.Update(ctx, masterKeyChange, row.Kind, e.ID, nil, same); err != nil && !errors.Is(err, ErrNotFound) {
				return n, err
			}
			n++
		}
	}
	return n, s.resealCanary(ctx)
}

// resealCanary is last: until all secrets are under the new key, a start without
// the previous one must fail.
func (s *Store) resealCanary(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stored, err := s.redis.Get(ctx, canaryKey()).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return unavailable("check the master key", err)
	}
	if stored != "" {
		b, err := parseSealed(stored)
		if err != nil {
			return fmt.Errorf("%s: %w", canaryKey(), err)
		}
		if s.sealer.current(b) {
			return nil
		}
	}
	b, err := s.sealer.seal(canaryKey(), []byte(canaryText))
	if err != nil {
		return err
	}
	if err := s.redis.Set(ctx, canaryKey(), b.text(), 0).Err(); err != nil {
		return unavailable("mark the store", err)
	}
	return nil
}

// useMasterKey is CheckMasterKey until it passed once: nothing may be written under
// a key that does not open the rest.
func (s *Store) useMasterKey(ctx context.Context) error {
	if s.masterKey.Load() {
		return nil
	}
	err := s.CheckMasterKey(ctx)
	s.masterKey.Store(err == nil)
	return err
}

// checkCanary passes an empty text: nothing was written yet.
func (s *Store) checkCanary(stored string) error {
	if stored == "" {
		return nil
	}
	b, err := parseSealed(stored)
	if err != nil {
		return fmt.Errorf("%s: %w", canaryKey(), err)
	}
	_, err = s.sealer.open(canaryKey(), b)
	return err
}
