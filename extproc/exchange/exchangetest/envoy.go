package exchangetest

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// Envoy is a caller's request, the Envoy in between, and an upstream. The zero
// value is a full-duplex Envoy whose upstream answers an empty 200.
type Envoy struct {
	Mode    filterv3.ProcessingMode_BodySendMode // of the request; zero is FullDuplex
	Method  string                               // "" is POST
	Path    string
	Header  http.Header
	Body    []byte // nil: no body at all
	Pieces  Pieces // cuts bodies into messages, both ways; nil sends them in one
	Address string // attribute source.address; "" is "127.0.0.1:4711"

	// Upstream answers what was forwarded.
	Upstream func(Forwarded) Reply
}

// Pieces says how long the next message of a body is, of which left bytes are
// left (1 or more).
type Pieces func(left int) int

// Every is pieces of n bytes.
func Every(n int) Pieces { return func(int) int { return n } }

// Forwarded is what the upstream got.
type Forwarded struct {
	Method, Path, Authority string
	Header                  http.Header // without pseudo-headers
	Body                    []byte
}

// Reply is what the upstream, or Envoy in its place, answers.
type Reply struct {
	Status int // 0 is 200
	Header http.Header
	Body   []byte
	// Reset: the upstream breaks off after Body.
	Reset bool
	// Details is response.code_details; "" is "via_upstream".
	Details string
	// Trailers end the answer where they are not nil.
	Trailers http.Header
	// Hold is waited for before anything of the reply is sent.
	Hold <-chan struct{}
}

// Answer is what the caller got.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Immediate: an immediate response (exchange.Reject).
	Immediate bool
	// Streamed: a streamed immediate response, which needs no upstream's.
	Streamed bool
	// Broken: the caller's connection was reset.
	Broken bool
	// Forwarded is what the upstream got, nil when it was never called.
	Forwarded *Forwarded
	// Err is what the handler returned.
	Err error
}

// Run plays one request against handler (the Process method of a server) and
// returns when the handler has. ctx is the caller: when it ends, the caller has
// left.
func (e Envoy) Run(ctx context.Context, t testing.TB, handler func(extprocv3.ExternalProcessor_ProcessServer) error) *Answer {
	t.Helper()
	s := New(t)
	stop := context.AfterFunc(ctx, s.Reset)
	defer stop()
	p := &player{Envoy: e, t: t, stream: s, answer: &Answer{Header: http.Header{}}, upstream: make(chan struct{})}
	returned := make(chan error, 1)
	go func() { returned <- handler(s) }()
	fed := make(chan struct{})
	go func() { defer close(fed); p.feed() }()

	var err error
	for running := true; running; {
		select {
		case m := <-s.out:
			p.take(m)
		case err = <-returned:
			running = false
		}
	}
	for left := true; left; {
		select {
		case m := <-s.out:
			p.take(m)
		default:
			left = false
		}
	}
	s.Reset()
	<-fed
	p.answer.Err = err
	p.answer.Forwarded = p.forwarded
	if !p.done {
		// The stream ended before the answer did: Envoy fails closed.
		if p.responded {
			p.answer.Broken = true
		} else {
			p.answer.Status = http.StatusInternalServerError
		}
	}
	return p.answer
}

// player is the state of one request in Envoy.
type player struct {
	Envoy
	t      testing.TB
	stream *Stream
	answer *Answer

	request   *Forwarded // as mutated so far
	asked     bool       // the request's headers were answered
	ended     bool       // the request went on whole
	forwarded *Forwarded
	reply     Reply
	upstream  chan struct{} // closed when forwarded is set
	continued chan struct{} // BUFFERED: closed when the headers were answered
	responded bool
	flowing   atomic.Bool // a piece of the response's body was sent
	done      bool
	inEnd     bool // the request has no body
	outEnd    bool // the response has no body
}

// feed sends the request and then the reply.
func (p *player) feed() {
	mode := p.Mode
	if mode == 0 {
		mode = FullDuplex
	}
	p.start(mode)
	if p.Body != nil {
		p.feedBody(mode)
	}
	select {
	case <-p.upstream:
	case <-p.stream.ctx.Done():
		return
	}
	p.feedReply()
}

func (p *player) start(mode filterv3.ProcessingMode_BodySendMode) {
	kv := []string{":method", p.method(), ":scheme", "http", ":authority", "gateway", ":path", p.Path}
	for k, vs := range p.Header {
		for _, v := range vs {
			kv = append(kv, strings.ToLower(k), v)
		}
	}
	if p.Body != nil && p.Header.Get("content-length") == "" {
		kv = append(kv, "content-length", strconv.Itoa(len(p.Body)))
	}
	address := p.Address
	if address == "" {
		address = "127.0.0.1:4711"
	}
	if mode == Buffered {
		p.continued = make(chan struct{})
	}
	p.inEnd = p.Body == nil
	m := RequestHeaders(p.inEnd, kv...)
	p.request = &Forwarded{Header: http.Header{}}
	p.mutate(m.GetRequestHeaders().GetHeaders())
	p.put(Attribute(First(m, mode), "source.address", address))
}

