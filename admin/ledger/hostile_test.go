package ledger

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"aisix/admin/store/redistest"
	usagev1 "aisix/proto/aisix/v1"
)

// two are records of two days, for two totals hashes.
func two(t *testing.T) Batch {
	return batch(t,
		record(1, "k", "m", usagev1.Outcome_OUTCOME_SUCCEEDED, 10, 5),
		record(1, "k", "m", usagev1.Outcome_OUTCOME_SUCCEEDED, 10, 5),
		record(2, "k", "m", usagev1.Outcome_OUTCOME_FAILED, 1, 1))
}

// exact fails unless the records of two are in Redis, once.
func exact(t *testing.T, l *Ledger) {
	t.Helper()
	rows, err := l.Totals(ctx, march, march.AddDate(0, 0, 1), ByKey)
	if err != nil || len(rows) != 1 || rows[0] != (Row{"k", 3, 2, 0, 1, 21, 11, 3, 12, 9, 6, 15, 32}) {
		t.Errorf("totals %+v, %v", rows, err)
	}
	if n, err := l.redis.XLen(ctx, recordsKey).Result(); n != 3 || err != nil {
		t.Errorf("%d records, %v", n, err)
	}
}

// logged is a ledger, and what it logs.
func logged(client redis.UniversalClient) (*Ledger, *bytes.Buffer) {
	out := new(bytes.Buffer)
	return &Ledger{redis: client, log: slog.New(slog.NewTextHandler(out, nil))}, out
}

