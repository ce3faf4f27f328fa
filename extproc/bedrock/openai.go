package bedrock

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"aisix/extproc/chat"
	"aisix/extproc/completions"
	"aisix/extproc/fault"
	"aisix/extproc/responses"
)

// The requests of OpenAI's two APIs, on either host. (AWS user guide, "Inference using Chat
// Completions API" and "Responses API")

func encodeChat(_ context.Context, p *prepared) (wireRequest, error) {
	if p.asCame() {
		w, err := p.openai(p.withOwnWords)
		w.asCame = true
		return w, err
	}
	return p.openai(completions.EncodeRequest)
}

func encodeResponses(_ context.Context, p *prepared) (wireRequest, error) {
	if len(p.req.Stop) > 0 && !p.model.ignores("stop") {
		return wireRequest{}, fault.Invalid("stop", "this model does not support stop sequences")
	}
	return p.openai(responses.EncodeRequest)
}

// leastOutput is the least max_output_tokens that Responses takes ("integer below minimum
// value. Expected a value >= 16"). Clients of other formats ask for 1 to see whether a model
// is there.
const leastOutput = 16

func (p *prepared) openai(encode func(*chat.Request, completions.Upstream) ([]byte, error)) (wireRequest, error) {
	p.unplaced()
	header := converseHeader
	if p.api == apiChat && p.model.host == runtimeHost {
		header = guardrailHeader(header, p)
	} else if err := p.unguarded(); err != nil {
		return wireRequest{}, err
	}
	req := *p.req
	req.MaxTokens, req.Format = p.maxTokens, p.format
	if n := p.maxTokens; p.api == apiResponses && n != nil && *n < leastOutput {
		least := leastOutput
		req.MaxTokens = &least
		p.note("the upstream takes no max_output_tokens under 16: max_tokens was raised to it")
	}
	o := completions.Upstream{Model: p.model.ID, Extra: p.additional}
	if t := p.knobs.tier; t != nil {
		o.Tier = t.Type
	}
	body, err := encode(&req, o)
	return wireRequest{header: header, body: body}, err
}

// unplaced notes what the model's configuration says that the API has no place for.
func (p *prepared) unplaced() {
	if x := p.knobs.performance; x != nil && x.Latency != "" {
		p.note("performanceConfig was left out: the model's upstream API has no place for it")
	}
	if len(p.knobs.metadata) > 0 {
		p.note("requestMetadata was left out: the model's upstream API has no place for it")
	}
}

// unguarded refuses a guardrail where nothing would apply it.
func (p *prepared) unguarded() error {
	if p.knobs.guardrail == nil {
		return nil
	}
	return fault.Invalid("guardrailConfig", "guardrailConfig can't be applied: the model is asked by an API or a host of Bedrock's that has no guardrails")
}

// openaiStream decodes the events of one stream of OpenAI's.
type openaiStream struct {
	decoder interface {
		Decode(data []byte) ([]chat.Event, error)
		Raw(data []byte) (chat.Raw, []chat.Event, error)
	}
	verbatim bool         // each event's own words go ahead of what they mean
	raw      chat.Raw     // these
	events   []chat.Event // to put them before the others in
}

func (s *openaiStream) plain(data []byte) ([]chat.Event, bool, error) {
	if !s.verbatim {
		events, err := s.decoder.Decode(data)
		return events, true, err
	}
	raw, events, err := s.decoder.Raw(data)
	if err != nil {
		return nil, true, err
	}
	s.raw = raw
	s.events = append(append(s.events[:0], &s.raw), events...)
	return s.events, true, nil
}

func (*openaiStream) decode(any) ([]chat.Event, error) {
	return nil, errors.New("bedrock: no frames in a stream of server-sent events")
}

// openaiTypes are AWS's names for OpenAI's errors, by code or else by type; others go by
// status.
var openaiTypes = map[string]string{
	"access_denied":             "AccessDeniedException",
	"context_length_exceeded":   "ValidationException",
	"insufficient_quota":        "ServiceQuotaExceededException",
	"expired_token":             "ExpiredTokenException",
	"invalid_api_key":           "UnrecognizedClientException",
	"invalid_encrypted_content": "ValidationException",
	"invalid_prompt":            "ValidationException",
	"invalid_request_error":     "ValidationException",
	"model_not_found":           "ResourceNotFoundException",
	"overloaded_error":          "ServiceUnavailableException",
	"permission_denied":         "AccessDeniedException",
	"rate_limit_error":          "ThrottlingException",
	"rate_limit_exceeded":       "ThrottlingException",
	"server_error":              "InternalServerException",
	"server_is_overloaded":      "ServiceUnavailableException",
	"server_overloaded":         "ServiceUnavailableException",
	"slow_down":                 "ServiceUnavailableException",
	"permission_error":          "AccessDeniedException",
	"authentication_error":      "UnrecognizedClientException",
	"not_found_error":           "ResourceNotFoundException",
	"api_error":                 "InternalServerException",
	"internal_server_error":     "InternalServerException",
	"service_unavailable_error": "ServiceUnavailableException",
	"timeout":                   "ModelTimeoutException",
	"timeout_error":             "ModelTimeoutException",
}

// anyFailure are words that say no more than that a call failed: an HTTP status says more.
func anyFailure(word string) bool {
	return word == "api_error" || word == "server_error" || word == "internal_server_error"
}

// openaiException is the name at AWS of an error of OpenAI's, which came with an HTTP status
// or inside a stream (0). Where there is a status, a type alone says no more than it, and
// neither does a code that is any failure's, or a type's word for any mistake.
func openaiException(o *completions.Error, status int) string {
	if alone := status == 0 || status == http.StatusOK; alone {
		return cmp.Or(openaiTypes[o.Code], openaiTypes[o.Type])
	}
	if anyFailure(o.Code) || o.Code == "invalid_request_error" && status != http.StatusBadRequest {
		return ""
	}
	return openaiTypes[o.Code]
}
