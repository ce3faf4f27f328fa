package sim

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// pieces cuts a text into the deltas of a stream: after a word or so, or into as many as told.
func (a *ask) pieces(s string) []string {
	size := 12
	if n := a.do.number("chunks", 0); n > 0 {
		size = (len(s) + n - 1) / n
	}
	var out []string
	for len(s) > 0 {
		end := min(max(size, 1), len(s))
		if !a.do.has("chunks") {
			if i := strings.IndexByte(s[1:], ' '); i >= 0 && i+1 < end {
				end = i + 1
			}
		}
		for end < len(s) && !utf8.RuneStart(s[end]) {
			end++
		}
		out = append(out, s[:end])
		s = s[end:]
	}
	return out
}

// argumentPieces cuts the arguments of a call: those of a large one are larger.
func (a *ask) argumentPieces(s string) []string {
	if len(s) < 8<<10 || a.do.has("chunks") {
		return a.pieces(s)
	}
	var out []string
	for size := len(s) / 200; len(s) > 0; {
		end := min(size, len(s))
		for end < len(s) && !utf8.RuneStart(s[end]) {
			end++
		}
		out, s = append(out, s[:end]), s[end:]
	}
	return out
}

// break-offs are the words that end a stream before its time.
var breakOffs = []string{"stall-mid", "break", "break-frame", "cut", "crc", "exception", "error-frame", "error-event"}

// stream writes frames as told, and breaks off where it is told to.
func (a *ask) stream(ctx context.Context, w http.ResponseWriter, frames [][]byte) {
	ending := ""
	for _, word := range breakOffs {
		if a.do.has(word) {
			ending = word
		}
	}
	// What comes before the end that was asked for goes out as it would have.
	all := frames
	if ending != "" {
		frames = frames[:max(0, min(a.do.number("after", len(frames)/2), len(frames)))]
	}
	out := writer{ctx: ctx, w: w, size: a.do.number("bytes", 0)}
	for i, f := range frames {
		if i > 0 && a.do.has("every") && !sleep(ctx, a.do.duration("every", 100*time.Millisecond)) {
			return
		}
		if !out.write(f) {
			return
		}
	}
	switch ending {
	case "stall-mid":
		if a.do["stall-mid"] == "" {
			<-ctx.Done()
			return
		}
		if !sleep(ctx, a.do.duration("stall-mid", 0)) {
			return
		}
		for _, f := range all[len(frames):] {
			if !out.write(f) {
				return
			}
		}
	// The handler ends without the last chunk: the caller's reader gets an unexpected EOF.
	case "break":
		panic(http.ErrAbortHandler)
	case "cut", "":
	default:
		out.write(a.misframe(ending, len(frames)))
	}
}

// misframe is what a stream ends with that is told to go wrong, after so many frames.
func (a *ask) misframe(ending string, sent int) []byte {
	if a.api != apiConverse && a.api != apiInvoke {
		return a.misevent(ending, sent)
	}
	f := chunkFrame(object{"type": "ping"})
	switch ending {
	case "break-frame":
		return f[:len(f)/2]
	case "crc":
		// One bit of the checksum over the whole frame.
		f[len(f)-1] ^= 1
		return f
	case "exception":
		return exceptionFrame(exception(or(a.do["exception"], "throttlingException"), a.region, a.model.id))
	case "error-frame":
		return errorFrame("InternalFailure", lostWorker)
	default: // error-event
		return chunkFrame(object{"type": "error", "error": object{"type": "overloaded_error", "message": "Overloaded"}})
	}
}

const lostWorker = "worker i-0abc of account " + account + " went away"

// writer writes and flushes, in bites of size where that is set.
type writer struct {
	ctx  context.Context
	w    http.ResponseWriter
	size int
}

func (o *writer) write(b []byte) bool {
	for len(b) > 0 {
		n := len(b)
		// Each bite is a chunk of its own on the wire, so that a frame arrives in parts.
		if o.size > 0 {
			n = min(o.size, n)
		}
		if _, err := o.w.Write(b[:n]); err != nil || o.ctx.Err() != nil {
			return false
		}
		if http.NewResponseController(o.w).Flush() != nil {
			return false
		}
		b = b[n:]
	}
	return true
}

// sleep reports whether d passed before the caller left.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
