package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// answer is a server that answers every request so.
func answer(t *testing.T, handler http.HandlerFunc) *Target {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return &Target{
		Address: s.Listener.Addr().String(),
		Request: []byte("POST /k00 HTTP/1.1\r\nHost: bench\r\nContent-Length: 2\r\n\r\n{}"),
	}
}

func TestEveryAnswerIsCheckedToItsEnd(t *testing.T) {
	good := Answer{Holds: []byte("usage"), Ends: []byte("[DONE]"), Mark: []byte("~"), Marks: 2}
	for _, test := range []struct{ name, body, fault string }{
		{"good", "~~usage[DONE]", ""},
		{"no end", "~~usage[DONE", "does not end"},
		{"not at the end", "~~usage[DONE] and more", "does not end"},
		{"without", "~~[DONE]", `no "usage"`},
		{"a mark is lost", "~usage[DONE]", "1 times instead of 2"},
		{"empty", "", `no "usage"`},
	} {
		target := answer(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, test.body) })
		target.Answer = good
		_, err := newConnection(target).ask(time.Now())
		if (err == nil) != (test.fault == "") || err != nil && !strings.Contains(err.Error(), test.fault) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	target := answer(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "full", http.StatusServiceUnavailable) })
	if _, err := newConnection(target).ask(time.Now()); err == nil || !strings.Contains(err.Error(), `status 503: "full`) {
		t.Error(err)
	}
	target = answer(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	if _, err := newConnection(target).ask(time.Now()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("cut: ", err)
	}
}

func TestARunCountsWhatItAsked(t *testing.T) {
	var got atomic.Int64
	target := answer(t, func(w http.ResponseWriter, r *http.Request) { got.Add(1); io.WriteString(w, "yes") })
	for _, plan := range []Plan{{Connections: 3}, {Connections: 2, Rate: 500}} {
		got.Store(0)
		plan.Warmup, plan.Window = 10*time.Millisecond, 50*time.Millisecond
		windows := 0
		r, err := Run(t.Context(), target, plan, func() { windows++ })
		if err != nil || windows != 2 || r.Answers == 0 || int64(r.Asked) != got.Load() || len(r.Whole) != r.Answers || len(r.First) != r.Answers {
			t.Errorf("%+v: %+v, %v; the server has %d, %d windows", plan, r, err, got.Load(), windows)
		}
		if !slices.IsSorted(r.Whole) {
			t.Error("times are not sorted")
		}
	}
}

// A window that is shorter than an answer takes lasts until one has ended.
func TestAWindowHasAnAnswer(t *testing.T) {
	release := make(chan struct{})
	windows := 0
	target := answer(t, func(w http.ResponseWriter, r *http.Request) { <-release })
	time.AfterFunc(30*time.Millisecond, func() { close(release) })
	r, err := Run(t.Context(), target, Plan{Connections: 1, Window: time.Nanosecond}, func() { windows++ })
	if err != nil || r.Answers == 0 || windows != 2 {
		t.Errorf("%+v, %v, %d windows", r, err, windows)
	}
}

func TestOneWrongAnswerFailsTheRun(t *testing.T) {
	var got atomic.Int64
	target := answer(t, func(w http.ResponseWriter, r *http.Request) {
		if got.Add(1) == 3 {
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	_, err := Run(t.Context(), target, Plan{Connections: 1, Window: 50 * time.Millisecond}, func() {})
	if err == nil || !strings.Contains(err.Error(), "1 of ") || !strings.Contains(err.Error(), "status 429") {
		t.Error(err)
	}
}

// A gateway that is gone ends the run, long before its window does.
func TestARunIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = Run(t.Context(), &Target{Address: l.Addr().String()}, Plan{Connections: 4, Window: time.Hour}, func() {})
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
}

func TestDigitsDiffer(t *testing.T) {
	var mu sync.Mutex
	paths := map[string]bool{}
	target := answer(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		paths[r.URL.Path] = true
	})
	target.Vary = []Digits{{At: strings.Index(string(target.Request), "k00") + 1, Width: 2, Below: 12}}
	c := newConnection(target)
	for range 500 {
		if _, err := c.ask(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 12 { // the chance that one is missing: 12 * (11/12)^500
		if !paths[fmt.Sprintf("/k%02d", n)] {
			t.Errorf("%d never came: %v", n, paths)
		}
	}
	if len(paths) != 12 || string(target.Request[6:9]) != "k00" {
		t.Errorf("%v; the target's own is %q", paths, target.Request[6:9])
	}
}

func TestHoldWaitsForTheFirstContentOfAll(t *testing.T) {
	release := make(chan struct{})
	var open atomic.Int64
	target := answer(t, func(w http.ResponseWriter, r *http.Request) {
		open.Add(1)
		defer open.Add(-1)
		io.WriteString(w, "~")
		w.(http.Flusher).Flush()
		<-release
		io.WriteString(w, "end")
	})
	target.Answer = Answer{First: []byte("~"), Ends: []byte("end")}
	const streams = 150
	err := Hold(t.Context(), target, streams, func() error {
		if n := open.Load(); n != streams {
			t.Errorf("%d of %d are open", n, streams)
		}
		close(release)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	target.Answer.Ends = []byte("another")
	if err := Hold(context.Background(), target, 10, func() error { return nil }); err == nil {
		t.Error("wrong answers were taken")
	}
}

func TestQuantiles(t *testing.T) {
	of := func(n int) (all Times) {
		for i := range n {
			all = append(all, time.Duration(i+1))
		}
		return all
	}
	for _, test := range []struct {
		n    int
		q    float64
		want time.Duration
	}{{0, .5, 0}, {1, .5, 1}, {1, .99, 1}, {2, .5, 1}, {100, .5, 50}, {100, .99, 99}, {101, .99, 100}, {1000, 1, 1000}, {10, 0, 1}} {
		if got := of(test.n).Quantile(test.q); got != test.want {
			t.Errorf("%g of %d: %d, want %d", test.q, test.n, got, test.want)
		}
	}
}
