package rpc

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"aisix/extproc/sockets"
)

const (
	readBuffer   = 64 << 10
	maxFrame     = 16 << 10 // HTTP/2's own for a peer that was told nothing
	maxHeaders   = 16 << 10 // of one stream, decoded
	headerTable  = 4 << 10  // of the peer's compressed headers
	maxStreamID  = 1<<31 - 1
	goAwayGrace  = time.Second // longest wait for an answer to a ping before the last word
	acceptsPings = "aisix go"  // what that ping holds: eight bytes
)

// conn is one connection. Its own goroutine reads; streams write.
type conn struct {
	server  *Server
	nc      net.Conn
	framer  *http2.Framer // to read only
	headers headerReader

	received int // bytes of data that are not yet given back to the connection's window; the reading goroutine's
	delay    delayProbe

	mu      sync.Mutex
	out     []byte    // frames that wait to be written
	spare   []byte    // the buffer that was written last
	writing bool      // somebody is writing, and will take out along
	drained sync.Cond // out was taken, or nobody writes any more
	err     error     // why the connection ended
	greeted bool      // our settings are out
	noTable bool      // the peer knows that our headers use no table
	away    bool      // the peer was told to go elsewhere
	lastID  uint32    // of the newest stream; written by the reading goroutine only
	allowed uint32    // no stream begins after this one
	streams map[uint32]*stream
	running int // streams whose handlers have not returned

	// what the peer takes, under mu
	window       int64 // of the connection
	streamWindow int64 // a new stream's
	maxFrame     int
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{
		server: s, nc: sockets.Conn(nc),
		streams: map[uint32]*stream{}, allowed: maxStreamID,
		window: leastWindow, streamWindow: leastWindow, maxFrame: maxFrame,
	}
	c.drained.L = &c.mu
	return c
}

// serve reads until the connection ends.
func (c *conn) serve() {
	defer c.server.gone(c)
	c.end(c.read())
}

var errPreface = errors.New("rpc: the peer does not speak HTTP/2")

