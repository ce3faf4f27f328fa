package fetch

import (
	"context"
	"sync"
)

// slots are the fetches that go on: so many in the process, and so many of one
// key, which waits for itself and for nobody else.
type slots struct {
	all chan struct{}

	mu   sync.Mutex
	keys map[string]*keySlots // only of keys that have or want one
}

type keySlots struct {
	slots chan struct{}
	users int // guarded by slots.mu
}

func newSlots() *slots {
	return &slots{all: make(chan struct{}, maxFetches), keys: map[string]*keySlots{}}
}

// take waits for a slot of the key and one of the process. The error is ctx's.
func (s *slots) take(ctx context.Context, key string) (give func(), err error) {
	s.mu.Lock()
	k := s.keys[key]
	if k == nil {
		k = &keySlots{slots: make(chan struct{}, maxOfKey)}
		s.keys[key] = k
	}
	k.users++
	s.mu.Unlock()
	taken := make([]chan struct{}, 0, 2)
	give = func() {
		for _, c := range taken {
			<-c
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(s.keys, key)
		}
	}
	for _, c := range []chan struct{}{k.slots, s.all} {
		select {
		case c <- struct{}{}:
			taken = append(taken, c)
		case <-ctx.Done():
			give()
			return nil, ctx.Err()
		}
	}
	return give, nil
}
