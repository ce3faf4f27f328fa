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

// Server answers as bedrock-runtime does. It is an http.Handler.
type Server struct {
	verifier *sigv4.Verifier
	log      *slog.Logger
	calls    calls
	cache    promptCache
	issued   issues
}

// New makes a server that takes what the verifier takes.
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

// An operation reads a body and answers in one shape.
type operation struct {
	stream bool
	claude bool // Anthropic's shape, in InvokeModel's envelope
}

var operations = map[string]operation{
	"converse": {}, "converse-stream": {stream: true},
	"invoke": {claude: true}, "invoke-with-response-stream": {claude: true, stream: true},
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_sim/") {
		s.calls.control(w, r)
		return
	}
	call := &Call{RequestID: uuid.NewString(), At: time.Now().UTC(), Header: r.Header.Clone()}
	w.Header().Set("X-Amzn-Requestid", call.RequestID)
	s.calls.begin(call)
	defer s.finish(call, r)
	recorder := &statusWriter{ResponseWriter: w, note: func(status int) { s.calls.change(func() { call.Status = status }) }}
	if f := s.serve(recorder, r, call); f != nil {
		s.calls.change(func() { call.Exception = f.kind })
		f.write(recorder)
	}
}

// finish runs also when a handler breaks the connection off.
func (s *Server) finish(call *Call, r *http.Request) {
	s.calls.change(func() { call.Open, call.Left = false, r.Context().Err() != nil })
	s.log.Info("call", "operation", call.Operation, "model", call.Model, "region", call.Region, "access_key_id", call.AccessKeyID,
		"status", call.Status, "exception", call.Exception, "left", call.Left, "request_id", call.RequestID, "ms", time.Since(call.At).Milliseconds())
}

// serve is the story of one request, in AWS's order: who asks, then what.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, call *Call) *fault {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return invalid("1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have length less than or equal to %d", maxBody)
		}
		panic(http.ErrAbortHandler) // the caller left
	}
	// Kept before the signature is looked at: a test wants to see what was signed wrongly.
	if json.Valid(body) {
		s.calls.change(func() { call.Body = body })
	}
	signer, err := s.verifier.Verify(r, body)
	if err != nil {
		if e := new(sigv4.Error); errors.As(err, &e) {
			return &fault{status: e.Status, kind: e.Type, message: e.Message}
		}
		panic(err)
	}
	name, segment, ok := route(r)
	// Only a good signature learns what there is.
	op, known := operations[name]
	if !ok || !known {
		return &fault{status: http.StatusNotFound, kind: "UnknownOperationException", message: "The requested operation is not recognized by the service."}
	}
	s.calls.change(func() { call.Operation, call.AccessKeyID, call.Region = name, signer.AccessKeyID, signer.Region })
	if r.Method != http.MethodPost {
		return &fault{status: http.StatusMethodNotAllowed, kind: "UnknownOperationException", message: "The requested operation is not recognized by the service."}
	}
	m, f := resolve(segment, signer.Region)
	if f != nil {
		return f
	}
	if m.publisher == "" {
		m.publisher, m.name = named(s.calls.behaviour()["is"])
	}
	s.calls.change(func() { call.Model = m.id })
	a, f := s.read(op, m, r.Header, body)
	if f != nil {
		return f
	}
	a.region = signer.Region
	a.finish(s.calls.behaviour())
	return s.answer(w, r, op, a)
}

// route cuts /model/{id}/{operation} out of the path as it came. A prefix may stand before it: a
// private endpoint has one.
func route(r *http.Request) (operation, segment string, ok bool) {
	// Not the decoded path: in an ARN's segment an encoded slash is no separator.
	path := r.URL.EscapedPath()
	i := strings.LastIndex(path, "/model/")
	if i < 0 {
		return "", "", false
	}
	segment, operation, ok = strings.Cut(path[i+len("/model/"):], "/")
	return operation, segment, ok
}

// read checks a body and reads what it asks for.
func (s *Server) read(op operation, m model, header http.Header, body []byte) (*ask, *fault) {
	if media, _, err := mime.ParseMediaType(header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, invalid("The provided content type is invalid or not supported for this model: application/json is.")
	}
	// Strictly: a gateway must not send a member twice, whichever of the two AWS would take.
	v, err := parse(body)
	if err != nil {
		return nil, invalid("The request body is not valid JSON: %v", err)
	}
	if op.claude {
		if f := checkInvokeHeaders(header); f != nil {
			return nil, f
		}
		a, f := checkMessages(m, v, &s.issued)
		if f == nil {
			a.cache, a.input = s.cache.use(m.id, claudePrompt(v))
			a.tier = header.Get("X-Amzn-Bedrock-Service-Tier")
		}
		return a, f
	}
	a, f := checkConverse(m, v, op.stream, &s.issued)
	if f == nil {
		a.cache, a.input = s.cache.use(m.id, conversePrompt(v, m.has("input_holds_cached")))
	}
	return a, f
}

// answer says it, or what it is told to say instead.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, op operation, a *ask) *fault {
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
	if f := a.do.fault(a.region, a.model.id); f != nil {
		if f.kind == "ThrottlingException" && a.do["throttle"] != "" {
			w.Header().Set("Retry-After", a.do["throttle"])
		}
		return f
	}
	if a.misanswer(w, r, op) {
		return nil
	}
	out := a.answer()
	s.issued.note(out.blocks)
	if tier := a.served(); tier != "" && op.claude {
		w.Header().Set("X-Amzn-Bedrock-Service-Tier", tier)
	}
	if !op.stream || a.do.has("json") {
		reply := a.converse(out)
		if op.claude {
			reply = a.messages(out)
		}
		header := w.Header()
		header.Set("X-Amzn-Bedrock-Invocation-Latency", fmt.Sprint(1+out.output))
		if op.claude && !a.do.has("no-usage") {
			header.Set("X-Amzn-Bedrock-Input-Token-Count", fmt.Sprint(out.input))
			header.Set("X-Amzn-Bedrock-Output-Token-Count", fmt.Sprint(out.output))
		}
		writeJSON(w, http.StatusOK, reply)
		return nil
	}
	frames := a.converseStream(out)
	if op.claude {
		w.Header().Set("X-Amzn-Bedrock-Content-Type", "application/json")
		frames = a.messagesStream(out)
	}
	w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	w.WriteHeader(http.StatusOK)
	a.stream(ctx, w, frames)
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
