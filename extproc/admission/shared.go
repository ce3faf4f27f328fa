// Package admission is what one process takes on at a time: calls, bytes of
// bodies, and bodies in translation. Keys share each of them, so that no key can
// shut out the others, however much it asks for.
//
// It counts and makes callers wait; it does not know what a call, a key or a
// fault is. Package extproc asks it for room and gives the room back.
package admission

import (
	"errors"
	"sync"
)

// Why there is no room.
var (
	ErrShare = errors.New("admission: the key has as much as it may")
	ErrFull  = errors.New("admission: full")
)

// Shared is an amount of something that the process has. A key may hold no more
// of it than is left for everybody else: one key alone gets half, two that ask
// for all they can get a third each, and there is always room for another.
// It is safe for concurrent use.
type Shared struct {
	total int64 // 0: any amount

	mu   sync.Mutex
	used int64
	held map[string]int64 // by key; only those that hold something
}

// NewShared shares total; 0 is no bound, but what is used is counted all the same.
func NewShared(total int64) *Shared { return &Shared{total: total, held: map[string]int64{}} }

// Used is how much is held, by all keys together. It may exceed the total (Add).
func (s *Shared) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Account is opened for one holder that belongs to key. Close gives back
// whatever it still holds.
func (s *Shared) Account(key string) *Account { return &Account{shared: s, key: key} }

// Account is what one holder has of a Shared. It is safe for concurrent use; the
// nil Account takes everything and counts nothing.
type Account struct {
	shared *Shared
	key    string
	held   int64 // guarded by shared.mu
}

// TakeUpTo takes n more, so that the key holds no more than most (0 is any amount).
// It is ErrShare where it would, and ErrFull where nothing more is to be had.
func (a *Account) TakeUpTo(n, most int64) error {
	if a == nil {
		return nil
	}
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	switch {
	case most > 0 && a.shared.held[a.key]+n > most:
		return ErrShare
	case !a.fits(n):
		return ErrFull
	}
	a.change(n)
	return nil
}

// Take takes n more, or reports that this is more than the key may hold now.
func (a *Account) Take(n int64) bool { return a.TakeUpTo(n, 0) == nil }

// Fits reports whether Take would take n now.
func (a *Account) Fits(n int64) bool {
	if a == nil {
		return true
	}
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	return a.fits(n)
}

func (a *Account) fits(n int64) bool {
	s := a.shared
	return s.total <= 0 || s.held[a.key]+n <= s.total-s.used-n
}

// Set makes n what is held, more or less than before, and asks nobody: for what
// is there already, whether there was room for it or not.
func (a *Account) Set(n int64) {
	if a == nil {
		return
	}
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	a.change(n - a.held)
}

// Add is Set to n more.
func (a *Account) Add(n int64) {
	if a == nil {
		return
	}
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	a.change(n)
}

// Held is how much is held.
func (a *Account) Held() int64 {
	if a == nil {
		return 0
	}
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	return a.held
}

// Close gives everything back. It may be called more than once.
func (a *Account) Close() { a.Set(0) }

func (a *Account) change(n int64) {
	s := a.shared
	a.held += n
	s.used += n
	if s.held[a.key] += n; s.held[a.key] == 0 {
		delete(s.held, a.key)
	}
}
