package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Waiter is a stream whose messages can be waited for beside other things, so that no
// goroutine needs to receive them. Each stream of this server is one.
type Waiter interface {
	// Poll takes the next message, and reports false where none is here yet. The error is
	// Recv's. One goroutine may call it.
	Poll(into any) (bool, error)
	// Ready has a value when Poll may have got something to say since it last said false.
	Ready() <-chan struct{}
	// SendBoth is SendMsg of two messages, in one write where the peer's windows let it. The
	// first may be nil.
	SendBoth(first, second any) error
	// SendLast is SendBoth and the stream's good end, in the same write. What its handler
	// returns after that is told to nobody.
	SendLast(first, second any) error
	// OnEnd has f called once the peer will say nothing more, with Recv's error: at once if
	// that is so already. f must not block, and there is one.
	OnEnd(f func(error))
}

// Decoder and Appender are messages that read and write themselves, where the types that
// protoc-gen-go makes cost too much. The bytes that Decode gets are the message's to keep.
type (
	Decoder  interface{ Decode(b []byte) error }
	Appender interface{ Append(dst []byte) []byte }
)

// prefix is what stands before each message: whether it is compressed, and its length.
const prefix = 5

// stream is one call.
type stream struct {
	c        *conn
	id       uint32
	path     string
	encoding string
	timeout  string
	ctx      context.Context
	cancel   context.CancelCauseFunc

	// the message that is coming, of the reading goroutine
	head [prefix]byte
	have int    // of head
	body []byte // what has come of it
	want int    // its length

	mu     sync.Mutex // after conn's, never before
	first  [4][]byte  // room for the queue of most
	queue  [][]byte   // whole messages, of which taken are
	taken  int        // by the handler
	over   error      // why no more will come
	reset  bool       // nothing can be sent either
	onEnd  func(error)
	credit int // what the peer may still send in this stream
	back   int // bytes taken that are not yet given back to the peer
	coming int // bytes that the message lacks that is coming
	ready  chan struct{}

	// under conn's mu
	window int64         // what the peer still takes
	room   chan struct{} // nil where no Send has waited for that
	closed bool          // the trailers are written

	begun bool // response headers are written; the handler's
}

func newStream(c *conn, h *headerReader) *stream {
	st := &stream{
		c: c, id: h.id, path: h.path, encoding: h.encoding, timeout: h.timeout,
		credit: c.server.options.StreamWindow,
		ready:  make(chan struct{}, 1),
	}
	st.queue = st.first[:0]
	st.ctx, st.cancel = context.WithCancelCause(context.Background())
	return st
}

// resetError is the error of a stream that one side gave up.
func resetError(code http2.ErrCode) error { return fmt.Errorf("rpc: stream reset: %v", code) }

// finish notes that the peer will say nothing more; reset, that it will not listen
// either. The first reason counts.
func (st *stream) finish(err error, reset bool) {
	st.mu.Lock()
	first := st.over == nil
	if first {
		st.over = err
	}
	st.reset = st.reset || reset
	end := st.onEnd
	st.mu.Unlock()
	if reset {
		st.cancel(err) // which wakes who waits for room, too
	}
	if first && end != nil {
		end(err)
	}
	st.signal()
}

func (st *stream) signal() {
	select {
	case st.ready <- struct{}{}:
	default:
	}
}

// wake has a Send that waits for the peer's window look again; conn's mu is held.
func (st *stream) wake() {
	select {
	case st.room <- struct{}{}:
	default: // full, or nobody waits
	}
}

// partial reports whether a message has begun and not ended; the reading goroutine's.
func (st *stream) partial() bool { return st.have > 0 }

