package exchange

import (
	"os"
	"sync"
	"time"
)

// errDeadline is what a read past its deadline returns, as net.Conn's does.
var errDeadline = os.ErrDeadlineExceeded

// deadline is a point in time that may be moved while someone waits for it. A stream
// moves it on with each event: that touches no timer, but for one that is due too late.
type deadline struct {
	mu      sync.Mutex
	until   time.Time     // zero is none
	timer   *time.Timer   // calls ring; nil before the first deadline
	due     time.Time     // when it does, not after until; zero is never
	past    bool          // the deadline has passed
	expired chan struct{} // closed once it has, for those who wait; nil where nobody does
}

// wait is closed when the deadline has passed.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.expired == nil {
		d.expired = make(chan struct{})
		if d.past {
			close(d.expired)
		}
	}
	return d.expired
}

// passed reports whether the deadline has.
func (d *deadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.past
}

// move sets the deadline; the zero time is none.
func (d *deadline) move(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until = t
	if d.past {
		d.past, d.expired = false, nil
	}
	if t.IsZero() || !d.due.IsZero() && !t.Before(d.due) {
		return // ring sees what has become of it
	}
	d.arm()
}

// arm has the timer ring at the deadline, or tells where that is past.
func (d *deadline) arm() {
	after := time.Until(d.until)
	switch {
	case after <= 0:
		d.due, d.past = time.Time{}, true
		if d.expired != nil {
			close(d.expired)
		}
		return
	case d.timer == nil:
		d.timer = time.AfterFunc(after, d.ring)
	default:
		d.timer.Reset(after)
	}
	d.due = d.until
}

// ring is called when the timer is due, or was.
func (d *deadline) ring() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due = time.Time{}
	if !d.until.IsZero() && !d.past {
		d.arm()
	}
}

// stop is for a deadline that is moved no more: no timer is left.
func (d *deadline) stop() {
	d.move(time.Time{})
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.due = time.Time{}
	}
}

// pace tells a body that drips from one that comes. It borrows the read deadline,
// which belongs to the answer and is not in use before it.
type pace struct {
	deadline *deadline
	least    int64 // bytes in each window; 0 is any pace
	window   time.Duration
	running  bool
	seen     int64 // when the window began
}

// wait is closed at the end of the window; the first begins with the first wait.
func (p *pace) wait(size int64) <-chan struct{} {
	if p.least <= 0 || p.window <= 0 {
		return nil
	}
	if !p.running {
		p.running, p.seen = true, size
		p.deadline.move(time.Now().Add(p.window))
	}
	return p.deadline.wait()
}

// slow tells, at the end of a window, whether it brought too little.
func (p *pace) slow(size int64) bool {
	p.running = false
	return size-p.seen < p.least
}

func (p *pace) stop() {
	if p.running {
		p.deadline.move(time.Time{})
	}
}
