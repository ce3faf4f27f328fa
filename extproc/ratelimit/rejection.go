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

func rejection(buckets []bucket, v verdict) *Rejection {
	place := v.refused
	b := buckets[0]
	for _, b = range buckets {
		if place < len(b.limits) {
			break
		}
		place -= len(b.limits)
	}
	limit := b.limits[place]
	wait := limit.reset(v.at)
	seconds := strconv.FormatInt(max(1, int64((wait+time.Second-1)/time.Second)), 10)
	kind, _, _ := strings.Cut(b.scope, ":")
	subject := map[string]string{"apikey": "this API key", "model": "this model"}[kind]
	if subject == "" {
		subject = "this " + kind
	}
	message := fmt.Sprintf("Rate limit reached for %s: limit %s, %d %s. Please try again in %s s.", subject, limit.Name, limit.Max, limit.words(), seconds)
	if limit.Max == 0 {
		message = fmt.Sprintf("Rate limit reached for %s: limit %s is 0, which blocks all requests.", subject, limit.Name)
	}
	h := http.Header{}
	set(h, v, buckets, func(i int, _ Limit) bool { return i == v.refused })
	return &Rejection{
		Fault:   &fault.Error{Kind: fault.RateLimited, Status: http.StatusTooManyRequests, Message: message, RetryAfter: seconds},
		Headers: h, Scope: b.scope, Limit: limit.Name,
	}
}

// words say what the limit counts: "tokens per minute".
func (l Limit) words() string {
	switch l.Window {
	case 0:
		return "requests at a time"
	case time.Second:
		return string(l.Unit) + " per second"
	case time.Minute:
		return string(l.Unit) + " per minute"
	case time.Hour:
		return string(l.Unit) + " per hour"
	case 24 * time.Hour:
		return string(l.Unit) + " per day"
	}
	return string(l.Unit) + " per " + l.Window.String()
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
func set(h http.Header, v verdict, buckets []bucket, pick func(place int, l Limit) bool) {
	type row struct {
		limit, remaining int64
		reset            time.Duration
	}
	var least [2]*row
	place := -1
	for _, b := range buckets {
		for _, limit := range b.limits {
			if place++; !pick(place, limit) {
				continue
			}
			unit := 0
			if limit.Unit == Tokens {
				unit = 1
			}
			r := &row{limit.Max, max(0, limit.Max-v.used[place]), limit.reset(v.at)}
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
