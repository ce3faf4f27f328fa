package admission

import (
	"fmt"
	"testing"
)

// fill takes all that each of the keys can get, one by one and in turn.
func fill(s *Shared, keys ...string) map[string]int64 {
	got := map[string]int64{}
	for taken := true; taken; {
		taken = false
		for _, key := range keys {
			if s.Account(key).Take(1) {
				got[key]++
				taken = true
			}
		}
	}
	return got
}

// However many keys ask for all they can get, one more still finds room.
func TestNoKeyShutsOutAnother(t *testing.T) {
	for hogs := 1; hogs <= 4; hogs++ {
		s := NewShared(120)
		var keys []string
		for i := range hogs {
			keys = append(keys, fmt.Sprint(i))
		}
		for key, n := range fill(s, keys...) {
			if want := int64(120 / (hogs + 1)); n != want {
				t.Errorf("key %s of %d got %d, want %d", key, hogs, n, want)
			}
		}
		if n := fill(s, "one more")["one more"]; n < 10 {
			t.Errorf("beside %d keys that take all they can, one more got %d", hogs, n)
		}
	}
}

func TestAccount(t *testing.T) {
	s := NewShared(100)
	a, b := s.Account("a"), s.Account("b")
	want := func(used, ofA int64) {
		t.Helper()
		if s.Used() != used || a.Held() != ofA {
			t.Errorf("used %d, of a %d; want %d, %d", s.Used(), a.Held(), used, ofA)
		}
	}
	if !a.Fits(50) || !a.Take(50) || a.Take(1) || a.Fits(1) {
		t.Error("a key alone gets half, and no more")
	}
	want(50, 50)
	if !b.Take(25) || b.Take(1) {
		t.Error("the next gets half of the rest")
	}
	if s.Account("a").Take(1) {
		t.Error("another account of the key has a share of its own")
	}
	if c := s.Account("c"); c.TakeUpTo(2, 1) != ErrShare || c.TakeUpTo(30, 40) != ErrFull || c.TakeUpTo(1, 1) != nil || c.TakeUpTo(1, 1) != ErrShare {
		t.Error("a bound of the key's own does not hold")
	} else {
		c.Close()
	}
	a.Add(100) // there already
	want(175, 150)
	if b.Take(1) {
		t.Error("there is room in what is overdrawn")
	}
	a.Set(10)
	want(35, 10)
	a.Close()
	a.Close()
	b.Close()
	want(0, 0)
	if len(s.held) != 0 {
		t.Errorf("left: %v", s.held)
	}
}

// Without a bound everything is taken, and counted.
func TestWithoutBound(t *testing.T) {
	s := NewShared(0)
	if a := s.Account("a"); !a.Take(1<<60) || s.Used() != 1<<60 {
		t.Errorf("used %d", s.Used())
	}
	var none *Account
	if !none.Take(1) || !none.Fits(1) || none.Held() != 0 {
		t.Error("the nil account refuses")
	}
	none.Add(1)
	none.Close()
}