func (c *conn) read() error {
	if err := c.nc.SetDeadline(time.Now().Add(c.server.options.Handshake)); err != nil {
		return err
	}
	if c.server.options.TLS != nil {
		t := tls.Server(c.nc, c.server.options.TLS)
		if err := t.Handshake(); err != nil {
			return err
		}
		c.mu.Lock()
		c.nc = t
		c.mu.Unlock()
	}
	r := bufio.NewReaderSize(c.nc, readBuffer)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(r, preface); err != nil {
		return err
	}
	if string(preface) != http2.ClientPreface {
		return errPreface
	}
	c.framer = http2.NewFramer(nil, r)
	c.framer.SetMaxReadFrameSize(maxFrame)
	c.framer.SetReuseFrames()
	c.headers.init()
	c.greet()
	first, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	settings, ok := first.(*http2.SettingsFrame)
	if !ok || settings.IsAck() {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if err := c.onSettings(settings); err != nil {
		return err
	}
	if err := c.nc.SetDeadline(time.Time{}); err != nil {
		return err
	}
	for {
		if err := c.frame(); err != nil {
			return err
		}
	}
}

// frame reads one frame and does what it says. A fault of one stream ends that stream.
func (c *conn) frame() error {
	f, err := c.framer.ReadFrame()
	if err == nil {
		err = c.onFrame(f)
	}
	if err == nil {
		return nil
	}
	var one http2.StreamError
	if errors.As(err, &one) {
		c.reset(one.StreamID, one.Code)
		return nil
	}
	return err
}

func (c *conn) onFrame(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.onData(f)
	case *http2.HeadersFrame:
		if f.StreamID%2 == 0 {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		c.headers.begin(f.StreamID, f.StreamEnded())
		return c.onHeaders(f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.ContinuationFrame: // the framer sees to it that it follows its headers
		return c.onHeaders(f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.RSTStreamFrame:
		if st := c.stream(f.StreamID); st != nil {
			st.finish(resetError(f.ErrCode), true)
			c.forget(st)
		}
		return nil
	case *http2.WindowUpdateFrame:
		return c.onWindow(f)
	case *http2.SettingsFrame:
		return c.onSettings(f)
	case *http2.PingFrame:
		c.onPing(f)
		return nil
	default: // priorities, pushes, the peer's GOAWAY, frames of later versions: nothing to do
		return nil
	}
}

func (c *conn) stream(id uint32) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id]
}

// onHeaders takes a piece of a header block; at its end a stream begins, or trailers
// end one.
func (c *conn) onHeaders(block []byte, end bool) error {
	if err := c.headers.write(block); err != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	if !end {
		return nil
	}
	if err := c.headers.close(); err != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	h := &c.headers
	if st := c.stream(h.id); st != nil {
		if !h.ended {
			return http2.StreamError{StreamID: h.id, Code: http2.ErrCodeProtocol}
		}
		st.finish(io.EOF, false)
		return nil
	}
	if h.id <= c.lastID {
		return nil // trailers of a stream that we have ended
	}
	st := newStream(c, h)
	c.mu.Lock()
	c.lastID = h.id
	if h.tooLarge {
		c.mu.Unlock()
		return http2.StreamError{StreamID: h.id, Code: http2.ErrCodeEnhanceYourCalm}
	}
	if h.id > c.allowed || c.running >= c.server.options.MaxStreams {
		c.mu.Unlock()
		return http2.StreamError{StreamID: h.id, Code: http2.ErrCodeRefusedStream}
	}
	st.window = c.streamWindow
	c.streams[h.id] = st
	c.running++
	c.mu.Unlock()
	if h.ended {
		st.finish(io.EOF, false)
	}
	c.server.idle.serve(st)
	c.streamBegun()
	return nil
}

// onData gives the connection's window back at once, and a stream's as its handler
// takes messages.
func (c *conn) onData(f *http2.DataFrame) error {
	size := int(f.Length)
	if c.received += size; c.received >= connectionWindow/4 {
		c.mu.Lock()
		c.out = appendWindow(c.out, 0, c.received)
		c.flush()
		c.mu.Unlock()
		c.received = 0
	}
	st := c.stream(f.StreamID)
	if st == nil {
		if f.StreamID > c.lastID {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil // of a stream that has ended here
	}
	if err := st.receive(f.Data(), size); err != nil {
		return err
	}
	if f.StreamEnded() {
		if st.partial() {
			st.finish(io.ErrUnexpectedEOF, false)
		} else {
			st.finish(io.EOF, false)
		}
	}
	return nil
}

func (c *conn) onWindow(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		c.window += int64(f.Increment)
		if c.window > maxStreamID {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		for _, st := range c.streams {
			st.wake()
		}
		return nil
	}
	st := c.streams[f.StreamID]
	if st == nil {
		return nil
	}
	st.window += int64(f.Increment)
	if st.window > maxStreamID {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	st.wake()
	return nil
}

func (c *conn) onSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingInitialWindowSize:
			delta := int64(s.Val) - c.streamWindow
			c.streamWindow = int64(s.Val)
			for _, st := range c.streams {
				st.window += delta
				st.wake()
			}
		case http2.SettingMaxFrameSize:
			c.maxFrame = int(s.Val)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.out = appendFrame(c.out, http2.FrameSettings, http2.FlagSettingsAck, 0, nil)
	c.flush()
	return nil
}

func (c *conn) onPing(f *http2.PingFrame) {
	if f.IsAck() {
		switch string(f.Data[:]) {
		case acceptsPings:
			c.lastWord()
		case asksDelay:
			c.pingAnswered()
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = appendFrame(c.out, http2.FramePing, http2.FlagPingAck, 0, f.Data[:])
	c.flush()
}

// goAway tells the peer to begin no more streams. Those that it has begun meanwhile are
// served: the last of them is known once it has answered a ping.
func (c *conn) goAway() {
	c.mu.Lock()
	if !c.greeted { // nothing has begun
		c.mu.Unlock()
		c.end(ErrStopped)
		return
	}
	defer c.mu.Unlock()
	if c.away || c.err != nil {
		return
	}
	c.away = true
	c.out = appendGoAway(c.out, maxStreamID, http2.ErrCodeNo)
	c.out = appendFrame(c.out, http2.FramePing, 0, 0, []byte(acceptsPings))
	c.flush()
	time.AfterFunc(goAwayGrace, c.lastWord)
}

// lastWord says which stream was the last, after which the connection ends with it.
func (c *conn) lastWord() {
	c.mu.Lock()
	if c.err != nil || c.allowed != maxStreamID {
		c.mu.Unlock()
		return
	}
	c.allowed = c.lastID
	c.out = appendGoAway(c.out, c.allowed, http2.ErrCodeNo)
	c.flush()
	idle := c.running == 0
	c.mu.Unlock()
	if idle {
		c.farewell()
	}
}

// farewell ends a connection whose last stream has ended. Another stream's end may be on its
// way out yet; and of what the peer has not taken from its socket, TCP drops the rest where
// ours closes with something unread. So we say that no more comes, and leave it to the peer to
// close.
func (c *conn) farewell() {
	c.mu.Lock()
	c.written()
	nc := c.nc
	c.mu.Unlock()
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || nc.SetReadDeadline(time.Now().Add(goAwayGrace)) != nil {
		c.end(ErrStopped)
	}
}

// reset ends a stream for a fault of the peer's.
func (c *conn) reset(id uint32, code http2.ErrCode) {
	c.mu.Lock()
	st := c.streams[id]
	c.out = appendReset(c.out, id, code)
	c.flush()
	c.mu.Unlock()
	if st != nil {
		st.finish(resetError(code), true)
		c.forget(st)
	}
}

// forget has no more frames come for a stream.
func (c *conn) forget(st *stream) {
	c.mu.Lock()
	delete(c.streams, st.id)
	c.mu.Unlock()
}

// left notes that a stream's handler has returned.
func (c *conn) left() {
	c.mu.Lock()
	c.running--
	over := c.running == 0 && c.allowed != maxStreamID
	c.mu.Unlock()
	if over {
		c.farewell()
	}
}

// end ends the connection, and with it all streams. Only the first call counts.
func (c *conn) end(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	var fault http2.ConnectionError
	if errors.As(err, &fault) {
		c.out = appendGoAway(c.out, c.lastID, http2.ErrCode(fault))
		_ = c.nc.SetWriteDeadline(time.Now().Add(time.Second))
		c.flush()
	}
	c.err = err
	streams := c.streams
	c.streams = map[uint32]*stream{}
	c.drained.Broadcast()
	nc := c.nc
	c.mu.Unlock()
	nc.Close()
	for _, st := range streams {
		st.finish(err, true)
	}
}

// headerReader decodes header blocks, and keeps of them what a gRPC server reads.
type headerReader struct {
	decoder  *hpack.Decoder
	id       uint32
	ended    bool // the stream's other end has nothing more to say
	size     int
	tooLarge bool

	path, encoding, timeout string
}

func (h *headerReader) init() {
	h.decoder = hpack.NewDecoder(headerTable, h.field)
	h.decoder.SetMaxStringLength(maxHeaders)
}

func (h *headerReader) begin(id uint32, ended bool) {
	h.id, h.ended, h.size, h.tooLarge = id, ended, 0, false
	h.path, h.encoding, h.timeout = "", "", ""
}

func (h *headerReader) write(block []byte) error {
	_, err := h.decoder.Write(block)
	return err
}

func (h *headerReader) close() error { return h.decoder.Close() }

func (h *headerReader) field(f hpack.HeaderField) {
	if h.size += int(f.Size()); h.size > maxHeaders {
		h.tooLarge = true
		return
	}
	switch f.Name {
	case ":path":
		h.path = f.Value
	case "grpc-encoding":
		h.encoding = f.Value
	case "grpc-timeout":
		h.timeout = f.Value
	}
}
