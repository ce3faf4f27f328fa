package exchange

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
)

// The headers that lead a request out. EgressHeader picks Envoy's egress cluster,
// by an Egress; HostHeader names the upstream, host or host:port, which
// Envoy resolves, connects to and puts into Host. Envoy strips both from callers'
// requests, without both no route leaves the gateway, and neither goes out.
//
// The upstream is not named by :authority: Envoy looks the route up again, and
// under that name it may have one that is not ours.
const (
	EgressHeader = "x-aisix-egress"
	HostHeader   = "x-aisix-host"
)

// DetailsHeader is in answers that an Envoy of ours made by itself, and says why: what the
// attribute response.code_details says of every answer, at a price for every answer. Envoy
// strips it from upstreams' answers, and from what callers see.
const DetailsHeader = "x-aisix-details"

// Egress is how a request leaves Envoy. "" is none: the request goes where the
// caller's own routes lead.
type Egress string

// Package envoy makes a route of each; TestWords holds the two together.
const (
	TLS       Egress = "tls"
	Plaintext Egress = "plaintext"
)

// attributes is where Envoy puts the attributes that the filter's configuration
// asks for; the two others are those.
const (
	attributes       = "envoy.filters.http.ext_proc"
	attributeSource  = "source.address"
	attributeDetails = "response.code_details"
)

// Header is the head of the caller's request.
type Header struct {
	Method    string
	Scheme    string
	Authority string
	Path      string // with the query
	Fields
	// ClientAddress is who Envoy holds for the caller: the attribute source.address
	// (the downstream's remote address, after Envoy's own rules for trusted
	// x-forwarded-for hops) where the filter asks for it, else x-envoy-external-address,
	// in which an Envoy at the edge says the same, else the last entry of
	// x-forwarded-for, the one that Envoy appends. Invalid when none is there.
	ClientAddress netip.Addr
	// EndOfStream: there is no body.
	EndOfStream bool
}

