package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// head is where a store stands: which history, and how far along it.
type head struct {
	epoch    string // "" of a store that was never written, or was emptied
	revision int64
}

// follows reports whether a store at h may be the one that was at known, later: the
// same history, not shorter. Who knows nothing takes everything.
func (h head) follows(known head) bool {
	return known.epoch == "" || h.epoch == known.epoch && h.revision >= known.revision
}

// LostError is a store that no longer holds what was read from it: emptied, rolled
// back to an earlier revision, replaced, or lost in part. Nothing is read from it or
// written to it until its data is back, or an operator confirms that what it holds now
// is meant.
type LostError struct {
	Epoch    string // of the store that was lost: Confirm takes it
	Revision int64  // that it had reached

	found standing
}

// noEpoch stands for the epoch of a store that has lost that too.
const noEpoch = "none"

func (e *LostError) Error() string {
	if e.partial() {
		return fmt.Sprintf("the configuration store has lost a part of its data: of store %s, at revision %d, Redis now holds %s, which do not agree", e.Epoch, e.Revision, e.found.gap)
	}
	holds := fmt.Sprintf("another history, at revision %d", e.found.revision)
	switch e.found.epoch {
	case "":
		holds = "nothing"
	case e.Epoch:
		holds = fmt.Sprintf("only revision %d", e.found.revision)
	}
	return fmt.Sprintf("the configuration store has lost its data: revision %d of store %s was in force, and Redis now holds %s", e.Revision, e.Epoch, holds)
}

// partial reports whether it is the store that is known, with keys missing.
func (e *LostError) partial() bool {
	return e.found.gap != "" && e.found.follows(head{e.Epoch, e.Revision}) || e.Epoch == noEpoch
}

// ErrNothingLost is a confirmation that nobody needs.
var ErrNothingLost = errors.New("the store has lost nothing")

// look reads what queue asks for, and afterwards checks that it came from the store
// that is known: after, since a store that is whole afterwards was whole before.
func (s *Store) look(ctx context.Context, what string, queue func(redis.Pipeliner)) (head, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	known := s.known.Load() // before: others may come to know more meanwhile
	var at *tally
	var witnesses *redis.MapStringStringCmd
	_, err := s.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		if queue != nil {
			queue(p)
		}
		at = queueTally(ctx, p)
		witnesses = p.HGetAll(ctx, witnessesKey())
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return head{}, unavailable(what, err)
	}
	found, err := at.standing()
	if err != nil {
		return head{}, unavailable(what, err)
	}
	claims := claimsOf(witnesses.Val())
	if known != nil {
		claims = slices.Insert(claims, 0, *known)
	}
	if err := s.examine(ctx, found, claims); err != nil {
		return found.head, err
	}
	s.remember(known, found.head)
	return found.head, nil
}

// headOf is the head in an answer to MGET epoch revision.
func headOf(found []any) head { return head{text(found[0]), number(text(found[1]))} }

// claimsOf is what witnesses say that they hold, in a fixed order.
func claimsOf(witnesses map[string]string) (claims []head) {
	for epoch, revision := range witnesses {
		claims = append(claims, head{epoch, number(revision)})
	}
	slices.SortFunc(claims, func(a, b head) int { return strings.Compare(a.epoch, b.epoch) })
	return claims
}

// examine is a *LostError if the store, at found, is the successor of a claim by
// neither its history nor an operator's word, or is not whole.
func (s *Store) examine(ctx context.Context, found standing, claims []head) error {
	claims = slices.DeleteFunc(claims, found.follows)
	if len(claims) > 0 {
		epochs := make([]string, len(claims))
		for i, c := range claims {
			epochs[i] = c.epoch
		}
		replaced, err := s.redis.HMGet(ctx, replacedKey(), epochs...).Result()
		if err != nil {
			return unavailable("look for confirmations", err)
		}
		for i, when := range slices.Backward(replaced) {
			if when != nil {
				claims = slices.Delete(claims, i, i+1)
			}
		}
	}
	switch {
	case len(claims) == 0 && found.gap == "":
		s.alarm.end(s.log.Info)
		return nil
	case len(claims) == 0: // whoever starts sees it too: no word of it is needed
		lost := &LostError{Epoch: cmp.Or(found.epoch, noEpoch), Revision: found.revision, found: found}
		s.alarm.sound(s.log.Error, lost)
		return lost
	}
	lost := &LostError{Epoch: claims[0].epoch, Revision: claims[0].revision, found: found}
	told := s.alarm.sound(s.log.Error, lost)
	if err := s.testify(ctx, claims[0]); err != nil && told {
		s.log.Warn("no word of the lost store can be left in Redis: a process that starts now takes it for a new one", "error", err)
	}
	return lost
}

// testify leaves word of what was lost, for those that started since and can't know:
// they would take an emptied store for a new one.
func (s *Store) testify(ctx context.Context, known head) error {
	held, err := s.redis.HGet(ctx, witnessesKey(), known.epoch).Int64()
	if err == nil && held >= known.revision {
		return nil
	}
	if err == nil || errors.Is(err, redis.Nil) {
		err = s.redis.HSet(ctx, witnessesKey(), known.epoch, known.revision).Err()
	}
	return err
}

// remember takes found for what is known from now on, unless somebody else has come
// to know better since known was read.
func (s *Store) remember(known *head, found head) {
	for found.epoch != "" {
		now := s.known.Load()
		if now != nil && now.epoch == found.epoch {
			if found.revision <= now.revision {
				return
			}
		} else if now != known {
			return
		}
		if s.known.CompareAndSwap(now, &found) {
			return
		}
	}
}

// alarm says a thing that lasts once, and now and then again.
type alarm struct {
	mutex sync.Mutex
	told  time.Time // zero while all is well
}

const alarmEvery = 10 * time.Minute

func (a *alarm) sound(log func(string, ...any), err error) (told bool) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if !a.told.IsZero() && time.Since(a.told) < alarmEvery {
		return false
	}
	a.told = time.Now()
	log("the configuration store was emptied, rolled back, replaced or lost in part: what was in force stays in force, and nothing is written, until its data is restored or an operator confirms what it holds now (docs/operations.md, \"When the store comes back empty\")", "error", err)
	return true
}

func (a *alarm) end(log func(string, ...any)) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.told.IsZero() {
		return
	}
	a.told = time.Time{}
	log("the configuration store is whole again, or its loss was confirmed")
}
