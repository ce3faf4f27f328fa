package store

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
)

const (
	// pageSize is about how many rows are read in one round trip: a whole store takes
	// longer than one may.
	pageSize = 1000
	// maxChanges is how far behind a watch may be and still read only what changed.
	maxChanges = 1000
)

// page is some rows of a kind.
type page struct {
	kind resource.Kind
	rows []stored
}

type stored struct{ id, body string }

// load reads everything, page by page, and then what was written meanwhile: what is put
// in force is one revision.
func (w *watch) load(ctx context.Context) error {
	base, err := w.base(ctx)
	if err != nil {
		return err
	}
	all := &state{time: time.Now(), rows: map[resource.Kind]map[string]string{}}
	b := snapshot.NewBuilder()
	err = w.fill(ctx, b, func(give func(page) error) error {
		for _, kind := range resource.Kinds {
			err := w.scan(ctx, kind, func(p page) error {
				if w.keeper != nil {
					all.add(p)
				}
				return give(p)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	changes, at, ok, err := w.changes(ctx, base)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("load: %w: it was written to while it was read, and its log does not say what", ErrUnavailable)
	}
	for _, c := range changes {
		w.put(b, c)
	}
	if all.at = at; w.keeper != nil {
		all.apply(changes)
	}
	w.builder, w.at, w.saved = b, at, nil
	w.publish()
	w.keeper.whole(all)
	return nil
}

func (s *state) add(p page) {
	if s.rows[p.kind] == nil {
		s.rows[p.kind] = map[string]string{}
	}
	for _, r := range p.rows {
		s.rows[p.kind][r.id] = r.body
	}
}

// base is where the store stands before it is read, once it is seen to be one that may
// be.
func (w *watch) base(ctx context.Context) (head, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	values, err := w.store.redis.MGet(ctx, epochKey(), revisionKey(), canaryKey()).Result()
	if err != nil {
		return head{}, unavailable("load", err)
	}
	base := headOf(values)
	if err := w.examine(ctx, standing{head: base}); err != nil { // again: it may have been lost since; what changes reads says whether it is whole
		return head{}, err
	}
	return base, w.store.checkCanary(text(values[2]))
}

// scan gives all rows of a kind, some perhaps twice.
func (w *watch) scan(ctx context.Context, kind resource.Kind, give func(page) error) error {
	for cursor := uint64(0); ; {
		bounded, cancel := context.WithTimeout(ctx, timeout)
		found, next, err := w.store.redis.HScan(bounded, rowsKey(kind), cursor, "", pageSize).Result()
		cancel()
		if err != nil {
			return unavailable("load", err)
		}
		p := page{kind, make([]stored, 0, len(found)/2)}
		for i := 0; i+1 < len(found); i += 2 {
			_, body, _ := strings.Cut(found[i+1], " ")
			p.rows = append(p.rows, stored{found[i], body})
		}
		if err := give(p); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// restore puts what an earlier process kept in force, where there is nothing better.
func (w *watch) restore(ctx context.Context) {
	if w.saved == nil || w.builder != nil {
		return
	}
	b := snapshot.NewBuilder()
	err := w.fill(ctx, b, func(give func(page) error) error {
		for kind, rows := range w.saved.rows {
			p := page{kind: kind}
			for id, body := range rows {
				if p.rows = append(p.rows, stored{id, body}); len(p.rows) < pageSize {
					continue
				}
				if err := give(p); err != nil {
					return err
				}
				p = page{kind: kind}
			}
			if err := give(p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return // ctx has ended
	}
	w.builder = b
	w.publish()
	w.holder.Confirm(w.saved.time)
	w.store.log.Warn("the snapshot file is in force until the store can be read", "revision", w.at.revision, "of", w.saved.time)
	w.keeper.whole(w.saved) // else what is announced before the next load would be in force, and in no file
	w.saved = nil
}

// fill puts pages into b, decoded on all processors.
func (w *watch) fill(ctx context.Context, b *snapshot.Builder, produce func(give func(page) error) error) error {
	type decoded struct {
		change
		row snapshot.Row
		err error
	}
	group, ctx := errgroup.WithContext(ctx)
	pages, results := make(chan page), make(chan []decoded)
	group.Go(func() error {
		defer close(pages)
		return produce(func(p page) error {
			select {
			case pages <- p:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	workers, wctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() error {
			for p := range pages {
				all := make([]decoded, len(p.rows))
				for i, r := range p.rows {
					c := change{p.kind, r.id, r.body}
					row, err := w.store.snapshotRow(c)
					all[i] = decoded{c, row, err}
				}
				select {
				case results <- all:
				case <-wctx.Done():
					return wctx.Err()
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(results)
		return workers.Wait()
	})
	for all := range results {
		for _, d := range all {
			w.take(b, d.change, d.row, d.err)
		}
	}
	return group.Wait()
}

// put decodes a change and takes it.
func (w *watch) put(b *snapshot.Builder, c change) {
	if c.body == "" {
		b.Remove(c.kind, c.id)
		return
	}
	row, err := w.store.snapshotRow(c)
	w.take(b, c, row, err)
}

// take puts a row into b. One that can't be read is left out and logged: the others
// must go on being served.
func (w *watch) take(b *snapshot.Builder, c change, row snapshot.Row, err error) {
	w.decoded++
	if err != nil {
		b.Remove(c.kind, c.id)
		w.store.log.Error("a resource can't be read and is left out", "kind", c.kind, "id", c.id, "error", err)
		return
	}
	b.Put(row)
}

func (s *Store) snapshotRow(c change) (snapshot.Row, error) {
	e, err := s.decodeRow(c.kind, c.id, c.body)
	if err != nil {
		return snapshot.Row{}, err
	}
	return snapshot.Row{ID: c.id, CreatedAt: e.CreatedAt, Value: e.Value}, nil
}

// changes reads what was written since: the rows as they are now, each once, and the
// head at which all of them are so. ok is false where the log does not tell, or tells
// too much.
func (w *watch) changes(ctx context.Context, since head) (all []change, at head, ok bool, err error) {
	at, ok, err = w.follow(ctx, since, func(kind resource.Kind, id, stored string) {
		_, body, _ := strings.Cut(stored, " ")
		all = append(all, change{kind, id, body})
	})
	return all, at, ok, err
}

// follow gives each row that was written since as it is now, "" where it is gone, and
// the head at which all of them are so. Nothing was given where ok is false.
func (w *watch) follow(ctx context.Context, since head, give func(kind resource.Kind, id, stored string)) (at head, ok bool, err error) {
	at = since
	ids := map[resource.Kind][]string{}
	known := map[change]bool{} // without bodies
	for range 10 {             // each time round what was written during the last is read too
		found, log, rows, err := w.readChanges(ctx, at, ids)
		if err != nil {
			return head{}, false, err
		}
		if found.gap != "" {
			return head{}, false, w.examine(ctx, found)
		}
		if found.head == at {
			for _, kind := range resource.Kinds {
				for i, id := range ids[kind] {
					give(kind, id, text(rows[kind][i]))
				}
			}
			return at, true, nil
		}
		if found.epoch != at.epoch || int64(len(log)) != found.revision-at.revision {
			return head{}, false, nil
		}
		for i, m := range log {
			c := change{kind: resource.Kind(text(m.Values["kind"])), id: text(m.Values["id"])}
			if m.ID != logID(at.revision+1+int64(i)) || !slices.Contains(resource.Kinds, c.kind) {
				return head{}, false, nil
			}
			if !known[c] {
				known[c] = true
				ids[c.kind] = append(ids[c.kind], c.id)
			}
		}
		at = found.head
	}
	return head{}, false, nil
}

// readChanges reads, in one step, where the store stands, the log behind at, and rows.
func (w *watch) readChanges(ctx context.Context, at head, ids map[resource.Kind][]string) (found standing, log []redis.XMessage, rows map[resource.Kind][]any, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var heads *tally
	var messages *redis.XMessageSliceCmd
	read := map[resource.Kind]*redis.SliceCmd{}
	_, err = w.store.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		heads = queueTally(ctx, p)
		messages = p.XRangeN(ctx, logKey(), logID(at.revision+1), "+", maxChanges+1)
		for kind, some := range ids {
			read[kind] = p.HMGet(ctx, rowsKey(kind), some...)
		}
		return nil
	})
	if err != nil {
		return standing{}, nil, nil, unavailable("read what changed", err)
	}
	if found, err = heads.standing(); err != nil {
		return standing{}, nil, nil, unavailable("read what changed", err)
	}
	rows = map[resource.Kind][]any{}
	for kind, r := range read {
		rows[kind] = r.Val()
	}
	return found, messages.Val(), rows, nil
}

// logID is the id of a write in the log.
func logID(revision int64) string { return strconv.FormatInt(revision, 10) + "-0" }
