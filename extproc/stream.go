package extproc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"aisix/extproc/chat"
	"aisix/extproc/exchange"
	"aisix/extproc/fault"
)

// stream answers with server-sent events, each as soon as its frame is whole.
// Nothing is promised before the first good frame, so that an exception there is
// still a plain HTTP error; or before the first keep-alive comment, which a
// long silence needs.
func (s *Server) stream(ctx context.Context, c *call, response *exchange.Response) error {
	if header := response.Header.HTTP(); !c.upstream.IsStream(response.Status, header) {
		body, err := s.readAll(ctx, c, maxError)
		if err != nil {
			return err
		}
		return c.upstream.Fault(response.Status, header, body)
	}
	events := c.upstream.Events(c.x)
	var out []byte
	var writer dialectStream
	silent := s.Now()
	for {
		c.x.SetReadDeadline(s.nextDeadline(c, silent))
		batch, err := events.Next()
		now := s.Now()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if f := s.overdue(c, now, silent); f != nil {
				return s.breakOff(ctx, c, writer, out, f)
			}
			if writer == nil {
				writer = s.open(c, "")
			}
			out = append(out, ": waiting\n\n"...)
			if out, err = s.send(ctx, c, out); err != nil {
				return c.broken(ctx, err)
			}
			continue
		}
		silent = now
		if err != nil && err != io.EOF {
			return s.breakOff(ctx, c, writer, out, streamFault(c.broken(ctx, err), err))
		}
		for _, e := range batch {
			if writer == nil {
				id := ""
				if start, ok := e.(chat.Start); ok {
					id = start.ID
				}
				writer = s.open(c, id)
			}
			c.meter(e)
			if out, err = writer.Append(out, e); err != nil {
				return s.breakOff(ctx, c, writer, out, undecodable(err))
			}
		}
		if err == io.EOF {
			if writer == nil {
				return undecodable(io.ErrUnexpectedEOF)
			}
			if out, err = writer.Finish(out); err != nil {
				return s.breakOff(ctx, c, writer, out, undecodable(err))
			}
			if out, err = s.send(ctx, c, out); err != nil {
				return c.broken(ctx, err)
			}
			return c.x.Finish()
		}
		if len(out) > 0 && !events.Buffered() {
			if out, err = s.send(ctx, c, out); err != nil {
				return c.broken(ctx, err)
			}
		}
	}
}

// send writes out as one piece, after the headers if they were not told yet.
func (s *Server) send(ctx context.Context, c *call, out []byte) ([]byte, error) {
	if !c.promised {
		headers := append(c.headers("text/event-stream; charset=utf-8"),
			exchange.KeyValue{Key: "cache-control", Value: "no-cache"},
			exchange.KeyValue{Key: "x-accel-buffering", Value: "no"})
		if err := c.x.WriteHeader(ctx, http.StatusOK, headers); err != nil {
			return out, err
		}
		c.promise(http.StatusOK, s.Now())
	}
	_, err := c.x.Write(out)
	return nil, err // the piece belongs to the exchange now
}

// breakOff ends a stream with a fault: a plain HTTP error before the first
// event, else an error event and no [DONE]. What waits to be sent does not
// matter: the answer must not depend on how the frames were cut on the way.
func (s *Server) breakOff(ctx context.Context, c *call, writer dialectStream, out []byte, err error) error {
	if c.left || writer == nil {
		return err
	}
	c.fault = fault.From(err)
	if _, err := s.send(ctx, c, writer.Fault(out, c.fault)); err != nil {
		return c.broken(ctx, err)
	}
	return c.x.Finish()
}

// streamFault prefers a typed fault of the decoder to what the exchange made of it.
func streamFault(exchanged, decoded error) error {
	var f *fault.Error
	if errors.As(decoded, &f) {
		return f
	}
	return exchanged
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
func (s *Server) overdue(c *call, now, silent time.Time) error {
	if !now.Before(silent.Add(s.streamTimeout(c.match.Model))) || !now.Before(c.started.Add(s.timeout(c.match.Model))) {
		return timedOut(os.ErrDeadlineExceeded)
	}
	return nil
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
