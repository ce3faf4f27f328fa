package rpc

import (
	"encoding/binary"
	"runtime"
	"strconv"

	"golang.org/x/net/http2"
)

// highWater is what may wait to be written on a connection before a stream that wants
// to say more has to wait. So little is kept for the next body; one that grows and is
// thrown away costs several times the body.
const highWater = 256 << 10

// together is up to how many bytes a write waits for those of streams that are about to
// write too. Where none is, as mostly, that costs nothing; where many are, it spares most of
// the writes, and wakes the peer less often.
const together = 16 << 10

// flush writes what waits, unless somebody is writing already: then that one takes ours
// along. c.mu is held, and is not while bytes go out.
func (c *conn) flush() {
	if c.writing || c.err != nil {
		return
	}
	c.writing = true
	if len(c.out) < together {
		c.mu.Unlock()
		runtime.Gosched() // who else has something to say says it first
		c.mu.Lock()
	}
	for len(c.out) > 0 && c.err == nil {
		out := c.out
		c.out = c.spare[:0]
		c.drained.Broadcast()
		c.mu.Unlock()
		_, err := c.nc.Write(out)
		c.mu.Lock()
		if cap(out) > 2*highWater { // the rare large one is not kept
			out = nil
		}
		c.spare = out[:0]
		if err != nil {
			c.writing = false
			c.drained.Broadcast()
			c.mu.Unlock()
			c.end(err)
			c.mu.Lock()
			return
		}
	}
	c.writing = false
	c.drained.Broadcast()
}

// written waits until all that was said has gone out, or can't any more. c.mu is held, and is
// not while it waits.
func (c *conn) written() {
	for c.err == nil && (c.writing || len(c.out) > 0) {
		c.flush()
		if c.writing {
			c.drained.Wait()
		}
	}
}

// greet sends our settings.
func (c *conn) greet() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var settings []byte
	for _, s := range []http2.Setting{
		{ID: http2.SettingInitialWindowSize, Val: uint32(c.server.options.StreamWindow)},
		{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.server.options.MaxStreams)},
		{ID: http2.SettingMaxHeaderListSize, Val: maxHeaders},
	} {
		settings = binary.BigEndian.AppendUint16(settings, uint16(s.ID))
		settings = binary.BigEndian.AppendUint32(settings, s.Val)
	}
	c.out = appendFrame(c.out, http2.FrameSettings, 0, 0, settings)
	c.out = appendWindow(c.out, 0, connectionWindow-leastWindow)
	c.greeted = true
	c.flush()
}

func appendHeader(dst []byte, size int, kind http2.FrameType, flags http2.Flags, id uint32) []byte {
	dst = append(dst, byte(size>>16), byte(size>>8), byte(size), byte(kind), byte(flags))
	return binary.BigEndian.AppendUint32(dst, id)
}

func appendFrame(dst []byte, kind http2.FrameType, flags http2.Flags, id uint32, payload []byte) []byte {
	return append(appendHeader(dst, len(payload), kind, flags, id), payload...)
}

func appendWindow(dst []byte, id uint32, n int) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(dst, 4, http2.FrameWindowUpdate, 0, id), uint32(n))
}

func appendReset(dst []byte, id uint32, code http2.ErrCode) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(dst, 4, http2.FrameRSTStream, 0, id), uint32(code))
}

func appendGoAway(dst []byte, last uint32, code http2.ErrCode) []byte {
	dst = binary.BigEndian.AppendUint32(appendHeader(dst, 8, http2.FrameGoAway, 0, 0), last)
	return binary.BigEndian.AppendUint32(dst, uint32(code))
}

// noTable is a dynamic table size update to 0 (RFC 7541, 6.3).
const noTable = 0x20

// writeHeaders writes a header block; c.mu is held. The first of a connection says that no
// table is used: a peer that allows none waits for that word (RFC 7541, 4.2).
func (c *conn) writeHeaders(id uint32, flags http2.Flags, block []byte) {
	size := len(block)
	if !c.noTable {
		size++
	}
	c.out = appendHeader(c.out, size, http2.FrameHeaders, flags|http2.FlagHeadersEndHeaders, id)
	if !c.noTable {
		c.noTable = true
		c.out = append(c.out, noTable)
	}
	c.out = append(c.out, block...)
}

// Header blocks without the peer's table (RFC 7541, 6.2.2), so that they need no state.

// responseHeaders are ":status: 200", by its index, and the content type.
var responseHeaders = appendField([]byte{0x88}, "content-type", "application/grpc")

// statusOK are the trailers of a call that went well.
var statusOK = appendField(nil, "grpc-status", "0")

func appendStatus(dst []byte, code int, message string) []byte {
	dst = appendField(dst, "grpc-status", strconv.Itoa(code))
	if message != "" {
		dst = appendField(dst, "grpc-message", percentEncoded(message))
	}
	return dst
}

func appendField(dst []byte, name, value string) []byte {
	return appendText(appendText(append(dst, 0), name), value)
}

// appendText is a string literal, not Huffman-coded: its length in 7 bits and what
// follows (RFC 7541, 5.1), and its bytes.
func appendText(dst []byte, s string) []byte {
	if n := len(s); n < 127 {
		dst = append(dst, byte(n))
	} else {
		dst = append(dst, 127)
		for n -= 127; n >= 128; n >>= 7 {
			dst = append(dst, byte(n)|128)
		}
		dst = append(dst, byte(n))
	}
	return append(dst, s...)
}

// percentEncoded is a status message as gRPC sends it (PROTOCOL-HTTP2.md, Responses).
func percentEncoded(s string) string {
	var out []byte
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			out = append(out, c)
		} else {
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(out)
}
