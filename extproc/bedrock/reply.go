package bedrock

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"

	"aisix/admin/resource"
	"aisix/extproc/anthropic"
	"aisix/extproc/bedrock/redact"
	"aisix/extproc/chat"
	"aisix/extproc/completions"
	"aisix/extproc/fault"
	"aisix/extproc/responses"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/schemas"
)

// Reply is what Bedrock said to one attempt. Its body, which comes after it, is
// given to one of Whole, Events and Fault. Not for concurrent use.
type Reply struct {
	call   *Call
	signed *Signed
	status int
	header Header
	notes  []string
	begun  bool // the model has said something, which what AWS says may quote
}

// Header is the head of a reply; names are in any case. An http.Header is one.
type Header interface{ Get(name string) string }

// Reply is the reply to s that begins with status and header, which is nil where there
// is none.
func (s *Signed) Reply(status int, header Header) *Reply {
	if header == nil {
		header = http.Header(nil)
	}
	return &Reply{call: s.call, signed: s, status: status, header: header}
}

// RequestID is AWS's request id, "" where the reply has none.
func (r *Reply) RequestID() string { return requestID(r.header) }

// Status is the HTTP status.
func (r *Reply) Status() int { return r.status }

// OK reports whether the reply has the status of an answer. The body of another one
// is to be given to Fault.
func (r *Reply) OK() bool { return r.status == http.StatusOK }

// Expired reports whether the token was refused as expired: sessions are revoked, and
// clocks are off.
func (r *Reply) Expired() bool {
	return !r.OK() && strings.HasPrefix(r.header.Get("X-Amzn-Errortype"), "ExpiredToken")
}

// Notes are what the operator's log should tell of the reply: an unknown stop
// reason.
func (r *Reply) Notes() []string { return r.notes }

// IsStream reports whether the reply is the event stream that was asked for. If
// not, its body is to be read whole and given to Fault.
func (r *Reply) IsStream() bool {
	want := eventStreamType
	if r.call.api.sse() {
		want = sseType
	}
	return r.OK() && mediaType(r.header) == want
}

// Whole decodes the body of a whole reply. A status other than 200, an exception in
// a 200, and an answer that lacks message, stop reason or usage are a *fault.Error. Beside
// one of these are the events of what it says to have cost, if it does.
func (r *Reply) Whole(body []byte) ([]chat.Event, error) {
	if err := r.answered(body); err != nil {
		return nil, err
	}
	events, err := decoders[r.call.api](body)
	if err != nil {
		return nil, r.decodeFault(err)
	}
	if r.call.verbatim {
		events = append([]chat.Event{&chat.Raw{Data: anthropic.Stripped(body)}}, events...)
	}
	ids, tagged, restore := callIDs{answer: r.RequestID()}, newTagged(r.call.model.family.ThinkingTag), r.restorer()
	r.call.model.attribute(events)
	told := restore.events(tagged.events(ids.events(r.call.model.counted(events))))
	events, notes, err := new(stops).whole(told)
	if err != nil {
		return slices.DeleteFunc(told, func(e chat.Event) bool { return !isUsage(e) }), r.decodeFault(err)
	}
	r.notes = append(r.notes, notes...)
	if tier := headerTier(r.header); len(tier) > 0 {
		events = append(tier, events...)
	}
	return events, nil
}

// answered is why a whole reply is no answer, by its head and what it says of itself.
func (r *Reply) answered(body []byte) error {
	if !r.OK() {
		return r.Fault(body)
	}
	if r.header.Get("X-Amzn-Errortype") != "" || bytes.Contains(body, []byte(`"__type"`)) {
		if e := exceptionOf(r.status, r.header, body); e.Type != "" {
			return r.fault(e, r.header)
		}
	}
	if mediaType(r.header) != contentType {
		return undecodable(&Exception{Type: "unexpected content type " + quote(r.header.Get("Content-Type")), RequestID: r.RequestID(), Status: r.status})
	}
	return nil
}

// Events reads the event stream body: in its own pieces, where it has a method
// Piece() ([]byte, error) beside Read.
func (r *Reply) Events(body io.Reader) *Events {
	e := &Events{reply: r, ids: callIDs{answer: r.RequestID()}, tagged: newTagged(r.call.model.family.ThinkingTag), restore: r.restorer(), tier: headerTier(r.header)}
	switch r.call.api {
	case apiConverse:
		e.schema, e.decoder = schemas.ConverseStreamOutput, new(converseStream)
	case apiInvoke:
		e.schema, e.decoder = schemas.ResponseStream, &invokeStream{verbatim: r.call.verbatim}
	case apiMessages:
		e.decoder = &messagesStream{invokeStream{verbatim: r.call.verbatim}}
	case apiChat:
		e.decoder = &openaiStream{decoder: new(completions.EventDecoder), verbatim: r.call.verbatim}
	case apiResponses:
		e.decoder = &openaiStream{decoder: new(responses.EventDecoder), verbatim: r.call.verbatim}
	}
	if r.call.api.sse() {
		e.source = &sseSource{body: piecesOf(body)}
	} else {
		e.source = &frameReader{body: piecesOf(body)}
	}
	return e
}

// decoders decode the whole answer of each API.
var decoders = [...]func([]byte) ([]chat.Event, error){
	apiConverse:  converseReply,
	apiInvoke:    anthropic.DecodeResponse,
	apiMessages:  anthropic.DecodeResponse,
	apiChat:      completions.DecodeCompletion,
	apiResponses: responses.DecodeResponse,
}

// Fault turns a reply that is no answer into what the caller may see: an error
// status, or a 2xx whose body is an exception or nothing that can be decoded.
func (r *Reply) Fault(body []byte) *fault.Error {
	e := exceptionOf(r.status, r.header, body)
	f := r.fault(e, r.header)
	if date, err := http.ParseTime(r.header.Get("Date")); err == nil && e.Hint == "" &&
		(r.status == http.StatusForbidden || r.status == http.StatusUnauthorized) && date.Sub(r.signed.at).Abs() > maxSkew {
		e.Hint = clockHint
	}
	return f
}

func (r *Reply) restorer() restorer {
	c := r.call
	restore := restorer{names: c.names, fields: c.fields, output: c.output, object: c.object, shape: c.answer, answer: structured(c.answer)}
	if c.object && c.output == "" {
		restore.answer = filters{new(objectText)}
	}
	return restore
}

// redactor knows what of this attempt must not show.
func (r *Reply) redactor() redact.Redactor {
	m, host := r.call.model, r.call.address.url
	secrets := []string{host.Host, host.Hostname(), m.Region, r.signed.keyID, r.RequestID()}
	if token := r.signed.field("x-amz-security-token"); len(token) > 15 { // AWS's have hundreds of bytes; a short one would be a word of any message
		secrets = append(secrets, token)
	}
	if _, signature, ok := strings.Cut(r.signed.field("authorization"), "Signature="); ok {
		secrets = append(secrets, signature)
	}
	secrets = append(secrets, r.signed.bearer())
	if id := m.ID; strings.HasPrefix(id, resource.ARNPrefix) {
		secrets = append(secrets, id)
		if resource.Publisher(id) == "" { // the account's own name for it, not the model's
			secrets = append(secrets, id[strings.LastIndexByte(id, '/')+1:])
		}
	}
	if g := m.options.GuardrailConfig; g != nil {
		secrets = append(secrets, g.Identifier)
	}
	return redact.New(secrets...)
}
