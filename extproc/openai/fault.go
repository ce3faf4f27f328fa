package openai

import (
	"net/http"

	"aisix/extproc/fault"
)

type errorObject struct {
	Error errorMembers `json:"error"`
}

type errorMembers struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Code    *string `json:"code"`
	Param   *string `json:"param"`
}

// types are the kinds of faults in OpenAI's words, or in words like OpenAI's where it
// has none.
var types = map[fault.Kind]string{
	fault.InvalidAPIKey:      "invalid_api_key",
	fault.PermissionDenied:   "permission_denied",
	fault.ModelNotFound:      "model_not_found",
	fault.InvalidRequest:     "invalid_request_error",
	fault.RateLimited:        "rate_limit_exceeded",
	fault.LimitsUnavailable:  "rate_limit_unavailable",
	fault.Upstream:           "upstream_error",
	fault.Transport:          "transport_error",
	fault.Timeout:            "timeout",
	fault.GatewayUnavailable: "gateway_unavailable",
	fault.Overloaded:         "gateway_overloaded",
	fault.Internal:           "internal_error",
}

// API is what all of OpenAI's API has in common: how it tells an error.
type API struct{}

// IDHeader is none: OpenAI's x-request-id is the caller's to choose.
func (API) IDHeader() string { return "" }

// Fault gives an error as an HTTP answer; what is not known is null. f.Err is not in it.
func (API) Fault(f *fault.Error, _ string) (status int, header http.Header, body []byte) {
	header = http.Header{"Content-Type": {"application/json"}}
	if f.RetryAfter != "" {
		header.Set("Retry-After", f.RetryAfter)
	}
	return f.Status, header, errorBody(f)
}

func errorBody(f *fault.Error) []byte {
	body, err := marshal(errorObject{errorMembers{f.Message, types[f.Kind], orNull(f.Code), orNull(f.Param)}})
	if err != nil { // strings always marshal
		return []byte(`{"error":{"message":"internal error","type":"internal_error","code":null,"param":null}}`)
	}
	return body
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