// receive takes bytes of messages; size is what they took of the window.
func (st *stream) receive(data []byte, size int) error {
	st.mu.Lock()
	st.credit -= size
	broken := st.credit < 0
	st.back += size - len(data) // padding is nobody's to take
	st.mu.Unlock()
	if broken {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeFlowControl}
	}
	for len(data) > 0 {
		if st.have < prefix {
			n := copy(st.head[st.have:], data)
			st.have += n
			data = data[n:]
			if st.have < prefix {
				break
			}
			size := binary.BigEndian.Uint32(st.head[1:])
			if st.head[0] != 0 || int64(size) > int64(st.c.server.options.MaxMessage) {
				st.refuse(st.head[0] != 0, size)
				return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeCancel}
			}
			st.want = int(size)
			st.body = make([]byte, 0, size)
		}
		n := min(st.want-len(st.body), len(data))
		st.body = append(st.body, data[:n]...)
		data = data[n:]
		if len(st.body) == st.want {
			st.complete()
		}
	}
	// A message without a byte ends with its prefix.
	if st.have == prefix && len(st.body) == st.want {
		st.complete()
	}
	st.mu.Lock()
	st.coming = 0
	if st.have == prefix {
		st.coming = st.want - len(st.body)
	}
	grant := st.widen()
	st.mu.Unlock()
	st.grant(grant)
	return nil
}

func (st *stream) complete() {
	st.mu.Lock()
	if st.taken > 0 && len(st.queue) == cap(st.queue) && st.taken >= len(st.queue)/2 {
		n := copy(st.queue, st.queue[st.taken:])
		clear(st.queue[n:])
		st.queue, st.taken = st.queue[:n], 0
	}
	st.queue = append(st.queue, st.body)
	st.mu.Unlock()
	st.have, st.want, st.body = 0, 0, nil
	st.signal()
}

// keptQueue is how many messages a stream that has none waiting keeps the room for.
const keptQueue = 16

// waiting is how many messages nobody has taken; st.mu is held.
func (st *stream) waiting() int { return len(st.queue) - st.taken }

// widen is what the peer must be let send for the message that is waited for to come
// whole; st.mu is held.
func (st *stream) widen() int {
	if st.waiting() > 0 || st.coming <= st.credit {
		return 0
	}
	n := st.coming - st.credit
	st.credit += n
	return n
}

// grant lets the peer send n bytes more in this stream.
func (st *stream) grant(n int) {
	if n <= 0 {
		return
	}
	c := st.c
	c.mu.Lock()
	c.out = appendWindow(c.out, st.id, n)
	c.flush()
	c.mu.Unlock()
}

// refuse says why a message is not taken.
func (st *stream) refuse(compressed bool, size uint32) {
	err := status.Errorf(codes.ResourceExhausted, "rpc: a message of %d bytes is larger than %d", size, st.c.server.options.MaxMessage)
	if compressed {
		err = status.Error(codes.Unimplemented, "rpc: compression is not supported")
	}
	st.finish(err, false)
}

// Poll takes the next message. The bytes of what it decodes are the message's own.
func (st *stream) Poll(into any) (bool, error) {
	st.mu.Lock()
	if st.waiting() == 0 {
		err := st.over
		st.mu.Unlock()
		return false, err
	}
	message := st.queue[st.taken]
	st.queue[st.taken] = nil
	if st.taken++; st.waiting() == 0 { // its room is for those to come, unless they were very many
		st.taken, st.queue = 0, st.queue[:0]
		if cap(st.queue) > keptQueue {
			st.queue = nil
		}
	}
	st.back += len(message) + prefix
	var grant int
	if st.over == nil {
		if st.back >= st.c.server.options.StreamWindow/2 {
			grant, st.back = st.back, 0
			// What was widened for one message is not given twice.
			grant = max(0, min(grant, st.c.server.options.StreamWindow-st.credit))
			st.credit += grant
		}
		grant += st.widen()
	}
	st.mu.Unlock()
	st.grant(grant)
	var err error
	switch m := into.(type) {
	case Decoder:
		err = m.Decode(message)
	case proto.Message:
		err = proto.Unmarshal(message, m)
	default:
		return false, status.Errorf(codes.Internal, "rpc: %T is no protobuf message", into)
	}
	if err != nil {
		return false, status.Error(codes.InvalidArgument, "rpc: a message that can't be decoded")
	}
	return true, nil
}

