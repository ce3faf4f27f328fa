package exchange

import (
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// An answer that is Envoy's first of us may be streamed without any upstream's beside it (Envoy ≥ 1.37, in
// full duplex): StreamedImmediateResponse. Nothing slows it to the caller's pace: Envoy
// takes all that it is given, and holds what the caller has not read.

// Alone reports whether an answer can go out so: nothing was answered yet, and the request is here.
func (x *Exchange) Alone() bool {
	return (x.phase == phaseHeader && x.requestEnded || x.phase == phaseBody) && !x.buffered && !x.streamed && x.modeErr == nil && !x.pending
}

// beginAlone has an answer that was to go out whole go out piece by piece.
func (x *Exchange) beginAlone() {
	w := x.whole
	if w == nil {
		return
	}
	x.whole = nil
	x.heading = mutation(immediateStream, append(w.header[:len(w.header):len(w.header)], KeyValue{":status", strconv.Itoa(w.status)}), nil)
}

// bodies are what the pieces of our answer's body are sent as.
func (x *Exchange) bodies() kind {
	if x.alone {
		return immediateStream
	}
	return responseBody
}

// immediateStream writes a StreamedImmediateResponse: the head, or a piece.
func (a *answer) immediateStream(b []byte) []byte {
	if a.bodyKind == streamedBody {
		return a.appendPiece(appendTag(b, 2, protowire.BytesType))
	}
	return nested(b, 1, func(b []byte) []byte { // HttpHeaders
		return nested(b, 1, func(b []byte) []byte { // HeaderMap
			for _, kv := range a.set {
				b = nested(b, 1, func(b []byte) []byte { return appendText(appendText(b, 1, kv.Key), 3, kv.Value) })
			}
			return b
		})
	})
}
