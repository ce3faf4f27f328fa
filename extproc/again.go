package extproc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"aisix/extproc/bedrock"
)

// A try that nobody has taken, since no connection could be made to the upstream or it has refused
// the stream of a shared one (HTTP/2), is made anew, with the same signature, and counts as one.
// Envoy could do that by itself (retry_policy: connect-failure,refused-stream), but would keep each
// prompt for it until its answer has ended, which may be minutes; extproc keeps it until the answer
// has begun. It takes the egress listener. The routes of an Envoy that may be without have that policy
// (envoy.unconnected), and this comes after it; so have those by which an answer may pass us unseen,
// and this is not done then (EnvoyReconnects).

var (
	// errUntaken is that nobody took the try.
	errUntaken = errors.New("not taken")
	// errRefused is that a connection which others share did not.
	errRefused = fmt.Errorf("refused: %w", errUntaken)
)

// mostRefused is how often in a row a try may be refused. Envoy (1.40) learns of each connection anew how
// many calls it takes, after it has given it all that wait for one; each time around as many are served.
const mostRefused = 4

// untaken is errUntaken or errRefused where details, which Envoy gives of an answer of its own, say so:
// as the router does, and not another filter of a failure of its own. A stream that was refused, or
// comes after the last that a GOAWAY names, has not been looked at (RFC 9113, 8.7): to Envoy the two
// are one. https://www.envoyproxy.io/docs → Response Code Details, upstream_reset_before_response_started{…}.
func untaken(details string) error {
	why, reset := strings.CutPrefix(details, "upstream_reset_before_response_started{")
	if end := strings.IndexAny(why, "|,}"); end >= 0 {
		why = why[:end]
	}
	switch {
	case !reset:
	case why == "local_connection_failure", why == "remote_connection_failure", why == "connection_timeout":
		return errUntaken
	case why == "remote_refused_stream_reset":
		return errRefused
	}
	return nil
}

// mostAgain is the longest body, in bytes, that is kept for the case that nobody takes it.
const mostAgain = 1 << 20

// forAgain is the part of the bytes that the process may hold which may be kept so. A key that holds
// all of that, and is alone, may hold as much again (admission.Shared): no call is refused for it.
const forAgain = 4

// keepsForAgain reports whether what was sent stays until somebody has it: where there is a way to
// send it again, and room.
func (s *Server) keepsForAgain(upstream *bedrock.Call) bool {
	return s.reconnects(passage{}) && s.keeps(upstream)
}

// keeps reports whether there is room for what was sent.
func (s *Server) keeps(upstream *bedrock.Call) bool {
	most := s.Config.MaxBufferedBytes
	return upstream.Size() <= mostAgain && (most == 0 || s.room.bytes.Used() < most/forAgain)
}

// reconnects reports whether a try by w that nobody took is made once more here: always where
// it went by the egress listener, whose routes try nothing twice.
func (s *Server) reconnects(w way) bool {
	_, passed := w.(passage)
	return s.Egress != nil && !(passed && s.Config.EnvoyReconnects)
}

// again makes the try once more, or until it is refused no longer, after before came of the first.
func (s *Server) again(ctx context.Context, c *call, end time.Time, signed *bedrock.Signed, w way, before error) (*reply, error) {
	if p, ok := w.(passage); ok {
		p.x.Leave(remains)
		w = s.way(ctx, c) // beside it, since it has gone on
	}
	for sent := 2; ; sent++ {
		r, err := w.Do(ctx, end, signed)
		if reasonOf(err) == unreachable {
			return nil, before
		}
		s.Log.Info("the upstream had not taken the call: it was sent once more", "request_id", c.facts.RequestID, "error", before, "again", err)
		if !errors.Is(err, errRefused) || sent == mostRefused {
			return r, err
		}
		before = err
	}
}
