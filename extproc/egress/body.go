package egress

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

// pieceSize is the most that a piece has, in bytes.
const pieceSize = 32 << 10

// Body is the body of an answer, read within a deadline that may be moved. It reads ahead by
// two pieces at most, so that a reader who is slow slows the upstream. Its methods are one
// goroutine's.
type Body struct {
	pieces   chan []byte
	err      error // why there are no more, once pieces is closed
	rest     []byte
	deadline time.Time
	end      context.CancelCauseFunc
}

func newBody(life context.Context, end context.CancelCauseFunc, r io.ReadCloser) *Body {
	b := &Body{pieces: make(chan []byte), end: end}
	go b.pump(life, r)
	return b
}

// pump reads until the end, or until life's. It owns err before pieces is closed.
func (b *Body) pump(life context.Context, r io.ReadCloser) {
	defer close(b.pieces)
	defer r.Close()
	buf := make([]byte, pieceSize)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			select {
			case b.pieces <- append(make([]byte, 0, n), buf[:n]...):
			case <-life.Done():
				b.err = context.Cause(life)
				return
			}
		}
		switch {
		case err == nil:
		case err == io.EOF:
			b.err = io.EOF
			return
		case life.Err() != nil:
			b.err = context.Cause(life)
			return
		default:
			b.err = fmt.Errorf("%w: %w", ErrBroken, err)
			return
		}
	}
}

// SetReadDeadline bounds Read and Piece; the zero time is no bound. A passed deadline harms
// nothing: set another and read on.
func (b *Body) SetReadDeadline(t time.Time) error {
	b.deadline = t
	return nil
}

// Piece gives what came of the body at once, which is the caller's to keep. io.EOF is its clean
// end, os.ErrDeadlineExceeded a passed deadline, ErrBroken an end before that; else it is
// what ended Post's ctx.
func (b *Body) Piece() ([]byte, error) {
	if err := b.fill(); err != nil {
		return nil, err
	}
	p := b.rest
	b.rest = nil
	return p, nil
}

// Read is Piece with a copy.
func (b *Body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := b.fill(); err != nil {
		return 0, err
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *Body) fill() error {
	if len(b.rest) > 0 {
		return nil
	}
	var expired <-chan time.Time
	if !b.deadline.IsZero() {
		left := time.Until(b.deadline)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		timer := time.NewTimer(left)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case piece, more := <-b.pieces:
		if !more {
			return b.err
		}
		b.rest = piece
		return nil
	case <-expired:
		return os.ErrDeadlineExceeded
	}
}

// Close ends what is under way, and waits for it.
func (b *Body) Close() {
	b.end(context.Canceled)
	for range b.pieces { // until it is closed
	}
}
