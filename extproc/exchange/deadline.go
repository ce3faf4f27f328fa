package exchange

import (
	"os"
	"sync"
	"time"
)

// errDeadline is what a read past its deadline returns, as net.Conn's does.
var errDeadline = os.ErrDeadlineExceeded

// deadline is a point in time that may be moved while someone waits for it.
type deadline struct {
	mu      sync.Mutex
	timer   *time.Timer
	expired chan struct{} // closed once the deadline is past; replaced when it is moved on
	moves   int           // how often it was moved: which move the timer belongs to
}

func (d *deadline) init() { d.expired = make(chan struct{}) }

// wait is closed when the deadline has passed.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired
}

// move sets the deadline; the zero time is none.
func (d *deadline) move(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moves++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	select {
	case <-d.expired:
		d.expired = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	after := time.Until(t)
	if after <= 0 {
		close(d.expired)
		return
	}
	move := d.moves
	d.timer = time.AfterFunc(after, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.moves == move { // else it was moved while this call waited for the lock
			close(d.expired)
		}
	})
}

func (d *deadline) stop() { d.move(time.Time{}) }

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
		p.deadline.stop()
	}
}
