package admin

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	firstDelay   = 100 * time.Millisecond
	longestDelay = 5 * time.Second
	forgetAfter  = 10 * time.Minute // without a wrong key
	maxGuessers  = 4096             // that are remembered
	maxHeld      = 256              // answers that wait at a time
)

// brake slows down who guesses the admin key: the answer to a wrong one waits, twice
// as long with each from the same address. Right keys never come here.
type brake struct {
	after    func(time.Duration) <-chan time.Time
	now      func() time.Time
	released chan struct{} // closed when the process stops: nobody waits any more

	mutex    sync.Mutex
	guessers map[netip.Prefix]*list.Element // of *guesser
	order    list.List                      // of them, the longest silent first
	held     int
}

type guesser struct {
	network netip.Prefix
	wrong   int
	last    time.Time
}

func newBrake(now func() time.Time, after func(time.Duration) <-chan time.Time) *brake {
	return &brake{after: after, now: now, released: make(chan struct{}), guessers: map[netip.Prefix]*list.Element{}}
}

// hold returns when a wrong key from an address may be answered, or its sender has
// left. It is false at once where too many wait already: then the connection is to
// be closed.
func (b *brake) hold(ctx context.Context, from netip.Addr) bool {
	delay, ok := b.enter(from)
	if !ok {
		return false
	}
	defer b.leave()
	select {
	case <-b.after(delay):
	case <-ctx.Done():
	case <-b.released:
	}
	return true
}

func (b *brake) enter(from netip.Addr) (delay time.Duration, ok bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	g := b.guesser(from)
	g.wrong++
	if b.held == maxHeld {
		return 0, false
	}
	b.held++
	return min(firstDelay<<min(g.wrong-1, 30), longestDelay), true
}

func (b *brake) leave() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.held--
}

// guesser finds or remembers who sends from an address: in IPv6, whoever has its /64.
func (b *brake) guesser(from netip.Addr) *guesser {
	bits := from.BitLen()
	if from.Is6() {
		bits = 64
	}
	network, _ := from.Prefix(bits) // of no address, the one that has none
	now := b.now()
	e, known := b.guessers[network]
	if !known {
		if len(b.guessers) == maxGuessers {
			oldest := b.order.Remove(b.order.Front()).(*guesser)
			delete(b.guessers, oldest.network)
		}
		e = b.order.PushBack(&guesser{network: network})
		b.guessers[network] = e
	}
	b.order.MoveToBack(e)
	g := e.Value.(*guesser)
	if now.Sub(g.last) > forgetAfter {
		g.wrong = 0
	}
	g.last = now
	return g
}
