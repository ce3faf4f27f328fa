// Package backup writes what Redis holds of a gateway into one file, and puts it back.
//
// A backup is the store's rows at one revision, secrets sealed as they are at rest, and
// the usage totals of every day. It has neither the counters of limits, which are of the
// moment, nor single usage records. It holds rows as they stand in Redis, for the same
// version of the product or a later one; it is no document to be read or written by
// people. The whole file is sealed under the master key: nobody reads or alters it
// without that, and the master key is not in it.
//
// It knows the file and the order of the steps; rows and totals are the business of
// admin/store and admin/ledger. Caller: cmd/admin.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"aisix/admin/ledger"
	"aisix/admin/resource"
	"aisix/admin/store"
)

// Contents is what a backup holds.
type Contents struct {
	ID   string // random, of this backup
	Made time.Time
	Rows *store.Copy
	Days []ledger.Day
}

// Take reads everything from Redis.
func Take(ctx context.Context, s *store.Store, l *ledger.Ledger, now time.Time) (*Contents, error) {
	days, err := l.Days(ctx, now) // first: a call is in the totals of a backup only if its key is in the rows
	if err != nil {
		return nil, err
	}
	rows, err := s.Copy(ctx)
	if errors.Is(err, store.ErrEmpty) {
		return nil, errors.New("there is nothing to back up: the store has no resources")
	}
	if err != nil {
		return nil, err
	}
	return &Contents{Made: now.UTC().Truncate(time.Second), Rows: rows, Days: days}, nil
}

// Restored is what came of a restore.
type Restored struct {
	Revision int64 // that is in force now
	Kept     int   // days whose totals were left as they are, since Redis still had some
}

// Put puts a backup in force. Redis must hold no resources, unless overwrite says that
// those may go. Usage is added to what was counted since where there were none: that
// store had lost its usage too. Where there were some, the totals that Redis still has
// stay. Tried again after a failure it goes on where it stopped.
func (c *Contents) Put(ctx context.Context, s *store.Store, l *ledger.Ledger, overwrite bool) (Restored, error) {
	empty, err := s.Empty(ctx)
	if err != nil {
		return Restored{}, err
	}
	if !empty && !overwrite {
		return Restored{}, errFull
	}
	var r Restored
	// Before the rows: with them the store is not empty any more, and a second try would not add.
	if r.Kept, err = l.Return(ctx, c.ID, c.Days, empty); err != nil {
		return r, err
	}
	r.Revision, err = s.Replace(ctx, c.Rows, overwrite)
	if errors.Is(err, store.ErrFull) {
		err = errFull
	}
	return r, err
}

var errFull = errors.New("the store has resources already, and nothing was changed: back them up, and add -overwrite to have them replaced by the backup's")

// Summary says what a backup holds, for people.
func (c *Contents) Summary() string {
	text := fmt.Sprintf("revision %d of store %s", c.Rows.Revision, c.Rows.Epoch)
	for _, row := range resource.Table {
		n := len(c.Rows.Rows[row.Kind])
		name := row.Many
		if n == 1 {
			name = row.One
		}
		text += fmt.Sprintf(", %d %s", n, name)
	}
	unit := "days"
	if len(c.Days) == 1 {
		unit = "day"
	}
	return text + fmt.Sprintf(", %d %s of usage", len(c.Days), unit)
}

// maxSize bounds what is read as a backup.
const maxSize = 4 << 30

func readAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err == nil && len(b) > maxSize {
		err = errors.New("it is too large for a backup")
	}
	return b, err
}
