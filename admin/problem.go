package admin

import (
	"errors"
	"net/http"

	"aisix/admin/store"
	"aisix/admin/strict"
)

// problem is an error as an administrator sees it.
type problem struct {
	// What is wrong, for people. It never repeats a value of the request.
	Message string `json:"error_msg"`
	// What is wrong, for programs.
	Code string `json:"code,omitempty" of:"invalid_request not_found method_not_allowed conflict precondition_failed body_too_large unsupported_media_type host_not_allowed origin_not_allowed sample_key store_unavailable store_lost draining unreadable internal_error"`
	// JSON pointer of the member at fault, where one is.
	Pointer string `json:"pointer,omitempty"`

	status int
	header http.Header
	cause  error // for the log
}

func (p *problem) Error() string {
	if p.cause != nil {
		return p.cause.Error()
	}
	return p.Message
}

// asProblem is the table from errors to answers. What is not in it is a 500 that
// says nothing.
func asProblem(err error) *problem {
	var (
		p         *problem
		invalid   *strict.Error
		reference *store.ReferenceError
		taken     *store.TakenError
		used      *store.InUseError
		corrupted *store.UnreadableError
		lost      *store.LostError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &invalid):
		return &problem{status: http.StatusBadRequest, Code: "invalid_request", Message: invalid.Error(), Pointer: invalid.Pointer}
	case errors.As(err, &reference):
		return &problem{status: http.StatusBadRequest, Code: "invalid_request", Message: reference.Message, Pointer: reference.Pointer}
	case errors.As(err, &taken):
		return &problem{status: http.StatusConflict, Code: "conflict", Message: taken.Error(), Pointer: taken.Pointer}
	case errors.As(err, &used):
		return &problem{status: http.StatusConflict, Code: "conflict", Message: used.Error(), Pointer: used.Pointer}
	case errors.As(err, &corrupted):
		return &problem{status: http.StatusInternalServerError, Code: "unreadable", cause: err,
			Message: "the stored row of " + string(corrupted.Kind) + "/" + corrupted.ID + " can't be read; see the log. Delete and recreate it"}
	case errors.As(err, &lost):
		return &problem{status: http.StatusServiceUnavailable, Code: "store_lost", header: retryAfter, cause: err,
			Message: lost.Error() + ". The proxy goes on serving what was in force. Restore the data of Redis, or put in force what it holds now: POST " + confirmPath(lost.Epoch)}
	case errors.Is(err, store.ErrNothingLost):
		return &problem{status: http.StatusConflict, Code: "conflict", Message: "nothing to confirm: the store has lost nothing"}
	case errors.Is(err, store.ErrNotFound):
		return &problem{status: http.StatusNotFound, Code: "not_found", Message: "resource not found"}
	case errors.Is(err, store.ErrMoved):
		return &problem{status: http.StatusPreconditionFailed, Code: "precondition_failed", Message: "the resource's revision does not match If-Match"}
	case errors.Is(err, store.ErrUnavailable):
		return unavailable(err)
	default:
		return &problem{status: http.StatusInternalServerError, Code: "internal_error", Message: "internal error", cause: err}
	}
}

func badRequest(pointer, message string) *problem {
	return &problem{status: http.StatusBadRequest, Code: "invalid_request", Message: message, Pointer: pointer}
}

// unavailable is Redis away.
func unavailable(cause error) *problem {
	return &problem{status: http.StatusServiceUnavailable, Code: "store_unavailable", Message: "the configuration store is not available; try again",
		header: retryAfter, cause: cause}
}

var retryAfter = http.Header{"Retry-After": {"1"}}
