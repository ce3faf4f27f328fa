package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"aisix/cmd/bedrocksim/sigv4"
)

// maxBody is the longest body that Bedrock takes.
const maxBody = 25_000_000

// Server answers as bedrock-runtime and bedrock-mantle do. It is an http.Handler.
type Server struct {
	verifier *sigv4.Verifier
	keys     []APIKey
	log      *slog.Logger
	calls    calls
	cache    promptCache
	issued   issues
	stored   responses
	sessions sessions
	lent     lent
}

// New makes a server that takes what the verifier takes; the verifier's service is bedrock's own, and
// mantle's is checked where a request is for that host.
func New(v *sigv4.Verifier, log *slog.Logger) *Server {
	return &Server{verifier: v, log: log}
}

// Behave has every request obey these control words, written as in PUT /_sim/behaviour.
func (s *Server) Behave(words string) error {
	b, err := parseBehaviour(words)
	if err == nil {
		s.calls.change(func() { s.calls.told = b })
	}
	return err
}

// visit is one request while it is served.
type visit struct {
	w    http.ResponseWriter
	r    *http.Request
	call *Call
	door door
	host string // "" until it is known
	let  bool   // the caller was let in
	id   string // the request's, as its API writes it
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_sim/") {
		s.calls.control(w, r)
		return
	}
	call := &Call{RequestID: uuid.NewString(), At: time.Now().UTC(), Header: r.Header.Clone()}
	s.calls.begin(call)
	defer s.finish(call, r)
	recorder := &statusWriter{ResponseWriter: w, note: func(status int) { s.calls.change(func() { call.Status = status }) }}
	switch {
	case isMetadata(r):
		s.serveMetadata(recorder, r, call)
		return
	case isSTS(r):
		body, err := io.ReadAll(http.MaxBytesReader(recorder, r.Body, 1<<20))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		s.serveSTS(recorder, r, call, body)
		return
	}
	v := &visit{w: recorder, r: r, call: call, id: call.RequestID}
	if f := s.serve(v); f != nil {
		s.calls.change(func() { call.Exception = f.kind })
		v.refuse(f)
	}
}

// finish runs also when a handler breaks the connection off.
func (s *Server) finish(call *Call, r *http.Request) {
	s.calls.change(func() { call.Open, call.Left = false, r.Context().Err() != nil })
	s.log.Info("call", "operation", call.Operation, "host", call.Host, "model", call.Model, "region", call.Region, "access_key_id", call.AccessKeyID,
		"status", call.Status, "exception", call.Exception, "left", call.Left, "request_id", call.RequestID, "faults", call.Faults, "ms", time.Since(call.At).Milliseconds())
}

// serve is the story of one request, in AWS's order: who asks, then what.
func (s *Server) serve(v *visit) *fault {
	d, known := locate(v.r)
	v.door = d
	body, err := io.ReadAll(http.MaxBytesReader(v.w, v.r.Body, maxBody))
	if err != nil {
		v.name("")
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return v.tooLarge()
		}
		panic(http.ErrAbortHandler) // the caller left
	}
	// Kept before the signature is looked at: a test wants to see what was signed wrongly.
	if json.Valid(body) {
		s.calls.change(func() { v.call.Body = body })
	}
	who, f := s.authenticate(v.r, body, d)
	v.name(who.host)
	if f != nil {
		return f
	}
	v.let = true
	// Only a good signature learns what there is.
	unknown := &fault{status: http.StatusNotFound, kind: "UnknownOperationException", message: "The requested operation is not recognized by the service."}
	if !known {
		return unknown
	}
	s.calls.change(func() {
		v.call.Operation, v.call.AccessKeyID, v.call.Region, v.call.Host = d.operation, who.AccessKeyID, who.Region, who.host
	})
	if v.r.Method != d.method && d.method != "" {
		unknown.status = http.StatusMethodNotAllowed
		return unknown
	}
	switch d.api {
	case apiModels:
		v.listModels()
		return nil
	case apiConverse, apiInvoke, apiCount:
		return s.serveModel(v, who, body)
	}
	return s.serveBody(v, who, body)
}

// name sets the headers that carry the request's id, each API's own.
func (v *visit) name(host string) {
	v.host = host
	switch {
	case v.host == mantleHost && (v.door.api == apiMessages || v.door.api == apiCountClaude):
		v.id = "req_" + random(24)
		v.w.Header().Set("Request-Id", v.id)
	case v.host == mantleHost:
		v.id = "req_" + random(32)
		v.w.Header().Set("X-Request-Id", v.id)
	default:
		v.w.Header().Set("X-Amzn-Requestid", v.id)
	}
}

// refuse answers a fault in the envelope of the request's API.
func (v *visit) refuse(f *fault) {
	d := v.door
	switch {
	case d.api == apiMessages || d.api == apiCountClaude:
		f.writeClaude(v.w, v.id)
	case v.host == mantleHost, (d.api == apiChat || d.api == apiResponses || d.api == apiStored) && (v.let || v.host == ""):
		f.writeOpenAI(v.w)
	default:
		f.write(v.w)
	}
}

func (v *visit) tooLarge() *fault {
	if v.door.api == apiMessages || v.door.api == apiCountClaude {
		return &fault{status: http.StatusRequestEntityTooLarge, kind: "RequestTooLarge", message: "Request exceeds the maximum size"}
	}
	return invalid("1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less than or equal to %d", maxBody)
}

