package ledger

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	usagev1 "aisix/proto/aisix/v1"
)

//go:embed append.lua
var appendSource string

var appendScript = redis.NewScript(appendSource)

// Entry is one record with its bytes: those that stand in the stream and in a spool.
type Entry struct {
	Record *usagev1.Record
	Bytes  []byte
}

// NewEntry marshals a record. A text that is not UTF-8 is an error: such a record
// can be kept nowhere.
func NewEntry(r *usagev1.Record) (Entry, error) {
	bytes, err := proto.Marshal(r)
	if err != nil {
		return Entry{}, fmt.Errorf("usage record: %w", err)
	}
	return Entry{Record: r, Bytes: bytes}, nil
}

// Batch is records that are appended together. Sent again it is not counted
// again, for a day: so what was sent without an answer can be repeated.
type Batch struct {
	ID      string
	Entries []Entry
}

// NewBatch gives entries an id of their own.
func NewBatch(entries []Entry) Batch { return Batch{ID: uuid.NewString(), Entries: entries} }

// ErrRefused is of an append that Redis answered, but did not do: it has no memory,
// is a replica, does not let us, …
var ErrRefused = errors.New("refused by Redis")

// AppendBatch appends a batch, unless it was appended before. After an error the
// same batch may be sent again: what was done of it is not done twice.
func (l *Ledger) AppendBatch(ctx context.Context, b Batch) error {
	if len(b.Entries) == 0 {
		return nil
	}
	keys, args := b.script()
	aside, err := appendScript.Run(ctx, l.redis, keys, args...).StringSlice()
	var reply redis.Error
	if errors.As(err, &reply) {
		return fmt.Errorf("append usage records: %w: %w", ErrRefused, err)
	}
	if err != nil {
		return fmt.Errorf("append usage records: %w", err)
	}
	for _, what := range aside {
		l.log.Error("what is in Redis under a name of the usage records is not one of them, and is set aside", "what", what)
	}
	return nil
}

// script is what append.lua takes. Its steps come in the order of the records, the
// same each time that a batch is sent.
func (b Batch) script() (keys []string, args []any) {
	type group struct {
		day        int // its place among the keys
		key, alias string
	}
	keys = []string{recordsKey, batchKey(b.ID), asideKey(b.ID, "records")}
	days := map[time.Time]int{}
	known := map[group]int{}
	var groups []group
	var sums []int64 // of each counter, group by group
	var order []int  // of those that are not 0
	args = make([]any, 0, 4+8*len(b.Entries))
	args = append(args, maxRecords, int(markLife.Seconds()), int(totalsLife.Seconds()), len(b.Entries))
	for _, e := range b.Entries {
		r := e.Record
		args = append(args, e.Bytes)
		at := r.GetTime().AsTime().Truncate(24 * time.Hour)
		if days[at] == 0 {
			day := dayOf(at)
			days[at] = len(keys) + 1
			keys = append(keys, totalsKey(day), asideKey(b.ID, "totals:"+day))
		}
		g := group{days[at], field(r.GetKeyId()), field(r.GetModelAlias())}
		place, ok := known[g]
		if !ok {
			place = len(sums)
			known[g] = place
			groups, sums = append(groups, g), append(sums, make([]int64, len(counters))...)
		}
		for i, counter := range counters {
			amount := bounded(counter.of(r))
			if amount == 0 {
				continue
			}
			if sums[place+i] == 0 {
				order = append(order, place+i)
			}
			sums[place+i] += amount
		}
	}
	for _, at := range order {
		g := groups[at/len(counters)]
		args = append(args, g.day, g.key+"\n"+g.alias+"\n"+counters[at%len(counters)].name, sums[at])
	}
	return keys, args
}

// field makes a name safe inside a hash field.
func field(s string) string { return strings.ReplaceAll(s, "\n", " ") }

// maxAmount is the most that one record can add: more is no count of tokens, and a
// few of them would be more than a total can hold.
const maxAmount = 1 << 40

func bounded(amount int64) int64 { return min(max(amount, 0), maxAmount) }
