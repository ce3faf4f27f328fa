package store

import (
	"context"
	"errors"
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
// whole. While Redis is away the last snapshot stays in force. It returns nil at
// ctx's end, and ErrMasterKey if the store was written with another master key
// before there was any snapshot.
func (s *Store) Watch(ctx context.Context, holder *snapshot.Holder) error {
	sub := s.redis.Subscribe(ctx, channel())
	defer sub.Close()
	w := &watch{store: s, holder: holder}
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
	store    *Store
	holder   *snapshot.Holder
	epoch    string
	revision int64
	rows     map[resource.Kind]map[string]snapshot.Row
	away     bool // Redis did not answer the last time
	polled   time.Time
}

// poll compares revisions, and loads everything when there is a newer one than
// announced. Only a wrong master key at the very start is an error.
func (w *watch) poll(ctx context.Context) error {
	if w.rows != nil && time.Since(w.polled) < pollEvery/2 {
		return nil // it was an announcement that woke us
	}
	err := w.refresh(ctx)
	w.polled = time.Now()
	switch {
	case err == nil:
		if w.away {
			w.store.log.Info("the store of resources is back", "revision", w.revision)
		}
		w.away = false
	case ctx.Err() != nil:
	case errors.Is(err, ErrMasterKey) && w.holder.Load() == nil:
		return err
	case !w.away:
		w.away = true
		w.store.log.Error("the store of resources is away: the last snapshot stays in force", "revision", w.revision, "error", err)
	}
	return nil
}

func (w *watch) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	at := time.Now()
	found, err := w.store.redis.MGet(ctx, epochKey(), revisionKey()).Result()
	if err != nil {
		return unavailable("poll", err)
	}
	epoch, revision := text(found[0]), number(text(found[1]))
	if w.rows == nil || epoch != w.epoch || revision != w.revision {
		if err := w.load(ctx); err != nil {
			return err
		}
	}
	w.holder.Confirm(at)
	return nil
}

// load reads everything at one revision.
func (w *watch) load(ctx context.Context) error {
	var head *redis.SliceCmd
	all := map[resource.Kind]*redis.MapStringStringCmd{}
	_, err := w.store.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		head = p.MGet(ctx, epochKey(), revisionKey(), canaryKey())
		for _, kind := range resource.Kinds {
			all[kind] = p.HGetAll(ctx, rowsKey(kind))
		}
		return nil
	})
	if err != nil {
		return unavailable("load", err)
	}
	found := head.Val()
	if err := w.store.checkCanary(text(found[2])); err != nil {
		return err
	}
	w.epoch, w.revision = text(found[0]), number(text(found[1]))
	w.rows = map[resource.Kind]map[string]snapshot.Row{}
	for _, kind := range resource.Kinds {
		w.rows[kind] = map[string]snapshot.Row{}
		for id, stored := range all[kind].Val() {
			_, body, _ := strings.Cut(stored, " ")
			w.put(kind, id, body)
		}
	}
	w.publish()
	return nil
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
	revision, kind, id, body := number(parts[1]), resource.Kind(parts[2]), parts[3], parts[4]
	if parts[0] != w.epoch || revision != w.revision+1 || w.rows[kind] == nil {
		w.polled = time.Time{} // look at once
		return false
	}
	w.revision = revision
	if body == "" {
		delete(w.rows[kind], id)
	} else {
		w.put(kind, id, body)
	}
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
	next, dropped := snapshot.Build(w.revision, rows)
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
