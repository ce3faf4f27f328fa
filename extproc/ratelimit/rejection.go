package ratelimit

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"aisix/extproc/fault"
)

// Rejection is a call refused by a limit, or by the policy "closed". The fault
// is in its chain (fault.From finds it).
type Rejection struct {
	Fault   *fault.Error
	Headers http.Header // x-ratelimit-*, of the limit that refused; empty for "closed"
	Scope   string      // the refusing bucket's; "" for "closed"
	Limit   string      // its dimension: rps rpm rph rpd tpm tpd concurrency; "" for "closed"
}

func (r *Rejection) Error() string { return r.Fault.Error() }

// Unwrap gives the fault.
func (r *Rejection) Unwrap() error { return r.Fault }

var wording = [dimensions]string{"requests per second", "requests per minute", "requests per hour", "requests per day", "tokens per minute", "tokens per day", "requests at a time"}

func rejection(buckets []bucket, v verdict) *Rejection {
	b := buckets[v.bucket]
	wait := reset(v.at, v.dim)
	seconds := strconv.FormatInt(max(1, int64((wait+time.Second-1)/time.Second)), 10)
	kind, _, _ := strings.Cut(b.scope, ":")
	subject := map[string]string{"apikey": "this API key", "model": "this model"}[kind]
	if subject == "" {
		subject = "this " + kind
	}
	limit := *b.limits[v.dim]
	message := fmt.Sprintf("Rate limit reached for %s: limit %s, %d %s. Please try again in %s s.", subject, names[v.dim], limit, wording[v.dim], seconds)
	if limit == 0 {
		message = fmt.Sprintf("Rate limit reached for %s: limit %s is 0, which blocks all requests.", subject, names[v.dim])
	}
	h := http.Header{}
	set(h, v, buckets, func(i, d int) bool { return i == v.bucket && d == v.dim })
	return &Rejection{
		Fault:   &fault.Error{Kind: fault.RateLimited, Status: http.StatusTooManyRequests, Message: message, RetryAfter: seconds},
		Headers: h, Scope: b.scope, Limit: names[v.dim],
	}
}

func unavailable(cause error) *Rejection {
	return &Rejection{Fault: &fault.Error{
		Kind: fault.LimitsUnavailable, Status: http.StatusServiceUnavailable,
		Message: "rate limits cannot be checked at the moment", RetryAfter: "1", Err: cause,
	}}
}

// set writes the x-ratelimit headers as OpenAI sends them: for requests and for
// tokens, of the limit with least left among those that pick takes. A
// concurrency limit shows only where it refused.
func set(h http.Header, v verdict, buckets []bucket, pick func(i, d int) bool) {
	type row struct {
		limit, remaining int64
		reset            time.Duration
	}
	var least [2]*row
	for i, b := range buckets {
		for d, limit := range b.limits {
			if limit == nil || !pick(i, d) {
				continue
			}
			unit := 0
			if d == tpm || d == tpd {
				unit = 1
			}
			r := &row{*limit, max(0, *limit-v.used[i][d]), reset(v.at, d)}
			if l := least[unit]; l == nil || r.remaining < l.remaining || r.remaining == l.remaining && r.reset > l.reset {
				least[unit] = r
			}
		}
	}
	for unit, name := range []string{"Requests", "Tokens"} {
		if r := least[unit]; r != nil {
			h.Set("X-Ratelimit-Limit-"+name, strconv.FormatInt(r.limit, 10))
			h.Set("X-Ratelimit-Remaining-"+name, strconv.FormatInt(r.remaining, 10))
			h.Set("X-Ratelimit-Reset-"+name, r.reset.String())
		}
	}
}
