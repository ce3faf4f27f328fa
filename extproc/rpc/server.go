package rpc

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// Options are a server's bounds; the zero value has the defaults.
type Options struct {
	TLS *tls.Config // nil is plain text
	// MaxMessage bounds a message that is received, in bytes; 0 is 4 MiB.
	MaxMessage int
	// StreamWindow is what may wait in one stream unread, in bytes, a message that is
	// waited for apart; 0 is 64 KiB, which is also the least.
	StreamWindow int
	// MaxStreams bounds the streams of a connection that are served at a time; 0 is 64 Ki.
	MaxStreams int
	// Handshake bounds the time until a peer has said who it is; 0 is 20 s.
	Handshake time.Duration
	// Delayed, where set, is told how late a busy connection is: how long what one side
	// sends waits until the other has got to it, there and back, and how many streams have
	// begun meanwhile, which is how many wait for it. It must not block.
	Delayed func(delay time.Duration, begun int)
}

const (
	leastWindow       = 65535 // HTTP/2's own for a stream that was told nothing
	connectionWindow  = 16 << 20
	defaultMessage    = 4 << 20
	defaultMaxStreams = 64 << 10
	defaultHandshake  = 20 * time.Second
)

// ErrStopped is what Serve returns after Stop or GracefulStop.
var ErrStopped = errors.New("rpc: the server has stopped")

// Server serves gRPC. Register services, then Serve.
type Server struct {
	options Options
	unary   map[string]unary     // by path
	streams map[string]streaming // by path
	idle    workers

	mu        sync.Mutex
	listeners map[net.Listener]bool
	conns     map[*conn]bool
	stopping  bool
	empty     chan struct{} // closed once stopping and no connection is left
}

// unary and streaming are the two kinds of method, with who implements them.
type unary struct {
	implementation any
	handle         grpc.MethodHandler
}

type streaming struct {
	implementation any
	handle         grpc.StreamHandler
}

// NewServer makes a server without services.
func NewServer(o Options) *Server {
	if o.MaxMessage <= 0 {
		o.MaxMessage = defaultMessage
	}
	if o.MaxStreams <= 0 {
		o.MaxStreams = defaultMaxStreams
	}
	if o.Handshake <= 0 {
		o.Handshake = defaultHandshake
	}
	o.StreamWindow = max(o.StreamWindow, leastWindow)
	if o.TLS != nil {
		o.TLS = o.TLS.Clone()
		o.TLS.NextProtos = []string{"h2"}
	}
	return &Server{
		options: o,
		unary:   map[string]unary{}, streams: map[string]streaming{},
		idle:      newWorkers(),
		listeners: map[net.Listener]bool{}, conns: map[*conn]bool{},
		empty: make(chan struct{}),
	}
}

// RegisterService adds a generated service, before Serve.
func (s *Server) RegisterService(d *grpc.ServiceDesc, implementation any) {
	for _, m := range d.Methods {
		s.unary["/"+d.ServiceName+"/"+m.MethodName] = unary{implementation, m.Handler}
	}
	for _, m := range d.Streams {
		s.streams["/"+d.ServiceName+"/"+m.StreamName] = streaming{implementation, m.Handler}
	}
}

// Serve takes connections until the server stops, and returns nil then; else the
// listener's error.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		l.Close()
		return ErrStopped
	}
	s.listeners[l] = true
	s.mu.Unlock()
	defer l.Close()
	var wait time.Duration
	for {
		nc, err := l.Accept()
		if err == nil {
			wait = 0
			s.begin(nc)
			continue
		}
		s.mu.Lock()
		stopping := s.stopping
		s.mu.Unlock()
		if stopping {
			return nil
		}
		var temporary interface{ Temporary() bool } // too many descriptors, say
		if !errors.As(err, &temporary) || !temporary.Temporary() {
			return fmt.Errorf("rpc: accept: %w", err)
		}
		wait = min(max(2*wait, 5*time.Millisecond), time.Second)
		time.Sleep(wait)
	}
}

func (s *Server) begin(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		nc.Close()
		return
	}
	s.conns[c] = true
	s.mu.Unlock()
	go c.serve()
}

// gone forgets a connection that has ended.
func (s *Server) gone(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.stopping && len(s.conns) == 0 {
		s.closeEmpty()
	}
}

func (s *Server) closeEmpty() {
	select {
	case <-s.empty:
	default:
		close(s.empty)
		s.idle.stop()
	}
}

// stop closes the listeners, and tells each connection there is.
func (s *Server) stop(tell func(*conn)) {
	s.mu.Lock()
	s.stopping = true
	for l := range s.listeners {
		l.Close()
	}
	var conns []*conn
	for c := range s.conns {
		conns = append(conns, c)
	}
	if len(conns) == 0 {
		s.closeEmpty()
	}
	s.mu.Unlock()
	for _, c := range conns {
		tell(c)
	}
	<-s.empty
}

// GracefulStop takes no more connections and streams, and returns when all streams
// have ended, or after Stop.
func (s *Server) GracefulStop() { s.stop((*conn).goAway) }

// Stop ends everything at once.
func (s *Server) Stop() {
	s.stop(func(c *conn) { c.end(ErrStopped) })
}

// workers are goroutines that have served a stream and wait for the next: their stacks
// have grown already.
type workers struct {
	work chan *stream
	done chan struct{}
	free chan struct{} // one per worker that may wait
}

// waiting is how many goroutines may wait for work.
const waiting = 256

func newWorkers() workers {
	return workers{make(chan *stream), make(chan struct{}), make(chan struct{}, waiting)}
}

// serve has a worker serve st, a new one where none waits.
func (w *workers) serve(st *stream) {
	select {
	case w.work <- st:
	default:
		go w.run(st)
	}
}

func (w *workers) run(st *stream) {
	for {
		st.serve()
		select {
		case w.free <- struct{}{}:
		default:
			return
		}
		select {
		case st = <-w.work:
			<-w.free
		case <-w.done:
			return
		}
	}
}

func (w *workers) stop() { close(w.done) }

var _ grpc.ServiceRegistrar = (*Server)(nil)