// A script is not rolled back: wherever a try stops, the next one goes on from there.
func TestAStoppedAppendGoesOn(t *testing.T) {
	s := redistest.Start(t)
	root := s.Client()
	for _, denied := range []string{
		"-set", "-xadd", "-hincrby", "-expire", "-get",
		"resetkeys ~" + recordsKey + " ~" + prefix + "batch:*",                                     // the records, and no totals
		"resetkeys ~" + recordsKey + " ~" + prefix + "batch:* ~" + totalsKey("2026-03-01"),         // the totals of the first day
		"resetkeys ~" + recordsKey + " ~" + prefix + "totals:* ~" + prefix + "aside:*",             // no mark
		"resetkeys ~" + prefix + "batch:* ~" + prefix + "totals:* ~" + prefix + "aside:*",          // no records
		"resetkeys %R~" + recordsKey + " ~" + prefix + "batch:* ~" + prefix + "totals:* ~*aside:*", // records to read only
	} {
		t.Run(denied, func(t *testing.T) {
			user := func(rules ...string) {
				args := []any{"ACL", "SETUSER", "some", "reset", "on", ">pass", "~*", "+@all"}
				for _, r := range rules {
					args = append(args, r)
				}
				if err := root.Do(ctx, args...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			user(strings.Fields(denied)...)
			client := redis.NewClient(&redis.Options{Addr: s.Addr, Username: "some", Password: "pass", MaxRetries: -1})
			defer client.Close()
			l, _ := logged(client)
			b := two(t)
			for range 2 {
				if err := l.AppendBatch(ctx, b); !errors.Is(err, ErrRefused) {
					t.Errorf("append without the right: %v", err)
				}
			}
			user()
			for range 2 {
				if err := l.AppendBatch(ctx, b); err != nil {
					t.Fatal(err)
				}
			}
			exact(t, l)
			root.FlushAll(ctx)
		})
	}
}

// Without memory nothing is done, and with it all is.
func TestAppendWithoutMemory(t *testing.T) {
	c := redistest.Start(t).Client()
	l, _ := logged(c)
	b := two(t)
	if err := c.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := l.AppendBatch(ctx, b); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("%v", err)
	}
	if n := c.DBSize(ctx).Val(); n != 0 {
		t.Errorf("%d keys were written", n)
	}
	c.ConfigSet(ctx, "maxmemory", "0")
	if err := l.AppendBatch(ctx, b); err != nil {
		t.Error(err)
	}
	exact(t, l)
}

// What is not ours is set aside, with an ERROR, and costs no record.
func TestAppendSetsAside(t *testing.T) {
	c := redistest.Start(t).Client()
	totals, field := totalsKey("2026-03-01"), "k\nm\nrequests"
	for _, test := range []struct {
		name  string
		do    [][]any
		aside string // in the name of what is set aside
		get   []any  // of it, after its name
		want  string
	}{
		{"a stream that is a text", [][]any{{"SET", recordsKey, "x"}}, "records", []any{"GET"}, "x"},
		{"a stream at its end", [][]any{{"XADD", recordsKey, "18446744073709551615-18446744073709551615", "a", "b"}}, "records", []any{"TYPE"}, "stream"},
		{"totals that are a list", [][]any{{"RPUSH", totals, "x"}}, "totals:2026-03-01", []any{"TYPE"}, "list"},
		{"a total that is no number", [][]any{{"HSET", totals, field, "many"}}, "totals:2026-03-01", []any{"HGET", field}, "many"},
		{"a total that is full", [][]any{{"HSET", totals, field, "9223372036854775807"}}, "totals:2026-03-01", []any{"HGET", field}, "9223372036854775807"},
		{"all of it", [][]any{{"SET", recordsKey, "x"}, {"SADD", totals, "x"}, {"SET", totalsKey("2026-03-02"), "x"}}, "totals:2026-03-02", []any{"GET"}, "x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, do := range test.do {
				if err := c.Do(ctx, do...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			l, log := logged(c)
			b := two(t)
			for range 2 {
				if err := l.AppendBatch(ctx, b); err != nil {
					t.Fatal(err)
				}
			}
			exact(t, l)
			if n := strings.Count(log.String(), "level=ERROR"); n != len(test.do) {
				t.Errorf("%d lines for %d things set aside: %s", n, len(test.do), log)
			}
			get := append([]any{test.get[0], asideKey(b.ID, test.aside)}, test.get[1:]...)
			if got, err := c.Do(ctx, get...).Text(); got != test.want || err != nil {
				t.Errorf("set aside: %q, %v", got, err)
			}
			if ttl := c.TTL(ctx, asideKey(b.ID, test.aside)).Val(); ttl <= 0 {
				t.Errorf("it is kept for %v", ttl)
			}
			c.FlushAll(ctx)
		})
	}
}

// A mark that is not ours does not stop its batch, and one of another cut of it
// begins anew.
func TestForeignMarks(t *testing.T) {
	c := redistest.Start(t).Client()
	l, _ := logged(c)
	for _, mark := range [][]any{{"SADD", "", "x"}, {"SET", "", "what"}, {"SET", "", "3/4"}, {"SET", "", "3/4/5"}} {
		b := two(t)
		mark[1] = batchKey(b.ID)
		if err := c.Do(ctx, mark...).Err(); err != nil {
			t.Fatal(err)
		}
		if err := l.AppendBatch(ctx, b); err != nil {
			t.Error(err)
		}
		exact(t, l)
		c.FlushAll(ctx)
	}
}

// Fields and keys that somebody else wrote are passed over, with an ERROR, and the
// rest is answered.
func TestTotalsPassOverWhatIsForeign(t *testing.T) {
	c := redistest.Start(t).Client()
	l, log := logged(c)
	if err := l.AppendBatch(ctx, two(t)); err != nil {
		t.Fatal(err)
	}
	c.HSet(ctx, totalsKey("2026-03-01"), "note", "hands off", "a\nb\nrequests", "many", "a\nb\nfailed", "-1", "a\nb\nc\nrequests", "1", "a\nb\nof_a_later_version", "1", "", "1")
	c.HSet(ctx, totalsKey("2026-03-02"), "x", "y")
	c.Set(ctx, totalsKey("2026-02-28"), "x", 0)
	for _, by := range []string{ByKey, ByModel} {
		log.Reset()
		rows, err := l.Totals(ctx, march.AddDate(0, 0, -1), march.AddDate(0, 0, 1), by)
		if err != nil || len(rows) != 1 || rows[0].Requests != 3 {
			t.Errorf("%+v, %v", rows, err)
		}
		if n := strings.Count(log.String(), "level=ERROR"); n != 3 || !strings.Contains(log.String(), "fields=5") {
			t.Errorf("%s", log)
		}
	}
}

func TestRecordsThatAreNotUTF8(t *testing.T) {
	if _, err := NewEntry(&usagev1.Record{RequestId: "\xff"}); err == nil {
		t.Error("no error")
	}
}
