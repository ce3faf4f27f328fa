package store

import (
	"context"
	"fmt"
)

const canaryText = "the master key fits"

// CheckMasterKey tells whether this store was written with the sealer's master
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
