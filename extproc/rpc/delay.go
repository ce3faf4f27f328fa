package rpc

import (
	"time"

	"golang.org/x/net/http2"
)

// How often a busy connection is asked how late it is: not before so many streams have
// begun, nor before so much time has passed. A quiet one is never asked.
const (
	probeStreams = 16
	probeEvery   = 25 * time.Millisecond
)

// asksDelay is what a ping that measures holds: eight bytes.
const asksDelay = "aisix ms"

// delayProbe measures how long the two ends of a connection take to get to what the
// other has sent: the time from a ping to its answer, which waits its turn on both sides
// like every message. It is the reading goroutine's.
type delayProbe struct {
	begun  int       // streams, since the last ping or since its delay was told
	behind int       // streams that have begun since the last ping
	asked  time.Time // the last ping
	open   bool      // its answer has not come
	told   time.Time // when the delay of the open one was last told
}

// streamBegun asks, where it is time to.
func (c *conn) streamBegun() {
	tell, p := c.server.options.Delayed, &c.delay
	p.begun++
	p.behind++
	if tell == nil || p.begun < probeStreams {
		return
	}
	now := time.Now()
	if p.open { // the answer is so late at least
		if now.Sub(p.told) >= probeEvery {
			p.begun, p.told = 0, now
			tell(now.Sub(p.asked), p.behind)
		}
		return
	}
	if now.Sub(p.asked) < probeEvery {
		return
	}
	p.begun, p.behind, p.open, p.asked, p.told = 0, 0, true, now, now
	c.mu.Lock()
	c.out = appendFrame(c.out, http2.FramePing, 0, 0, []byte(asksDelay))
	c.flush()
	c.mu.Unlock()
}

// pingAnswered tells what a ping has measured.
func (c *conn) pingAnswered() {
	if p := &c.delay; p.open {
		p.open = false
		c.server.options.Delayed(time.Since(p.asked), p.behind)
	}
}
