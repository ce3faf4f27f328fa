package sockets

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// unixConn is a Unix socket that Go's poller does not know. Such a socket tells who waits for
// it whenever the other end has read something, for there is room to write then; and Go's
// poller waits for room on every socket, wanted or not. So each message that goes out would
// wake the process once more than it has to. In the socket's place the poller has two epoll
// instances, of which each waits for one thing alone.
type unixConn struct {
	fd            int
	local, remote net.Addr
	in, out       gate // what all use of fd goes through: fd is open as long as they are
	read, write   transfer
	closed        atomic.Bool
}

// gate is an epoll instance with one socket in it. Go's poller takes it for a file that may be
// read when the socket is ready.
type gate struct {
	file *os.File
	raw  syscall.RawConn
}

// wait calls try, again whenever the gate has opened, until it is true.
func (g gate) wait(try func(ep uintptr) bool) error { return g.raw.Read(try) }

// errGate is of a system that has no such thing.
var errGate = errors.New("sockets: an epoll instance can't be waited for")

func newGate(fd int, events uint32) (g gate, err error) {
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return g, err
	}
	if err = syscall.SetNonblock(ep, true); err == nil {
		err = syscall.EpollCtl(ep, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
	}
	if err != nil {
		_ = syscall.Close(ep)
		return g, err
	}
	g.file = os.NewFile(uintptr(ep), "socket")
	if g.file.SetDeadline(time.Time{}) != nil { // the poller does not have it
		_ = g.file.Close()
		return g, errGate
	}
	if g.raw, err = g.file.SyscallConn(); err != nil {
		_ = g.file.Close()
	}
	return g, err
}

// newUnix takes nc over, or leaves it as it is.
func newUnix(nc *net.UnixConn) (net.Conn, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &unixConn{local: nc.LocalAddr(), remote: nc.RemoteAddr()}
	var errno syscall.Errno
	if err := raw.Control(func(fd uintptr) {
		var dup uintptr
		dup, _, errno = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
		c.fd = int(dup)
	}); err != nil {
		return nil, err
	}
	if errno != 0 {
		return nil, errno
	}
	if c.in, err = newGate(c.fd, syscall.EPOLLIN|syscall.EPOLLRDHUP); err != nil {
		_ = syscall.Close(c.fd)
		return nil, err
	}
	if c.out, err = newGate(c.fd, oneShot); err != nil { // room is waited for when there is none
		_ = c.in.file.Close()
		_ = syscall.Close(c.fd)
		return nil, err
	}
	_ = nc.Close() // the poller's hold on the socket; ours is another
	c.read.call = func(uintptr) bool { return c.read.doRead(uintptr(c.fd)) }
	c.write.call = func(ep uintptr) bool { return c.write.doWrite(uintptr(c.fd)) || !c.awaitRoom(ep) }
	return c, nil
}

const oneShot = syscall.EPOLLONESHOT

// awaitRoom has the gate open once the socket takes more. It reports whether it will.
func (c *unixConn) awaitRoom(ep uintptr) bool {
	err := syscall.EpollCtl(int(ep), syscall.EPOLL_CTL_MOD, c.fd, &syscall.EpollEvent{Events: syscall.EPOLLOUT | oneShot, Fd: int32(c.fd)})
	if err != nil {
		c.write.err = err
	}
	return err == nil
}

func (c *unixConn) Read(b []byte) (int, error) {
	n, err := c.read.take(b, c.in.wait)
	return n, c.failed("read", err)
}

func (c *unixConn) Write(b []byte) (int, error) {
	n, err := c.write.run(b, c.out.wait)
	return n, c.failed("write", err)
}

// failed says what op failed of; the gates know nothing of the socket.
func (c *unixConn) failed(op string, err error) error {
	switch errno, ok := err.(syscall.Errno); { // nothing wraps it
	case err == nil || err == io.EOF:
		return err
	case c.closed.Load():
		err = net.ErrClosed
	case ok:
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// Close ends what waits here.
func (c *unixConn) Close() error {
	if c.closed.Swap(true) {
		return c.failed("close", net.ErrClosed)
	}
	_ = c.in.file.Close() // who is at the socket has left it when these return
	_ = c.out.file.Close()
	return os.NewSyscallError("close", syscall.Close(c.fd))
}

// CloseWrite tells the other end that no more comes.
func (c *unixConn) CloseWrite() error {
	var err error
	if gone := c.out.raw.Control(func(uintptr) { err = syscall.Shutdown(c.fd, syscall.SHUT_WR) }); gone != nil {
		return c.failed("close", gone)
	}
	return os.NewSyscallError("shutdown", err)
}

func (c *unixConn) LocalAddr() net.Addr  { return c.local }
func (c *unixConn) RemoteAddr() net.Addr { return c.remote }

func (c *unixConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
func (c *unixConn) SetReadDeadline(t time.Time) error  { return c.in.file.SetReadDeadline(t) }
func (c *unixConn) SetWriteDeadline(t time.Time) error { return c.out.file.SetReadDeadline(t) }

// SyscallConn is for who looks at the socket (quiet).
func (c *unixConn) SyscallConn() (syscall.RawConn, error) { return quiet{bare{c}}, nil }

// bare is the socket itself.
type bare struct{ c *unixConn }

func (b bare) Control(f func(fd uintptr)) error {
	return b.c.in.raw.Control(func(uintptr) { f(uintptr(b.c.fd)) })
}

func (b bare) Read(f func(fd uintptr) bool) error {
	return b.c.in.wait(func(uintptr) bool { return f(uintptr(b.c.fd)) })
}

func (b bare) Write(f func(fd uintptr) bool) error {
	return b.c.out.wait(func(ep uintptr) bool { return f(uintptr(b.c.fd)) || !b.c.awaitRoom(ep) })
}
