package usage

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"aisix/admin/ledger"
	usagev1 "aisix/proto/aisix/v1"
)

// appender is the ledger: a batch that comes again is not counted again.
type appender interface {
	AppendBatch(context.Context, ledger.Batch) error
}

// WriterOptions are a Writer's; the zero value has defaults for all.
type WriterOptions struct {
	Linger  time.Duration // how long a record may wait for company; default 100 ms
	Batch   int           // most records in a batch; default 256
	Memory  int           // most records in memory; default 20,000
	Timeout time.Duration // of one append; default 2 s
	Retry   time.Duration // between tries while Redis is away; default 500 ms
	// SpoolDir is where batches go while Redis is away; "" keeps them in memory
	// only. Two processes may not share it. SpoolBytes bounds it; default 1 GiB.
	SpoolDir   string
	SpoolBytes int64
	Log        *slog.Logger
	Metrics    *Metrics
}

// Writer brings usage records to the ledger, in batches. While Redis is away
// batches go to the spool, or stay in memory up to a bound.
type Writer struct {
	ledger  appender
	o       WriterOptions
	spool   *spool // nil without a directory
	wake    chan struct{}
	stop    chan struct{}
	stopped chan struct{}
	closing sync.Once
	hurry   context.CancelFunc // ends the append that the loop is in

	mu     sync.Mutex
	queue  []*usagev1.Record
	held   int // records in batches
	lost   int // since the last line about it
	closed bool

	batches []ledger.Batch // of the loop: formed, not yet appended
	away    bool           // of the loop
}

// NewWriter starts a Writer. Close stops it. The error is about the spool.
func NewWriter(l appender, o WriterOptions) (*Writer, error) {
	if o.Linger == 0 {
		o.Linger = 100 * time.Millisecond
	}
	if o.Batch == 0 {
		o.Batch = 256
	}
	if o.Memory == 0 {
		o.Memory = 20_000
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	if o.Retry == 0 {
		o.Retry = 500 * time.Millisecond
	}
	if o.SpoolBytes == 0 {
		o.SpoolBytes = 1 << 30
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	w := &Writer{ledger: l, o: o, wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{})}
	if o.SpoolDir != "" {
		s, err := openSpool(o.SpoolDir, o.SpoolBytes)
		if err != nil {
			return nil, fmt.Errorf("usage spool: %w", err)
		}
		w.spool = s
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.hurry = cancel
	go w.loop(ctx)
	return w, nil
}

// Add takes records over. It never waits; beyond the bound, and after Close,
// records are lost and counted.
func (w *Writer) Add(records []*usagev1.Record) {
	w.mu.Lock()
	room := max(0, w.o.Memory-w.held-len(w.queue))
	if w.closed {
		room = 0
	}
	if room < len(records) {
		w.lost += len(records) - room
		w.o.Metrics.lost.Add(float64(len(records) - room))
		records = records[:room]
	}
	w.queue = append(w.queue, records...)
	w.gauge()
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Writer) gauge() { w.o.Metrics.pending.Set(float64(w.held + len(w.queue))) }

func (w *Writer) loop(ctx context.Context) {
	defer close(w.stopped)
	w.write(ctx) // what an earlier process spooled
	for {
		var retry <-chan time.Time
		if w.away {
			retry = time.After(w.o.Retry)
		}
		select {
		case <-w.stop:
			return
		case <-retry:
		case <-w.wake:
			pause := w.o.Linger
			if w.away {
				pause = w.o.Retry
			}
			select {
			case <-time.After(pause):
			case <-w.stop:
				return
			}
		}
		w.write(ctx)
	}
}

// write brings all that waits to the ledger, or to the spool.
func (w *Writer) write(ctx context.Context) {
	w.form()
	for len(w.batches) > 0 {
		if err := w.append(ctx, w.batches[0]); err != nil {
			w.failed(err)
			w.save()
			return
		}
		w.drop(1)
	}
	if err := w.drain(ctx); err != nil {
		w.failed(err)
		return
	}
	if w.away {
		w.away = false
		w.o.Log.Info("usage records reach Redis again")
	}
}

// form cuts the queue into batches.
func (w *Writer) form() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost > 0 {
		w.o.Log.Error("usage records lost: too many were waiting", "count", w.lost)
		w.lost = 0
	}
	for len(w.queue) > 0 {
		n := min(len(w.queue), w.o.Batch)
		w.batches = append(w.batches, ledger.NewBatch(w.queue[:n:n]))
		w.queue = w.queue[n:]
		w.held += n
	}
	w.queue = nil
}

func (w *Writer) drop(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.batches[:n] {
		w.held -= len(b.Records)
	}
	w.batches = w.batches[n:]
	w.gauge()
}

func (w *Writer) append(ctx context.Context, b ledger.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, w.o.Timeout)
	defer cancel()
	return w.ledger.AppendBatch(ctx, b)
}

func (w *Writer) failed(err error) {
	w.o.Metrics.RedisFailed("usage")
	if !w.away {
		w.away = true
		w.o.Log.Error("usage records do not reach Redis: kept until they do", "error", err, "spool", w.o.SpoolDir)
	}
}

// save moves the batches to the spool; those that do not fit stay in memory.
func (w *Writer) save() {
	if w.spool == nil {
		return
	}
	for len(w.batches) > 0 {
		if err := w.spool.save(w.batches[0]); err != nil {
			w.o.Log.Error("usage records cannot be spooled", "error", err)
			return
		}
		w.drop(1)
	}
}

// drain brings the spool to the ledger.
func (w *Writer) drain(ctx context.Context) error {
	if w.spool == nil {
		return nil
	}
	for _, id := range w.spool.ids() {
		b, err := w.spool.load(id)
		if err != nil {
			w.o.Log.Error("a spooled batch of usage records cannot be read and is set aside", "batch", id, "error", err)
			w.spool.setAside(id)
			continue
		}
		if err := w.append(ctx, b); err != nil {
			return err
		}
		if err := w.spool.remove(id); err != nil {
			w.o.Log.Error("a spooled batch of usage records cannot be removed", "batch", id, "error", err)
		}
	}
	return nil
}

// Close writes what waits, within ctx, and stops. What Redis does not take goes
// to the spool; the error says how many records neither took.
func (w *Writer) Close(ctx context.Context) error {
	w.closing.Do(func() {
		w.mu.Lock()
		w.closed = true
		w.mu.Unlock()
		close(w.stop)
	})
	select {
	case <-w.stopped:
	case <-ctx.Done():
		w.hurry()
		<-w.stopped
	}
	w.hurry()
	for w.write(ctx); len(w.batches) > 0 && w.spool == nil && ctx.Err() == nil; w.write(ctx) {
		select {
		case <-ctx.Done():
		case <-time.After(min(w.o.Retry, 100*time.Millisecond)):
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held > 0 {
		w.o.Metrics.lost.Add(float64(w.held))
		return fmt.Errorf("%d usage records reached neither Redis nor a spool", w.held)
	}
	return nil
}
