package bedrock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"aisix/extproc/sse"
)

// maxEvent is how long an event of a stream may be, in bytes; as long as a frame's payload.
const maxEvent = 16 << 20

// source cuts the body of a stream into what a decoder reads, frames of AWS's or the data
// of server-sent events.
type source interface {
	// next is the next one, whole, and valid until the following call. At a clean end it is
	// io.EOF, inside of one io.ErrUnexpectedEOF, errFrame what can't be one. Any other error
	// of the reader comes back as it is, and the call may be repeated: nothing is lost.
	next() ([]byte, error)
	// buffered reports whether next needs no reading.
	buffered() bool
}

// sseSource cuts server-sent events: their data, each one JSON value on one line.
type sseSource struct {
	body pieceReader
	rest []byte // read and not yet cut
	data []byte // cut and not yet given
	done bool
}

func (s *sseSource) next() ([]byte, error) {
	for {
		if s.cut() {
			data := s.data
			s.data = nil
			return data, nil
		}
		if s.done {
			if len(bytes.TrimSpace(s.rest)) == 0 {
				return nil, io.EOF
			}
			if !s.last() {
				return nil, io.ErrUnexpectedEOF
			}
			continue
		}
		if len(s.rest) > maxEvent {
			return nil, fmt.Errorf("%w: an event of more than %d bytes", errFrame, maxEvent)
		}
		piece, err := s.body.Piece()
		switch {
		case len(piece) == 0:
		case len(s.rest) == 0:
			s.rest = piece
		default:
			s.rest = append(s.rest[:len(s.rest):len(s.rest)], piece...)
		}
		if err == io.EOF {
			s.done = true
			continue
		}
		if err != nil && len(piece) == 0 {
			return nil, err // with bytes beside it, the reader repeats it
		}
	}
}

// last takes what stands behind the last blank line as an event, since the body is at its end:
// not every service ends the last one. It reports false where that is not a whole one.
func (s *sseSource) last() bool {
	data, _ := sse.Cut(append(s.rest[:len(s.rest):len(s.rest)], "\n\n"...))
	switch {
	case string(data) == "[DONE]":
	case json.Valid(data):
		s.data = onOneLine(data)
	default:
		return false
	}
	s.rest = nil
	return true
}

func (s *sseSource) buffered() bool { return s.cut() }

// cut sees to it that an event's data is at hand, and reports whether there is some.
// [DONE] says no more than the end of the body does.
func (s *sseSource) cut() bool {
	for s.data == nil {
		data, n := sse.Cut(s.rest)
		if n == 0 {
			return false
		}
		if s.rest = s.rest[n:]; len(s.rest) == 0 {
			s.rest = nil
		}
		if len(data) > 0 && string(data) != "[DONE]" {
			s.data = onOneLine(data)
		}
	}
	return true
}

// onOneLine is an event's data as an answer of ours has it.
func onOneLine(data []byte) []byte {
	if bytes.IndexByte(data, '\n') < 0 {
		return data
	}
	var line bytes.Buffer
	if json.Compact(&line, data) != nil {
		return data // the decoder says what is wrong with it
	}
	return line.Bytes()
}
