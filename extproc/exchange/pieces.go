package exchange

import (
	"bytes"
	"io"
)

// pieceSize is the longest body message sent to Envoy, in bytes.
const pieceSize = 1 << 20

// smallPiece is what a piece of a body must hold to be kept by itself: a body
// that drips in byte by byte must not cost its size in bookkeeping.
const smallPiece = 4 << 10

// Body is a request's body in the pieces in which it came: what a caller announces
// takes no memory before it is there.
type Body struct {
	list [][]byte
	size int64
	room [2][]byte // the list of most
}

func newBody() *Body {
	b := new(Body)
	b.list = b.room[:0]
	return b
}

// Size is the length in bytes.
func (b *Body) Size() int64 { return b.size }

// Bytes is the whole body, without a copy where it came in one piece; nil is an
// empty one. They are the caller's to keep.
func (b *Body) Bytes() []byte {
	switch len(b.list) {
	case 0:
		return nil
	case 1:
		return b.list[0]
	}
	return bytes.Join(b.list, nil)
}

// Reader reads the body without joining it.
func (b *Body) Reader() io.Reader {
	readers := make([]io.Reader, len(b.list))
	for i, piece := range b.list {
		readers[i] = bytes.NewReader(piece)
	}
	return io.MultiReader(readers...)
}

func (b *Body) add(piece []byte) {
	b.size += int64(len(piece))
	switch last := len(b.list) - 1; {
	case len(piece) == 0:
	case last >= 0 && len(piece) < smallPiece:
		b.list[last] = append(b.list[last], piece...)
	default:
		b.list = append(b.list, piece)
	}
}

// sendPieces cuts a body into messages, the last of which carries end, and sends them
// after head, which may be nil. An empty body is one empty message, and none where end is
// false. The end of a response is the end of the stream.
func (x *Exchange) sendPieces(head *answer, of kind, body []byte, end bool) error {
	if len(body) == 0 && !end {
		if head == nil {
			return nil
		}
		return x.send(head)
	}
	for {
		n := min(len(body), pieceSize)
		last := n == len(body)
		x.sending = answer{kind: of, bodyKind: streamedBody, body: body[:n], end: end && last}
		send := x.sendAfter
		if x.sending.end && of != requestBody {
			send = x.sendLast
		}
		err := send(head, &x.sending)
		x.sending.body = nil // its owner's again
		if err != nil || last {
			return err
		}
		head, body = nil, body[n:]
	}
}
