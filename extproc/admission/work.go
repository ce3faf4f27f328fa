package admission

import (
	"context"
	"time"
)

// What is small: a body of so many bytes at most. The least that a body weighs
// keeps a crowd of the smallest ones within bounds too.
const (
	small       = 16 << 10
	leastWeight = 4 << 10
)

// Work is the bodies that are translated at a time, weighed in bytes. Small ones
// have a gate of their own: they never wait for large ones.
type Work struct {
	small, large *Gate
	heavy        int64 // the least that a large body weighs
}

// NewWork takes on large bodies of capacity bytes together; 0 is no bound. Nothing
// waits for anything in a translation, so more of them at a time than there are
// processors would only take the processors from the rest of the process: of large
// ones there is one fewer (but one), of small ones a few more.
func NewWork(capacity int64, processors int) *Work {
	if capacity <= 0 {
		return &Work{small: NewGate(0), large: NewGate(0)}
	}
	return &Work{small: NewGate(2 * int64(processors) * small), large: NewGate(capacity), heavy: capacity / int64(max(processors-1, 1))}
}

// Enter waits until a body of so many bytes may be translated, but no longer than
// patience. The error is ErrFull, or ctx's cause.
func (w *Work) Enter(ctx context.Context, key string, bytes int64, patience time.Duration) (Pass, error) {
	if bytes <= small {
		return w.small.Enter(ctx, key, max(bytes, leastWeight), patience)
	}
	return w.large.Enter(ctx, key, max(bytes, w.heavy), patience)
}
