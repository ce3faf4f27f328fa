package admission

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Gate lets so much weight through at a time. Who finds it full waits, and keys
// take turns: one that sends a hundred at once makes itself wait, not the next
// key. It is safe for concurrent use.
type Gate struct {
	capacity int64 // 0: any weight

	mu    sync.Mutex
	used  int64
	lines map[string][]*waiter // by key, first come first; only of keys that wait
	turns []string             // the keys that wait, the next one first
}

type waiter struct {
	weight   int64
	admitted chan struct{} // closed under mu
}

// NewGate makes a gate for a weight of capacity at a time; 0 is no bound.
func NewGate(capacity int64) *Gate { return &Gate{capacity: capacity, lines: map[string][]*waiter{}} }

// Pass is a stay inside a gate. The zero Pass has left.
type Pass struct {
	gate   *Gate
	weight int64
}

// Leave ends the stay. It may be called more than once.
func (p *Pass) Leave() {
	if p.gate == nil {
		return
	}
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used -= p.weight
	p.gate = nil
	g.admit()
}

// Enter waits until there is room for weight, but no longer than patience
// (then it is ErrFull); what weighs more than the whole gate has it for itself.
// Another error is ctx's cause.
func (g *Gate) Enter(ctx context.Context, key string, weight int64, patience time.Duration) (Pass, error) {
	if g.capacity > 0 {
		weight = min(weight, g.capacity)
	}
	g.mu.Lock()
	if len(g.turns) == 0 && g.fits(weight) {
		g.used += weight
		g.mu.Unlock()
		return Pass{g, weight}, nil
	}
	w := &waiter{weight: weight, admitted: make(chan struct{})}
	if len(g.lines[key]) == 0 {
		g.turns = append(g.turns, key)
	}
	g.lines[key] = append(g.lines[key], w)
	g.mu.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.admitted:
		return Pass{g, weight}, nil
	case <-timer.C:
		g.giveUp(key, w)
		return Pass{}, ErrFull
	case <-ctx.Done():
		g.giveUp(key, w)
		return Pass{}, context.Cause(ctx)
	}
}

func (g *Gate) fits(weight int64) bool { return g.capacity <= 0 || g.used+weight <= g.capacity }

// admit lets in who waits, keys in turn, as far as there is room. It does not let
// a light one past a heavy one whose turn it is: that one would wait for ever.
func (g *Gate) admit() {
	for len(g.turns) > 0 {
		key := g.turns[0]
		w := g.lines[key][0]
		if !g.fits(w.weight) {
			return
		}
		g.used += w.weight
		close(w.admitted)
		g.turns = g.turns[1:]
		if g.lines[key] = g.lines[key][1:]; len(g.lines[key]) > 0 {
			g.turns = append(g.turns, key)
		} else {
			delete(g.lines, key)
		}
	}
}

// giveUp takes w out of its line, or gives back the room that it got just then.
func (g *Gate) giveUp(key string, w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-w.admitted:
		g.used -= w.weight
	default:
		g.remove(key, w)
	}
	g.admit() // it may have stood in the way of lighter ones
}

func (g *Gate) remove(key string, w *waiter) {
	line := slices.DeleteFunc(g.lines[key], func(other *waiter) bool { return other == w })
	if len(line) > 0 {
		g.lines[key] = line
		return
	}
	delete(g.lines, key)
	g.turns = slices.DeleteFunc(g.turns, func(other string) bool { return other == key })
}
