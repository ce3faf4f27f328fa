package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// hungUp is closed once the terminal at f is: its window was shut, or the connection that it stood
// for is gone. The kernel tells only the leader of the session, which may be make, and make waits
// for this process. What is no terminal never hangs up.
func hungUp(f *os.File) <-chan struct{} {
	gone := make(chan struct{})
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return gone
	}
	poll := []unix.PollFd{{Fd: int32(f.Fd())}} // no events: input is left for whoever reads it
	go func() {
		for {
			n, err := unix.Poll(poll, -1)
			switch {
			case err == unix.EINTR:
			case err != nil || poll[0].Revents&unix.POLLNVAL != 0:
				return
			case n > 0:
				close(gone)
				return
			}
		}
	}()
	return gone
}
