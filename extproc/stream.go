package extproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"aisix/extproc/chat"
	"aisix/extproc/exchange"
	"aisix/extproc/fault"
	"aisix/extproc/sse"
)

// stream answers with server-sent events, each as soon as its frame is whole.
// Nothing is promised before the first good frame, so that an exception there is
// still a plain HTTP error. A silence after it is broken by comments; one before
// it can't be: Envoy takes nothing for the caller's body before the upstream's
// first byte (ext_proc, full duplex: "spurious message").
func (s *Server) stream(ctx context.Context, c *call, response *exchange.Response) error {
	if !c.upstream.IsStream(response.Status, response.Header.HTTP()) {
		return s.refusal(c, response)
	}
	events := c.upstream.Events(c.x)
	var out []byte
	var writer chat.Writer // nil before the first event
	silent := s.Now()
	for {
		c.x.SetReadDeadline(s.nextDeadline(c, silent))
		batch, err := events.Next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if f := s.overdue(c, silent); f != nil {
				return s.breakOff(ctx, c, writer, out, f)
			}
			if writer == nil {
				continue
			}
			out = writer.Idle(out)
		case err == io.EOF && writer == nil:
			return undecodable(io.ErrUnexpectedEOF)
		case err == io.EOF:
			return s.end(ctx, c, writer, out)
		case err != nil:
			return s.breakOff(ctx, c, writer, out, err)
		default:
			silent = s.Now()
			for _, e := range batch {
				if writer == nil {
					writer = c.asked.Stream(s.heading())
				}
				c.meter(e)
				if out, err = writer.Append(out, e); err != nil {
					return s.breakOff(ctx, c, writer, out, undecodable(err))
				}
			}
			if len(out) == 0 || events.Buffered() {
				continue // frames that came together go out together
			}
		}
		if err := s.send(ctx, c, out); err != nil {
			return err
		}
		out = out[:0]
	}
}

// send writes out as one piece, after the headers if they were not told yet.
func (s *Server) send(ctx context.Context, c *call, out []byte) error {
	if !c.promised {
		headers := append(c.headers(""), keyValues(sse.Header())...)
		if err := c.x.WriteHeader(ctx, http.StatusOK, headers); err != nil {
			return err
		}
		c.promise(http.StatusOK, s.Now())
	}
	n, err := c.x.Write(out)
	c.sent += n
	return err
}

// end ends a stream that has come to its good end. The caller may have left by
// now: that makes it no failure.
func (s *Server) end(ctx context.Context, c *call, writer chat.Writer, out []byte) error {
	out, err := writer.Finish(out)
	if err != nil {
		return s.breakOff(ctx, c, writer, out, undecodable(err))
	}
	c.ended = true
	c.release()
	if err = s.send(ctx, c, out); err == nil {
		err = c.x.Finish()
	}
	if c.isGone(ctx, err) {
		return nil
	}
	return err
}

// breakOff ends a stream with a fault: a plain HTTP error before the first
// event, else an error event and no [DONE]. What waits to be sent does not
// matter: the answer must not depend on how the frames were cut on the way.
func (s *Server) breakOff(ctx context.Context, c *call, writer chat.Writer, out []byte, err error) error {
	if writer == nil || c.isGone(ctx, err) {
		return err
	}
	c.fault = fault.From(err)
	c.release()
	if err := s.send(ctx, c, writer.Fault(out, c.fault)); err != nil {
		return err
	}
	return c.x.Finish()
}

// nextDeadline is when the silence must be broken: by a comment, or by a fault.
func (s *Server) nextDeadline(c *call, silent time.Time) time.Time {
	next := silent.Add(s.streamTimeout(c.match.Model))
	if end := c.started.Add(s.timeout(c.match.Model)); end.Before(next) {
		next = end
	}
	if comment := s.Now().Add(s.Config.KeepAlive); s.Config.KeepAlive > 0 && comment.Before(next) {
		next = comment
	}
	return next
}

// overdue gives the timeout that has run out, if one has.
func (s *Server) overdue(c *call, silent time.Time) error {
	now := s.Now()
	if now.Before(silent.Add(s.streamTimeout(c.match.Model))) && now.Before(c.started.Add(s.timeout(c.match.Model))) {
		return nil
	}
	if c.sent >= envoyBuffer {
		return c.stood(now.Sub(silent))
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
		Message: "the stream stood still: the caller did not read it, or the upstream did not go on",
		Err:     fmt.Errorf("nothing came for %v after %d bytes went to the caller: it may not read", silent.Round(time.Second), c.sent)}
}

// meter takes note of what was seen, for the accounting.
func (c *call) meter(e chat.Event) {
	switch e := e.(type) {
	case chat.TextDelta:
		c.seen += len(e.Text)
	case chat.ThinkingDelta:
		c.seen += len(e.Text)
	case chat.ToolDelta:
		c.seen += len(e.JSON)
	case chat.UsageSnapshot:
		c.usage = c.usage.Update(e.Usage)
	}
}
