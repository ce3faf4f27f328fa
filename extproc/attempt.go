package extproc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"aisix/admin/resource"
	"aisix/extproc/bedrock"
	"aisix/extproc/chat"
	"aisix/extproc/exchange"
	"aisix/extproc/fault"
)

// The longest whole answer and the longest error body, in bytes.
const (
	maxReply = 64 << 20
	maxError = 1 << 20
)

// attempt is the second act: sign, forward, wait for the upstream's headers.
func (s *Server) attempt(ctx context.Context, c *call) (*exchange.Response, error) {
	c.attempts++
	signed, err := c.upstream.Sign(c.match.ProviderKey.Credentials, s.Now())
	if err != nil {
		return nil, err
	}
	egress := "plaintext"
	if c.upstream.TLS() {
		egress = "tls"
	}
	err = c.x.Forward(ctx, exchange.Request{
		Host:   c.upstream.Host(),
		Path:   c.upstream.Path(),
		Egress: egress,
		Header: keyValues(signed),
		Body:   c.upstream.Body(),
	})
	if err != nil {
		return nil, err
	}
	// The answer may take minutes: nothing is kept for it but what it needs.
	c.held.Set(c.header.Size() + c.upstream.Forget())
	end := c.started.Add(s.timeout(c.match.Model))
	if gap := s.Now().Add(s.streamTimeout(c.match.Model)); c.stream && gap.Before(end) {
		end = gap
	}
	waiting, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	response, err := c.x.Response(waiting)
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return nil, timedOut(err)
	case err != nil:
		return nil, err
	case response.Local:
		return nil, localFault(response)
	}
	c.awsRequestID = bedrock.RequestID(response.Header.HTTP())
	if response.Status != http.StatusOK {
		return nil, s.refusal(c, response)
	}
	return response, nil
}

// refusal is the fault of a reply that is not the answer asked for. Of a body that
// is too long or breaks off, what came has to do.
func (s *Server) refusal(c *call, response *exchange.Response) error {
	body, _, err := s.read(c, maxError)
	if errors.Is(err, exchange.ErrReset) {
		return err
	}
	return c.upstream.Fault(response.Status, response.Header.HTTP(), body)
}

// localFault is the fault of an answer that Envoy made itself: the upstream was
// not reached, or went away before it answered.
func localFault(r *exchange.Response) error {
	cause := errors.New("envoy answered " + http.StatusText(r.Status) + ": " + r.Details)
	if r.Status == http.StatusGatewayTimeout || strings.Contains(r.Details, "timeout") && !strings.Contains(r.Details, "connection_timeout") {
		return timedOut(cause)
	}
	return &fault.Error{Kind: fault.Transport, Status: http.StatusBadGateway, Message: "the upstream could not be reached, or broke the connection", Err: cause}
}

func timedOut(err error) error {
	return &fault.Error{Kind: fault.Timeout, Status: http.StatusGatewayTimeout, Message: "the upstream did not answer in time", Err: err}
}

// whole answers a request that is not a stream.
func (s *Server) whole(ctx context.Context, c *call, response *exchange.Response) error {
	body, more, err := s.read(c, maxReply)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return timedOut(err)
	case err != nil:
		return err
	case more:
		return undecodable(errors.New("longer than the gateway takes"))
	}
	events, err := c.upstream.Whole(response.Status, response.Header.HTTP(), body)
	if err != nil {
		return err
	}
	answer, err := chat.Collect(events)
	if err != nil {
		return undecodable(err)
	}
	c.usage, c.ended = answer.Usage, true
	out, err := c.asked.Whole(s.heading(), answer)
	if err != nil {
		return err
	}
	c.release()
	if err := c.x.Answer(ctx, http.StatusOK, c.headers("application/json"), out); err != nil {
		return err
	}
	c.promise(http.StatusOK, s.Now())
	return nil
}

func undecodable(err error) error {
	return &fault.Error{Kind: fault.Upstream, Status: http.StatusBadGateway, Message: "the upstream's answer could not be decoded", Err: err}
}

// read reads the upstream's body, within the call's deadline; more tells that it
// goes on after limit bytes.
func (s *Server) read(c *call, limit int64) (body []byte, more bool, err error) {
	c.x.SetReadDeadline(c.started.Add(s.timeout(c.match.Model)))
	body, err = io.ReadAll(&counted{r: io.LimitReader(c.x, limit+1), take: func(n int64) error {
		c.held.Add(n) // it is paid for: it makes others wait, and is not refused
		return nil
	}})
	if int64(len(body)) > limit {
		return body[:limit], true, err
	}
	return body, false, err
}

// timeout is how long the whole call may take.
func (s *Server) timeout(m *resource.Model) time.Duration {
	return orDefault(m.Timeout, s.Config.Timeout)
}

// streamTimeout is the longest gap before the first chunk and between chunks.
func (s *Server) streamTimeout(m *resource.Model) time.Duration {
	return orDefault(m.StreamTimeout, s.Config.StreamTimeout)
}

func orDefault(ms int64, d time.Duration) time.Duration {
	if ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return d
}
