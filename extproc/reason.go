package extproc

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"aisix/extproc/egress"
	"aisix/extproc/fault"
)

// reason is what came of a try, for records and metrics.
type reason string

const (
	served        reason = "served"
	gone          reason = "cancelled" // by a caller who left, or since one beside it failed
	brokenOff     reason = "broke_off" // in mid-answer
	transport     reason = "transport"
	timeout       reason = "timeout"
	throttled     reason = "throttled"
	notReady      reason = "model_not_ready"
	busy          reason = "overloaded"
	serverError   reason = "server_error"
	credentials   reason = "credentials_unavailable"
	accessDenied  reason = "access_denied"
	modelNotFound reason = "model_not_found"
	refused       reason = "refused" // the caller's mistake
	unreachable   reason = "egress_unreachable"
	ours          reason = "gateway"
)

// ofTarget reports whether another target might have served the call.
func (r reason) ofTarget() bool {
	switch r {
	case transport, timeout, throttled, notReady, busy, serverError, credentials, accessDenied, modelNotFound:
		return true
	}
	return false
}

// tokenError is that a provider key's credentials are not to be had.
type tokenError struct{ error }

func (e tokenError) Unwrap() error { return e.error }

// reasonOf is why a try failed.
func reasonOf(err error) reason {
	var token tokenError
	var f *fault.Error
	switch {
	case errors.As(err, &token):
		return credentials
	case errors.Is(err, egress.ErrUnreachable):
		return unreachable
	case !errors.As(err, &f):
		return ours
	}
	switch f.Kind {
	case fault.Transport:
		return transport
	case fault.Timeout:
		return timeout
	case fault.Upstream:
	default:
		return ours
	}
	switch {
	case f.Status == http.StatusTooManyRequests:
		return throttled
	case f.Code == "model_not_ready":
		return notReady
	case f.Status == http.StatusServiceUnavailable:
		return busy
	case f.Status >= 500:
		return serverError
	case f.Status == http.StatusUnauthorized, f.Status == http.StatusForbidden:
		return accessDenied
	case f.Status == http.StatusNotFound:
		return modelNotFound
	}
	return refused
}

// best is the fault that says most: how long the caller had best wait, else that the
// upstreams failed, and how the last one did.
func best(faults []*fault.Error) *fault.Error {
	said := faults[len(faults)-1]
	var least time.Duration
	now := time.Now()
	for _, f := range faults {
		if f.Status != http.StatusTooManyRequests {
			continue
		}
		wait := retryAfter(f, now)
		if said.Status != http.StatusTooManyRequests || wait > 0 && (least == 0 || wait < least) {
			said, least = f, wait
		}
	}
	if said.Status < 429 {
		for _, f := range faults {
			if f.Status >= 500 {
				said = f
			}
		}
	}
	return said
}

// retryAfter is how long a fault asks to wait, 0 where it does not say.
func retryAfter(f *fault.Error, now time.Time) time.Duration {
	if n, err := strconv.Atoi(f.RetryAfter); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(f.RetryAfter); err == nil {
		return max(at.Sub(now), time.Second)
	}
	return 0
}