// Ready implements Waiter.
func (st *stream) Ready() <-chan struct{} { return st.ready }

// OnEnd implements Waiter.
func (st *stream) OnEnd(f func(error)) {
	st.mu.Lock()
	over := st.over
	st.onEnd = f
	st.mu.Unlock()
	if over != nil {
		f(over)
	}
}

// RecvMsg waits for the next message.
func (st *stream) RecvMsg(into any) error {
	for {
		ok, err := st.Poll(into)
		if ok || err != nil {
			return err
		}
		select {
		case <-st.ready:
		case <-st.ctx.Done():
			return contextError(st.ctx)
		}
	}
}

func contextError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return status.Error(codes.DeadlineExceeded, "rpc: the call's deadline has passed")
	}
	return status.Error(codes.Canceled, context.Cause(ctx).Error())
}

// outgoing are buffers of messages to be sent.
var outgoing = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

// SendMsg writes a message. It returns once the peer's window has taken it.
func (st *stream) SendMsg(m any) error { return st.send(nil, m, false) }

// SendBoth implements Waiter.
func (st *stream) SendBoth(first, second any) error { return st.send(first, second, false) }

// SendLast implements Waiter.
func (st *stream) SendLast(first, second any) error { return st.send(first, second, true) }

func (st *stream) send(first, second any, last bool) error {
	buffer := outgoing.Get().(*[]byte)
	defer func() {
		if cap(*buffer) <= 2<<20 { // a piece of a large body, with what goes before it
			outgoing.Put(buffer)
		}
	}()
	b, err := (*buffer)[:0], error(nil)
	if first != nil {
		if b, err = appendMessage(b, first); err != nil {
			return err
		}
	}
	if b, err = appendMessage(b, second); err != nil {
		return err
	}
	*buffer = b
	return st.write(b, last)
}

// appendMessage appends a message with its prefix.
func appendMessage(b []byte, m any) (_ []byte, err error) {
	at := len(b)
	b = append(b, 0, 0, 0, 0, 0)
	switch m := m.(type) {
	case Appender:
		b = m.Append(b)
	case proto.Message:
		if b, err = (proto.MarshalOptions{}).MarshalAppend(b, m); err != nil {
			return nil, status.Errorf(codes.Internal, "rpc: %v", err)
		}
	default:
		return nil, status.Errorf(codes.Internal, "rpc: %T is no protobuf message", m)
	}
	binary.BigEndian.PutUint32(b[at+1:], uint32(len(b)-at-prefix))
	return b, nil
}

// write sends bytes in frames, as the windows let it.
func (st *stream) write(b []byte, last bool) error {
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !st.begun {
		st.begun = true
		c.writeHeaders(st.id, 0, responseHeaders)
	}
	for len(b) > 0 {
		if err := st.ended(); err != nil {
			return err
		}
		if len(c.out) > highWater {
			if c.writing {
				c.drained.Wait() // whoever is writing, or the end, wakes us
			} else {
				c.flush()
			}
			continue
		}
		n := int(min(int64(len(b)), c.window, st.window, int64(c.maxFrame)))
		if n <= 0 {
			if st.room == nil { // before c.mu is let go of: the peer may make room at once
				st.room = make(chan struct{}, 1)
			}
			c.flush()
			if err := st.waitForRoom(); err != nil {
				return err
			}
			continue
		}
		c.window -= int64(n)
		st.window -= int64(n)
		c.out = appendFrame(c.out, http2.FrameData, 0, st.id, b[:n])
		b = b[n:]
	}
	if last {
		st.end(statusOK)
	}
	c.flush()
	return nil // the peer may have ended the stream meanwhile, because it has all
}

