package exchange

import (
	"testing"
	"testing/synctest"
	"time"
)

// passed reports whether the deadline is past, and d's waiters know.
func passed(d *deadline) bool {
	synctest.Wait()
	select {
	case <-d.wait():
		return true
	default:
		return false
	}
}

// A deadline passes when it is due, however often it was moved: on, back, off, or past.
func TestDeadlineMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d deadline

		begun := time.Now()
		at := func(s time.Duration) time.Time { return begun.Add(s * time.Second) }
		after := func(s time.Duration, want bool) {
			t.Helper()
			time.Sleep(time.Until(at(s)))
			if passed(&d) != want {
				t.Errorf("after %d s: passed is %t", s, !want)
			}
		}
		d.move(at(10))
		d.move(at(20)) // on: the timer rings once in vain
		after(11, false)
		after(20, true)
		d.move(at(30)) // out of the past
		after(21, false)
		d.move(at(25)) // back
		after(24, false)
		after(25, true)
		d.move(time.Time{})
		after(40, false)
		d.move(at(1))
		after(40, true)
		d.move(at(50))
		d.move(at(1)) // past, while a timer runs
		d.move(at(60))
		after(50, false)
		after(60, true)
		d.move(at(70))
		d.stop()
		after(80, false)
		d.move(at(90))
		after(89, false)
		after(90, true)
		d.stop()
	})
}

// Whoever waits notices that the deadline was moved, without waiting anew.
func TestDeadlineMovesUnderAWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d deadline

		begun := time.Now()
		d.move(begun.Add(time.Hour))
		expired := d.wait()
		go d.move(begun.Add(time.Second))
		<-expired
		if waited := time.Since(begun); waited != time.Second {
			t.Errorf("waited for %v", waited)
		}
	})
}

// An event's deadline costs nothing: it moves on.
func TestDeadlineMovesOnForNothing(t *testing.T) {
	var d deadline

	defer d.stop()
	due := time.Now().Add(time.Hour)
	d.move(due)
	if n := testing.AllocsPerRun(100, func() {
		due = due.Add(time.Second)
		d.move(due)
	}); n > 0 {
		t.Errorf("%.0f allocations", n)
	}
}
