package main

import (
	"io"
	"sync"
	"time"
)

const (
	// linger is how long a call's line may wait for others: each write by itself costs a
	// system call and wakes whoever reads the log.
	linger = 100 * time.Millisecond
	// most is what may wait, in bytes: some 4,000 calls a second are written ten times a second, too.
	most = 256 << 10
)

// lines are the process's log. A line goes out at once, and what waits goes before it; those
// of calls wait for each other. Nothing waits behind Close; a process that is killed
// loses the calls of its last moment.
type lines struct {
	mu     sync.Mutex
	out    io.Writer
	wait   []byte
	timer  *time.Timer
	armed  bool // the timer will write what waits
	closed bool
}

func newLines(out io.Writer) *lines {
	l := &lines{out: out}
	l.timer = time.AfterFunc(time.Hour, l.flush)
	l.timer.Stop()
	return l
}

// Write writes a line at once.
func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write()
	return l.out.Write(line)
}

// ofCalls is where the lines of calls are written, that may wait.
func (l *lines) ofCalls() io.Writer { return waiting{l} }

type waiting struct{ *lines }

func (w waiting) Write(line []byte) (int, error) {
	l := w.lines
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wait = append(l.wait, line...)
	switch {
	case l.closed || len(l.wait) >= most:
		l.write()
	case !l.armed:
		l.armed = true
		l.timer.Reset(linger)
	}
	return len(line), nil
}

func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	l.write()
}

// write writes what waits; l.mu is held. A log that can't be written is nobody's to hear of.
func (l *lines) write() {
	if len(l.wait) > 0 {
		_, _ = l.out.Write(l.wait)
		l.wait = l.wait[:0]
	}
}

// Close writes what waits, and lets nothing wait any more.
func (l *lines) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.timer.Stop()
	l.write()
}
