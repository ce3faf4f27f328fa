package sockets

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// Conn is nc with quick reads and writes, or nc itself where it is no socket (TLS, say).
func Conn(nc net.Conn) net.Conn {
	if u, ok := nc.(*net.UnixConn); ok && u.LocalAddr().Network() == "unix" {
		if c, err := newUnix(u); err == nil {
			return c
		}
	}
	s, ok := nc.(syscall.Conn)
	if !ok {
		return nc
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nc
	}
	c := &conn{Conn: nc, raw: raw}
	c.read.call, c.write.call = c.read.doRead, c.write.doWrite
	return c
}

// conn is one socket. Deadlines and Close are the socket's own, and end what waits here.
type conn struct {
	net.Conn
	raw         syscall.RawConn
	read, write transfer
}

// transfer is the call under way in one direction. There is one at a time, as on any
// connection; a closure for each would be garbage.
type transfer struct {
	mu   sync.Mutex
	call func(fd uintptr) bool // doRead or doWrite
	b    []byte                // what is left to do
	n    int
	err  error
}

// CloseWrite tells the other end that no more comes.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SyscallConn is for go-redis, which looks at each connection that was idle before it uses
// it: whether the other end has closed it, or sent something unasked.
func (c *conn) SyscallConn() (syscall.RawConn, error) { return quiet{c.raw}, nil }

// quiet is a socket that lets nobody look at it where there is nothing to see.
type quiet struct{ syscall.RawConn }

func (q quiet) Read(look func(fd uintptr) bool) error {
	return q.RawConn.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		return errno == syscall.EAGAIN || look(fd)
	})
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.read.take(b, c.raw.Read)
	return n, c.failed("read", err)
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.write.run(b, c.raw.Write)
	return n, c.failed("write", err)
}

// failed says what a call failed of; what ended the waiting for it has said that itself.
func (c *conn) failed(op string, err error) error {
	if errno, ok := err.(syscall.Errno); ok { // nothing wraps it
		return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
	}
	return err
}

// run does what there is to do with b; wait has call tried until it is done. Its error is a
// syscall.Errno, or wait's: the socket was closed, or its deadline has passed.
func (t *transfer) run(b []byte, wait func(call func(fd uintptr) bool) error) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b, t.n, t.err = b, 0, nil
	err := wait(t.call)
	t.b = nil
	if err == nil {
		err = t.err
	}
	return t.n, err
}

// take is run for reading: nothing is the end.
func (t *transfer) take(b []byte, wait func(call func(fd uintptr) bool) error) (int, error) {
	n, err := t.run(b, wait)
	if n == 0 && err == nil && len(b) > 0 {
		err = io.EOF
	}
	return n, err
}

// doRead reports whether there is an answer; the socket waits for its next byte where not.
func (t *transfer) doRead(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.b))), uintptr(len(t.b)))
		switch errno {
		case 0:
			t.n = int(n)
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			t.err = errno
			return true
		}
	}
}

// doWrite reports whether all is written, or nothing more can be.
func (t *transfer) doWrite(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.b))), uintptr(len(t.b)))
		switch errno {
		case 0:
			t.n += int(n)
			if t.b = t.b[n:]; len(t.b) == 0 {
				return true
			}
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			t.err = errno
			return true
		}
	}
}
