package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A Plan is how often a target is asked.
type Plan struct {
	Connections int
	Rate        float64       // requests a second over all connections; 0: each connection asks again at once
	Stagger     time.Duration // over which the connections' first requests are spread
	Warmup      time.Duration
	Window      time.Duration // what is measured: so long, and until one answer has ended in it
}

// A Result is what came of a plan. Times are of answers that ended in the window.
type Result struct {
	Answers int // good ones that ended in the window
	Shed    int // and those that were refused for overload, where the target sheds
	Asked   int // from the first request to the last, before and after the window too
	Took    time.Duration
	Whole   Times // until the end of the answer
	First   Times // until its first content
	Gaps    Times // between contents
	Refused Times // until the end of a refusal for overload

	// Behind is how many requests waited for a free connection.
	Behind int
}

// maxWrong is after how many wrong answers a run is given up.
const maxWrong = 20

// Run asks t as the plan says and returns once the last answer has ended. window is
// called at the beginning of the window and at its end. One wrong answer, or one
// that does not come, is an error, and the figures are worth nothing then.
func Run(ctx context.Context, t *Target, p Plan, window func()) (*Result, error) {
	r := &run{target: t, plan: p, due: make(chan time.Time, 1<<16), one: make(chan struct{}, 1)}
	asking, stop := context.WithCancel(ctx)
	defer stop()
	var workers sync.WaitGroup
	if p.Rate > 0 {
		workers.Go(func() { r.pace(asking) })
	}
	for i := range p.Connections {
		workers.Go(func() { r.work(asking, stop, i) })
	}
	began := time.Now()
	if sleep(asking, p.Warmup) {
		began = time.Now()
		r.inWindow.Store(true)
		window()
		if sleep(asking, p.Window) {
			r.awaitOne(asking)
		}
		r.inWindow.Store(false)
		window()
	}
	took := time.Since(began)
	stop()
	workers.Wait()
	if err := errors.Join(ctx.Err(), r.wrong()); err != nil {
		return nil, err
	}
	r.result.Took = took
	r.result.Asked = int(r.asked.Load())
	r.result.Whole.sort()
	r.result.First.sort()
	r.result.Gaps.sort()
	r.result.Refused.sort()
	return &r.result, nil
}

type run struct {
	target   *Target
	plan     Plan
	due      chan time.Time // of a plan with a rate
	inWindow atomic.Bool
	one      chan struct{} // an answer that ended in the window
	asked    atomic.Int64

	mu     sync.Mutex
	result Result
	errs   []error
}

// pace says when requests are due. They count from when this clock, which no gateway
// holds up, says so.
func (r *run) pace(ctx context.Context) {
	defer close(r.due)
	step := time.Duration(float64(time.Second) / r.plan.Rate)
	for next := time.Now(); sleep(ctx, time.Until(next)); next = next.Add(step) {
		r.due <- time.Now()
	}
}

// work is the life of one connection.
func (r *run) work(ctx context.Context, giveUp func(), number int) {
	if !sleep(ctx, r.plan.Stagger*time.Duration(number)/time.Duration(r.plan.Connections)) {
		return
	}
	c := newConnection(r.target)
	defer c.close()
	var mine Result
	for {
		due, ok := r.next(ctx)
		if !ok {
			break
		}
		if time.Since(due) > time.Millisecond {
			mine.Behind++
		}
		r.asked.Add(1)
		t, err := c.ask(due)
		if errors.Is(err, errShed) {
			if r.inWindow.Load() {
				mine.Shed++
				mine.Refused = append(mine.Refused, t.whole)
			}
			continue
		}
		if err != nil {
			if r.fault(err) >= maxWrong {
				giveUp()
			}
			continue
		}
		if r.inWindow.Load() {
			select {
			case r.one <- struct{}{}:
			default:
			}
			mine.Answers++
			mine.Whole = append(mine.Whole, t.whole)
			mine.First = append(mine.First, t.first)
			mine.Gaps = append(mine.Gaps, t.gaps...)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Answers += mine.Answers
	r.result.Behind += mine.Behind
	r.result.Shed += mine.Shed
	r.result.Refused = append(r.result.Refused, mine.Refused...)
	r.result.Whole = append(r.result.Whole, mine.Whole...)
	r.result.First = append(r.result.First, mine.First...)
	r.result.Gaps = append(r.result.Gaps, mine.Gaps...)
}

// next is when the next request is due; false after the last.
func (r *run) next(ctx context.Context) (time.Time, bool) {
	if r.plan.Rate == 0 {
		return time.Now(), ctx.Err() == nil
	}
	due, ok := <-r.due
	return due, ok && ctx.Err() == nil // what waited at the end is not asked
}

// awaitOne waits for an answer that ended in the window. Each has its own deadline, so
// that one ends, or too many are wrong.
func (r *run) awaitOne(ctx context.Context) {
	select {
	case <-r.one:
	case <-ctx.Done():
	case <-time.After(patience):
	}
}

func (r *run) fault(err error) (faults int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
	return len(r.errs)
}

func (r *run) wrong() error {
	if len(r.errs) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d answers were wrong; the first: %w", len(r.errs), r.asked.Load(), r.errs[0])
}

// Hold opens so many streams at once and calls opened when each of them has brought
// its first content. They must end after that. Only so many are begun at a time.
func Hold(ctx context.Context, t *Target, streams int, opened func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all, first sync.WaitGroup
	first.Add(streams)
	beginning := make(chan struct{}, 64)
	for range streams {
		all.Go(func() {
			begun := sync.OnceFunc(func() { <-beginning; first.Done() })
			beginning <- struct{}{}
			defer begun()
			if ctx.Err() != nil {
				return
			}
			c := newConnection(t)
			c.content = begun
			defer c.close()
			if _, err := c.ask(time.Now()); err != nil {
				cancel(err)
			}
		})
	}
	first.Wait()
	if ctx.Err() == nil {
		if err := opened(); err != nil {
			cancel(err)
		}
	}
	all.Wait()
	return context.Cause(ctx)
}

// sleep reports whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
