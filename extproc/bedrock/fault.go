package bedrock

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"aisix/extproc/anthropic"
	"aisix/extproc/fault"

	"github.com/aws/smithy-go"
)

// Exception is what AWS said, for the operator's log: it may name AWS's
// identifiers and must not reach a caller.
type Exception struct {
	Type      string // the exception's name, "" where none was told
	Message   string
	RequestID string // AWS's
	Status    int    // HTTP status, 0 inside a stream
	Hint      string // what the operator may do about it, "" is nothing known
}

func (e *Exception) Error() string {
	s := fmt.Sprintf("bedrock: %s: %s (status %d, aws request id %s)", e.Type, e.Message, e.Status, e.RequestID)
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

// RequestID is AWS's request id of a reply, "" where it has none.
func RequestID(header http.Header) string { return header.Get("X-Amzn-Requestid") }

// Fault turns a reply that is no answer into what the caller may see: an error
// status, or a 2xx whose body is an exception or nothing that can be decoded.
func Fault(status int, header http.Header, body []byte) *fault.Error {
	return newFault(exceptionOf(status, header, body), header, redactor{})
}

// exceptionOf reads name and message; the header wins over the body.
func exceptionOf(status int, header http.Header, body []byte) *Exception {
	e := &Exception{Status: status, RequestID: RequestID(header)}
	// AWS spells it message and Message; encoding/json matches both.
	var b struct {
		Type    any             `json:"__type"`
		Code    any             `json:"code"`
		Message json.RawMessage `json:"message"`
	}
	if json.Unmarshal(body, &b) == nil {
		var message string
		if json.Unmarshal(b.Message, &message) == nil {
			e.Message = message
		}
		for _, v := range []any{b.Type, b.Code} {
			if s, ok := v.(string); ok && e.Type == "" {
				e.Type = exceptionName(s)
			}
		}
	}
	// Claude's own error object may be the body, or the text inside the message.
	for _, raw := range [][]byte{body, []byte(e.Message)} {
		if a := anthropic.DecodeError(raw); a != nil {
			e.Message = a.Message
			if e.Type == "" {
				e.Type = anthropicTypes[a.Type]
			}
		}
	}
	if h := exceptionName(header.Get("X-Amzn-Errortype")); h != "" {
		e.Type = h
	}
	return e
}

// exceptionName cuts what AWS puts around the name: a namespace with # before
// it, a colon and a URL behind it.
func exceptionName(s string) string {
	s, _, _ = strings.Cut(s, ":")
	if i := strings.LastIndexByte(s, '#'); i >= 0 {
		s = s[i+1:]
	}
	return strings.TrimSpace(s)
}

// streamFault is the fault of an error that the event codec returned: an
// exception frame, or a frame that can't be decoded.
func (c *Call) streamFault(err error) *fault.Error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return undecodable(err)
	}
	name := exceptionName(api.ErrorCode())
	if name != "" {
		// Inside a stream a member's name may stand for the type's: validationException.
		name = strings.ToUpper(name[:1]) + name[1:]
	}
	return newFault(&Exception{Type: name, Message: api.ErrorMessage(), RequestID: c.requestID}, nil, c.redactor())
}

// The three texts of a prompt that is too long.
var tooLong = regexp.MustCompile(`(?i)input is too long|prompt is too long|input length and .?max_tokens.? exceed`)

