package anthropic

import (
	"cmp"
	"net/http"
	"regexp"
	"strings"

	"aisix/extproc/fault"
	js "aisix/extproc/jsonappend"
)

// API is what all of Anthropic's API has in common: how it tells an error, and the id of
// a request.
type API struct{}

// IDHeader is the field that Anthropic's clients read the request's id from.
func (API) IDHeader() string { return "request-id" }

// words are an error's in Anthropic's API.
type words struct {
	kind   string
	status int // 0 is the fault's own
}

// kinds are the kinds of faults in Anthropic's words. What depends on the status is in
// byStatus.
var kinds = map[fault.Kind]words{
	fault.InvalidAPIKey:      {"authentication_error", http.StatusUnauthorized},
	fault.PermissionDenied:   {"permission_error", http.StatusForbidden},
	fault.ModelNotFound:      {"not_found_error", http.StatusNotFound},
	fault.RateLimited:        {"rate_limit_error", http.StatusTooManyRequests},
	fault.LimitsUnavailable:  {"overloaded_error", overloaded},
	fault.Transport:          {"api_error", http.StatusInternalServerError},
	fault.Timeout:            {"timeout_error", http.StatusGatewayTimeout},
	fault.GatewayUnavailable: {"overloaded_error", overloaded},
	fault.Overloaded:         {"overloaded_error", overloaded},
	fault.Internal:           {"api_error", http.StatusInternalServerError},
}

// overloaded is Anthropic's own status.
const overloaded = 529

// byStatus are the words of what was wrong with a request, and of an upstream's errors.
// Its refusal of our credentials is no 401: the caller's key is good.
func byStatus(status int) words {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return words{"permission_error", http.StatusForbidden}
	case http.StatusNotFound:
		return words{"not_found_error", 0}
	case http.StatusRequestEntityTooLarge:
		return words{"request_too_large", 0}
	case http.StatusTooManyRequests:
		return words{"rate_limit_error", 0}
	case http.StatusServiceUnavailable, overloaded:
		return words{"overloaded_error", overloaded}
	case http.StatusGatewayTimeout:
		return words{"timeout_error", 0}
	}
	if status >= 500 {
		return words{"api_error", http.StatusInternalServerError}
	}
	return words{"invalid_request_error", 0}
}

// in is how a fault is told.
func in(f *fault.Error) (kind string, status int) {
	w, ok := kinds[f.Kind]
	if !ok {
		w = byStatus(f.Status)
	}
	return w.kind, cmp.Or(w.status, f.Status)
}

// Fault gives an error as an HTTP answer. f.Err is not in it.
func (API) Fault(f *fault.Error, requestID string) (status int, header http.Header, body []byte) {
	header = http.Header{"Content-Type": {"application/json"}}
	if f.RetryAfter != "" {
		header.Set("Retry-After", f.RetryAfter)
	}
	_, status = in(f)
	return status, header, errorBody(nil, f, requestID)
}

func errorBody(dst []byte, f *fault.Error, requestID string) []byte {
	kind, _ := in(f)
	dst = append(dst, `{"type":"error","error":{"type":`...)
	dst = js.String(dst, kind)
	dst = append(dst, `,"message":`...)
	message := told(f)
	dst = js.String(dst, message)
	if kind == "invalid_request_error" && ofThread.MatchString(message) {
		dst = append(dst, unthreaded...)
	}
	dst = append(dst, '}')
	if requestID != "" {
		dst = js.String(append(dst, `,"request_id":`...), requestID)
	}
	return append(dst, '}')
}

// unthreaded tells Anthropic's SDKs, whose tool runners ask for a thread of messages unasked, that
// there are none here: they go on without one, and send the conversation whole.
const unthreaded = `,"details":{"error_code":"thread_unsupported_request","unsupported":["thread"]}`

// ofThread is our own refusal of the member, and Bedrock's.
var ofThread = regexp.MustCompile(`(^|: )thread: |extraneous key \[thread\]`)

// told is a fault's message. Anthropic has no member for what it is about: the message names
// it, with dots: messages.1.content.0.
func told(f *fault.Error) string {
	if f.Code == "context_length_exceeded" && !tooLong.MatchString(f.Message) {
		return "prompt is too long: " + f.Message // there is no code either: clients compact where they read that
	}
	if f.Kind != fault.InvalidRequest || f.Param == "" {
		return f.Message
	}
	dotted := index.ReplaceAllString(f.Param, ".$1")
	if !strings.Contains(f.Message, f.Param) {
		return dotted + ": " + f.Message
	}
	return strings.ReplaceAll(f.Message, f.Param, dotted)
}

// tooLong are Anthropic's own words for what does not fit.
var tooLong = regexp.MustCompile(`(?i)prompt is too long|input length and .?max_tokens.? exceed`)

var index = regexp.MustCompile(`\[([0-9]+)\]`)
