package admission

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// waiting is how many wait.
func (g *Gate) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, line := range g.lines {
		n += len(line)
	}
	return n
}

// order is who got in, in turn.
type order struct {
	sync.Mutex
	names []string
}

func (o *order) add(name string) {
	o.Lock()
	defer o.Unlock()
	o.names = append(o.names, name)
}

// queue has one more wait at the gate, and leaves as soon as it got in.
func (o *order) queue(t *testing.T, g *Gate, key, name string, weight int64) {
	go func() {
		p, err := g.Enter(t.Context(), key, weight, time.Hour)
		if err != nil {
			t.Error(err)
		}
		o.add(name)
		p.Leave()
	}()
	synctest.Wait()
}

// A key that sends many makes itself wait: the next key's first comes after one of them.
func TestKeysTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, o := NewGate(10), &order{}
		held, err := g.Enter(t.Context(), "a", 10, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a1", "a2", "a3", "a4"} {
			o.queue(t, g, "a", name, 10)
		}
		o.queue(t, g, "b", "b1", 10)
		o.queue(t, g, "c", "c1", 10)
		o.queue(t, g, "b", "b2", 10)
		held.Leave()
		held.Leave() // a second time is none
		synctest.Wait()
		if got := strings.Join(o.names, " "); got != "a1 b1 c1 a2 b2 a3 a4" {
			t.Errorf("they got in as %s", got)
		}
		if g.used != 0 || len(g.lines) != 0 || len(g.turns) != 0 {
			t.Errorf("left: %+v", g)
		}
	})
}

// As many get in as there is room for; a heavy one is not overtaken by lighter ones for ever, and
// what is heavier than the gate gets all of it.
func TestGateWeighs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, o := NewGate(10), &order{}
		first, _ := g.Enter(t.Context(), "a", 4, time.Minute)
		second, _ := g.Enter(t.Context(), "b", 4, time.Minute)
		if g.used != 8 {
			t.Errorf("%d inside", g.used)
		}
		o.queue(t, g, "c", "heavy", 1000)
		o.queue(t, g, "d", "light", 1)
		first.Leave()
		synctest.Wait()
		if len(o.names) != 0 || g.waiting() != 2 {
			t.Errorf("in: %v, %d wait", o.names, g.waiting())
		}
		second.Leave()
		synctest.Wait()
		if got := strings.Join(o.names, " "); got != "heavy light" || g.used != 0 {
			t.Errorf("in: %s, %d inside", got, g.used)
		}
	})
}

// Who stops waiting leaves no trace, and lets those behind it in.
func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, o := NewGate(10), &order{}
		held, _ := g.Enter(t.Context(), "a", 4, time.Minute)
		ctx, cancel := context.WithCancelCause(t.Context())
		left := make(chan error, 2)
		for _, patience := range []time.Duration{time.Hour, time.Minute} {
			go func() {
				_, err := g.Enter(ctx, "b", 10, patience)
				left <- err
			}()
		}
		synctest.Wait()
		o.queue(t, g, "c", "light", 1)
		if err := <-left; err != ErrFull { // the bubble's clock has run on
			t.Error(err)
		}
		gone := errors.New("gone")
		cancel(gone)
		if err := <-left; err != gone {
			t.Error(err)
		}
		synctest.Wait()
		if len(o.names) != 1 || g.waiting() != 0 {
			t.Errorf("in: %v, %d wait", o.names, g.waiting())
		}
		held.Leave()
		if g.used != 0 || len(g.lines) != 0 || len(g.turns) != 0 {
			t.Errorf("left: %+v", g)
		}
	})
}

// Whatever comes and goes at once, never more is inside than the gate holds, and in the end nothing.
func TestGateUnderLoad(t *testing.T) {
	g := NewGate(10)
	var wait sync.WaitGroup
	for i := range 200 {
		key, weight := string(rune('a'+i%7)), int64(1+i%10)
		ctx, cancel := context.WithCancel(t.Context())
		if i%5 == 0 {
			wait.Go(cancel)
		} else {
			defer cancel()
		}
		wait.Go(func() {
			p, err := g.Enter(ctx, key, weight, time.Minute)
			if err != nil {
				return
			}
			g.mu.Lock()
			if g.used > g.capacity {
				t.Errorf("%d inside", g.used)
			}
			g.mu.Unlock()
			p.Leave()
		})
	}
	wait.Wait()
	if g.used != 0 || len(g.lines) != 0 || len(g.turns) != 0 {
		t.Errorf("left: %+v", g)
	}
}

// Small bodies don't wait for large ones.
func TestSmallBodiesPassLargeOnes(t *testing.T) {
	w := NewWork(1<<20, 2)
	large, err := w.Enter(t.Context(), "a", 100<<10, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer large.Leave()
	for range 16 {
		p, err := w.Enter(t.Context(), "a", 2000, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Leave()
	}
	if _, err := w.Enter(t.Context(), "b", 2000, 0); err != ErrFull {
		t.Errorf("one small body too many: %v", err)
	}
	if _, err := w.Enter(t.Context(), "b", 1<<20, 0); err != ErrFull {
		t.Errorf("a second large body: %v", err)
	}
	if _, err := NewWork(0, 2).Enter(t.Context(), "b", 1<<40, 0); err != nil {
		t.Error("work without a bound refuses")
	}
	w = NewWork(1<<20, 4) // three at a time, and no more bytes than it takes
	for i, bytes := range []int64{100 << 10, 100 << 10, 100 << 10, 100 << 10} {
		if _, err := w.Enter(t.Context(), "a", bytes, 0); (err == nil) != (i < 3) {
			t.Errorf("number %d: %v", i, err)
		}
	}
}
