package admission

import (
	"sync"
	"time"
)

// Pressure says what share of new work is to be turned away for the rest to be done in
// time. It goes by how late everything is (Observe), not by how much is under way: work
// that waits for somebody else costs nothing, and how much this machine can do nobody
// knows beforehand.
//
// Late is what stands in a queue: the delay times what comes meanwhile is how much waits
// (Little's law), and where that is less than a crowd, the machine was busy with something
// else. While the delay stays above the target the share grows, the faster the further it
// is above; below it falls, and below half of it by a fifth at a time. It is the controller
// of PIE (RFC 8033) with its terms of excess and trend. Without news there is no pressure.
// The zero Pressure turns nothing away. It is safe for concurrent use.
type Pressure struct {
	target time.Duration

	mu       sync.Mutex
	share    float64
	credit   float64 // parts of refusals, until they are a whole one
	smoothed float64 // delay, in targets
	late     int     // steps in a row that found it above the target
	wary     int     // steps for which a delay need not stand
	heard    time.Time
	step     step
}

// A step is what is observed together: many connections tell no more than one does.
type step struct {
	began time.Time // when the one before ended
	sum   float64   // of delays, in targets
	n     int
}

const (
	// Step is between two changes of the share.
	Step = 25 * time.Millisecond
	// Crowd is how much waits on a connection, at least, where there is a queue. So few
	// callers who wait for their answers before they ask again are never refused.
	Crowd = 32

	excessGain = 0.05 // of the share, by target that the delay is above it and step
	trendGain  = 0.3  // by target that the delay has grown
	worst      = 4    // targets; what is later counts as this
	mostShed   = 0.95 // some work is let in, to learn when it is over
	relief     = 0.8  // what is left of the share after a step below half of the target
	smoothing  = 0.5
	silence    = 250 * time.Millisecond // after so long without news all is well

	// The first refusal takes so many steps in a row above the target, and close upon
	// another: a machine that was busy with something else for a moment, or that a burst
	// came to, is not overloaded.
	// After it, for so many steps, there is no such wait: load that goes on finds the
	// share back at once.
	standing = 8
	dense    = 100 * time.Millisecond
	wary     = 40
)

// NewPressure aims at a delay of target; 0 turns nothing away.
func NewPressure(target time.Duration) *Pressure { return &Pressure{target: target} }

// Observe takes note of how late something was just now, and of how much work has come
// meanwhile.
func (p *Pressure) Observe(delay time.Duration, came int, now time.Time) {
	if p.target <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	if now.Sub(p.heard) > dense {
		p.late, p.step = 0, step{}
	}
	p.heard = now
	if came < Crowd {
		delay = 0
	}
	p.step.sum += min(float64(delay)/float64(p.target), worst)
	if p.step.n++; now.Sub(p.step.began) >= Step {
		p.turn(p.step.sum / float64(p.step.n))
		p.step = step{began: now}
	}
}

// turn changes the share by a step's delay, in targets.
func (p *Pressure) turn(delay float64) {
	before := p.smoothed
	p.smoothed += smoothing * (delay - before)
	p.wary = max(0, p.wary-1)
	if p.late++; p.smoothed <= 1 {
		p.late = 0
	}
	if p.smoothed < 0.5 {
		if p.share *= relief; p.share < 0.01 {
			p.share = 0
		}
		return
	}
	if p.share == 0 && p.late < standing && p.wary == 0 {
		return
	}
	p.share += excessGain*(p.smoothed-1) + trendGain*(p.smoothed-before)
	if p.share = max(0, min(p.share, mostShed)); p.share > 0 {
		p.wary = wary
	}
}

// Refuse reports whether one more piece of work is to be turned away. Refusals are
// spread evenly over what comes.
func (p *Pressure) Refuse(now time.Time) bool {
	if p.target <= 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	if p.share == 0 {
		return false
	}
	if p.credit += p.share; p.credit < 1 {
		return false
	}
	p.credit--
	return true
}

// Share is the share that is turned away now.
func (p *Pressure) Share(now time.Time) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now)
	return p.share
}

// forget ends the pressure where nothing was heard of it for a while: who measures
// measures only what is busy.
func (p *Pressure) forget(now time.Time) {
	if now.Sub(p.heard) > silence {
		p.share, p.credit, p.smoothed, p.late, p.wary, p.step = 0, 0, 0, 0, 0, step{}
	}
}
