package extproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"aisix/extproc/chat"
	"aisix/extproc/exchange"
	"aisix/extproc/fault"
	"aisix/extproc/sse"
)

// stream answers with server-sent events, each as soon as its frame is whole.
// Nothing is promised before the first good frame, so that an exception there is
// still a plain HTTP error. A silence after it is broken by comments; one before
// it can't be where the caller's own request has gone on: Envoy takes nothing for the caller's body before the upstream's
// first byte (ext_proc, full duplex: "spurious message"). Beside it, it is broken too (waiting).
func (s *Server) stream(ctx context.Context, c *call, r *reply) error {
	if !r.IsStream() {
		return s.refusal(c, r)
	}
	if r.body == body(c.x) && c.x.Passes() {
		return s.letPass(ctx, c)
	}
	events := r.Events(r.body)
	silent := s.Now()
	y := relay{s: s, c: c, writer: c.waiting, beside: r.end != nil}
	if !y.beside {
		c.spoke = silent
	}
	for {
		limit := c.budget.silent(silent)
		if !c.began && !r.due.IsZero() {
			limit = r.due
		}
		_ = r.body.SetReadDeadline(y.wake(limit))
		batch, err := events.Next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && !s.Now().Before(limit):
			if y.beside { // whether the caller reads is no question of this connection
				return y.breakOff(ctx, timedOut(err))
			}
			return y.breakOff(ctx, c.overdue(s.Now().Sub(silent)))
		case errors.Is(err, os.ErrDeadlineExceeded):
			y.idle(s.Now())
		case err == io.EOF:
			return y.end(ctx)
		case err != nil:
			return y.breakOff(ctx, err)
		default:
			if err := y.append(batch); err != nil {
				return y.breakOff(ctx, err)
			}
			if events.Buffered() {
				continue // frames that came together go out together
			}
			silent = s.Now()
			y.idle(silent) // frames may come and say nothing
		}
		if err := y.bound(); err != nil {
			return y.breakOff(ctx, err)
		}
		if err := y.flush(); err != nil {
			return err
		}
	}
}

// What an answer that goes beside the exchange may have, in bytes: Envoy takes all that it is
// given and holds what the caller has not read. Where the first target never answered it takes
// the answer whole only.
const (
	maxBeside = 32 << 20
	maxAtOnce = 8 << 20
)

// bound counts what is about to be sent where nothing slows it down to the caller's pace.
func (y *relay) bound() error {
	if !y.beside || len(y.out) == 0 {
		return nil
	}
	most := maxBeside
	if !y.c.x.Streams() {
		most = maxAtOnce
	}
	if y.c.sent+len(y.out) > most {
		return &fault.Error{Kind: fault.Overloaded, Status: http.StatusServiceUnavailable,
			Message: fmt.Sprintf("the answer was cut off: the model has other targets, or a first_byte_timeout, or the first connection to the upstream failed, and of an answer that comes so the gateway holds %d MiB at most", most>>20)}
	}
	return y.c.take(int64(len(y.out)))
}

// failedStream answers with a stream that holds nothing but a fault.
func (s *Server) failedStream(c *call, f *fault.Error) error {
	c.failed(f)
	y := relay{s: s, c: c, writer: c.waiting}
	y.open()
	y.out = y.writer.Fault(nil, f)
	return y.finish()
}

// relay writes the events of one stream to the caller, in the call's dialect.
type relay struct {
	s      *Server
	c      *call
	writer chat.Writer // nil before there was something to write
	out    []byte      // waits to be sent
	beside bool        // what comes from the upstream comes beside the exchange
	order  chat.Order  // of what the upstream tells
	held   int         // bytes that wait for their turn in it, as they were counted
}

// append writes a batch of events, and meters them.
func (y *relay) append(batch []chat.Event) (err error) {
	var room [4]chat.Event
	told := room[:0]
	for _, e := range batch {
		if !y.c.began {
			if raw, ok := e.(*chat.Raw); ok && raw.Idle && y.c.budget.first > 0 {
				continue // no byte of an answer: another target may be asked
			}
			y.c.began = true
			y.c.settled()
			y.open()
		}
		y.c.meter(e)
		told = y.order.Append(told[:0], e)
		for _, e := range told {
			if y.out, err = y.writer.Append(y.out, e); err != nil {
				return undecodable(err)
			}
		}
	}
	return y.hold()
}

// hold counts what waits behind a block that is not at its end: no more than a whole answer
// may have.
func (y *relay) hold() error {
	now := y.order.Held()
	more := int64(now - y.held)
	y.held = now
	switch {
	case more <= 0:
		if more < 0 {
			y.c.held.Add(more)
		}
		return nil
	case now > maxReply:
		return undecodable(errors.New("more waits for the end of a block than the gateway takes"))
	}
	return y.c.take(more)
}

// open makes the writer, once.
func (y *relay) open() {
	if y.writer == nil {
		y.writer = y.c.asked.Stream(y.s.heading(y.c))
	}
}

