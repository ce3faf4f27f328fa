package bedrock

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"aisix/extproc/anthropic"
	"aisix/extproc/chat"
	"aisix/extproc/completions"
	"aisix/extproc/fault"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
)

// The media types of bodies.
const (
	contentType     = "application/json"
	eventStreamType = "application/vnd.amazon.eventstream"
)

// encodeInvoke is the request of InvokeModel or InvokeModelWithResponseStream:
// an Anthropic body, with Bedrock's knobs as headers.
func encodeInvoke(_ context.Context, p *prepared) (wireRequest, error) {
	body, err := anthropicBody(p)
	if err != nil {
		return wireRequest{}, err
	}
	return wireRequest{header: invokeHeader(p), body: body}, nil
}

// invokeHeader is what the service model binds to header fields of InvokeModel and
// InvokeModelWithResponseStream, in the order of names. TestInvokeHeader holds it to the
// SDK.
func invokeHeader(p *prepared) []Field {
	accept := "accept"
	if p.req.Stream {
		accept = "x-amzn-bedrock-accept"
	}
	header := append(make([]Field, 0, 8), Field{Key: accept, Value: contentType}, Field{Key: "content-type", Value: contentType})
	if p.req.Stream {
		header[0], header[1] = header[1], header[0]
	}
	add := func(name, value string) { header = append(header, Field{Key: "x-amzn-bedrock-" + name, Value: value}) }
	header = guardrailHeader(header, p)
	if x := p.knobs.performance; x != nil && x.Latency != "" {
		add("performanceconfig-latency", x.Latency)
	}
	if l := labels(p); l != nil {
		add("request-metadata", string(marshal(l)))
	}
	if x := p.knobs.tier; x != nil && x.Type != "" {
		add("service-tier", x.Type)
	}
	if g := p.knobs.guardrail; g != nil && g.Trace != "" {
		add("trace", strings.ToUpper(g.Trace))
	}
	return header
}

// guardrailHeader adds which guardrail judges the call, but for its trace.
func guardrailHeader(header []Field, p *prepared) []Field {
	g := p.knobs.guardrail
	if g == nil {
		return header
	}
	return append(header[:len(header):len(header)],
		Field{Key: "x-amzn-bedrock-guardrailidentifier", Value: g.Identifier},
		Field{Key: "x-amzn-bedrock-guardrailversion", Value: g.Version})
}

func anthropicBody(p *prepared) ([]byte, error) {
	req := *p.req
	req.MaxTokens = p.maxTokens
	req.Format = p.format
	req.Reasoning = nil // in Thinking and Effort
	extra := p.additional
	if g := p.knobs.guardrail; g != nil && g.StreamMode != "" && req.Stream {
		// InvokeModel has no header for the mode: it is a member of the body.
		mode := map[string]string{"sync": "SYNCHRONOUS", "async": "ASYNCHRONOUS"}[g.StreamMode]
		extra["amazon-bedrock-guardrailConfig"] = object(map[string]json.RawMessage{"streamProcessingMode": marshal(mode)})
	}
	o := anthropic.Options{
		Beta: p.knobs.beta, Thinking: p.thinking, Effort: p.effort,
		StrictTools: has(p.family.Capabilities.StrictTools), Extra: extra,
	}
	if p.api == apiMessages {
		o.Model = p.model.ID
	}
	return anthropic.EncodeRequest(&req, o)
}

// invokeStream decodes the chunks of one InvokeModelWithResponseStream.
type invokeStream struct {
	decoder anthropic.EventDecoder
	chunk   []byte // to decode one in

	verbatim bool         // each chunk's own words go ahead of what they mean
	raw      chat.Raw     // these
	events   []chat.Event // to put these before the others in
}

// said is what a chunk means: an empty one, which the service model allows, nothing.
func (s *invokeStream) said(chunk []byte) ([]chat.Event, error) {
	if len(chunk) == 0 {
		return nil, nil
	}
	if !s.verbatim {
		return s.decoder.Decode(chunk)
	}
	raw, events, err := s.decoder.Raw(chunk)
	if err != nil {
		return nil, err
	}
	s.raw = raw
	s.events = append(append(s.events[:0], &s.raw), events...)
	return s.events, nil
}

func (s *invokeStream) decode(event any) ([]chat.Event, error) {
	chunk, ok := event.(*types.PayloadPart)
	if !ok {
		return nil, nil
	}
	return s.said(chunk.Bytes)
}

// decodeFault is the fault of what a decoder refused: Anthropic's error object,
// a fault already, or something that is no answer.
func (r *Reply) decodeFault(err error) *fault.Error {
	var f *fault.Error
	if errors.As(err, &f) {
		return f
	}
	var o *completions.Error
	if errors.As(err, &o) {
		return r.fault(&Exception{Type: openaiException(o, 0), Message: o.Message, Code: o.Code, Param: o.Param, RequestID: r.RequestID()}, none)
	}
	var e *anthropic.Error
	if !errors.As(err, &e) {
		return undecodable(err)
	}
	return r.fault(&Exception{Type: anthropicTypes[e.Type], Message: e.Message, RequestID: r.RequestID(), Status: e.Status()}, none)
}

// anthropicTypes are AWS's names for Anthropic's errors; others go by status.
var anthropicTypes = map[string]string{
	"invalid_request_error": "ValidationException",
	"rate_limit_error":      "ThrottlingException",
	"permission_error":      "AccessDeniedException",
	"not_found_error":       "ResourceNotFoundException",
	"timeout_error":         "ModelTimeoutException",
	"overloaded_error":      "ServiceUnavailableException",
	"api_error":             "InternalServerException",
}
