package ledger

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	usagev1 "aisix/proto/aisix/v1"
)

// MaxDays is the longest span that Totals answers.
const MaxDays = 400

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
	CacheWriteTokens int64 // of PromptTokens
	CacheWrite1h     int64 // of CacheWriteTokens
	ReasoningTokens  int64 // of CompletionTokens
	ServerTools      int64 // no tokens
	TotalTokens      int64
}

// counters are what is counted: under which name in a hash field, how much of it a
// record brings, and where a row shows the sum.
var counters = []struct {
	name string
	of   func(*usagev1.Record) int64
	sum  func(*Row) *int64
}{
	{"requests", Calls, func(r *Row) *int64 { return &r.Requests }},
	{"succeeded", ended(usagev1.Outcome_OUTCOME_SUCCEEDED), func(r *Row) *int64 { return &r.Succeeded }},
	{"refused", ended(usagev1.Outcome_OUTCOME_REFUSED), func(r *Row) *int64 { return &r.Refused }},
	{"failed", failed, func(r *Row) *int64 { return &r.Failed }},
	{"prompt_tokens", (*usagev1.Record).GetPromptTokens, func(r *Row) *int64 { return &r.PromptTokens }},
	{"completion_tokens", (*usagev1.Record).GetCompletionTokens, func(r *Row) *int64 { return &r.CompletionTokens }},
	{"cached_tokens", (*usagev1.Record).GetCachedTokens, func(r *Row) *int64 { return &r.CachedTokens }},
	{"cache_write_tokens", (*usagev1.Record).GetCacheWriteTokens, func(r *Row) *int64 { return &r.CacheWriteTokens }},
	{"cache_write_1h_tokens", (*usagev1.Record).GetCacheWrite_1HTokens, func(r *Row) *int64 { return &r.CacheWrite1h }},
	{"reasoning_tokens", (*usagev1.Record).GetReasoningTokens, func(r *Row) *int64 { return &r.ReasoningTokens }},
	{"server_tool_requests", (*usagev1.Record).GetServerToolRequests, func(r *Row) *int64 { return &r.ServerTools }},
	{"total_tokens", func(r *usagev1.Record) int64 { return bounded(r.GetPromptTokens()) + bounded(r.GetCompletionTokens()) }, func(r *Row) *int64 { return &r.TotalTokens }},
}

// Calls is how many calls a record stands for.
func Calls(r *usagev1.Record) int64 { return max(1, r.GetCount()) }

// ended counts the calls of one outcome.
func ended(o usagev1.Outcome) func(*usagev1.Record) int64 {
	return func(r *usagev1.Record) int64 {
		if r.GetOutcome() == o {
			return Calls(r)
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
	return Calls(r)
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
// key or by model, sorted by group. Fields and keys that are not ours are passed
// over, and logged.
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
			foreign := 0
			for name, value := range day.fields {
				if !add(groups, position, name, value) {
					foreign++
				}
			}
			if foreign > 0 {
				l.log.Error("usage totals have unknown fields, which are skipped", "key", totalsKey(day.name), "fields", foreign)
			}
		}
	}
	rows := make([]Row, 0, len(groups))
	for g := range maps.Values(groups) {
		rows = append(rows, *g)
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Group, b.Group) })
	return rows, nil
}

// add adds a field of a totals hash to its group; it reports whether the field is
// ours. A count that this version does not know (a later one's) is, and adds nothing.
func add(groups map[string]*Row, position int, name, value string) bool {
	parts := strings.Split(name, "\n")
	amount, err := strconv.ParseInt(value, 10, 64)
	if len(parts) != 3 || err != nil || amount < 0 {
		return false
	}
	for _, c := range counters {
		if c.name != parts[2] {
			continue
		}
		g := groups[parts[position]]
		if g == nil {
			g = &Row{Group: parts[position]}
			groups[g.Group] = g
		}
		*c.sum(g) += amount
	}
	return true
}

// daysAtOnce keeps one round trip within the client's timeout.
const daysAtOnce = 14

// totals are one day's.
type totals struct {
	name   string
	fields map[string]string
}

// days reads up to daysAtOnce days from first on; a day whose key is of another type
// has no fields.
func (l *Ledger) days(ctx context.Context, first, last time.Time) ([]totals, error) {
	var names []string
	var replies []*redis.MapStringStringCmd
	// The error is that of the first reply that has one; each is looked at below.
	_, _ = l.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for d := first; !d.After(last) && len(names) < daysAtOnce; d = d.AddDate(0, 0, 1) {
			names = append(names, dayOf(d))
			replies = append(replies, p.HGetAll(ctx, totalsKey(dayOf(d))))
		}
		return nil
	})
	days := make([]totals, len(names))
	for i, reply := range replies {
		fields, err := reply.Result()
		switch {
		case err != nil && redis.HasErrorPrefix(err, "WRONGTYPE"):
			l.log.Error("usage totals have the wrong Redis type: the day is skipped", "key", totalsKey(names[i]))
		case err != nil:
			return nil, err
		}
		days[i] = totals{names[i], fields}
	}
	return days, nil
}
