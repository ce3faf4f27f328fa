package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// An extproc that is killed in between takes nothing with it but the calls in its hands: none is sent
// again, and its successor knows what cools down.
func TestExtprocKilledBetweenTargets(t *testing.T) {
	t.Parallel()
	g := start(t, options{})
	east, west := newRegion(t, "east", says(429, "ThrottlingException", "Retry-After", "600")), newRegion(t, "west", good("west"))
	c := g.over(t, nil, east, west)
	c.askAt(t, t.Context(), false, nil).is(t, false, "west", 2)
	eventually(t, patience, func() error {
		if names := c.cooling(t); len(names) != 1 {
			return fmt.Errorf("%v cool down", names)
		}
		return nil
	})

	// One call waits for its second target when extproc dies.
	second := g.over(t, nil, east, west)
	came := make(chan struct{}, 1)
	west.behave(func(w http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		hangs(w, r)
	})
	ended := make(chan string, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() {
		a, err := do(ctx, http.MethodPost, second.proxy+"/v1/chat/completions", second.key, second.ask("Hello", false))
		ended <- fmt.Sprint(a.status, " ", a.body, " ", err)
	}()
	select {
	case <-came:
	case <-time.After(patience):
		t.Fatal("the second target was not asked")
	}
	before := [2]int{east.requests(), west.requests()}
	g.Extproc.Kill()
	select {
	case got := <-ended:
		if strings.HasPrefix(got, "200") || strings.Contains(got, "context deadline") {
			t.Errorf("the call in its hands: %s", got)
		}
	case <-time.After(patience):
		t.Fatal("the call in its hands hangs")
	}
	for range 3 {
		a, err := do(t.Context(), http.MethodPost, c.proxy+"/v1/chat/completions", c.key, c.ask("Hello", false))
		if err != nil || a.status != http.StatusServiceUnavailable {
			t.Errorf("without extproc: %d %s %v", a.status, a.body, err)
		}
	}
	west.behave(good("west"))
	if after := [2]int{east.requests(), west.requests()}; after != before {
		t.Errorf("%v requests before extproc was killed, %v after", before, after)
	}

	if err := g.Extproc.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.inForce(t)
	eventually(t, patience, func() error {
		a, err := do(t.Context(), http.MethodPost, c.proxy+"/v1/chat/completions", c.key, c.ask("Hello", true))
		if n := a.header.Get("X-Aisix-Attempts"); err != nil || n != "1" {
			return fmt.Errorf("%q attempts, %d, %v", n, a.status, err)
		}
		return nil
	})
	c.askAt(t, t.Context(), true, nil).is(t, true, "west", 1)
}