// ended is why nothing can be sent any more; conn's mu is held.
func (st *stream) ended() error {
	if st.c.err != nil {
		return status.Error(codes.Unavailable, st.c.err.Error())
	}
	if st.ctx.Err() != nil {
		return contextError(st.ctx)
	}
	return nil
}

// waitForRoom waits until the peer may take more; conn's mu is held before and after.
func (st *stream) waitForRoom() error {
	st.c.mu.Unlock()
	defer st.c.mu.Lock()
	select {
	case <-st.room:
		return nil
	case <-st.ctx.Done():
		return contextError(st.ctx)
	}
}

// Context, and what else grpc.ServerStream has. Metadata is not carried.
func (st *stream) Context() context.Context     { return st.ctx }
func (st *stream) SetHeader(metadata.MD) error  { return nil }
func (st *stream) SendHeader(metadata.MD) error { return nil }
func (st *stream) SetTrailer(metadata.MD)       {}

var (
	_ grpc.ServerStream = (*stream)(nil)
	_ Waiter            = (*stream)(nil)
)

// serve runs the method, and ends the stream with what it returned.
func (st *stream) serve() {
	c := st.c
	defer c.left()
	if d, ok := deadline(st.timeout); ok {
		var stop context.CancelFunc
		st.ctx, stop = context.WithTimeout(st.ctx, d)
		defer stop()
	}
	st.close(st.run())
}

func (st *stream) run() error {
	if st.encoding != "" && st.encoding != "identity" {
		return status.Errorf(codes.Unimplemented, "rpc: grpc-encoding %q is not supported", st.encoding)
	}
	if m, ok := st.c.server.streams[st.path]; ok {
		return m.handle(m.implementation, st)
	}
	m, ok := st.c.server.unary[st.path]
	if !ok {
		return status.Errorf(codes.Unimplemented, "unknown method %s", st.path)
	}
	reply, err := m.handle(m.implementation, st.ctx, st.RecvMsg, nil)
	if err != nil {
		return err
	}
	return st.SendMsg(reply)
}

// close ends the stream with what its handler returned, unless SendLast did.
func (st *stream) close(err error) {
	c := st.c
	trailers := statusOK
	if err != nil {
		s := status.Convert(err)
		if errors.Is(err, io.EOF) { // a caller that said nothing
			s = status.New(codes.Internal, "rpc: no message came")
		}
		trailers = appendStatus(nil, int(s.Code()), s.Message())
	}
	c.mu.Lock()
	st.end(trailers)
	c.flush()
	c.mu.Unlock()
	st.cancel(context.Canceled)
}

// end writes the trailers, once; conn's mu is held.
func (st *stream) end(trailers []byte) {
	c := st.c
	if st.closed {
		return
	}
	st.closed = true
	delete(c.streams, st.id)
	if !st.begun {
		st.begun = true
		trailers = append(responseHeaders[:len(responseHeaders):len(responseHeaders)], trailers...) // one block says all
	}
	st.mu.Lock()
	open, reset := st.over == nil, st.reset
	st.mu.Unlock()
	if reset || c.err != nil {
		return
	}
	c.writeHeaders(st.id, http2.FlagHeadersEndStream, trailers)
	if open { // it may stop sending
		c.out = appendReset(c.out, st.id, http2.ErrCodeNo)
	}
}

// deadline reads a grpc-timeout (PROTOCOL-HTTP2.md, Requests).
func deadline(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 64)
	unit, ok := map[string]time.Duration{
		"H": time.Hour, "M": time.Minute, "S": time.Second, "m": time.Millisecond, "u": time.Microsecond, "n": time.Nanosecond,
	}[s[len(s)-1:]]
	if err != nil || !ok || strings.HasPrefix(s, "+") {
		return 0, false
	}
	const most = 1 << 62
	if n > uint64(most)/uint64(unit) {
		return most, true
	}
	return time.Duration(n) * unit, true
}
