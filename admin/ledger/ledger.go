// Package ledger keeps usage records and their totals in Redis.
//
// It knows the keys, how a batch is appended, and how totals are read; it does
// not know where records come from or who may ask. All its keys share one hash
// tag, so that a batch is one script on one node of a cluster:
//
//	{aisix:usage}:records          stream; field "r" is the bytes of one aisix.v1.Record
//	{aisix:usage}:totals:<day>     hash "<key id>\n<model>\n<count>" -> number; UTC day
//	{aisix:usage}:batch:<id>       mark of a batch that was appended
//
// Callers: extproc/usage appends, admin reads.
package ledger

import (
	"context"
	_ "embed"
	"fmt"
	"sort"
	"strconv"
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

const (
	recordsKey = "{aisix:usage}:records"
	// maxRecords is about how many records the stream keeps; totals stay.
	maxRecords = 1_000_000
	// markLife is how long a batch may be sent again without being counted twice.
	markLife = 24 * time.Hour
	// totalsLife is how long totals can be asked for.
	totalsLife = 400 * 24 * time.Hour
	day        = "2006-01-02"
	// MaxDays is the longest span that Totals answers.
	MaxDays = 400
)

func totalsKey(t time.Time) string { return "{aisix:usage}:totals:" + t.UTC().Format(day) }
func batchKey(id string) string    { return "{aisix:usage}:batch:" + id }

// Ledger appends and reads.
type Ledger struct{ redis redis.UniversalClient }

// New uses client and does not close it.
func New(client redis.UniversalClient) *Ledger { return &Ledger{redis: client} }

// Batch is records that are appended together. Sent again it is not counted
// again, for a day: so what was sent without an answer can be repeated.
type Batch struct {
	ID      string
	Records []*usagev1.Record
}

// NewBatch gives records an id of their own.
func NewBatch(records []*usagev1.Record) Batch { return Batch{ID: uuid.NewString(), Records: records} }

// Append appends records as one batch. After an error it is not known whether
// they were appended: who wants to repeat uses AppendBatch.
func (l *Ledger) Append(ctx context.Context, records []*usagev1.Record) error {
	return l.AppendBatch(ctx, NewBatch(records))
}

// AppendBatch appends a batch, unless it was appended before.
func (l *Ledger) AppendBatch(ctx context.Context, b Batch) error {
	if len(b.Records) == 0 {
		return nil
	}
	type cell struct {
		key   int
		field string
	}
	keys := []string{recordsKey, batchKey(b.ID)}
	index := map[string]int{}
	sums := map[cell]int64{}
	var order []cell
	args := make([]any, 0, 4+8*len(b.Records))
	args = append(args, maxRecords, int(markLife.Seconds()), int(totalsLife.Seconds()), len(b.Records))
	for _, r := range b.Records {
		bytes, err := proto.Marshal(r)
		if err != nil {
			return fmt.Errorf("usage record: %w", err)
		}
		args = append(args, bytes)
		key := totalsKey(r.GetTime().AsTime())
		if index[key] == 0 {
			keys = append(keys, key)
			index[key] = len(keys)
		}
		group := field(r.GetKeyId()) + "\n" + field(r.GetModelAlias()) + "\n"
		for _, counter := range counters {
			amount := counter.of(r)
			if amount == 0 {
				continue
			}
			c := cell{index[key], group + counter.name}
			if _, known := sums[c]; !known {
				order = append(order, c)
			}
			sums[c] += amount
		}
	}
	for _, c := range order {
		args = append(args, c.key, c.field, sums[c])
	}
	if err := appendScript.Run(ctx, l.redis, keys, args...).Err(); err != nil {
		return fmt.Errorf("append usage records: %w", err)
	}
	return nil
}

// field makes a name safe inside a hash field.
func field(s string) string { return strings.ReplaceAll(s, "\n", " ") }

// Row is the totals of one group.
type Row struct {
	Group            string // the key's resource id, or the model's alias as its resource has it; "" where there was none
	Requests         int64  // Succeeded + Refused + Failed
	Succeeded        int64
	Refused          int64
	Failed           int64 // calls that the caller left included
	PromptTokens     int64
	CompletionTokens int64
	CachedTokens     int64 // of PromptTokens
	ReasoningTokens  int64 // of CompletionTokens
	TotalTokens      int64
}

// counters are what is counted: under which name in a hash field, how much of it a
// record brings, and where a row shows the sum.
var counters = []struct {
	name string
	of   func(*usagev1.Record) int64
	sum  func(*Row) *int64
}{
	{"requests", func(*usagev1.Record) int64 { return 1 }, func(r *Row) *int64 { return &r.Requests }},
	{"succeeded", ended(usagev1.Outcome_OUTCOME_SUCCEEDED), func(r *Row) *int64 { return &r.Succeeded }},
	{"refused", ended(usagev1.Outcome_OUTCOME_REFUSED), func(r *Row) *int64 { return &r.Refused }},
	{"failed", failed, func(r *Row) *int64 { return &r.Failed }},
	{"prompt_tokens", (*usagev1.Record).GetPromptTokens, func(r *Row) *int64 { return &r.PromptTokens }},
	{"completion_tokens", (*usagev1.Record).GetCompletionTokens, func(r *Row) *int64 { return &r.CompletionTokens }},
	{"cached_tokens", (*usagev1.Record).GetCachedTokens, func(r *Row) *int64 { return &r.CachedTokens }},
	{"reasoning_tokens", (*usagev1.Record).GetReasoningTokens, func(r *Row) *int64 { return &r.ReasoningTokens }},
	{"total_tokens", func(r *usagev1.Record) int64 { return r.GetPromptTokens() + r.GetCompletionTokens() }, func(r *Row) *int64 { return &r.TotalTokens }},
}

// ended counts the records of one outcome.
func ended(o usagev1.Outcome) func(*usagev1.Record) int64 {
	return func(r *usagev1.Record) int64 {
		if r.GetOutcome() == o {
			return 1
		}
		return 0
	}
}

// failed counts every other outcome, that of a later version too.
func failed(r *usagev1.Record) int64 {
	switch r.GetOutcome() {
	case usagev1.Outcome_OUTCOME_SUCCEEDED, usagev1.Outcome_OUTCOME_REFUSED:
		return 0
	}
	return 1
}

// add adds to the counter of that name; one that is not known (a later version's)
// adds nothing.
func (r *Row) add(name string, amount int64) {
	for _, c := range counters {
		if c.name == name {
			*c.sum(r) += amount
		}
	}
}

// What Totals can group by.
const (
	ByKey   = "key"
	ByModel = "model"
)

// QueryError is a span or a group that Totals does not answer.
type QueryError struct{ message string }

func (e *QueryError) Error() string { return e.message }

// Totals sums the UTC days from that of from to that of to, both included, by
// key or by model, sorted by group.
func (l *Ledger) Totals(ctx context.Context, from, to time.Time, groupBy string) ([]Row, error) {
	part := map[string]int{ByKey: 0, ByModel: 1}
	position, known := part[groupBy]
	first, last := from.UTC().Truncate(24*time.Hour), to.UTC().Truncate(24*time.Hour)
	switch {
	case !known:
		return nil, &QueryError{"group_by must be " + ByKey + " or " + ByModel}
	case last.Before(first):
		return nil, &QueryError{"to is before from"}
	case last.Sub(first) >= MaxDays*24*time.Hour:
		return nil, &QueryError{fmt.Sprintf("from and to are more than %d days apart", MaxDays)}
	}
	groups := map[string]*Row{}
	for d := first; !d.After(last); d = d.AddDate(0, 0, daysAtOnce) {
		days, err := l.days(ctx, d, last)
		if err != nil {
			return nil, fmt.Errorf("read usage totals: %w", err)
		}
		for _, day := range days {
			for name, value := range day.Val() {
				parts := strings.Split(name, "\n")
				amount, err := strconv.ParseInt(value, 10, 64)
				if len(parts) != 3 || err != nil {
					return nil, fmt.Errorf("read usage totals: field %q is not ours", name)
				}
				g := groups[parts[position]]
				if g == nil {
					g = &Row{Group: parts[position]}
					groups[g.Group] = g
				}
				g.add(parts[2], amount)
			}
		}
	}
	rows := make([]Row, 0, len(groups))
	for _, g := range groups {
		rows = append(rows, *g)
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].Group < rows[j].Group })
	return rows, nil
}

// daysAtOnce keeps one round trip within the client's timeout.
const daysAtOnce = 14

// days reads up to daysAtOnce days from first on.
func (l *Ledger) days(ctx context.Context, first, last time.Time) (days []*redis.MapStringStringCmd, err error) {
	_, err = l.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for d := first; !d.After(last) && len(days) < daysAtOnce; d = d.AddDate(0, 0, 1) {
			days = append(days, p.HGetAll(ctx, totalsKey(d)))
		}
		return nil
	})
	return days, err
}
