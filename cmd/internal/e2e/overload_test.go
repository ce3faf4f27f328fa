package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// statuses are what many callers were answered, by status.
type statuses struct {
	sync.Mutex
	of map[int]int
}

// took takes note of an answer, which is a 200, or a 503 as the contract has it.
func (s *statuses) took(t *testing.T, a answer) {
	t.Helper()
	s.Lock()
	defer s.Unlock()
	if s.of == nil {
		s.of = map[int]int{}
	}
	if s.of[a.status]++; a.status == http.StatusOK {
		return
	}
	a.want(t, http.StatusServiceUnavailable, "gateway_overloaded")
	if after, err := strconv.Atoi(a.header.Get("retry-after")); err != nil || after < 1 {
		t.Errorf("Retry-After %q", a.header.Get("retry-after"))
	}
}

func (s *statuses) count() (answered, refused int) {
	s.Lock()
	defer s.Unlock()
	return s.of[http.StatusOK], s.of[http.StatusServiceUnavailable]
}

// Of 40 callers with a key each, a gateway for 20 calls takes on 19 (there is always room for one
// more key's) and refuses 21 at once. Those that it took on are all answered, and then everybody.
func TestSurplusIsRefused(t *testing.T) {
	t.Parallel()
	g := crowded(t)
	release := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		whole(w, "Hello.")
	})
	var callers []*tenant
	for range 40 {
		callers = append(callers, g.tenant(t, u.URL, settings{}))
	}
	round := func() (s *statuses, wait func()) {
		var all sync.WaitGroup
		s = &statuses{}
		for _, c := range callers {
			all.Go(func() {
				a, err := c.chat(t.Context(), "Hello")
				if err != nil {
					t.Error(err)
					return
				}
				s.took(t, a)
			})
		}
		return s, all.Wait
	}
	s, wait := round()
	eventually(t, patience, func() error {
		if _, refused := s.count(); refused != 21 {
			return fmt.Errorf("%d are refused, not 21", refused)
		}
		return nil
	})
	if calls := g.scrape(t)["aisix_calls_in_flight"]; calls != 19 {
		t.Errorf("%v calls in flight, want 19", calls)
	}
	close(release)
	wait()
	if answered, refused := s.count(); answered != 19 || refused != 21 || u.requests() != 19 {
		t.Errorf("%d answered and %d refused, the upstream was asked %d times", answered, refused, u.requests())
	}
	callers[0].unharmed(t, g.Extproc.PID())
	for _, c := range callers {
		if a, err := c.chat(t.Context(), "Hello"); err != nil || a.status != http.StatusOK {
			t.Errorf("when it is over: %d %s, %v", a.status, a.body, err)
		}
	}
}

// What comes faster than it can be answered in time (here: any time is too long) is refused in
// part; each call is a 200, for which the upstream was asked, or a 503 for which it was not. Once
// less comes everybody is answered. Probes always are.
func TestPastCapacity(t *testing.T) {
	t.Parallel()
	g := start(t, options{env: []string{"AISIX_EXTPROC__MAX_DELAY=1ms", "AISIX_EXTPROC__MAX_CALLS=4096"}})
	u := newUpstream(t, nil)
	c := g.tenant(t, u.URL, settings{})
	var all sync.WaitGroup
	var s statuses
	enough := make(chan struct{})
	var once sync.Once
	for range 160 { // more than a crowd (package admission) for each of Envoy's threads
		all.Go(func() {
			for {
				select {
				case <-enough:
					return
				default:
				}
				a, err := c.chat(t.Context(), "Hello")
				if err != nil {
					t.Error(err)
					return
				}
				s.took(t, a)
				if _, refused := s.count(); refused >= 100 {
					once.Do(func() { close(enough) })
				}
			}
		})
	}
	// What is overloaded here is extproc, which gets its processor by fits and starts: of
	// these processes, the test's own would be the first to be late.
	all.Go(func() {
		pause := time.NewTicker(20 * time.Millisecond)
		defer pause.Stop()
		for signal := syscall.SIGSTOP; ; {
			select {
			case <-enough:
				syscall.Kill(g.Extproc.PID(), syscall.SIGCONT)
				return
			case <-pause.C:
				if err := syscall.Kill(g.Extproc.PID(), signal); err != nil {
					t.Error(err)
				}
				if signal == syscall.SIGSTOP {
					signal = syscall.SIGCONT
				} else {
					signal = syscall.SIGSTOP
				}
			}
		}
	})
	// With the race detector extproc takes so few calls that no crowd comes while a ping is under
	// way, and none may be refused: the rest holds all the same.
	least, wait := 100, 3*patience
	if raceEnabled {
		least, wait = 0, patience/4
	}
	giveUp := time.AfterFunc(wait, func() { once.Do(func() { close(enough) }) })
	defer giveUp.Stop()
	for range 5 {
		if a, err := do(t.Context(), http.MethodGet, c.proxy+"/readyz", "", ""); err != nil || a.status != http.StatusOK {
			t.Errorf("a probe: %d %s, %v", a.status, a.body, err)
		}
	}
	all.Wait()
	answered, refused := s.count()
	if refused < least || answered == 0 || u.requests() != answered {
		t.Errorf("%d answered and %d refused, the upstream was asked %d times", answered, refused, u.requests())
	}
	eventually(t, patience, func() error {
		if share, known := g.scrape(t)["aisix_overload_refused_share"]; !known || share != 0 {
			return fmt.Errorf("%v are still refused", share)
		}
		return nil
	})
	eventually(t, patience, func() error { // Envoy hears of it a moment later
		for range 12 { // fewer than are measured
			if a, err := c.chat(t.Context(), "Hello"); err != nil || a.status != http.StatusOK {
				return fmt.Errorf("when it is over: %d %s, %v", a.status, a.body, err)
			}
		}
		return nil
	})
	c.unharmed(t, g.Extproc.PID())
}

// Readers who take nothing of what they asked for, and writers who do not finish, hold up nobody:
// beside 12 of each, everybody else is answered, and what is held for the slow is bounded and given
// back when they leave.
func TestSlowCallersHoldUpNobody(t *testing.T) {
	t.Parallel()
	g := start(t, options{env: []string{"AISIX_PROXY__MAX_BODY_BYTES=262144", "AISIX_EXTPROC__MAX_CALLS=200", "AISIX_EXTPROC__MAX_BUFFERED_BYTES=4194304"}})
	flood := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if !isStream(r) {
			whole(w, "Hello.")
			return
		}
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		piece := frame("contentBlockDelta", delta(strings.Repeat("word ", 50)))
		for {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	slow, other := g.tenant(t, flood.URL, settings{}), g.tenant(t, newUpstream(t, nil).URL, settings{})
	other.served(t)
	var leave []func()
	body := slow.ask("A story without an end", true)
	for range 12 {
		_, reader := slow.half(t, len(body), body) // reads the headers, at most
		_, writer := slow.half(t, 100_000, `{"model":`)
		leave = append(leave, reader, writer)
	}
	g.holds(t, func(calls, _ float64) bool { return calls == 24 })
	for range 50 {
		if a, err := other.chat(t.Context(), "Hello"); err != nil || a.status != http.StatusOK {
			t.Errorf("beside the slow: %d %s, %v", a.status, a.body, err)
		}
	}
	g.holds(t, func(calls, bytes float64) bool { return calls == 24 && bytes <= 24*64<<10 })
	for _, f := range leave {
		f()
	}
	other.unharmed(t, g.Extproc.PID())
}
