package usage

import (
	"context"
	"errors"
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
	Linger  time.Duration // how long a record may wait for company; default 250 ms
	Batch   int           // most records in a batch; default 256
	Memory  int           // most records in memory; default 20,000
	Timeout time.Duration // of one append; default 2 s
	Retry   time.Duration // between tries while Redis is away; default 500 ms
	// SpoolDir is where batches go while Redis is away; "" keeps them in memory
	// only. Processes may share it. SpoolBytes bounds it; default 1 GiB.
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
	held   int   // records in batches
	lost   int64 // calls whose records found no room, since the last line about it
	closed bool

	// Of the loop, and of Close after it.
	batches   []ledger.Batch // formed, not yet appended
	away      bool
	unspooled bool // the spool takes no more
}

// NewWriter starts a Writer. Close stops it. The error is about the spool.
func NewWriter(l appender, o WriterOptions) (*Writer, error) {
	if o.Linger == 0 {
		o.Linger = 250 * time.Millisecond
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

// Take takes over the record of a call.
func (w *Writer) Take(f *Facts) { w.Add([]*usagev1.Record{f.record()}) }

// Add takes records over. It never waits; beyond the bound, and after Close,
// records are lost and counted.
func (w *Writer) Add(records []*usagev1.Record) {
	w.mu.Lock()
	room := max(0, w.o.Memory-w.held-len(w.queue))
	if w.closed {
		room = 0
	}
	if room < len(records) {
		w.lost += w.count(records[room:])
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

// count adds records to those that are lost, and tells for how many calls they stand.
func (w *Writer) count(records []*usagev1.Record) int64 {
	var calls int64
	for _, r := range records {
		calls += ledger.Calls(r)
	}
	w.o.Metrics.lost.Add(float64(calls))
	return calls
}

// crowded reports whether so many records wait that what can be summed should be.
func (w *Writer) crowded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held+len(w.queue) > w.o.Memory/2
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
	round := round{writer: w}
	for n := len(w.batches); n > 0 && !round.over; n-- {
		if err := w.append(ctx, w.batches[0]); err != nil {
			round.failed(err)
			w.batches = append(w.batches[1:], w.batches[0]) // the others first
			continue
		}
		w.drop(1)
	}
	w.save()
	if !round.over {
		w.drain(ctx, &round)
	}
	if w.away && round.failures == 0 {
		w.away = false
		w.o.Log.Info("usage records reach Redis again")
	}
}

// round is one try of all that waits.
type round struct {
	writer   *Writer
	failures int
	over     bool
}

// maxFailures is how many batches a round tries that Redis refuses. They may be
// refused for what they are: that must not hold up the others, and all of them get
// their turn, since the next round begins after them.
const maxFailures = 3

// failed takes note of an append that failed. The round is over where nothing
// better is to be had from the next one.
func (r *round) failed(err error) {
	r.failures++
	r.over = r.failures >= maxFailures || !errors.Is(err, ledger.ErrRefused)
	w := r.writer
	w.o.Metrics.RedisFailed("usage")
	if !w.away {
		w.away = true
		w.o.Log.Error("usage records do not reach Redis: kept until they do", "error", err, "spool", w.o.SpoolDir)
	}
}

// form cuts the queue into batches. A record that can be kept nowhere does not get
// into one.
func (w *Writer) form() {
	w.mu.Lock()
	queue, lost := w.queue, w.lost
	w.queue, w.lost = nil, 0
	w.held += len(queue)
	w.mu.Unlock()
	if lost > 0 {
		w.o.Log.Error("usage records lost: too many were waiting", "count", lost)
	}
	entries := make([]ledger.Entry, 0, len(queue))
	for _, r := range queue {
		e, err := ledger.NewEntry(r)
		if err != nil {
			w.setAside(r, err)
			continue
		}
		entries = append(entries, e)
	}
	for len(entries) > 0 {
		n := min(len(entries), w.o.Batch)
		w.batches = append(w.batches, ledger.NewBatch(entries[:n:n]))
		entries = entries[n:]
	}
}

// setAside puts a record that cannot be marshalled where a human finds it.
func (w *Writer) setAside(r *usagev1.Record, reason error) {
	calls := w.count([]*usagev1.Record{r})
	w.o.Log.Error("a usage record cannot be stored and is set aside", "count", calls, "error", Redact(reason.Error()),
		"key_id", clean(r.GetKeyId(), longest), "request_id", clean(r.GetRequestId(), longest))
	if w.spool != nil {
		if err := w.spool.keep(r); err != nil {
			w.o.Log.Error("a usage record that cannot be stored is not kept either", "error", err)
		}
	}
	w.release(1)
}

// drop forgets the first n batches.
func (w *Writer) drop(n int) {
	records := 0
	for _, b := range w.batches[:n] {
		records += len(b.Entries)
	}
	w.batches = w.batches[n:]
	w.release(records)
}

// release gives the room of so many records back.
func (w *Writer) release(records int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held -= records
	w.gauge()
}

func (w *Writer) append(ctx context.Context, b ledger.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, w.o.Timeout)
	defer cancel()
	return w.ledger.AppendBatch(ctx, b)
}

// save moves the batches to the spool; those that do not fit stay in memory.
func (w *Writer) save() {
	if w.spool == nil {
		return
	}
	for len(w.batches) > 0 {
		err := w.spool.save(w.batches[0])
		if err != nil && !w.unspooled {
			w.o.Log.Error("usage records cannot be spooled: they stay in memory", "error", err)
		}
		if w.unspooled = err != nil; w.unspooled {
			return
		}
		w.drop(1)
	}
}

// drain brings the spool to the ledger: what other processes left as well, once
// they have ended.
func (w *Writer) drain(ctx context.Context, round *round) {
	if w.spool == nil {
		return
	}
	names, err := w.spool.waiting()
	if err != nil {
		w.o.Log.Error("the spool of usage records cannot be read", "error", err)
		return
	}
	for _, name := range names {
		if round.over {
			return
		}
		c, err := w.spool.claim(name)
		if err != nil {
			continue // it is another process's
		}
		if err := w.append(ctx, c.Batch); err != nil {
			c.release()
			w.spool.after = name
			round.failed(err)
			continue
		}
		if c.lost > 0 {
			w.o.Metrics.lost.Add(float64(c.lost))
			w.o.Log.Error("a spooled batch of usage records cannot be read whole: what can be is stored, and the file set aside",
				"batch", c.ID, "stored", len(c.Entries), "lost_at_least", c.lost, "error", c.reason)
		}
		if err := c.done(); err != nil {
			w.o.Log.Error("a spooled batch of usage records cannot be removed", "batch", c.ID, "error", err)
		}
	}
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
	for w.write(ctx); len(w.batches) > 0 && ctx.Err() == nil; w.write(ctx) {
		select {
		case <-ctx.Done():
		case <-time.After(min(w.o.Retry, 100*time.Millisecond)):
		}
	}
	var calls int64
	for _, b := range w.batches {
		for _, e := range b.Entries {
			calls += w.count([]*usagev1.Record{e.Record})
		}
	}
	w.drop(len(w.batches))
	if calls > 0 {
		return fmt.Errorf("%d usage records reached neither Redis nor a spool", calls)
	}
	return nil
}