// ContentLength is the length that the caller announced, 0 where it did not.
func (h *Header) ContentLength() int64 {
	text := h.Get("content-length")
	if text == "" { // which would cost an error
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Header waits for the head of the request. The value is the exchange's own and
// never changes. Errors: ErrAnswered, ErrMode, ErrReset, the context's.
func (x *Exchange) Header(ctx context.Context) (*Header, error) {
	if x.phase > phaseStart {
		return &x.header, nil
	}
	if x.pending {
		return nil, ErrAnswered
	}
	for {
		m, err := x.next(ctx, nil)
		if err != nil {
			return nil, err
		}
		switch m.kind {
		case requestHeaders:
			x.setHeader(m)
			x.phase = phaseHeader
			return &x.header, x.modeErr
		case responseHeaders:
			// A filter before ours, or Envoy's connection manager, answered by itself:
			// the stream begins with the response.
			x.holdResponse(m)
			return nil, ErrAnswered
		case noKind:
		default:
			return nil, fmt.Errorf("exchange: the stream began with message %d of ProcessingRequest", m.kind)
		}
	}
}

func (x *Exchange) setHeader(m *message) {
	p := m.pseudo
	x.header = Header{Method: p.method, Scheme: p.scheme, Authority: p.authority, Path: p.path, Fields: m.fields, EndOfStream: m.end}
	x.header.ClientAddress = clientAddress(m.sourceAddress, x.header.Get("x-envoy-external-address"), x.header.Values("x-forwarded-for"))
	x.requestEnded = m.end
}

func clientAddress(source, external string, forwarded []string) netip.Addr {
	if source != "" {
		if ap, err := netip.ParseAddrPort(source); err == nil {
			return ap.Addr().Unmap()
		}
	}
	for _, s := range []string{source, external} {
		if s == "" { // which would cost an error
			continue
		}
		if a, err := netip.ParseAddr(s); err == nil {
			return a.Unmap()
		}
	}
	if len(forwarded) == 0 {
		return netip.Addr{}
	}
	last := forwarded[len(forwarded)-1]
	last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
	a, err := netip.ParseAddr(last)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap()
}

// Intake is within which bounds a body is read.
type Intake struct {
	Limit int64 // bytes
	// Took hears of the length of every piece before it is kept; of a body that Envoy
	// buffers, which comes in one, what is announced (else Limit) before Envoy is asked
	// for it. Its error is ReadBody's, and the end of the body: it can't be read on.
	// nil hears nothing.
	Took func(n int64) error
	// Of each Window (one after the other, from the call on) the body must bring
	// Least bytes. 0 asks for nothing. It does not count for a body that Envoy
	// buffers: nothing of it is seen before it is whole.
	Least  int64
	Window time.Duration
}

// ReadBody waits for the whole body of the request, which may be empty. A body
// over Limit is ErrTooLarge, known by its content-length before any of it has
// come; one that comes too slowly is ErrSlow. Other errors: Took's, ErrAnswered,
// ErrReset, the context's, after which (but for Took's) another ReadBody reads on.
func (x *Exchange) ReadBody(ctx context.Context, in Intake) (*Body, error) {
	if err := x.order("ReadBody", phaseHeader); err != nil {
		return nil, err
	}
	if x.pending {
		return nil, ErrAnswered
	}
	if x.header.ContentLength() > in.Limit {
		return nil, ErrTooLarge
	}
	if x.buffered && !x.requestEnded && !x.headersAnswered {
		// The body comes only once the headers are answered; what they become is
		// said in the answer to the body.
		if in.Took != nil {
			announced := in.Limit
			if x.header.Get("content-length") != "" {
				announced = x.header.ContentLength()
			}
			if err := in.Took(announced); err != nil {
				return nil, err
			}
		}
		x.headersAnswered = true
		if err := x.send(&answer{kind: requestHeaders}); err != nil {
			return nil, err
		}
	}
	if x.streamed && !x.requestEnded {
		if err := x.duplex(); err != nil {
			return nil, err
		}
	}
	p := pace{deadline: &x.deadline, least: in.Least, window: in.Window}
	if x.buffered {
		p.least = 0
	}
	defer p.stop()
	for {
		if x.body.size > in.Limit {
			return nil, ErrTooLarge
		}
		if x.requestEnded {
			x.phase = phaseBody
			whole := x.body
			x.body = nil // the caller's now; a stream may last for minutes
			return whole, nil
		}
		m, err := x.next(ctx, func() <-chan struct{} { return p.wait(x.body.size) })
		if err == errDeadline {
			if p.slow(x.body.size) {
				return nil, ErrSlow
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		switch m.kind {
		case requestBody:
			piece := m.body
			if in.Took != nil && !x.buffered && len(piece) > 0 && x.body.size+int64(len(piece)) <= in.Limit {
				if err := in.Took(int64(len(piece))); err != nil {
					return nil, err
				}
			}
			x.bodySeen = true
			// A buffered body is one message, whether trailers follow or not.
			x.requestEnded = m.end || x.buffered
			x.body.add(piece)
		case requestTrailers:
			x.holdRequestTrailers(m)
		case responseHeaders:
			x.holdResponse(m)
			return nil, ErrAnswered
		}
	}
}

func (x *Exchange) holdRequestTrailers(m *message) {
	x.requestTrailers = &trailers{m.fields}
	x.requestEnded = true
}

// Request is what goes to the upstream in place of the caller's request. The
// method stays the caller's.
type Request struct {
	Host   string // value of HostHeader; "" sets none, and takes no Egress
	Path   string // with the query, escaped; "" keeps the caller's
	Egress Egress // value of EgressHeader; "" sets none
	// Header are the only fields that go out: every field of the caller that is not
	// listed is removed. Content-length is made from Body.
	Header []KeyValue
	Body   []byte
	Own    Own // of Envoy's own answers to it, should we be gone by then
	// LetPass: of a good answer the body may pass unseen, where Envoy counts (Passes).
	LetPass bool
}

// Forward sends the request to the upstream: it answers the held headers and the
// body. Legal after ReadBody, and straight after Header when there is no body to
// read. A request that came without a body can't be given one (Envoy has told the
// filters behind us that there is none): ErrNoBody.
func (x *Exchange) Forward(ctx context.Context, r Request) error {
	if err := x.order("Forward", phaseHeader, phaseBody); err != nil {
		return err
	}
	if x.phase == phaseHeader && !x.requestEnded {
		return fmt.Errorf("%w: Forward before ReadBody", ErrOrder)
	}
	if x.header.EndOfStream && len(r.Body) > 0 || x.buffered && !x.header.EndOfStream && !x.bodySeen {
		return ErrNoBody
	}
	if r.Egress != "" && r.Host == "" {
		return ErrNoHost
	}
	if err := x.gone(ctx); err != nil {
		return err
	}
	head := x.requestMutation(r)
	x.phase, x.forwarded = phaseForwarded, true
	if x.headersAnswered {
		head.kind, head.bodyKind, head.body = requestBody, wholeBody, r.Body
		return x.send(head)
	}
	if x.header.EndOfStream {
		return x.send(head)
	}
	// With trailers held, they are the end of the request, not the last piece.
	if err := x.sendPieces(head, requestBody, r.Body, x.requestTrailers == nil); err != nil || x.requestTrailers == nil {
		return err
	}
	return x.answerRequestTrailers()
}

// answerRequestTrailers lets the held trailers go on, emptied: nothing of the
// caller's goes upstream unlisted. Those of a request that Envoy answered by
// itself go nowhere.
func (x *Exchange) answerRequestTrailers() error {
	held := x.requestTrailers
	x.requestTrailers = nil
	if !x.forwarded {
		return nil
	}
	return x.send(held.emptied(requestTrailers))
}

// requestMutation is the answer to the request's headers.
func (x *Exchange) requestMutation(r Request) *answer {
	a := x.head.begin(requestHeaders)
	for _, kv := range r.Header {
		a.put(kv)
	}
	for _, kv := range []KeyValue{{":path", r.Path}, {EgressHeader, string(r.Egress)}, {HostHeader, r.Host}} {
		if kv.Value != "" {
			a.put(kv)
		}
	}
	if !x.header.EndOfStream {
		a.put(KeyValue{"content-length", strconv.Itoa(len(r.Body))})
	}
	a.removeOthers(x.header.Fields)
	a.clear, a.own = true, r.Own
	if x.bodyless && !r.LetPass {
		x.bodyless = false
		a.modes = &modes{filterv3.ProcessingMode_FULL_DUPLEX_STREAMED}
	}
	return a
}

// gone is an error when there is no one left to serve.
func (x *Exchange) gone(ctx context.Context) error {
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	return context.Cause(ctx)
}
