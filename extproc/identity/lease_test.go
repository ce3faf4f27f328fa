package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"aisix/admin/resource"
	"aisix/extproc/fault"
)

// upstream plays STS: it counts, and gives tokens named by their number.
type upstream struct {
	asked atomic.Int64
	lasts time.Duration
	takes time.Duration
	away  atomic.Bool
}

func (u *upstream) fetch(ctx context.Context) (Token, error) {
	n := u.asked.Add(1)
	select {
	case <-time.After(u.takes):
	case <-ctx.Done():
		return Token{}, ctx.Err()
	}
	if u.away.Load() {
		return Token{}, errors.New("AccessDenied: arn:aws:iam::123456789012:role/x")
	}
	return Token{AccessKeyID: fmt.Sprint(n), Expires: time.Now().Add(u.lasts)}, nil
}

var aKey = &resource.ProviderKey{DisplayName: "prod", Credentials: resource.Ambient{Region: "us-west-2"}}

// begin is a source with a lease of aKey's that asks u.
func (u *upstream) begin(t *testing.T, o Options) *Source {
	t.Helper()
	s := New(o)
	t.Cleanup(s.Close)
	l := newLease(s, aKey, u.fetch)
	s.leases[aKey.Credentials] = l
	go l.run(s.life)
	return s
}

// All who come before the first token wait for one and the same request; after it nobody
// waits, however long STS takes.
func TestOnlyTheFirstCallWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{lasts: time.Hour, takes: 3 * time.Second}
		s := u.begin(t, Options{})
		defer s.Close()
		got := make(chan string)
		for range 10 {
			go func() {
				token, err := s.Token(t.Context(), aKey)
				got <- fmt.Sprint(token.AccessKeyID, err)
			}()
		}
		for range 10 {
			if one := <-got; one != "1<nil>" && one != "1 <nil>" {
				t.Error(one)
			}
		}
		if n := u.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		// A day under load: no call waits, none fails, none gets a token that has expired.
		for begun := time.Now(); time.Since(begun) < 24*time.Hour; time.Sleep(time.Second) {
			now := time.Now()
			token, err := s.Token(t.Context(), aKey)
			if err != nil || !time.Now().Equal(now) || !token.lasts(now) {
				t.Fatalf("%v, after %v: %v", token, time.Since(now), err)
			}
		}
		if n := u.asked.Load(); n < 24 || n > 36 {
			t.Errorf("asked %d times in a day for tokens of an hour", n)
		}
	})
}

// While STS is away the old token does as long as it lasts, and STS is not stormed; then
// calls fail at once, with a fault that names nothing; and STS back is noticed.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed atomic.Int64
		var log bytes.Buffer
		u := &upstream{lasts: time.Hour}
		s := u.begin(t, Options{Failed: func(string) { failed.Add(1) }, Log: slog.New(slog.NewTextHandler(&log, nil))})
		defer s.Close()
		begun := time.Now()
		if _, err := s.Token(t.Context(), aKey); err != nil {
			t.Fatal(err)
		}
		u.away.Store(true)
		for time.Since(begun) < time.Hour-onTheWay-time.Second {
			if token, err := s.Token(t.Context(), aKey); err != nil || token.AccessKeyID != "1" {
				t.Fatalf("after %v: %v %v", time.Since(begun), token, err)
			}
			time.Sleep(time.Second)
		}
		if n := failed.Load(); n < 10 || n > 40 {
			t.Errorf("%d failures in the last minutes of an hour", n)
		}
		time.Sleep(time.Hour - time.Second - time.Since(begun)) // what is signed from here on may be late
		for range 1000 {
			before := time.Now()
			_, err := s.Token(t.Context(), aKey)
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Upstream || f.Status != 502 || f.Code != Unavailable || f.Message != "upstream authentication failed" || !strings.Contains(f.Err.Error(), "AccessDenied") {
				t.Fatalf("%+v", err)
			}
			if !time.Now().Equal(before) {
				t.Fatal("a call waited")
			}
		}
		asked := u.asked.Load()
		u.away.Store(false)
		time.Sleep(lastRetry)
		if _, err := s.Token(t.Context(), aKey); err != nil {
			t.Error(err)
		}
		if n := u.asked.Load() - asked; n != 1 {
			t.Errorf("asked %d times", n)
		}
		s.Close()
		synctest.Wait()
		if n := strings.Count(log.String(), Unavailable); int64(n) != failed.Load() || !strings.Contains(log.String(), "provider_key=prod") {
			t.Errorf("%d lines of %d failures: %s", n, failed.Load(), log.String())
		}
	})
}

