package ledger

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
)

//go:embed return.lua
var returnSource string

var returnScript = redis.NewScript(returnSource)

// Day is the totals of one UTC day, as they stand in Redis: field -> amount.
type Day struct {
	Name   string // 2006-01-02
	Totals map[string]int64
}

// Days reads the totals of all days that are kept up to that of now, oldest first; days
// without any are left out. What is not ours in them is passed over, as in Totals.
func (l *Ledger) Days(ctx context.Context, now time.Time) ([]Day, error) {
	var all []Day
	last := now.UTC().Truncate(24 * time.Hour)
	for d := last.Add(-totalsLife); !d.After(last); d = d.AddDate(0, 0, 1) {
		days, err := l.days(ctx, d, d) // one at a time: a day of many keys is large
		if err != nil {
			return nil, fmt.Errorf("read usage totals: %w", err)
		}
		day := Day{days[0].name, map[string]int64{}}
		for field, value := range days[0].fields {
			if amount, err := strconv.ParseInt(value, 10, 64); err == nil && amount >= 0 && utf8.ValidString(field) {
				day.Totals[field] = amount
			}
		}
		if len(day.Totals) > 0 {
			all = append(all, day)
		}
	}
	return all, nil
}

// returnedAtOnce is how many fields of a day are put back in one step.
const returnedAtOnce = 1000

// Return puts days back under an id: what came from it is there once, however often it
// is tried within a day. They are added to what was counted since, or, where add is
// false, put back only where a day has no totals at all: kept counts how many have.
func (l *Ledger) Return(ctx context.Context, id string, days []Day, add bool) (kept int, err error) {
	how := "0"
	if add {
		how = "1"
	}
	for _, d := range days {
		at, err := time.Parse(day, d.Name)
		if err != nil {
			return kept, fmt.Errorf("usage totals of %q: not a day", d.Name)
		}
		ends := at.Add(24*time.Hour + totalsLife)
		if ends.Before(time.Now()) {
			continue
		}
		mark := "return:" + id + ":" + d.Name
		number := 0
		for fields := range slices.Chunk(slices.Sorted(maps.Keys(d.Totals)), returnedAtOnce) {
			args := []any{how, int64(markLife / time.Second), ends.Unix()}
			for _, f := range fields {
				args = append(args, f, d.Totals[f])
			}
			keys := []string{totalsKey(d.Name), batchKey(mark), batchKey(mark + ":" + strconv.Itoa(number))}
			done, err := returnScript.Run(ctx, l.redis, keys, args...).Int()
			if err != nil {
				return kept, fmt.Errorf("return usage totals of %s: %w", d.Name, err)
			}
			if done == 0 {
				kept++
				break
			}
			number++
		}
	}
	return kept, nil
}