func (p *player) method() string {
	if p.Method != "" {
		return p.Method
	}
	return http.MethodPost
}

func (p *player) put(m *extprocv3.ProcessingRequest) bool { return p.stream.TryPut(m, patience) }

func (p *player) feedBody(mode filterv3.ProcessingMode_BodySendMode) {
	if mode == Buffered {
		select {
		case <-p.continued:
		case <-p.stream.ctx.Done():
			return
		}
		p.put(RequestBody(p.Body, true))
		return
	}
	for _, c := range p.chunks(p.Body) {
		if !p.put(RequestBody(c, false)) {
			return
		}
	}
	p.put(RequestBody(nil, true)) // as Envoy does: one empty message at the end
}

// chunks cuts a body into messages.
func (p *player) chunks(b []byte) [][]byte {
	if p.Pieces == nil || len(b) == 0 {
		return [][]byte{b}
	}
	var cs [][]byte
	for len(b) > 0 {
		n := min(max(p.Pieces(len(b)), 1), len(b))
		cs, b = append(cs, b[:n]), b[n:]
	}
	return cs
}

func (p *player) feedReply() {
	r := p.reply
	if r.Hold != nil {
		select {
		case <-r.Hold:
		case <-p.stream.ctx.Done():
			return
		}
	}
	kv := []string{":status", strconv.Itoa(r.Status)}
	for k, vs := range r.Header {
		for _, v := range vs {
			kv = append(kv, strings.ToLower(k), v)
		}
	}
	end := len(r.Body) == 0 && r.Trailers == nil && !r.Reset
	m := ResponseHeaders(end, kv...)
	if !p.put(Attribute(m, "response.code_details", r.Details)) || end {
		return
	}
	for _, c := range p.chunks(r.Body) {
		p.flowing.Store(true)
		if !p.put(ResponseBody(c, false)) {
			return
		}
	}
	switch {
	case r.Reset:
		p.stream.CloseSend()
	case r.Trailers != nil:
		var kv []string
		for k, vs := range r.Trailers {
			kv = append(kv, strings.ToLower(k), vs[0])
		}
		p.put(ResponseTrailers(kv...))
	default:
		p.put(ResponseBody(nil, true))
	}
}

// take is one message of the handler, judged as Envoy would.
func (p *player) take(m *extprocv3.ProcessingResponse) {
	p.t.Helper()
	if p.done {
		p.t.Errorf("exchangetest: message after the end: %T", m.GetResponse())
		return
	}
	switch r := m.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_RequestHeaders:
		p.takeRequestHeaders(r.RequestHeaders.GetResponse())
	case *extprocv3.ProcessingResponse_RequestBody:
		p.takeRequestBody(r.RequestBody.GetResponse())
	case *extprocv3.ProcessingResponse_RequestTrailers:
		p.forward()
	case *extprocv3.ProcessingResponse_ResponseHeaders:
		if p.forwarded == nil || p.responded {
			p.t.Errorf("exchangetest: spurious answer to response headers")
		}
		p.responded = true
		p.outEnd = len(p.reply.Body) == 0 && p.reply.Trailers == nil && !p.reply.Reset
		for k, vs := range p.reply.Header {
			p.answer.Header[http.CanonicalHeaderKey(k)] = vs
		}
		p.answer.Status = p.reply.Status
		p.mutateAnswer(r.ResponseHeaders.GetResponse().GetHeaderMutation())
		p.done = p.outEnd
	case *extprocv3.ProcessingResponse_ResponseBody:
		if !p.responded || p.outEnd || !p.flowing.Load() {
			p.t.Errorf("exchangetest: spurious answer to a response body")
		}
		s := r.ResponseBody.GetResponse().GetBodyMutation().GetStreamedResponse()
		p.answer.Body = append(p.answer.Body, s.GetBody()...)
		p.done = s.GetEndOfStream()
	case *extprocv3.ProcessingResponse_ResponseTrailers:
		p.done = true
	case *extprocv3.ProcessingResponse_ImmediateResponse:
		if p.responded {
			p.t.Errorf("exchangetest: immediate response after the response's headers")
		}
		p.answer.Immediate = true
		p.answer.Status = int(r.ImmediateResponse.GetStatus().GetCode())
		p.mutateAnswer(r.ImmediateResponse.GetHeaders())
		p.answer.Body = r.ImmediateResponse.GetBody()
		p.done = true
	case *extprocv3.ProcessingResponse_StreamedImmediateResponse:
		p.takeStreamedImmediate(r.StreamedImmediateResponse)
	default:
		p.t.Errorf("exchangetest: unexpected message %T", r)
	}
}

