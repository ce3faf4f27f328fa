package snapshot

import (
	"sync/atomic"
	"time"
)

// Holder holds the snapshot in force. The zero Holder is empty and ready to use.
type Holder struct {
	current atomic.Pointer[Snapshot]
	seen    atomic.Int64 // Unix nanoseconds
	lost    atomic.Bool
}

// Load is the snapshot in force, nil before the first.
func (h *Holder) Load() *Snapshot { return h.current.Load() }

// Store puts s in force.
func (h *Holder) Store(s *Snapshot) { h.current.Store(s) }

// Confirm records that at t the snapshot in force was the store's latest.
func (h *Holder) Confirm(t time.Time) { h.seen.Store(t.UnixNano()) }

// Confirmed is the last time that Confirm was given, zero if never: its age is how
// stale the snapshot may be.
func (h *Holder) Confirmed() time.Time {
	if ns := h.seen.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// SetLost records whether the store no longer holds what the snapshot in force was
// read from.
func (h *Holder) SetLost(lost bool) { h.lost.Store(lost) }

// Lost reports whether that is so: the snapshot in force is all that is left of it.
func (h *Holder) Lost() bool { return h.lost.Load() }
