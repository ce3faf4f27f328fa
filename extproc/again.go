package extproc

import (
	"context"
	"errors"
	"strings"
	"time"

	"aisix/extproc/bedrock"
)

// A try to which no connection could be made, so that nothing of it has reached anybody, is made
// once more, with the same signature, and counts as one. Envoy could do that by itself (retry_policy:
// connect-failure), but would keep each prompt for it until its answer has ended, which may be
// minutes; extproc keeps it until the answer has begun. It takes the egress listener. The routes of an Envoy
// that may be without have that policy (envoy.unconnected), and this comes after it; so have those by
// which an answer may pass us unseen, and this is not done then (EnvoyReconnects).

// errNoConnection is that no connection came about.
var errNoConnection = errors.New("no connection")

// noConnection reports whether details, which Envoy gives of an answer of its own, say so: as the router
// does, and not another filter of a failure of its own.
// https://www.envoyproxy.io/docs → Response Code Details, upstream_reset_before_response_started{…}.
func noConnection(details string) bool {
	why, reset := strings.CutPrefix(details, "upstream_reset_before_response_started{")
	if end := strings.IndexAny(why, "|,}"); end >= 0 {
		why = why[:end]
	}
	return reset && (why == "local_connection_failure" || why == "remote_connection_failure" || why == "connection_timeout")
}

// mostAgain is the longest body, in bytes, that is kept for a connection that may fail.
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

// reconnects reports whether a try by w that found no connection is made once more here: always where
// it went by the egress listener, whose routes try nothing twice.
func (s *Server) reconnects(w way) bool {
	_, passed := w.(passage)
	return s.Egress != nil && !(passed && s.Config.EnvoyReconnects)
}

// again makes the try once more, after before came of the first.
func (s *Server) again(ctx context.Context, c *call, end time.Time, signed *bedrock.Signed, w way, before error) (*reply, error) {
	if p, ok := w.(passage); ok {
		p.x.Leave(remains)
		w = s.way(ctx, c) // beside it, since it has gone on
	}
	r, err := w.Do(ctx, end, signed)
	if reasonOf(err) == unreachable {
		return nil, before
	}
	s.Log.Info("no connection to the upstream came about: one more was tried", "request_id", c.facts.RequestID, "error", before, "again", err)
	return r, err
}
