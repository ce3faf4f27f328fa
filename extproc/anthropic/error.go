package anthropic

import (
	"encoding/json"
	"net/http"
)

// Error is Anthropic's error object, as a stream event or as a body carries it.
// Its message is the upstream's: bedrock redacts it before a caller may see it.
type Error struct {
	Type    string `json:"type"` // overloaded_error, invalid_request_error, …
	Message string `json:"message"`
}

func (e *Error) Error() string { return "anthropic: " + e.Type + ": " + e.Message }

// Status is the HTTP status that Anthropic's API gives an error of this type;
// 500 for a type that it does not name.
func (e *Error) Status() int {
	if s, ok := statuses[e.Type]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// statuses are those of Anthropic's "Errors" page.
var statuses = map[string]int{
	"invalid_request_error": http.StatusBadRequest,
	"authentication_error":  http.StatusUnauthorized,
	"billing_error":         http.StatusPaymentRequired,
	"permission_error":      http.StatusForbidden,
	"not_found_error":       http.StatusNotFound,
	"request_too_large":     http.StatusRequestEntityTooLarge,
	"rate_limit_error":      http.StatusTooManyRequests,
	"api_error":             http.StatusInternalServerError,
	"timeout_error":         http.StatusGatewayTimeout,
	"overloaded_error":      529,
}

// DecodeError gives the error object inside an error body, or nil where the body
// has none of Anthropic's shape ({"type":"error","error":{…}}).
func DecodeError(body []byte) *Error {
	var e struct {
		Type  string `json:"type"`
		Error *Error `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil || e.Type != "error" || e.Error == nil {
		return nil
	}
	return e.Error
}
