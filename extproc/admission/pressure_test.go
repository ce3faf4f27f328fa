package admission

import (
	"testing"
	"time"
)

// moments is a clock of one tick, and what was seen at each.
type moments struct {
	*Pressure
	now time.Time
}

const tick = Step

func newMoments(target time.Duration) *moments {
	return &moments{NewPressure(target), time.Unix(1e9, 0)}
}

func (m *moments) see(times int, delay time.Duration) {
	for range times {
		m.now = m.now.Add(tick)
		m.Observe(delay, Crowd, m.now)
	}
}

// refused is how many of n are.
func (m *moments) refused(n int) (refused int) {
	for range n {
		if m.Refuse(m.now) {
			refused++
		}
	}
	return refused
}

// What is late for a moment, or now and then, turns nobody away; what stays late does, more and
// more, and never all.
func TestPressureStands(t *testing.T) {
	m := newMoments(20 * time.Millisecond)
	m.see(100, 15*time.Millisecond)
	m.see(3, 100*time.Millisecond)
	m.see(10, time.Millisecond)
	for range 50 { // one in four
		m.see(1, 35*time.Millisecond)
		m.see(3, 5*time.Millisecond)
	}
	if n := m.refused(1000); n != 0 {
		t.Errorf("%d refused where nothing stays late", n)
	}
	m.see(standing-1, 60*time.Millisecond)
	if n := m.refused(1000); n != 0 {
		t.Errorf("%d refused after a moment", n)
	}
	last := 0
	for range 3 {
		m.see(4, 60*time.Millisecond)
		n := m.refused(1000)
		if n <= last {
			t.Errorf("%d refused of 1000, after %d", n, last)
		}
		last = n
	}
	m.see(200, time.Second)
	if n := m.refused(1000); n < 949 || n > 951 {
		t.Errorf("%d refused of 1000, want 950", n)
	}
}

// Half of the target is soon all well, and so is silence.
func TestPressureEnds(t *testing.T) {
	m := newMoments(20 * time.Millisecond)
	m.see(100, 80*time.Millisecond)
	m.see(30, time.Millisecond) // within a second, of two connections
	if n := m.refused(1000); n != 0 || m.Share(m.now) != 0 {
		t.Errorf("%d refused of 1000 when it is over", n)
	}
	m.see(100, 80*time.Millisecond)
	m.now = m.now.Add(silence + 1)
	if n := m.refused(1000); n != 0 {
		t.Errorf("%d refused of 1000 in silence", n)
	}
	m.see(1, time.Minute) // a new story
	if n := m.refused(1000); n != 0 {
		t.Errorf("%d refused of 1000", n)
	}
}

// What little is asked of is not overloaded, however late it is; nor is what has no target.
func TestNoPressure(t *testing.T) {
	m := newMoments(20 * time.Millisecond)
	for range 100 {
		m.now = m.now.Add(dense)
		m.see(1, time.Second)
	}
	if n := m.refused(1000); n != 0 {
		t.Errorf("%d refused where little is asked", n)
	}
	m = newMoments(0)
	m.see(100, time.Hour)
	if n := m.refused(1000); n != 0 {
		t.Errorf("%d refused without a target", n)
	}
	if new(Pressure).Refuse(m.now) {
		t.Error("the zero Pressure refuses")
	}
}

// What is late while little comes waits for somebody else's work: it is no queue.
func TestNoPressureWithoutACrowd(t *testing.T) {
	m := newMoments(20 * time.Millisecond)
	for range 100 {
		m.now = m.now.Add(tick)
		m.Observe(time.Second, Crowd-1, m.now)
	}
	if n := m.refused(1000); n != 0 {
		t.Errorf("%d refused where nobody waits", n)
	}
}

// However many connections tell, the share changes by time: as much as one tells.
func TestPressureByTime(t *testing.T) {
	one, many := newMoments(20*time.Millisecond), newMoments(20*time.Millisecond)
	for range 20 {
		one.see(1, 60*time.Millisecond)
		for range 25 {
			many.now = many.now.Add(tick / 25)
			many.Observe(60*time.Millisecond, Crowd, many.now)
		}
	}
	if a, b := one.Share(one.now), many.Share(many.now); a == 0 || b < a-0.15 || b > a+0.15 {
		t.Errorf("one connection makes a share of %v, 25 make %v", a, b)
	}
}

// In a machine that is late by what it takes on, the delay settles at the target.
func TestPressureSettles(t *testing.T) {
	const target = 20 * time.Millisecond
	for _, load := range []float64{1.2, 2, 5, 10} {
		m := newMoments(target)
		queue, late := 0.0, 0 // in seconds of work
		for i := range 2000 {
			queue = max(0, queue+tick.Seconds()*(load*(1-m.Share(m.now))-1))
			m.see(1, time.Duration(queue*1e9))
			if i >= 400 && queue > 3*target.Seconds() {
				late++
			}
		}
		if late > 0 {
			t.Errorf("%v times the capacity: more than three times the target %d of 1600 times", load, late)
		}
	}
}
