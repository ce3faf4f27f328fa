package store

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
)

// pollEvery is how soon a missed announcement is made up for.
const pollEvery = 250 * time.Millisecond

// Watch keeps holder at the store's latest revision until ctx ends: announced
// changes are applied, missed ones are noticed by polling the revision, and read from
// the store's log of them. Each costs what it changed; only where the log does not
// reach back is everything read again. While Redis is away, or has lost what it held,
// the last snapshot stays in force; it is kept in file too ("": nowhere), for a start
// without Redis. Watch returns nil at ctx's end, and ErrMasterKey if the store was
// written with another master key before there was any snapshot.
func (s *Store) Watch(ctx context.Context, holder *snapshot.Holder, file string) error {
	sub := s.redis.Subscribe(ctx, channel())
	defer sub.Close()
	w := &watch{store: s, holder: holder}
	if file != "" {
		var stop func()
		w.saved, stop = w.open(file)
		defer stop()
	}
	changes := sub.Channel(redis.WithChannelSize(1024))
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if err := w.poll(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case m, ok := <-changes:
			if !ok { // the client was closed
				changes = nil
				continue
			}
			w.apply(m.Payload, changes)
		case <-tick.C:
		}
	}
}

// watch is what Watch knows between two looks.
type watch struct {
	store   *Store
	holder  *snapshot.Holder
	at      head              // of builder; before there is one, of saved
	builder *snapshot.Builder // nil before the first load
	away    bool              // Redis did not answer the last time
	polled  time.Time
	saved   *state  // of an earlier process, until there is a snapshot
	keeper  *keeper // nil where nothing is kept
	decoded int     // rows, ever
}

// open begins to keep the snapshot in a file, and gives what an earlier process left
// there, nil if nothing that can be used.
func (w *watch) open(file string) (saved *state, stop func()) {
	w.keeper = newKeeper(file, w.store)
	saved, err := readFile(file, w.store.sealer)
	switch {
	case err == nil:
		w.at = saved.at
	case !errors.Is(err, fs.ErrNotExist):
		w.store.log.Error("the snapshot file can't be used and is ignored", "file", file, "error", err)
	}
	return saved, w.keeper.start()
}

// poll compares revisions, and reads what was not announced. Only a wrong master key at the very start is an error.
func (w *watch) poll(ctx context.Context) error {
	if w.builder != nil && time.Since(w.polled) < pollEvery/2 {
		return nil // it was an announcement that woke us
	}
	err := w.refresh(ctx)
	w.polled = time.Now()
	var lost *LostError
	isLost := errors.As(err, &lost)
	w.holder.SetLost(isLost || w.holder.Lost() && err != nil) // Redis away says nothing about what it holds
	switch {
	case err == nil:
		if w.away {
			w.store.log.Info("the store of resources is back", "revision", w.at.revision)
		}
		w.away = false
		return nil
	case ctx.Err() != nil:
		return nil
	case isLost: // the alarm was sounded
	case errors.Is(err, ErrMasterKey) && w.holder.Load() == nil:
		return err
	case !w.away:
		w.away = true
		w.store.log.Error("the store of resources is away: the last snapshot stays in force", "revision", w.at.revision, "error", err)
	}
	w.restore(ctx)
	return nil
}

func (w *watch) refresh(ctx context.Context) error {
	at := time.Now()
	found, err := w.look(ctx)
	if err != nil {
		return err
	}
	switch {
	case w.builder == nil, w.keeper.wants(), found.epoch != w.at.epoch:
		err = w.load(ctx)
	case found != w.at:
		err = w.catchUp(ctx)
	}
	if err == nil {
		w.holder.Confirm(at)
	}
	return err
}

// look finds where the store stands, and that it is the one that is known. It is done
// all the time: it costs the same whatever the store holds.
func (w *watch) look(ctx context.Context) (head, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var at *tally
	_, err := w.store.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		at = queueTally(ctx, p)
		return nil
	})
	if err != nil {
		return head{}, unavailable("poll", err)
	}
	found, err := at.standing()
	if err != nil {
		return head{}, unavailable("poll", err)
	}
	return found.head, w.examine(ctx, found)
}

// catchUp makes up for missed announcements.
func (w *watch) catchUp(ctx context.Context) error {
	changes, at, ok, err := w.changes(ctx, w.at)
	if err != nil {
		return err
	}
	if !ok {
		return w.load(ctx)
	}
	for _, c := range changes {
		w.put(w.builder, c)
	}
	w.at = at
	w.keeper.change(at, changes...)
	w.publish()
	return nil
}

// examine is a *LostError if the store, at found, does not follow what is known, or is
// not whole. Who knows nothing asks those that do, and does not serve an emptied store.
func (w *watch) examine(ctx context.Context, found standing) error {
	claims := []head{w.at}
	if w.at.epoch == "" {
		witnesses, err := w.store.redis.HGetAll(ctx, witnessesKey()).Result()
		if err != nil {
			return unavailable("look for witnesses", err)
		}
		claims = claimsOf(witnesses)
	}
	return w.store.examine(ctx, found, claims)
}

// apply takes an announcement, and every other that waits behind it, in turn.
func (w *watch) apply(payload string, more <-chan *redis.Message) {
	changed := false
	for {
		changed = w.applyOne(payload) || changed
		select {
		case m, ok := <-more:
			if ok {
				payload = m.Payload
				continue
			}
		default:
		}
		break
	}
	if changed {
		w.publish()
		w.holder.Confirm(time.Now())
	}
}

// applyOne applies the next revision. An older one is known; a later one means that
// some were missed, and is left to poll.
func (w *watch) applyOne(payload string) bool {
	parts := strings.SplitN(payload, " ", 5)
	if len(parts) != 5 || w.builder == nil {
		return false
	}
	at, c := head{parts[0], number(parts[1])}, change{resource.Kind(parts[2]), parts[3], parts[4]}
	if w.at.follows(at) {
		return false
	}
	if at != (head{w.at.epoch, w.at.revision + 1}) || !slices.Contains(resource.Kinds, c.kind) {
		w.polled = time.Time{} // look at once
		return false
	}
	w.at = at
	w.put(w.builder, c)
	w.keeper.change(at, c)
	return true
}

// publish puts what was read in force.
func (w *watch) publish() {
	next, dropped := w.builder.Snapshot(w.at.revision)
	for _, d := range dropped {
		w.store.log.Error("a resource is left out of the snapshot", "resource", d)
	}
	w.holder.Store(next)
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}
