package exchange

import (
	"bytes"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// pieceSize is the longest body message sent to Envoy, in bytes.
const pieceSize = 1 << 20

// smallPiece is what a piece of a body must hold to be kept by itself: a body
// that drips in byte by byte must not cost its size in bookkeeping.
const smallPiece = 4 << 10

// pieces are the messages of a body, joined at its end: what a caller announces
// takes no memory before it has come.
type pieces struct {
	list [][]byte
	size int64
}

func (p *pieces) add(b []byte) {
	p.size += int64(len(b))
	switch last := len(p.list) - 1; {
	case len(b) == 0:
	case last >= 0 && len(b) < smallPiece:
		p.list[last] = append(p.list[last], b...)
	default:
		p.list = append(p.list, b)
	}
}

// bytes is the body, without a copy where it came in one message; nil is an
// empty one.
func (p *pieces) bytes() []byte {
	switch len(p.list) {
	case 0:
		return nil
	case 1:
		return p.list[0]
	}
	return bytes.Join(p.list, nil)
}

// eachPiece cuts a body into messages of streamed responses, the last of which
// carries end. An empty body is one empty message, and none where end is false.
func eachPiece(body []byte, end bool, send func(*extprocv3.BodyMutation) error) error {
	for {
		n := min(len(body), pieceSize)
		last := n == len(body)
		if n > 0 || end {
			if err := send(streamedPiece(body[:n], end && last)); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
		body = body[n:]
	}
}

func streamedPiece(b []byte, end bool) *extprocv3.BodyMutation {
	return &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_StreamedResponse{
		StreamedResponse: &extprocv3.StreamedBodyResponse{Body: b, EndOfStream: end},
	}}
}

// wholeBody replaces a buffered body; an empty one has to be cleared by name.
func wholeBody(b []byte) *extprocv3.BodyMutation {
	if len(b) == 0 {
		return &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_ClearBody{ClearBody: true}}
	}
	return &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_Body{Body: b}}
}