// idle breaks a silence towards the caller that has lasted long enough: before an answer
// has begun too, where it can. Then the next try, if there is one, goes on with the writer.
func (y *relay) idle(now time.Time) {
	if due := y.due(); due.IsZero() || now.Before(due) {
		return
	}
	y.c.spoke = now
	if !y.c.began && y.beside && y.c.x.Streams() {
		y.open()
		y.c.waiting = y.writer
	}
	if y.writer != nil && len(y.out) == 0 {
		y.out = y.writer.Idle(y.out)
	}
}

// due is when a silence towards the caller has to be broken; zero is never.
func (y *relay) due() time.Time {
	if y.s.Config.KeepAlive <= 0 {
		return time.Time{}
	}
	return y.c.spoke.Add(y.s.Config.KeepAlive)
}

// wake is when to look up from the upstream's silence, which may last until limit.
func (y *relay) wake(limit time.Time) time.Time {
	if due := y.due(); !due.IsZero() && due.Before(limit) {
		return due
	}
	return limit
}

// flush sends what waits, as one piece.
func (y *relay) flush() error {
	if len(y.out) == 0 {
		return nil
	}
	if err := y.promise(); err != nil {
		return err
	}
	n, err := y.c.x.Write(y.out)
	y.c.sent += n
	y.c.spoke = y.s.Now()
	y.out = y.out[:0]
	return err
}

var eventStreamHeader = keyValues(sse.Header())

// promise tells the caller the headers, once. Those that tell of the tries are left out
// while others may follow.
func (y *relay) promise() error {
	c := y.c
	if !c.promised {
		headers := append(c.headers(""), eventStreamHeader...)
		if c.waiting != nil && !c.began && (c.plan.open() || c.upstream.Chosen()) {
			headers = slices.DeleteFunc(headers, func(h exchange.KeyValue) bool { return h.Key == attemptsHeader || h.Key == targetHeader })
		}
		if err := c.x.Respond(http.StatusOK, headers); err != nil {
			return err
		}
		c.promise(http.StatusOK, time.Time{})
	}
	if c.began && c.facts.FirstByte.IsZero() {
		c.facts.FirstByte = y.s.Now()
	}
	return nil
}

// finish sends what waits, and ends the answer. The call's place is free before.
func (y *relay) finish() error {
	y.c.release()
	if err := y.promise(); err != nil {
		return err
	}
	return y.c.x.Finish(y.out)
}

// end ends a stream that has come to its good end. The caller may have left by
// now: that makes it no failure.
func (y *relay) end(ctx context.Context) (err error) {
	if !y.c.began {
		return undecodable(io.ErrUnexpectedEOF)
	}
	if y.out, err = y.writer.Finish(y.out); err != nil {
		return y.breakOff(ctx, undecodable(err))
	}
	y.c.ended = true
	if err = y.finish(); y.c.isGone(ctx, err) {
		return nil
	}
	return err
}

// breakOff ends a stream with a fault: a plain HTTP error before the first
// event, else an error event and no [DONE]. What waits to be sent does not
// matter: the answer must not depend on how the frames were cut on the way.
func (y *relay) breakOff(ctx context.Context, err error) error {
	if !y.c.began || y.c.isGone(ctx, err) {
		return err
	}
	f := fault.From(err)
	y.c.failed(f)
	y.out = y.writer.Fault(y.out, f)
	return y.finish()
}

// overdue is the fault of a silence that has lasted too long.
func (c *call) overdue(silent time.Duration) error {
	if c.sent >= envoyBuffer {
		return c.stood(silent)
	}
	return timedOut(os.ErrDeadlineExceeded)
}

// envoyBuffer is what Envoy holds for a caller before it stops to read the upstream
// (per_connection_buffer_limit_bytes, 1 MiB by default and in our bootstrap).
const envoyBuffer = 1 << 20

// stood is the fault of a stream that stands still after so much was sent that the
// reason may be either end. A caller who does not read looks like an upstream that
// is silent: Envoy takes all that extproc sends, stops reading the upstream, and
// tells nobody (full duplex, Envoy 1.40). Most of them Envoy has cut off before this
// (TCP_USER_TIMEOUT, package envoy), which then is a caller who left; the rest count
// as such too, and not as a fault of the upstream's.
func (c *call) stood(silent time.Duration) error {
	c.left = true
	return &fault.Error{Kind: fault.Timeout, Status: http.StatusGatewayTimeout, Code: "stalled",
		Message: "the stream stalled: the caller did not read it, or the upstream sent nothing",
		Err:     fmt.Errorf("nothing came for %v after %d bytes went to the caller: it may not read", silent.Round(time.Second), c.sent)}
}

// meter takes note of what was seen, for the accounting.
func (c *call) meter(e chat.Event) {
	switch e := e.(type) {
	case *chat.Raw:
		c.seen += e.Seen
	case chat.TextDelta:
		c.seen += len(e.Text)
	case chat.ThinkingDelta:
		c.seen += len(e.Text)
	case chat.ToolDelta:
		c.seen += len(e.JSON)
	case chat.UsageSnapshot:
		c.facts.Usage = c.facts.Usage.Update(e.Usage)
	}
}
