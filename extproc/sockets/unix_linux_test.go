package sockets_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"aisix/extproc/sockets"
)

// instances are what the process's epoll instances wait for at the socket fd, and how many they are.
func instances(t *testing.T, fd uintptr) (events uint32, n int) {
	t.Helper()
	all, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if what, err := os.Readlink(path); err != nil || what != "anon_inode:[eventpoll]" {
			continue
		}
		info, err := os.ReadFile(filepath.Join("/proc/self/fdinfo", filepath.Base(path)))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(info)) {
			var at uintptr
			var waits uint32
			if got, _ := fmt.Sscanf(line, "tfd: %d events: %x", &at, &waits); got == 2 && at == fd {
				events, n = events|waits, n+1
			}
		}
	}
	return events, n
}

// Nobody is told that a Unix socket has room who does not wait for it: with every message
// that its peer reads it has.
func TestUnixWaitsForNoRoom(t *testing.T) {
	quick, plain := pair(t, "unix", filepath.Join(t.TempDir(), "s"))
	raw, err := quick.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	waited := func() (events uint32, n int) {
		if err := raw.Control(func(fd uintptr) { events, n = instances(t, fd) }); err != nil {
			t.Fatal(err)
		}
		return events, n
	}
	if events, n := waited(); n != 2 || events&syscall.EPOLLIN == 0 || events&syscall.EPOLLOUT != 0 {
		t.Errorf("%d instances wait for %#x", n, events)
	}
	// It may have to be waited for. Then, once.
	big := make([]byte, 4<<20)
	read := make(chan error, 1)
	go func() { _, err := io.ReadFull(plain, make([]byte, len(big))); read <- err }()
	if _, err := quick.Write(big); err != nil {
		t.Fatal(err)
	}
	if err := within(t, read, "all was read"); err != nil {
		t.Fatal(err)
	}
	if events, n := waited(); n != 2 || events&syscall.EPOLLOUT != 0 && events&syscall.EPOLLONESHOT == 0 {
		t.Errorf("%d instances wait for %#x after", n, events)
	}
}

// Many small messages go to and fro without one that is missed, and each end may be closed at
// any time.
func TestUnixToAndFro(t *testing.T) {
	var all sync.WaitGroup
	for i := range 8 {
		a, plain := pair(t, "unix", filepath.Join(t.TempDir(), fmt.Sprint("s", i)))
		b := sockets.Conn(plain)
		t.Cleanup(func() { b.Close() })
		all.Go(func() { io.Copy(b, b) })
		all.Go(func() {
			defer a.Close()
			got := make([]byte, 3)
			for range 3000 {
				if _, err := a.Write([]byte("abc")); err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadFull(a, got); err != nil {
					t.Error(err)
					return
				}
			}
			all.Go(func() { a.Read(got) })
			all.Go(func() { a.Write(make([]byte, 1<<20)) })
		})
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	within(t, ended, "all had come back, and all had ended")
}

// A descriptor that is closed is closed: none stays open behind it.
func TestUnixClosesAll(t *testing.T) {
	open := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	dir := t.TempDir()
	first, other := pair(t, "unix", filepath.Join(dir, "first")) // the poller is there
	first.Close()
	other.Close()
	before := open()
	for i := range 20 {
		quick, plain := pair(t, "unix", filepath.Join(dir, fmt.Sprint(i)))
		quick.Close()
		plain.Close()
		if err := quick.Close(); err == nil {
			t.Error("closed twice")
		}
	}
	if after := open(); after > before {
		t.Errorf("%d descriptors are left", after-before)
	}
}
