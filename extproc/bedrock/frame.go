package bedrock

import (
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

// frameReader cuts a byte stream into frames: a whole frame or nothing.
type frameReader struct {
	r    io.Reader
	buf  []byte // [at:] is read and not yet cut
	at   int
	done error // what ended the input
}

// next is the next whole frame, valid until the following call. At a clean end
// it is io.EOF, inside a frame io.ErrUnexpectedEOF. Any other error of the
// reader comes back as it is, and the call may be repeated: nothing is lost.
func (f *frameReader) next() ([]byte, error) {
	for {
		n, err := frameLength(f.buf[f.at:])
		if err != nil {
			return nil, err
		}
		if n > 0 && len(f.buf)-f.at >= n {
			frame := f.buf[f.at : f.at+n]
			f.at += n
			return frame, checkFrame(frame)
		}
		if f.done != nil {
			if len(f.buf) > f.at {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, f.done
		}
		if err := f.fill(n); err != nil {
			return nil, err
		}
	}
}

// buffered reports whether next needs no reading.
func (f *frameReader) buffered() bool {
	n, err := frameLength(f.buf[f.at:])
	return err != nil || (n > 0 && len(f.buf)-f.at >= n)
}

// fill reads once, with room for a frame of n bytes. An end of input is kept in
// done: bytes read together with it count first.
func (f *frameReader) fill(n int) error {
	if f.at > 0 {
		f.buf = f.buf[:copy(f.buf, f.buf[f.at:])]
		f.at = 0
	}
	// A length is only a promise: room grows with what has come.
	if want := min(max(n, readSize), 2*len(f.buf)+readSize); cap(f.buf) < want {
		grown := make([]byte, len(f.buf), want)
		copy(grown, f.buf)
		f.buf = grown
	}
	got, err := f.r.Read(f.buf[len(f.buf):cap(f.buf)])
	f.buf = f.buf[:len(f.buf)+got]
	if err == io.EOF {
		f.done = io.EOF
		return nil
	}
	if got > 0 && err != nil {
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
