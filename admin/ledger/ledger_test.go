package ledger

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aisix/admin/store/redistest"
	usagev1 "aisix/proto/aisix/v1"
)

var ctx = context.Background()

func record(day int, key, model string, o usagev1.Outcome, prompt, completion int64) *usagev1.Record {
	return &usagev1.Record{
		Time:  timestamppb.New(time.Date(2026, 3, day, 23, 59, 59, 0, time.UTC)),
		KeyId: key, ModelAlias: model, Alias: "as sent", Outcome: o,
		PromptTokens: &prompt, CompletionTokens: &completion, CachedTokens: proto.Int64(1), CacheWriteTokens: proto.Int64(4), CacheWrite_1HTokens: proto.Int64(3), ReasoningTokens: proto.Int64(2), ServerToolRequests: proto.Int64(5),
	}
}

// store appends records, as one batch.
func store(t *testing.T, l *Ledger, records ...*usagev1.Record) {
	t.Helper()
	if err := l.AppendBatch(ctx, batch(t, records...)); err != nil {
		t.Fatal(err)
	}
}

func TestTotals(t *testing.T) {
	l := New(redistest.Start(t).Client())
	store(t, l,
		record(1, "k1", "claude", usagev1.Outcome_OUTCOME_SUCCEEDED, 10, 5),
		record(1, "k1", "claude", usagev1.Outcome_OUTCOME_CANCELLED, 3, 1),
		record(1, "k2", "nova", usagev1.Outcome_OUTCOME_SUCCEEDED, 7, 7),
		record(2, "k1", "nova", usagev1.Outcome_OUTCOME_REFUSED, 0, 0),
		record(3, "k1", "nova", usagev1.Outcome_OUTCOME_FAILED, 100, 0),
	)
	from := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		by   string
		want []Row
	}{
		{ByKey, []Row{
			{"k1", 3, 1, 1, 1, 13, 6, 3, 12, 9, 6, 15, 19},
			{"k2", 1, 1, 0, 0, 7, 7, 1, 4, 3, 2, 5, 14},
		}},
		{ByModel, []Row{
			{"claude", 2, 1, 0, 1, 13, 6, 2, 8, 6, 4, 10, 19},
			{"nova", 2, 1, 1, 0, 7, 7, 2, 8, 6, 4, 10, 14},
		}},
	} {
		rows, err := l.Totals(ctx, from, from.AddDate(0, 0, 1), test.by)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(test.want, rows); d != "" {
			t.Error(test.by, d)
		}
	}
	// A span of several round trips finds the same days.
	rows, err := l.Totals(ctx, from.AddDate(0, 0, 1-MaxDays+2), from.AddDate(0, 0, 2), ByKey)
	if err != nil || len(rows) != 2 || rows[0].Requests != 4 || rows[1].Requests != 1 {
		t.Errorf("the longest span: %+v, %v", rows, err)
	}
	if rows, err := l.Totals(ctx, from.AddDate(1, 0, 0), from.AddDate(1, 0, 0), ByKey); err != nil || rows == nil || len(rows) != 0 {
		t.Errorf("an empty day: %v, %v", rows, err)
	}
}

func TestTotalsRefuses(t *testing.T) {
	l := New(nil)
	now := time.Now()
	for _, err := range []error{
		second(l.Totals(ctx, now, now, "colour")),
		second(l.Totals(ctx, now, now.AddDate(0, 0, -1), ByKey)),
		second(l.Totals(ctx, now, now.AddDate(0, 0, MaxDays), ByKey)),
	} {
		if refused := (*QueryError)(nil); !errors.As(err, &refused) {
			t.Error(err)
		}
	}
}

func second(_ []Row, err error) error { return err }

func TestStreamHoldsTheBytes(t *testing.T) {
	c := redistest.Start(t).Client()
	r := record(1, "k1", "claude", usagev1.Outcome_OUTCOME_SUCCEEDED, 10, 5)
	store(t, New(c), r)
	messages, err := c.XRange(ctx, recordsKey, "-", "+").Result()
	if err != nil || len(messages) != 1 {
		t.Fatal(messages, err)
	}
	got := &usagev1.Record{}
	if err := proto.Unmarshal([]byte(messages[0].Values["r"].(string)), got); err != nil || !proto.Equal(r, got) {
		t.Errorf("%v, %v", got, err)
	}
}

// batch is records as a batch of their own.
func batch(t *testing.T, records ...*usagev1.Record) Batch {
	t.Helper()
	entries := make([]Entry, len(records))
	for i, r := range records {
		var err error
		if entries[i], err = NewEntry(r); err != nil {
			t.Fatal(err)
		}
	}
	return NewBatch(entries)
}

func TestBatchCountsOnce(t *testing.T) {
	c := redistest.Start(t).Client()
	l := New(c)
	b := batch(t, record(1, "k\n1", "m", usagev1.Outcome_OUTCOME_SUCCEEDED, 1, 1))
	for range 2 {
		if err := l.AppendBatch(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := l.Totals(ctx, march, march, ByKey)
	if err != nil || len(rows) != 1 || rows[0].Requests != 1 || rows[0].Group != "k 1" {
		t.Errorf("%+v, %v", rows, err)
	}
	if n := c.XLen(ctx, recordsKey).Val(); n != 1 {
		t.Errorf("%d records", n)
	}
	store(t, l) // nothing
}

var march = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// A summed record counts for all the calls that it stands for; what no call has is
// not believed.
func TestSummedRecords(t *testing.T) {
	l := New(redistest.Start(t).Client())
	summed := record(1, "k", "m", usagev1.Outcome_OUTCOME_REFUSED, 0, 0)
	summed.Count = 950
	wild := record(1, "k", "m", usagev1.Outcome_OUTCOME_FAILED, math.MaxInt64, -7)
	wild.Count = -3
	store(t, l, summed, wild, record(1, "k", "m", usagev1.Outcome_OUTCOME_CANCELLED, 1, 1))
	for _, by := range []string{ByKey, ByModel} {
		rows, err := l.Totals(ctx, march, march, by)
		want := []Row{{Group: map[string]string{ByKey: "k", ByModel: "m"}[by], Requests: 952, Refused: 950, Failed: 2,
			PromptTokens: maxAmount + 1, CompletionTokens: 1, CachedTokens: 3, CacheWriteTokens: 12, CacheWrite1h: 9, ReasoningTokens: 6, ServerTools: 15, TotalTokens: maxAmount + 2}}
		if d := cmp.Diff(want, rows); d != "" || err != nil {
			t.Error(d, err)
		}
	}
}

// Totals of days before a column came are read, and have nothing in it.
func TestTotalsOfBefore(t *testing.T) {
	client := redistest.Start(t).Client()
	if err := client.HSet(ctx, totalsKey("2026-03-01"), "k\nm\nrequests", 2, "k\nm\nprompt_tokens", 7, "k\nm\ncached_tokens", 3).Err(); err != nil {
		t.Fatal(err)
	}
	rows, err := New(client).Totals(ctx, march, march, ByKey)
	if d := cmp.Diff([]Row{{Group: "k", Requests: 2, PromptTokens: 7, CachedTokens: 3}}, rows); d != "" || err != nil {
		t.Error(d, err)
	}
}
