package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// guess asks with a key from an address, by which name it is known.
func guess(ctx context.Context, s *Server, from, key string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, "GET", "http://localhost/admin/v1/unheard", nil)
	r.RemoteAddr = from
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

const ms = time.Millisecond

func TestWrongKeysAreSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := door(t, Options{})
		took := func(from, key string, status int) time.Duration {
			t.Helper()
			start := time.Now()
			if w := guess(t.Context(), s, from, key); w.Code != status {
				t.Errorf("%s: %d %s", key, w.Code, w.Body)
			}
			return time.Since(start)
		}
		var delays []time.Duration
		for range 8 {
			delays = append(delays, took("203.0.113.7:1", "wrong", 401))
			if d := took("203.0.113.7:2", adminKey, 404); d != 0 {
				t.Errorf("a right key waits %v behind wrong ones of its address", d)
			}
			if d := took("203.0.113.7:3", "", 401); d != 0 {
				t.Errorf("no key at all waits %v", d)
			}
		}
		if want := []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5000 * ms, 5000 * ms}; !slices.Equal(delays, want) {
			t.Errorf("wrong keys of one address wait %v", delays)
		}
		if d := took("203.0.113.8:1", "wrong", 401); d != 100*ms {
			t.Errorf("another address waits %v", d)
		}
		if first, second := took("[2001:db8::1]:1", "wrong", 401), took("[2001:db8::ffff]:1", "wrong", 401); first != 100*ms || second != 200*ms {
			t.Errorf("two addresses of one /64 wait %v and %v", first, second)
		}
		if d := took("[2001:db8:0:1::1]:1", "wrong", 401); d != 100*ms {
			t.Errorf("another /64 waits %v", d)
		}
		if first, second := took("10.0.0.1:1", "wrong", 401), took("[::ffff:10.0.0.1]:1", "wrong", 401); first != 100*ms || second != 200*ms {
			t.Errorf("one address written in two ways waits %v and %v", first, second)
		}
		time.Sleep(forgetAfter + ms)
		if d := took("203.0.113.7:1", "wrong", 401); d != 100*ms {
			t.Errorf("after the address was silent, it waits %v", d)
		}
	})
}

// Whatever is sent, only so many answers wait, and only so many addresses are
// remembered.
func TestWhatWaitsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := door(t, Options{})
		var wg sync.WaitGroup
		for i := range maxHeld {
			wg.Go(func() { guess(t.Context(), s, fmt.Sprintf("10.0.%d.%d:1", i/256, i%256), "wrong") })
		}
		synctest.Wait()
		start := time.Now()
		w := guess(t.Context(), s, "10.9.9.9:1", "wrong")
		if w.Code != http.StatusUnauthorized || w.Header().Get("Connection") != "close" || time.Since(start) != 0 {
			t.Errorf("one too many: %d after %v, %v", w.Code, time.Since(start), w.Header())
		}
		if w := guess(t.Context(), s, "10.9.9.9:1", adminKey); w.Code != http.StatusNotFound {
			t.Errorf("a right key beside them: %d", w.Code)
		}
		wg.Wait()
		if s.brake.held != 0 {
			t.Errorf("%d still wait", s.brake.held)
		}
		b := newBrake(time.Now, nil)
		for i := range maxGuessers + 10 {
			b.guesser(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}))
			if i == 5 {
				b.guesser(netip.AddrFrom4([4]byte{10, 1, 0, 0})).wrong = 7 // again: it is not the longest silent any more
			}
		}
		if len(b.guessers) != maxGuessers || b.order.Len() != maxGuessers {
			t.Errorf("%d addresses are remembered, %d in order", len(b.guessers), b.order.Len())
		}
		if b.guesser(netip.AddrFrom4([4]byte{10, 1, 0, 1})).wrong != 0 || b.guesser(netip.AddrFrom4([4]byte{10, 1, 0, 0})).wrong != 0 {
			t.Error("the longest silent are not forgotten")
		}
	})
}

// Nobody is held whom no answer reaches, nor by a process that ends.
func TestNobodyWaitsInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := door(t, Options{})
		gone, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { guess(gone, s, "10.0.0.1:1", "wrong") })
		}
		synctest.Wait()
		start := time.Now()
		leave()
		wg.Wait()
		for range 3 {
			wg.Go(func() { guess(t.Context(), s, "10.0.0.1:1", "wrong") })
		}
		synctest.Wait()
		s.Drain()
		s.Drain()
		wg.Wait()
		if time.Since(start) != 0 || s.brake.held != 0 {
			t.Errorf("held for %v, %d still", time.Since(start), s.brake.held)
		}
	})
}
