// Package fault is the one error that a caller may see.
//
// It knows the kinds of error that the contract names and what is safe to say;
// it knows no dialect's JSON (each dialect has one table for that) and no AWS
// error (bedrock turns those into faults). What must stay with the operator is
// in Err: it goes to the log, never out.
package fault

import (
	"errors"
	"fmt"
	"net/http"

	"aisix/admin/strict"
)

// Kind is the class of an error. Logs, metrics and usage records have it in these words,
// a caller in those of the dialect.
type Kind string

// The kinds, as the contract's table has them.
const (
	InvalidAPIKey      Kind = "invalid_api_key"
	PermissionDenied   Kind = "permission_denied"
	ModelNotFound      Kind = "model_not_found"
	InvalidRequest     Kind = "invalid_request_error"
	RateLimited        Kind = "rate_limit_exceeded"
	LimitsUnavailable  Kind = "rate_limit_unavailable"
	Upstream           Kind = "upstream_error"
	Transport          Kind = "transport_error"
	Timeout            Kind = "timeout"
	GatewayUnavailable Kind = "gateway_unavailable"
	Overloaded         Kind = "gateway_overloaded"
	Internal           Kind = "internal_error"
)

// Error is an error as a caller may see it. Message, Code and Param hold
// nothing of AWS and no secret.
type Error struct {
	Kind    Kind
	Status  int    // HTTP status, when nothing was sent yet
	Code    string // what the kind leaves open (api_key_expired); "" is nothing
	Param   string // the member at fault, as the caller wrote it ("messages[2].content[0]"); "" is none
	Message string
	// RetryAfter is the value of the Retry-After header: whole seconds or an HTTP
	// date, relayed or our own; "" sends none.
	RetryAfter string
	// Err is the cause for the operator's log. It may name AWS's identifiers.
	Err error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s (%d): %s: %v", e.Kind, e.Status, e.Message, e.Err)
	}
	return fmt.Sprintf("%s (%d): %s", e.Kind, e.Status, e.Message)
}

func (e *Error) Unwrap() error { return e.Err }

// Invalid is a 400 that names the member at fault. param may be "".
func Invalid(param, format string, args ...any) *Error {
	return &Error{Kind: InvalidRequest, Status: http.StatusBadRequest, Param: param, Message: fmt.Sprintf(format, args...)}
}

// Body is a 400 that says what strict found wrong with a body, and names the member.
func Body(err error) *Error {
	var e *strict.Error
	switch {
	case !errors.As(err, &e):
		return From(err)
	case e.Pointer == "" && e.Detail != "":
		return Invalid("", "%s: %s", e.Error(), e.Detail)
	case e.Pointer == "":
		return Invalid("", "%s", e.Error())
	case e.Missing():
		return Invalid(e.Path, "%s %s", e.Path, e.Message)
	}
	return Invalid(e.Path, "%s: %s", e.Path, e.Message)
}

// From gives the fault in err's chain, or an internal one that hides err.
func From(err error) *Error {
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	return &Error{Kind: Internal, Status: http.StatusInternalServerError, Message: "internal error; the operator's log has the details under this request id", Err: err}
}