// takeStreamedImmediate is an answer that needs no upstream, which Envoy takes as the first one
// only: any other is a 500.
func (p *player) takeStreamedImmediate(r *extprocv3.StreamedImmediateResponse) {
	if p.asked || p.ended || p.Mode == Buffered {
		p.t.Errorf("exchangetest: streamed immediate response after another answer: Envoy answers 500")
	}
	if h := r.GetHeadersResponse(); h != nil {
		if p.responded {
			p.t.Errorf("exchangetest: a second head of a streamed immediate response")
		}
		p.responded, p.answer.Streamed = true, true
		for _, kv := range h.GetHeaders().GetHeaders() {
			switch value := string(kv.GetRawValue()); kv.GetKey() {
			case ":status":
				p.answer.Status, _ = strconv.Atoi(value)
			case "content-length":
				p.t.Errorf("exchangetest: a content-length goes to the caller unchecked")
			default:
				p.answer.Header.Set(kv.GetKey(), value)
			}
		}
		p.done = h.GetEndOfStream()
		return
	}
	if !p.responded {
		p.t.Errorf("exchangetest: a streamed immediate response without a head")
	}
	p.answer.Body = append(p.answer.Body, r.GetBodyResponse().GetBody()...)
	p.done = r.GetBodyResponse().GetEndOfStream()
}

func (p *player) takeRequestHeaders(c *extprocv3.CommonResponse) {
	if p.asked {
		p.t.Errorf("exchangetest: spurious answer to request headers")
	}
	p.asked = true
	p.mutateRequest(c.GetHeaderMutation())
	switch {
	case p.inEnd:
		p.forward()
	case p.continued != nil:
		close(p.continued)
	}
}

func (p *player) takeRequestBody(c *extprocv3.CommonResponse) {
	if !p.asked || p.inEnd || p.ended {
		p.t.Errorf("exchangetest: spurious answer to a request body")
		return
	}
	if p.continued != nil {
		p.mutateRequest(c.GetHeaderMutation())
		p.request.Body = c.GetBodyMutation().GetBody()
		if l := p.request.Header.Get("content-length"); l != strconv.Itoa(len(p.request.Body)) {
			p.t.Errorf("exchangetest: content-length %s of a body of %d bytes: Envoy answers 500", l, len(p.request.Body))
		}
		p.forward()
		return
	}
	s := c.GetBodyMutation().GetStreamedResponse()
	p.request.Body = append(p.request.Body, s.GetBody()...)
	if s.GetEndOfStream() {
		p.forward()
	}
}

func (p *player) forward() {
	if p.ended {
		return
	}
	p.ended = true
	p.forwarded = p.request
	if p.Upstream != nil {
		p.reply = p.Upstream(*p.forwarded)
	}
	if p.reply.Status == 0 {
		p.reply.Status = http.StatusOK
	}
	if p.reply.Details == "" {
		p.reply.Details = "via_upstream"
	}
	close(p.upstream)
}

// mutate takes the caller's own headers into the request.
func (p *player) mutate(m *corev3.HeaderMap) {
	for _, h := range m.GetHeaders() {
		p.setRequest(h.GetKey(), string(h.GetRawValue()), true)
	}
}

func (p *player) setRequest(key, value string, add bool) {
	switch key {
	case ":method":
		p.request.Method = value
	case ":path":
		p.request.Path = value
	case ":authority":
		p.request.Authority = value
	case ":scheme":
	case "x-aisix-host": // Envoy's forward proxy makes it the host
		if add {
			p.request.Header.Add(key, value)
		} else {
			p.request.Header.Del(key)
			p.request.Authority = value
		}
	default:
		if add {
			p.request.Header.Add(key, value)
		} else {
			p.request.Header.Set(key, value)
		}
	}
}

func (p *player) mutateRequest(m *extprocv3.HeaderMutation) {
	for _, name := range m.GetRemoveHeaders() {
		p.request.Header.Del(name)
	}
	for _, o := range p.options(m) {
		p.setRequest(o.GetHeader().GetKey(), string(o.GetHeader().GetRawValue()), false)
	}
}

func (p *player) mutateAnswer(m *extprocv3.HeaderMutation) {
	for _, name := range m.GetRemoveHeaders() {
		p.answer.Header.Del(name)
	}
	for _, o := range p.options(m) {
		key, value := o.GetHeader().GetKey(), string(o.GetHeader().GetRawValue())
		if key == ":status" {
			p.answer.Status, _ = strconv.Atoi(value)
			continue
		}
		p.answer.Header.Set(key, value)
	}
}

// options are the headers to set, each checked for what Envoy would do with it.
func (p *player) options(m *extprocv3.HeaderMutation) []*corev3.HeaderValueOption {
	for _, o := range m.GetSetHeaders() {
		if o.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			p.t.Errorf("exchangetest: %s is appended, not overwritten", o.GetHeader().GetKey())
		}
		if o.GetHeader().GetValue() != "" {
			p.t.Errorf("exchangetest: %s is set by value; Envoy wants raw_value", o.GetHeader().GetKey())
		}
		if bytes.ContainsAny(o.GetHeader().GetRawValue(), "\r\n\x00") {
			p.t.Errorf("exchangetest: %s holds bytes that Envoy refuses", o.GetHeader().GetKey())
		}
	}
	return m.GetSetHeaders()
}
