package routing

import (
	"context"
	"log/slog"
	"time"

	"aisix/admin/cooling"
)

const (
	pollEvery = 250 * time.Millisecond
	patience  = time.Second // of one exchange
)

// shared is what processes know together (package cooling).
type shared interface {
	Tell(ctx context.Context, set map[string]cooling.Down, gone []string) error
	Read(ctx context.Context) (map[string]cooling.Down, error)
}

// Share tells other processes of cool-downs and learns theirs, until ctx ends.
func (b *Board) Share(ctx context.Context, with shared, log *slog.Logger) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	failing := false
	for {
		err := b.exchange(ctx, with)
		if ctx.Err() != nil {
			return nil
		}
		if failed := err != nil; failed != failing {
			if failing = failed; failed {
				log.Warn("cool-downs of targets are not shared with other processes", "error", err)
			} else {
				log.Info("cool-downs of targets are shared again")
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-b.dirty:
		case <-tick.C:
		}
	}
}

// exchange tells what is new here, and learns what is new there.
func (b *Board) exchange(ctx context.Context, with shared) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if set, gone := b.news(); len(set)+len(gone) > 0 {
		if err := with.Tell(ctx, set, gone); err != nil {
			return err
		}
		b.confirm(set, gone)
	}
	all, err := with.Read(ctx)
	if err != nil {
		return err
	}
	if over := b.learn(all); len(over) > 0 {
		return with.Tell(ctx, nil, over)
	}
	return nil
}

// news is what the others have not been told of.
func (b *Board) news() (set map[string]cooling.Down, gone []string) {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(now)
	set = map[string]cooling.Down{}
	for id, e := range b.entries {
		switch {
		case e.told:
		case e.Until.After(now):
			set[id] = e.Down
		default:
			gone = append(gone, id)
		}
	}
	return set, gone
}

// confirm takes note that the others were told so.
func (b *Board) confirm(set map[string]cooling.Down, gone []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, d := range set {
		if e := b.entries[id]; e != nil && e.Down == d {
			e.told = true
		}
	}
	for _, id := range gone {
		if e := b.entries[id]; e != nil && !e.Until.After(b.now()) {
			e.told = true
		}
	}
}

// learn takes over what the others know, but for what they have yet to be told of. over tells
// nothing any more.
func (b *Board) learn(all map[string]cooling.Down) (over []string) {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, d := range all {
		switch {
		case now.Sub(d.Until) > forgetting, d.Until.Sub(now) > 2*longestAsked:
			over = append(over, id)
		case b.entries[id] == nil && !d.Until.After(now):
		default:
			if e := b.entry(id, now); e.told && d.String() != e.String() {
				e.Down, e.recent = d, nil
			}
		}
	}
	for id, e := range b.entries {
		if _, there := all[id]; !there && e.told && e.Until.After(now) {
			e.Until = time.Time{} // it served another process
		}
	}
	return over
}