// newFault is the one table from exceptions to faults; where an exception has no
// name, its HTTP status decides.
func newFault(e *Exception, header http.Header, r redactor) *fault.Error {
	f := &fault.Error{Kind: fault.Upstream, Err: e}
	switch e.Type {
	case "ThrottlingException", "TooManyRequestsException", "Throttling", "RequestLimitExceeded":
		f.Status, f.Code, f.Message = http.StatusTooManyRequests, "rate_limit_exceeded", "upstream rate limited"
	case "ServiceQuotaExceededException":
		f.Status, f.Code, f.Message = http.StatusTooManyRequests, "insufficient_quota", "upstream rate limited"
	case "ModelNotReadyException":
		f.Status, f.Code, f.Message = http.StatusServiceUnavailable, "model_not_ready", "upstream model not ready"
	case "ServiceUnavailableException", "ServiceUnavailable", "OverloadedError":
		f.Status, f.Code, f.Message = http.StatusServiceUnavailable, "overloaded", "upstream overloaded"
	case "ModelTimeoutException", "RequestTimeoutException", "RequestTimeout":
		f.Kind, f.Status, f.Message = fault.Timeout, http.StatusGatewayTimeout, "upstream timed out"
	case "AccessDeniedException", "AccessDenied":
		f.Status, f.Code, f.Message = denied(e.Status), "permission_denied", "upstream authentication failed"
	case "ExpiredTokenException", "ExpiredToken", "InvalidSignatureException", "SignatureDoesNotMatch",
		"UnrecognizedClientException", "InvalidClientTokenId", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
		"IncompleteSignature", "IncompleteSignatureException", "RequestExpired", "NotAuthorized", "OptInRequired":
		f.Status, f.Message = denied(e.Status), "upstream authentication failed"
	case "ResourceNotFoundException":
		f.Status, f.Code, f.Message = http.StatusNotFound, "model_not_found", "upstream model not found"
	case "ModelErrorException", "ModelStreamErrorException":
		f.Status, f.Message = http.StatusBadGateway, "the upstream model failed"
	case "InternalServerException", "InternalFailure", "InternalServerError":
		f.Status, f.Message = http.StatusBadGateway, "upstream error"
	case "ValidationException", "ValidationError":
		f.Status, f.Message = http.StatusBadRequest, r.message(e.Message)
		if tooLong.MatchString(e.Message) {
			f.Code = "context_length_exceeded"
		}
	default:
		byStatus(f, e, r)
	}
	e.Hint = hint(e)
	if f.Status == http.StatusTooManyRequests || f.Status == http.StatusServiceUnavailable {
		f.RetryAfter = retryAfter(header)
	}
	return f
}

func byStatus(f *fault.Error, e *Exception, r redactor) {
	switch s := e.Status; {
	case s == http.StatusBadRequest:
		f.Status, f.Message = s, r.message(e.Message)
		if tooLong.MatchString(e.Message) {
			f.Code = "context_length_exceeded"
		}
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		f.Status, f.Message = s, "upstream authentication failed"
	case s == http.StatusNotFound:
		f.Status, f.Code, f.Message = s, "model_not_found", "upstream model not found"
	case s == http.StatusRequestTimeout, s == http.StatusGatewayTimeout:
		f.Kind, f.Status, f.Message = fault.Timeout, http.StatusGatewayTimeout, "upstream timed out"
	case s == http.StatusTooManyRequests:
		f.Status, f.Code, f.Message = s, "rate_limit_exceeded", "upstream rate limited"
	case s == http.StatusServiceUnavailable, s == 529:
		f.Status, f.Code, f.Message = s, "overloaded", "upstream overloaded"
	case s >= 400 && s < 500 && s != http.StatusFailedDependency:
		f.Status, f.Message = s, "the upstream refused the request"
	default:
		f.Status, f.Message = http.StatusBadGateway, "upstream error"
	}
}

// denied is the status of an authentication failure: AWS's own where it is one.
func denied(status int) int {
	if status == http.StatusUnauthorized {
		return status
	}
	return http.StatusForbidden
}

// AWS takes signatures that are off by up to five minutes.
const (
	maxSkew   = 5 * time.Minute
	clockHint = "this host's clock is off by more than five minutes: signatures are refused"
)

// hint says what the log should tell the operator about credentials and clocks.
func hint(e *Exception) string {
	switch {
	case strings.HasPrefix(e.Type, "ExpiredToken") || e.Type == "RequestExpired":
		return "the provider key's credentials have expired: put new ones"
	case strings.Contains(e.Message, "Signature expired") || strings.Contains(e.Message, "Signature not yet current"):
		return clockHint
	}
	return ""
}

// retryAfter relays a Retry-After that is one: whole seconds or an HTTP date.
func retryAfter(header http.Header) string {
	v := strings.TrimSpace(header.Get("Retry-After"))
	if n, err := strconv.Atoi(v); err == nil && n >= 0 {
		return strconv.Itoa(max(n, 1))
	}
	if _, err := http.ParseTime(v); err == nil {
		return v
	}
	return ""
}

// undecodable is an answer that is none.
func undecodable(err error) *fault.Error {
	return &fault.Error{Kind: fault.Upstream, Status: http.StatusBadGateway, Message: "the upstream's answer could not be decoded", Err: err}
}

// incomplete is an answer that lacks what.
func incomplete(what string) *fault.Error {
	return &fault.Error{Kind: fault.Upstream, Status: http.StatusBadGateway,
		Message: "the upstream's answer was incomplete", Err: errors.New("the reply has no " + what)}
}
