package usage

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aisix/admin/ledger"
	"aisix/admin/store/redistest"
	usagev1 "aisix/proto/aisix/v1"
)

// book is a ledger that can be away.
type book struct {
	mu      sync.Mutex
	away    bool
	batches map[string]int
	records int
	tried   chan struct{}
}

func newBook(away bool) *book {
	return &book{away: away, batches: map[string]int{}, tried: make(chan struct{}, 1000)}
}

func (b *book) AppendBatch(ctx context.Context, batch ledger.Batch) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() { b.tried <- struct{}{} }()
	if b.away || ctx.Err() != nil {
		return errors.New("away")
	}
	if b.batches[batch.ID]++; b.batches[batch.ID] == 1 {
		b.records += len(batch.Records)
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
	o.Log = slog.New(slog.DiscardHandler)
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

func TestSpool(t *testing.T) {
	dir := t.TempDir()
	b := newBook(true)
	w := writer(t, b, WriterOptions{SpoolDir: dir, Batch: 2})
	w.Add(some(5))
	if err := closed(t, w); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*"+suffix)); len(files) != 3 {
		t.Fatalf("spooled %v", files)
	}
	bad := filepath.Join(dir, uuid.NewString()+suffix)
	if err := os.WriteFile(bad, []byte{200}, 0o600); err != nil {
		t.Fatal(err)
	}

	b = newBook(true)
	w = writer(t, b, WriterOptions{SpoolDir: dir})
	<-b.tried
	w.Add(some(1))
	b.set(false)
	if err := closed(t, w); err != nil || b.count() != 6 {
		t.Errorf("%d records, %v", b.count(), err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(left) != 1 || left[0] != bad+".bad" {
		t.Errorf("left: %v", left)
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

func FuzzSpool(f *testing.F) {
	whole, err := encode(some(3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := decode(data)
		if err != nil {
			return
		}
		again, err := encode(records)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decode(again)
		if err != nil || len(back) != len(records) {
			t.Fatal(err)
		}
		for i := range back {
			if !proto.Equal(back[i], records[i]) {
				t.Fatal("changed")
			}
		}
	})
}

func TestDecodeCutAnywhere(t *testing.T) {
	whole, err := encode(some(3))
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		_, err := decode(whole[:i])
		boundary := i%(len(whole)/3) == 0 // the records are of one length
		if boundary != (err == nil) || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d of %d: %v", i, len(whole), err)
		}
	}
}