// A first attempt that fails fails those who wait; it is made again in the background,
// further and further apart.
func TestNeverThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{takes: time.Second}
		u.away.Store(true)
		s := u.begin(t, Options{})
		defer s.Close()
		for range 3 {
			if _, err := s.Token(t.Context(), aKey); err == nil {
				t.Fatal("a token")
			}
		}
		if n := u.asked.Load(); n != 1 {
			t.Errorf("asked %d times for 3 calls", n)
		}
		time.Sleep(10 * time.Minute)
		if n := u.asked.Load(); n < 12 || n > 20 {
			t.Errorf("asked %d times in 10 minutes", n)
		}
	})
}

// Who waits does so within his own time.
func TestWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{lasts: time.Hour, takes: time.Hour}
		s := u.begin(t, Options{})
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Token(ctx, aKey); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		before := time.Now()
		if _, err := s.Token(t.Context(), aKey); err == nil || time.Since(before) > fetchTimeout {
			t.Errorf("%v after %v", err, time.Since(before))
		}
	})
}

// Credentials of seconds, as tests have them, are got in time as well.
func TestShortLived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{lasts: 2 * time.Second, takes: 100 * time.Millisecond}
		s := u.begin(t, Options{})
		defer s.Close()
		for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(10 * time.Millisecond) {
			if _, err := s.Token(t.Context(), aKey); err != nil {
				t.Fatal(err)
			}
		}
		if n := u.asked.Load(); n > 70 {
			t.Errorf("asked %d times in a minute", n)
		}
	})
}

// What no provider key has any more is asked for no more.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		u := &upstream{lasts: time.Hour}
		s := u.begin(t, Options{InForce: func(resource.Credentials) bool { return !gone.Load() }})
		defer s.Close()
		if _, err := s.Token(t.Context(), aKey); err != nil {
			t.Fatal(err)
		}
		if n := len(s.States()); n != 1 {
			t.Errorf("%d states", n)
		}
		gone.Store(true)
		time.Sleep(24 * time.Hour)
		if n := u.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		synctest.Wait()
		s.mu.Lock()
		left := len(s.leases)
		s.mu.Unlock()
		if left != 0 || len(s.States()) != 0 {
			t.Error("still there")
		}
	})
}

// A token that AWS refuses as expired is replaced at once, but not again and again.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{lasts: time.Hour}
		s := u.begin(t, Options{})
		defer s.Close()
		first, err := s.Token(t.Context(), aKey)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(settled)
		for range 100 {
			s.Refused(aKey, first)
		}
		synctest.Wait()
		second, err := s.Token(t.Context(), aKey)
		if err != nil || second == first {
			t.Fatalf("%v %v", second, err)
		}
		for range 100 {
			s.Refused(aKey, first)
			s.Refused(aKey, second)
		}
		synctest.Wait()
		if n := u.asked.Load(); n > 3 {
			t.Errorf("asked %d times", n)
		}
	})
}

// What comes expired is no token.
func TestExpiredFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{lasts: -time.Second}
		s := u.begin(t, Options{})
		defer s.Close()
		if _, err := s.Token(t.Context(), aKey); err == nil || !strings.Contains(err.Error(), "clock") {
			t.Error(err)
		}
	})
}
