package ratelimit

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// errand is a reservation on its way to Redis, and its answer.
type errand struct {
	r     *Reservation
	steps []step // the last of which reserve
	ahead int    // how many go before those
	due   []settlement
	cmds  []*redis.Cmd
	sent  time.Time
	err   error

	away sync.WaitGroup // until it has its answer, or a crew to bring
	crew []*errand      // itself among them; nil: it has its answer
}

// most is how many round trips reserve at a time. Calls that come while so many are
// under way go together in the next one: that costs each of them up to one round trip,
// and all of them together, and Redis, far less than one each. Alone, none waits.
const most = 2

// fly gets e its answer: at once, or with others.
func (l *Limiter) fly(e *errand) {
	e.away.Add(1)
	l.flights.Lock()
	leads := len(l.queue) == 0 && l.flying < most
	l.queue = append(l.queue, e)
	if leads {
		l.flying++
		l.flights.Unlock()
		runtime.Gosched() // who else is about to ask comes along; where nobody is, that costs nothing
		l.flights.Lock()
		if crew := l.queue; len(crew) > 0 && crew[0] == e {
			l.queue = nil
			l.flights.Unlock()
			l.bring(crew)
			return
		}
		l.depart() // one that has come back took e along
	}
	l.flights.Unlock()
	e.away.Wait() // within two timeouts: each flight has one
	if e.crew != nil {
		l.bring(e.crew)
	}
}

// depart sends those who wait on their way in a place that is free, which nobody takes
// where none do. flights is held.
func (l *Limiter) depart() {
	next := l.queue
	l.queue = nil
	if len(next) == 0 {
		l.flying--
		return
	}
	next[0].crew = next
	next[0].away.Done()
}

var errFlight = errors.New("ratelimit: a round trip to Redis did not end")

// bring takes the crew to Redis and back, and sees that those who came meanwhile go next.
// Where Redis was not reached, they have no answer either: nobody waits for it twice.
func (l *Limiter) bring(crew []*errand) {
	err := errFlight // of a panic
	defer func() {
		var stranded []*errand
		l.flights.Lock()
		if err == nil {
			l.depart()
		} else {
			stranded, l.queue = l.queue, nil
			l.flying--
		}
		l.flights.Unlock()
		for _, e := range stranded {
			e.err = err
			e.away.Done()
		}
		for _, e := range crew[1:] {
			e.away.Done()
		}
	}()
	for _, e := range crew {
		e.err, e.crew = errFlight, nil
	}
	err = l.round(crew)
}

// round is one round trip for all of the crew. The error is one of getting there.
func (l *Limiter) round(crew []*errand) error {
	var steps []step
	for _, e := range crew {
		e.steps, e.due = l.ahead(e.r.buckets)
		e.ahead = len(e.steps)
		if l.cluster {
			for i := range e.r.buckets {
				e.steps = append(e.steps, l.reserveStep(e.r, e.r.buckets[i:i+1], e.due))
			}
		} else {
			e.steps = append(e.steps, l.reserveStep(e.r, e.r.buckets, e.due))
		}
		if len(crew) == 1 {
			steps = e.steps
		} else {
			steps = append(steps, e.steps...)
		}
	}
	sent := l.o.Now()
	cmds, err := l.deliver(until{context.Background(), time.Now().Add(l.o.Timeout)}, steps)
	for _, e := range crew {
		e.sent, e.err = sent, err
		if err == nil {
			e.cmds, cmds = cmds[:len(e.steps)], cmds[len(e.steps):]
		}
	}
	return err
}

// until is a context with a deadline and nothing that ends at it: the client bounds its
// reads and writes by it, and that is all that is asked. It needs no timer.
type until struct {
	context.Context
	at time.Time
}

func (u until) Deadline() (time.Time, bool) { return u.at, true }
