package extproc

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"aisix/admin/snapshot"
	"aisix/extproc/admission"
	"aisix/extproc/bedrock"
	"aisix/extproc/chat"
	"aisix/extproc/exchange"
	"aisix/extproc/fault"
	"aisix/extproc/ratelimit"
	"aisix/extproc/usage"
)

// call is our state for one exchange. Its fields are grouped by the act that
// sets them.
type call struct {
	x     *exchange.Exchange
	facts usage.Facts // what is told of the call in the end; each act writes what it learns

	// arrival
	dialect  dialect
	probe    bool // a health check: neither logged nor recorded
	header   *exchange.Header
	allow    string // of a 405
	snapshot *snapshot.Snapshot

	requestsOnly bool // of its limits, those on requests alone are the call's

	key      *snapshot.Key
	buckets  []ratelimit.Bucket   // of its key and its model, where these have limits
	arrivals []*ratelimit.Arrival // in them
	place    *admission.Account   // among the calls in flight
	held     *admission.Account   // bytes that are kept for it
	limits   []exchange.KeyValue  // x-ratelimit-* for the answer

	// admit: of the request no more stays than what the answer and the accounts need
	asked       chat.Asked
	match       *snapshot.Match
	target      *snapshot.Target // where it is asked; nil: at its only one
	plan        *plan            // nil: once, there
	counted     bool             // for the limits of its model
	passed      bool             // the caller's own request has gone on: the next tries go beside it
	forgotten   bool             // what only sending took
	prompt      int64            // tokens, as promptEstimate has them
	reservation *ratelimit.Reservation
	upstream    *bedrock.Call
	budget      budget

	// attempt
	direct  bool             // the caller's own request stays: all tries go beside it, and an answer goes out alone
	replies []*bedrock.Reply // of the tries that got one, oldest first
	paid    chat.Usage       // what tries cost whose answers were none

	// answer
	marks    []exchange.KeyValue // headers of it beside the usual
	promised bool                // the caller was told a status
	began    bool                // an upstream's answer is what it gets: there is no other try
	waiting  chat.Writer         // of a stream in which nothing but its silence was broken; else nil
	spoke    time.Time           // when the caller of a stream last got something, or began to wait
	seen     int                 // bytes of text in the answer, to estimate by where no usage came
	sent     int                 // bytes of the stream's body that went to the caller
	ended    bool                // the upstream's answer came to its good end: facts.Usage is what it cost
	cut      bool                // of a stream that passed unseen no count came
	left     bool                // the stream broke before the end (isGone), or nobody seems to read it (stood)
}

// newCall reads what stands in the request headers.
func (s *Server) newCall(x *exchange.Exchange, h *exchange.Header) *call {
	c := &call{x: x, dialect: elsewhere, header: h}
	f := &c.facts
	f.Time, f.Method = s.Now(), h.Method
	f.Path, _, _ = strings.Cut(h.Path, "?")
	if h.ClientAddress.IsValid() {
		f.ClientAddress = h.ClientAddress.String()
	}
	if f.RequestID = requestID(h); f.RequestID == "" {
		f.RequestID = s.NewID()
	}
	return c
}

// requestID is the caller's own id where it is fit to be echoed, else "". It is
// never a key of ours: callers choose it.
func requestID(h *exchange.Header) string {
	for _, name := range []string{"x-aisix-request-id", "x-request-id"} {
		if id := h.Get(name); visibleASCII(id) {
			return id
		}
	}
	return ""
}

// visibleASCII reports whether s is 1-256 visible ASCII characters.
func visibleASCII(s string) bool {
	if len(s) == 0 || len(s) > 256 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// own is what Envoy's own answers say where they can't be ours any more: an id that is in our log,
// whoever chose it.
func (c *call) own() exchange.Own {
	o := exchange.Own{RequestID: c.facts.RequestID}
	if c.dialect.IDHeader() != "" {
		o.Door = exchange.DoorAnthropic
	}
	return o
}

// headers are what every answer carries.
func (c *call) headers(contentType string) []exchange.KeyValue {
	out := append(make([]exchange.KeyValue, 0, 12), exchange.KeyValue{Key: "x-aisix-request-id", Value: c.facts.RequestID})
	if name := c.dialect.IDHeader(); name != "" {
		out = append(out, exchange.KeyValue{Key: name, Value: c.facts.RequestID})
	}
	if contentType != "" {
		out = append(out, exchange.KeyValue{Key: "content-type", Value: contentType})
	}
	return append(append(c.told(out), c.limits...), c.marks...)
}

// reject answers with the fault, before anything was promised.
func (c *call) reject(f *fault.Error) error {
	c.release()
	status, header, body := c.dialect.Fault(f, c.facts.RequestID)
	c.facts.Status = status
	headers := append(c.headers(""), keyValues(header)...)
	if c.allow != "" {
		headers = append(headers, exchange.KeyValue{Key: "allow", Value: c.allow})
	}
	return c.x.Reject(status, headers, body)
}

// reply answers 200 with a JSON object.
func (c *call) reply(body []byte) error {
	if err := c.x.Respond(http.StatusOK, c.headers("application/json")); err != nil {
		return err
	}
	if err := c.x.Finish(body); err != nil {
		return err
	}
	c.facts.Status = http.StatusOK
	return nil
}

// failed takes note of why the call did not come to its good end.
func (c *call) failed(f *fault.Error) {
	c.facts.ErrorType, c.facts.ErrorCode, c.facts.Err = string(f.Kind), f.Code, f.Err
}

// isGone reports whether err means that Envoy has ended the stream: there is nobody
// left to tell. The caller left, or the upstream broke off in mid-answer and Envoy
// then broke the caller's connection. The two look alike from here: the stream is
// half-closed without a word (Envoy 1.40), or reset.
func (c *call) isGone(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, exchange.ErrReset)
}

// promise takes note that the caller was told a status, and got something of an answer at first.
func (c *call) promise(status int, first time.Time) {
	c.promised, c.facts.Status, c.facts.FirstByte = true, status, first
}

// heading is what every part of the answer repeats.
func (s *Server) heading(c *call) chat.Heading {
	return chat.Heading{ID: strings.ReplaceAll(s.NewID(), "-", ""), RequestID: c.facts.RequestID, Created: s.Now()}
}

// keyValues are a header's fields in a fixed order.
func keyValues(h http.Header) []exchange.KeyValue {
	out := make([]exchange.KeyValue, 0, len(h))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			out = append(out, exchange.KeyValue{Key: strings.ToLower(name), Value: v})
		}
	}
	return out
}
