package store

import (
	"context"
	"errors"
	"io/fs"
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
// changes are applied, missed ones are noticed by polling the revision and loaded
// whole. While Redis is away, or has lost what it held, the last snapshot stays in
// force; it is kept in file too ("": nowhere), and stands there for a start without
// Redis. Watch returns nil at ctx's end, and ErrMasterKey if the store was written
// with another master key before there was any snapshot.
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
	store  *Store
	holder *snapshot.Holder
	at     head                                      // of rows; before there are any, of saved
	rows   map[resource.Kind]map[string]snapshot.Row // nil before the first load
	away   bool                                      // Redis did not answer the last time
	polled time.Time
	saved  *state  // of an earlier process, until there is a snapshot
	keeper *keeper // nil where nothing is kept
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

// poll compares revisions, and loads everything when there is a newer one than
// announced. Only a wrong master key at the very start is an error.
func (w *watch) poll(ctx context.Context) error {
	if w.rows != nil && time.Since(w.polled) < pollEvery/2 {
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
	w.restore()
	return nil
}

// restore puts what an earlier process kept in force, where there is nothing better.
func (w *watch) restore() {
	if w.saved == nil || w.rows != nil {
		return
	}
	w.take(w.saved.rows)
	w.holder.Confirm(w.saved.time)
	w.keeper.whole(w.saved) // else what is announced before the next load would be in force, and in no file
	w.store.log.Warn("the snapshot file is in force until the store can be read", "revision", w.at.revision, "of", w.saved.time)
	w.saved = nil
}

func (w *watch) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	at := time.Now()
	values, err := w.store.redis.MGet(ctx, epochKey(), revisionKey()).Result()
	if err != nil {
		return unavailable("poll", err)
	}
	found := headOf(values)
	if err := w.examine(ctx, found); err != nil {
		return err
	}
	if w.rows == nil || found != w.at || w.keeper.wants() {
		if err := w.load(ctx); err != nil {
			return err
		}
	}
	w.holder.Confirm(at)
	return nil
}

// examine is a *LostError if the store, at found, does not follow what is known. Who
// knows nothing asks those that do, and does not serve an emptied store.
func (w *watch) examine(ctx context.Context, found head) error {
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

// load reads everything at one revision.
func (w *watch) load(ctx context.Context) error {
	var values *redis.SliceCmd
	all := state{time: time.Now(), rows: map[resource.Kind]map[string]string{}}
	read := map[resource.Kind]*redis.MapStringStringCmd{}
	_, err := w.store.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		values = p.MGet(ctx, epochKey(), revisionKey(), canaryKey())
		for _, kind := range resource.Kinds {
			read[kind] = p.HGetAll(ctx, rowsKey(kind))
		}
		return nil
	})
	if err != nil {
		return unavailable("load", err)
	}
	all.at = headOf(values.Val())
	if err := w.examine(ctx, all.at); err != nil { // again: it may have been lost since
		return err
	}
	if err := w.store.checkCanary(text(values.Val()[2])); err != nil {
		return err
	}
	for _, kind := range resource.Kinds {
		all.rows[kind] = map[string]string{}
		for id, stored := range read[kind].Val() {
			_, all.rows[kind][id], _ = strings.Cut(stored, " ")
		}
	}
	w.at, w.saved = all.at, nil
	w.take(all.rows)
	w.keeper.whole(&all)
	return nil
}

// take puts rows in force, in place of all others.
func (w *watch) take(rows map[resource.Kind]map[string]string) {
	w.rows = map[resource.Kind]map[string]snapshot.Row{}
	for _, kind := range resource.Kinds {
		w.rows[kind] = map[string]snapshot.Row{}
		for id, body := range rows[kind] {
			w.put(kind, id, body)
		}
	}
	w.publish()
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

// applyOne applies the next revision. Any other is left to poll: an older one is
// known, a later one means that some were missed.
func (w *watch) applyOne(payload string) bool {
	parts := strings.SplitN(payload, " ", 5)
	if len(parts) != 5 || w.rows == nil {
		return false
	}
	at, kind, id, body := head{parts[0], number(parts[1])}, resource.Kind(parts[2]), parts[3], parts[4]
	if at != (head{w.at.epoch, w.at.revision + 1}) || w.rows[kind] == nil {
		w.polled = time.Time{} // look at once
		return false
	}
	w.at = at
	if body == "" {
		delete(w.rows[kind], id)
	} else {
		w.put(kind, id, body)
	}
	w.keeper.change(at, change{kind, id, body})
	return true
}

// put keeps a row. One that can't be read is left out and logged: the others must
// go on being served.
func (w *watch) put(kind resource.Kind, id, body string) {
	e, err := w.store.decodeRow(kind, id, body)
	if err != nil {
		delete(w.rows[kind], id)
		w.store.log.Error("a resource can't be read and is left out", "kind", kind, "id", id, "error", err)
		return
	}
	w.rows[kind][id] = snapshot.Row{ID: id, CreatedAt: e.CreatedAt, Value: e.Value}
}

func (w *watch) publish() {
	var rows []snapshot.Row
	for _, kind := range resource.Kinds {
		for _, r := range w.rows[kind] {
			rows = append(rows, r)
		}
	}
	next, dropped := snapshot.Build(w.at.revision, rows)
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
