package bedrock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A frame of an AWS event stream: total length, headers length and their CRC
// (the prelude, 12 bytes), headers, payload, and the CRC of all before it.
const (
	preludeSize = 12
	minFrame    = preludeSize + 4
	maxHeaders  = 128 << 10
	maxFrame    = 16<<20 + maxHeaders + minFrame
	readSize    = 8 << 10
)

// errFrame is a frame that can't be one: the stream is lost from there on.
var errFrame = errors.New("malformed event stream frame")

// frameReader cuts a byte stream into frames: a whole frame or nothing. It copies no
// frame that is in one piece, and keeps nothing where a frame ended with its piece: most
// streams stand still most of the time.
type frameReader struct {
	body pieceReader
	rest []byte // read and not yet cut
	ours bool   // rest is a copy of ours, which may grow
	done error  // what ended the input
}

// pieceReader is a body in the pieces in which it comes, which are the caller's to keep. At
// its end it is io.EOF.
type pieceReader interface{ Piece() ([]byte, error) }

// piecesOf is body in pieces: its own where it has some.
func piecesOf(body io.Reader) pieceReader {
	if p, ok := body.(pieceReader); ok {
		return p
	}
	return &readPieces{r: body, buf: make([]byte, readSize)}
}

// readPieces are what a reader gives.
type readPieces struct {
	r   io.Reader
	buf []byte
}

func (p *readPieces) Piece() ([]byte, error) {
	n, err := p.r.Read(p.buf)
	return bytes.Clone(p.buf[:n]), err
}

// next is the next whole frame, valid until the following call. At a clean end
// it is io.EOF, inside a frame io.ErrUnexpectedEOF. Any other error of the
// reader comes back as it is, and the call may be repeated: nothing is lost.
func (f *frameReader) next() ([]byte, error) {
	for {
		n, err := frameLength(f.rest)
		if err != nil {
			return nil, err
		}
		if n > 0 && len(f.rest) >= n {
			frame := f.rest[:n:n]
			if f.rest = f.rest[n:]; len(f.rest) == 0 {
				f.rest, f.ours = nil, false
			}
			return frame, checkFrame(frame)
		}
		if f.done != nil {
			if len(f.rest) > 0 {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, f.done
		}
		if err := f.fill(); err != nil {
			return nil, err
		}
	}
}

// buffered reports whether next needs no reading.
func (f *frameReader) buffered() bool {
	n, err := frameLength(f.rest)
	return err != nil || (n > 0 && len(f.rest) >= n)
}

// fill reads one piece, behind what is left of those before. A length is only a promise:
// room grows with what has come. An end of input is kept in done: bytes read together
// with it count first.
func (f *frameReader) fill() error {
	piece, err := f.body.Piece()
	switch {
	case len(piece) == 0:
	case len(f.rest) == 0:
		f.rest, f.ours = piece, false
	case f.ours:
		f.rest = append(f.rest, piece...)
	default:
		f.rest, f.ours = append(f.rest[:len(f.rest):len(f.rest)], piece...), true
	}
	if err == io.EOF {
		f.done = io.EOF
		return nil
	}
	if len(piece) > 0 && err != nil {
		// The reader repeats a lasting error; a deadline may have passed by then.
		return nil
	}
	return err
}

// frameLength is the length of the frame that b begins with, 0 where b is too
// short to tell.
func frameLength(b []byte) (int, error) {
	if len(b) < preludeSize {
		return 0, nil
	}
	total, headers := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if sum := binary.BigEndian.Uint32(b[8:]); sum != crc32.ChecksumIEEE(b[:8]) {
		return 0, fmt.Errorf("%w: prelude checksum", errFrame)
	}
	if total < minFrame || total > maxFrame || headers > maxHeaders || headers > total-minFrame {
		return 0, fmt.Errorf("%w: length %d, headers %d", errFrame, total, headers)
	}
	return int(total), nil
}

func checkFrame(b []byte) error {
	end := len(b) - 4
	if binary.BigEndian.Uint32(b[end:]) != crc32.ChecksumIEEE(b[:end]) {
		return fmt.Errorf("%w: message checksum", errFrame)
	}
	return nil
}
