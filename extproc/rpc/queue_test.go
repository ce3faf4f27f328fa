package rpc

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// number is a message.
type number uint64

func (n *number) Decode(b []byte) error { *n = number(binary.BigEndian.Uint64(b)); return nil }

// Messages come out in order, however many wait, and their room does not grow with all
// that ever came.
func TestQueue(t *testing.T) {
	st := &stream{c: &conn{server: NewServer(Options{StreamWindow: 1 << 30})}, ready: make(chan struct{}, 1), credit: 1 << 30}
	var came, taken uint64
	take := func() {
		t.Helper()
		var n number
		if ok, err := st.Poll(&n); err != nil || !ok || uint64(n) != taken {
			t.Fatalf("message %d: %d, %t, %v", taken, n, ok, err)
		}
		taken++
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		for range random.IntN(4) {
			st.body = binary.BigEndian.AppendUint64(nil, came)
			st.complete()
			came++
		}
		for range random.IntN(4) {
			if came-taken > 1 { // one always waits
				take()
			}
		}
		if room := cap(st.queue); uint64(room) > 4*(came-taken)+1000 {
			t.Fatalf("room for %d where %d wait", room, came-taken)
		}
	}
	for taken < came {
		take()
	}
	var n number
	if ok, err := st.Poll(&n); ok || err != nil || cap(st.queue) > keptQueue {
		t.Errorf("at the end: %t, %v, room for %d", ok, err, cap(st.queue))
	}
	if allocs := testing.AllocsPerRun(100, func() {
		st.body = make([]byte, 8)
		st.complete()
		if ok, _ := st.Poll(&n); !ok {
			t.Error("no message")
		}
	}); allocs > 1 {
		t.Errorf("%.0f allocations beside the message's own", allocs-1)
	}
}