// serveModel serves the runtime host's own operations, whose model is in the path.
func (s *Server) serveModel(v *visit, who caller, body []byte) *fault {
	m, f := resolve(v.door.segment, who.Region)
	if f != nil {
		return f
	}
	if m.absent() {
		return invalid("The provided model identifier is invalid.")
	}
	if m.publisher == "" {
		m.publisher, m.name = named(s.calls.behaviour()["is"])
	}
	s.calls.change(func() { v.call.Model = m.id })
	parsed, f := parsedJSON(v.r.Header, body)
	if f != nil {
		return f
	}
	if e := embedderOf(m); e != nil && v.door.api != apiCount {
		return s.embed(v, who, m, e, parsed)
	}
	if v.door.api == apiCount {
		return v.countTokens(m, parsed)
	}
	a, f := s.read(v, m, parsed)
	if f != nil {
		return f
	}
	return s.say(v, who, a)
}

// say answers what was asked, once it was read.
func (s *Server) say(v *visit, who caller, a *ask) *fault {
	a.api, a.host, a.region, a.requestID = v.door.api, v.host, who.Region, v.id
	a.streamed = a.streamed || v.door.stream
	a.finish(s.calls.behaviour())
	if a.agent != nil {
		a.faults = append(a.faults, a.agentFaults()...)
		if word, value, _ := strings.Cut(s.sessions.fail(a.agent), "="); word != "" {
			a.do[word] = value
		}
	}
	s.calls.change(func() { v.call.Faults = a.faults })
	return s.answer(v.w, v.r, a)
}

// parsedJSON is a body as JSON. Strictly: a gateway must not send a member twice, whichever of the two
// AWS would take.
func parsedJSON(header http.Header, body []byte) (any, *fault) {
	if media, _, err := mime.ParseMediaType(header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, invalid("The provided content type is invalid or not supported for this model: application/json is.")
	}
	v, err := parse(body)
	if err != nil {
		return nil, invalid("The request body is not valid JSON: %v", err)
	}
	return v, nil
}

// read checks a body of Converse or InvokeModel and reads what it asks for.
func (s *Server) read(v *visit, m model, body any) (*ask, *fault) {
	if v.door.api == apiInvoke {
		if f := checkInvokeHeaders(v.r.Header); f != nil {
			return nil, f
		}
		a, f := checkMessages(m, body, &s.issued)
		if f == nil {
			a.cache, a.input = s.cache.use(m.id, claudePrompt(body))
			a.tier = v.r.Header.Get("X-Amzn-Bedrock-Service-Tier")
		}
		return a, f
	}
	a, f := checkConverse(m, body, v.door.stream, &s.issued)
	if f == nil {
		a.cache, a.input = s.cache.use(m.id, conversePrompt(body, m.has("input_holds_cached")))
	}
	return a, f
}

// answer says it, or what it is told to say instead.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, a *ask) *fault {
	ctx := r.Context()
	if a.do.has("stall") {
		if a.do["stall"] == "" {
			<-ctx.Done()
			panic(http.ErrAbortHandler)
		}
		if !sleep(ctx, a.do.duration("stall", 0)) {
			panic(http.ErrAbortHandler)
		}
	}
	if f := a.told(); f != nil {
		if f.kind == "ThrottlingException" && a.do["throttle"] != "" {
			w.Header().Set("Retry-After", a.do["throttle"])
		}
		return f
	}
	if a.misanswer(w, r) {
		return nil
	}
	out := a.answer()
	behind := 0
	if a.api == apiResponses {
		behind = 1 // reasoning stays with the item that it led to
		a.kept = func(r object) { s.stored.keep(str(r, "id"), kept{a.items, r}) }
		for i, b := range out.blocks {
			if b.kind == "thinking" {
				out.blocks[i].signature = a.model.seal(b.text)
			}
		}
	}
	s.issued.note(out.blocks, behind)
	if tier := a.served(); tier != "" && a.api == apiInvoke {
		w.Header().Set("X-Amzn-Bedrock-Service-Tier", tier)
	}
	if !a.streamed || a.do.has("json") {
		header := w.Header()
		if a.host == runtimeHost {
			header.Set("X-Amzn-Bedrock-Invocation-Latency", fmt.Sprint(1+out.output))
		}
		if a.api == apiInvoke && !a.do.has("no-usage") {
			header.Set("X-Amzn-Bedrock-Input-Token-Count", fmt.Sprint(out.input))
			header.Set("X-Amzn-Bedrock-Output-Token-Count", fmt.Sprint(out.output))
		}
		header.Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		if a.hold(ctx, w) {
			w.Write(wire(a.whole(out)))
		}
		return nil
	}
	if a.api == apiInvoke {
		w.Header().Set("X-Amzn-Bedrock-Content-Type", "application/json")
	}
	w.Header().Set("Content-Type", a.streamMedia())
	w.WriteHeader(http.StatusOK)
	if a.hold(ctx, w) {
		a.stream(ctx, w, a.frames(out))
	}
	return nil
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	note func(status int)
}

func (w *statusWriter) WriteHeader(status int) {
	w.note(status)
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController flush and hijack.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
