package sim

import (
	"context"
	"net/http"
	"time"
)

// dripPause is between two things that say nothing.
const dripPause = 20 * time.Millisecond

// hold sends the head of an answer ahead where it is told to, and then for a while nothing, or
// what says nothing. It reports whether the answer is to follow.
func (a *ask) hold(ctx context.Context, w http.ResponseWriter) bool {
	word := "stall-head"
	if a.do.has("drip") {
		word = "drip"
	}
	if !a.do.has(word) {
		return true
	}
	out := writer{ctx: ctx, w: w}
	if http.NewResponseController(w).Flush() != nil {
		return false
	}
	while := ctx
	if a.do[word] != "" {
		var cancel context.CancelFunc
		while, cancel = context.WithTimeout(ctx, a.do.duration(word, 0))
		defer cancel()
	}
	for {
		if word == "drip" && !out.write(a.nothing()) {
			return false
		}
		if !sleep(while, dripPause) {
			return ctx.Err() == nil
		}
	}
}

// nothing is what may come ahead of an answer, or in it, and says only that somebody is there.
func (a *ask) nothing() []byte {
	switch {
	case !a.streamed || a.do.has("json"):
		return []byte(" ")
	case a.api == apiConverse:
		return eventFrame("novelEvent", object{})
	case a.api == apiInvoke:
		return chunkFrame(object{"type": "ping"})
	}
	return a.ping()
}
