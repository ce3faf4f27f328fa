package exchange

import (
	"bytes"
	"io"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
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

// eachPiece cuts a body into messages of streamed responses, the last of which
// carries end. An empty body is one empty message, and none where end is false.
func (x *Exchange) eachPiece(body []byte, end bool, answer func(b []byte, end bool) *extprocv3.ProcessingResponse) error {
	for {
		n := min(len(body), pieceSize)
		last := n == len(body)
		if n > 0 || end {
			if err := x.send(answer(body[:n], end && last)); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
		body = body[n:]
	}
}

// bodyAnswer is the answer to a body message, in one piece: streams send one for
// each of their events.
type bodyAnswer struct {
	message  extprocv3.ProcessingResponse
	request  extprocv3.ProcessingResponse_RequestBody
	response extprocv3.ProcessingResponse_ResponseBody
	body     extprocv3.BodyResponse
	common   extprocv3.CommonResponse
	mutation extprocv3.BodyMutation
	streamed extprocv3.BodyMutation_StreamedResponse
	piece    extprocv3.StreamedBodyResponse
}

func newBodyAnswer(b []byte, end bool) *bodyAnswer {
	a := new(bodyAnswer)
	a.piece.Body, a.piece.EndOfStream = b, end
	a.streamed.StreamedResponse = &a.piece
	a.mutation.Mutation = &a.streamed
	a.common.BodyMutation = &a.mutation
	a.body.Response = &a.common
	return a
}

func requestPiece(b []byte, end bool) *extprocv3.ProcessingResponse {
	a := newBodyAnswer(b, end)
	a.request.RequestBody = &a.body
	a.message.Response = &a.request
	return &a.message
}

func responsePiece(b []byte, end bool) *extprocv3.ProcessingResponse {
	a := newBodyAnswer(b, end)
	a.response.ResponseBody = &a.body
	a.message.Response = &a.response
	return &a.message
}

// wholeBody replaces a buffered body; an empty one has to be cleared by name.
func wholeBody(b []byte) *extprocv3.BodyMutation {
	if len(b) == 0 {
		return &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_ClearBody{ClearBody: true}}
	}
	return &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_Body{Body: b}}
}
