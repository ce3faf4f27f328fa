package sockets_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"aisix/extproc/sockets"
)

// pair are the two ends of a connection, the first one quick.
func pair(t *testing.T, network, address string) (quick, plain net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() { c, _ := l.Accept(); accepted <- c }()
	dialled, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	plain = <-accepted
	t.Cleanup(func() { dialled.Close(); plain.Close() })
	return sockets.Conn(dialled), plain
}

// within is what comes from a channel, in bearable time.
func within[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("waited for 30 s until %s", what)
		panic("unreachable")
	}
}

func each(t *testing.T, test func(t *testing.T, quick, plain net.Conn)) {
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		t.Run(network, func(t *testing.T) {
			quick, plain := pair(t, network, address)
			test(t, quick, plain)
		})
	}
}

// More than the kernel holds goes both ways at once.
func TestAllArrives(t *testing.T) {
	each(t, func(t *testing.T, quick, plain net.Conn) {
		big := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
		go io.Copy(plain, plain) // echo
		wrote := make(chan error, 1)
		go func() {
			n, err := quick.Write(big)
			if n != len(big) && err == nil {
				err = io.ErrShortWrite
			}
			wrote <- err
		}()
		got := make([]byte, len(big))
		if _, err := io.ReadFull(quick, got); err != nil || !bytes.Equal(got, big) {
			t.Fatal("other bytes came back", err)
		}
		if err := within(t, wrote, "all was written"); err != nil {
			t.Error(err)
		}
		if n, err := quick.Write(nil); n != 0 || err != nil {
			t.Error(n, err)
		}
		if n, err := quick.Read(nil); n != 0 || err != nil {
			t.Error(n, err)
		}
	})
}

// Ends, deadlines and Close are what they are on any connection.
func TestEnds(t *testing.T) {
	each(t, func(t *testing.T, quick, plain net.Conn) {
		b := make([]byte, 10)
		quick.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		var timeout net.Error
		if _, err := quick.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%v, want a deadline", err)
		}
		quick.SetReadDeadline(time.Time{})
		plain.Close()
		if _, err := quick.Read(b); err != io.EOF {
			t.Errorf("%v, want io.EOF", err)
		}
		var err error
		for range 1000 {
			if _, err = quick.Write(b); err != nil {
				break
			}
		}
		if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v, want a broken pipe", err)
		}
		quick.Close()
		if _, err := quick.Read(b); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v, want net.ErrClosed", err)
		}
	})
}

// Close ends a read that waits.
func TestCloseWakes(t *testing.T) {
	each(t, func(t *testing.T, quick, _ net.Conn) {
		read := make(chan error, 1)
		go func() { _, err := quick.Read(make([]byte, 1)); read <- err }()
		quick.Close()
		if err := within(t, read, "the read ended"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v, want net.ErrClosed", err)
		}
	})
}

// A write that finds no room waits for it, up to its deadline, and goes on when there is some.
func TestWriteWaits(t *testing.T) {
	each(t, func(t *testing.T, quick, plain net.Conn) {
		b := make([]byte, 16<<20)
		quick.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		n, err := quick.Write(b)
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == len(b) {
			t.Fatalf("%d of %d bytes, %v, want a deadline", n, len(b), err)
		}
		quick.SetWriteDeadline(time.Time{})
		read := make(chan int64, 1)
		go func() { n, _ := io.Copy(io.Discard, plain); read <- n }()
		if m, err := quick.Write(b[n:]); n+m != len(b) || err != nil {
			t.Errorf("%d bytes more, %v", m, err)
		}
		if err := quick.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Error(err)
		}
		if n := within(t, read, "all was read"); n != int64(len(b)) {
			t.Errorf("%d bytes came", n)
		}
		plain.Write([]byte("x"))
		if n, err := quick.Read(b); n != 1 || err != nil {
			t.Errorf("%d bytes, %v, of who may still write", n, err)
		}
	})
}

// Close ends a write that waits.
func TestCloseWakesWriter(t *testing.T) {
	each(t, func(t *testing.T, quick, plain net.Conn) {
		wrote := make(chan error, 1)
		go func() { _, err := quick.Write(make([]byte, 16<<20)); wrote <- err }()
		if _, err := io.ReadFull(plain, make([]byte, 1)); err != nil { // it is at it
			t.Fatal(err)
		}
		quick.Close()
		if err := within(t, wrote, "the write ended"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v, want net.ErrClosed", err)
		}
	})
}

// Who looks at a connection, as go-redis does, sees what there is to see.
func TestLook(t *testing.T) {
	each(t, func(t *testing.T, quick, plain net.Conn) {
		looked := func() bool {
			raw, err := quick.(syscall.Conn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			seen := false
			if err := raw.Read(func(uintptr) bool { seen = true; return true }); err != nil {
				t.Fatal(err)
			}
			return seen
		}
		if looked() {
			t.Error("there was nothing to see")
		}
		plain.Write([]byte("x"))
		for deadline := time.Now().Add(10 * time.Second); !looked(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("a byte was not seen")
			}
		}
		quick.Read(make([]byte, 1))
		plain.Close()
		for deadline := time.Now().Add(10 * time.Second); !looked(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the end was not seen")
			}
		}
	})
}

// What is no socket stays what it is.
func TestNoSocket(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if sockets.Conn(a) != a {
		t.Error("a pipe was wrapped")
	}
}
