package exchange_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"aisix/extproc/exchange"
	"aisix/extproc/exchange/exchangetest"
)

// A body that brings too little in any window is too slow, however fast it began; one that keeps
// its pace may take as long as it likes.
func TestBodyThatDrips(t *testing.T) {
	const window = 20 * time.Second
	for _, test := range []struct {
		name   string
		pieces []int // one each second, of so many bytes; a 0 is a second of silence
		mode   int
		want   error
		after  time.Duration
	}{
		{"a slow uplink", append(repeat(150, 300), -1), 0, nil, 300 * time.Second},
		{"a byte a second", repeat(1, 60), 0, exchange.ErrSlow, window},
		{"nothing at all", repeat(0, 60), 0, exchange.ErrSlow, window},
		{"a fast beginning", append([]int{1 << 20}, repeat(0, 60)...), 0, exchange.ErrSlow, 2 * window},
		{"just the pace, in bursts", append(repeat(0, 18), 2000, 0, 0, 2000, -1), 0, nil, 22 * time.Second},
		{"what Envoy buffers is not seen", append(repeat(0, 100), 50, -1), 1, nil, 101 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := exchangetest.New(t)
				x := exchange.New(s)
				mode := exchangetest.FullDuplex
				if test.mode == 1 {
					mode = exchangetest.Buffered
				}
				s.Put(exchangetest.First(exchangetest.RequestHeaders(false, ":method", "POST"), mode))
				if _, err := x.Header(background); err != nil {
					t.Fatal(err)
				}
				fed := make(chan struct{})
				go func() {
					defer close(fed)
					for _, n := range test.pieces {
						if n < 0 {
							s.TryPut(exchangetest.RequestBody(nil, true), time.Second)
							return
						}
						time.Sleep(time.Second)
						if n > 0 && !s.TryPut(exchangetest.RequestBody(make([]byte, n), false), time.Second) {
							return
						}
					}
				}()
				start := time.Now()
				_, err := x.ReadBody(x.Context(), exchange.Intake{Limit: limit, Least: 2000, Window: window})
				if took := time.Since(start); !errors.Is(err, test.want) || test.want == nil && err != nil || took != test.after {
					t.Errorf("%v after %v; want %v after %v", err, took, test.want, test.after)
				}
				x.Close()
				s.Reset()
				<-fed
			})
		})
	}
}

func repeat(n, times int) []int {
	all := make([]int, times)
	for i := range all {
		all[i] = n
	}
	return all
}

// Took hears of every byte before it is kept, but of none over the limit, and can refuse it.
func TestTook(t *testing.T) {
	s, x := begin(t, false)
	go func() {
		for _, n := range []int{3, 0, 4, 100} {
			s.TryPut(exchangetest.RequestBody(make([]byte, n), false), time.Second)
		}
	}()
	var took []int64
	hear := func(n int64) error { took = append(took, n); return nil }
	if _, err := x.ReadBody(background, exchange.Intake{Limit: 10, Took: hear}); err != exchange.ErrTooLarge {
		t.Error(err)
	}
	if len(took) != 2 || took[0] != 3 || took[1] != 4 {
		t.Errorf("heard of %v", took)
	}

	took = nil
	for _, length := range []string{"3", ""} { // a buffered body comes in one: what is announced counts, before it is asked for
		s := exchangetest.New(t)
		x := exchange.New(s)
		s.Put(exchangetest.First(exchangetest.RequestHeaders(false, ":method", "POST", "content-length", length), exchangetest.Buffered))
		if _, err := x.Header(background); err != nil {
			t.Fatal(err)
		}
		go func() {
			s.Next()
			s.Put(exchangetest.RequestBody(make([]byte, 3), true))
		}()
		if _, err := x.ReadBody(background, exchange.Intake{Limit: 10, Took: hear}); err != nil {
			t.Error(err)
		}
		x.Close()
	}
	if len(took) != 2 || took[0] != 3 || took[1] != 10 {
		t.Errorf("heard of %v", took)
	}

	s, x = begin(t, false)
	go s.Put(exchangetest.RequestBody(make([]byte, 3), false))
	full := errors.New("full")
	if _, err := x.ReadBody(background, exchange.Intake{Limit: 10, Took: func(int64) error { return full }}); err != full {
		t.Error(err)
	}
	if err := x.Reject(503, nil, nil); err != nil {
		t.Error(err)
	}
	if s.Next().GetImmediateResponse().GetStatus().GetCode() != 503 {
		t.Error("no 503")
	}
}
