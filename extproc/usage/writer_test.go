package usage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"aisix/admin/ledger"
	"aisix/admin/store/redistest"
	usagev1 "aisix/proto/aisix/v1"
)

// book is a ledger that can be away.
type book struct {
	mu      sync.Mutex
	away    bool
	refuses string // the request id of a record whose batch is refused
	batches map[string]int
	records int
	calls   int64
	tried   chan struct{}
}

func newBook(away bool) *book {
	return &book{away: away, batches: map[string]int{}, tried: make(chan struct{}, 1000)}
}

func (b *book) AppendBatch(ctx context.Context, batch ledger.Batch) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() {
		select {
		case b.tried <- struct{}{}:
		default:
		}
	}()
	if b.away || ctx.Err() != nil {
		return errors.New("away")
	}
	for _, e := range batch.Entries {
		if b.refuses != "" && e.Record.RequestId == b.refuses {
			return fmt.Errorf("%w: ERR no", ledger.ErrRefused)
		}
	}
	if b.batches[batch.ID]++; b.batches[batch.ID] == 1 {
		b.records += len(batch.Entries)
		for _, e := range batch.Entries {
			b.calls += ledger.Calls(e.Record)
		}
	}
	return nil
}

func (b *book) set(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
}

func (b *book) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.records
}

func some(n int) []*usagev1.Record {
	records, now := make([]*usagev1.Record, n), timestamppb.Now()
	for i := range records {
		records[i] = &usagev1.Record{RequestId: strconv.Itoa(i), Time: now, KeyId: "k", Outcome: usagev1.Outcome_OUTCOME_SUCCEEDED}
	}
	return records
}

func writer(t *testing.T, l appender, o WriterOptions) *Writer {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Linger, o.Retry = time.Millisecond, 5*time.Millisecond
	w, err := NewWriter(l, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func closed(t *testing.T, w *Writer) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return w.Close(ctx)
}

func TestCloseFlushes(t *testing.T) {
	b := newBook(false)
	w := writer(t, b, WriterOptions{Batch: 10})
	w.Add(some(95))
	if err := closed(t, w); err != nil || b.count() != 95 {
		t.Errorf("%d records, %v", b.count(), err)
	}
	w.Add(some(1)) // after Close: lost, but harmless
	if err := closed(t, w); err != nil {
		t.Error(err)
	}
}

func TestMemoryIsBoundedAndRetried(t *testing.T) {
	b := newBook(true)
	w := writer(t, b, WriterOptions{Memory: 50, Batch: 10})
	w.Add(some(40))
	<-b.tried
	w.Add(some(40))
	b.set(false)
	if err := closed(t, w); err != nil || b.count() != 50 {
		t.Errorf("%d records, %v", b.count(), err)
	}
}

func TestCloseSaysWhatIsLost(t *testing.T) {
	w := writer(t, newBook(true), WriterOptions{})
	w.Add(some(3))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := w.Close(ctx); err == nil {
		t.Error("no error")
	}
}

func TestFullSpoolKeepsInMemory(t *testing.T) {
	b := newBook(true)
	w := writer(t, b, WriterOptions{SpoolDir: t.TempDir(), SpoolBytes: 1})
	w.Add(some(5))
	<-b.tried
	b.set(false)
	if err := closed(t, w); err != nil || b.count() != 5 {
		t.Errorf("%d records, %v", b.count(), err)
	}
}

func TestThroughAnOutage(t *testing.T) {
	s := redistest.Start(t)
	l := ledger.New(s.Client())
	w := writer(t, l, WriterOptions{SpoolDir: t.TempDir()})
	w.Add(some(3))
	s.Kill()
	w.Add(some(4))
	s.Restart()
	if err := closed(t, w); err != nil {
		t.Fatal(err)
	}
	// What the last try of Close did not bring over is in the spool: the next
	// process does.
	w = writer(t, l, WriterOptions{SpoolDir: w.o.SpoolDir})
	if err := closed(t, w); err != nil {
		t.Fatal(err)
	}
	rows, err := l.Totals(context.Background(), time.Now(), time.Now(), ledger.ByKey)
	if err != nil || len(rows) != 1 || rows[0].Requests != 7 {
		t.Errorf("%+v, %v", rows, err)
	}
}

// lost is what the metric says.
func lost(m *Metrics) float64 {
	families, err := m.registry.Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families {
		if f.GetName() == "aisix_usage_records_lost_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	panic("no such metric")
}

// What is pushed out of memory, what comes too late and what Close cannot write is
// counted, each for the calls that it stands for.
func TestLossIsCounted(t *testing.T) {
	m, b := NewMetrics(), newBook(true)
	w := writer(t, b, WriterOptions{Memory: 10, Metrics: m})
	summed := some(12)
	summed[11].Count = 100
	w.Add(summed)
	if got := lost(m); got != 101 {
		t.Errorf("%v lost of what found no room, want 101", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := w.Close(ctx); err == nil {
		t.Error("no error")
	}
	if got := lost(m); got != 111 {
		t.Errorf("%v lost after Close, want 111", got)
	}
	w.Add(some(1))
	if got := lost(m); got != 112 {
		t.Errorf("%v lost with the one after Close, want 112", got)
	}
}

// A record that cannot be stored is set aside, counted and logged once; the others
// of its batch are stored.
func TestBadRecord(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		var log lines
		m, b := NewMetrics(), newBook(false)
		w := writer(t, b, WriterOptions{SpoolDir: dir, Metrics: m, Log: slog.New(slog.NewTextHandler(&log, nil))})
		records := some(5)
		records[2].Tries = []*usagev1.Try{{UpstreamRequestId: "\xff"}}
		w.Add(records)
		if err := closed(t, w); err != nil || b.count() != 4 || lost(m) != 1 {
			t.Errorf("%d stored, %v lost, %v", b.count(), lost(m), err)
		}
		if n := strings.Count(log.String(), "cannot be stored"); n != 1 {
			t.Errorf("%d lines: %s", n, log.String())
		}
		if dir == "" {
			continue
		}
		kept, _ := filepath.Glob(filepath.Join(dir, "*"+bad))
		if len(kept) != 1 {
			t.Fatalf("set aside: %v", kept)
		}
		if data, err := os.ReadFile(kept[0]); err != nil || !strings.Contains(string(data), `"request_id":"2"`) {
			t.Errorf("set aside: %s, %v", data, err)
		}
	}
}

// A batch that is refused for what it is does not hold up those after it, in memory
// or in the spool; it is kept, and goes through once it can.
func TestRefusedBatch(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		b := newBook(false)
		b.refuses = "0"
		w := writer(t, b, WriterOptions{Batch: 1, SpoolDir: dir})
		w.Add(some(20))
		for b.count() < 19 {
			<-b.tried
		}
		w.Add(some(3)[1:])
		for b.count() < 21 {
			<-b.tried
		}
		b.mu.Lock()
		b.refuses = ""
		b.mu.Unlock()
		for b.count() < 22 {
			<-b.tried
		}
		if err := closed(t, w); err != nil || b.count() != 22 {
			t.Errorf("%d records, %v", b.count(), err)
		}
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
