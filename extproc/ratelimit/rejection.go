package ratelimit

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"aisix/extproc/fault"
)

// Rejection is a call refused by a limit, or by the policy "closed". The fault
// is in its chain (fault.From finds it).
type Rejection struct {
	Fault   *fault.Error
	Headers http.Header // x-ratelimit-*, of the limit that refused; empty for "closed"
	Scope   Scope       // the refusing bucket's; none for "closed"
	Limit   string      // its limit's name; "" for "closed"
}

func (r *Rejection) Error() string { return r.Fault.Error() }

// Unwrap gives the fault.
func (r *Rejection) Unwrap() error { return r.Fault }

func rejection(buckets []bucket, v verdict) *Rejection {
	place := v.refused
	b := buckets[0]
	for _, b = range buckets {
		if place < len(b.Limits) {
			break
		}
		place -= len(b.Limits)
	}
	limit := b.Limits[place]
	wait := limit.reset(v.at)
	seconds := strconv.FormatInt(max(1, int64((wait+time.Second-1)/time.Second)), 10)
	message := fmt.Sprintf("Rate limit reached for %s: limit %s, %d %s. Please try again in %s s.", b.Scope.words(), limit.Name, limit.Max, limit.words(), seconds)
	if limit.Max == 0 {
		message = fmt.Sprintf("Rate limit reached for %s: limit %s is 0, which blocks all requests.", b.Scope.words(), limit.Name)
	}
	h := http.Header{}
	each(least(v, buckets, func(i int, _ Limit) bool { return i == v.refused }), h.Set)
	return &Rejection{
		Fault:   &fault.Error{Kind: fault.RateLimited, Status: http.StatusTooManyRequests, Message: message, RetryAfter: seconds},
		Headers: h, Scope: b.Scope, Limit: limit.Name,
	}
}

// tooLarge refuses a call that never fits, whenever it comes.
func tooLarge(buckets []bucket, a Amount) *fault.Error {
	for _, b := range buckets {
		for _, limit := range b.Limits {
			if limit.Unit != Tokens || limit.Max == 0 || a.Tokens <= limit.Max {
				continue
			}
			f := fault.Invalid("", "Request too large for %s: limit %s, %d %s, requested about %d. Please shorten the request.", b.Scope.words(), limit.Name, limit.Max, limit.words(), a.Tokens)
			f.Code = "request_too_large"
			return f
		}
	}
	return nil
}

// words are the scope's for its caller.
func (s Scope) words() string {
	if s.Kind == "apikey" {
		return "this API key"
	}
	return "this " + s.Kind
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

// row is what the x-ratelimit headers tell of one unit.
type row struct {
	told             bool
	limit, remaining int64
	reset            time.Duration
}

// least are the rows of requests and of tokens, as OpenAI sends them: of the limit with
// least left among those that pick takes. A concurrency limit shows only where it refused.
func least(v verdict, buckets []bucket, pick func(place int, l Limit) bool) (rows [2]row) {
	place := -1
	for _, b := range buckets {
		for _, limit := range b.Limits {
			if place++; !pick(place, limit) {
				continue
			}
			unit := 0
			if limit.Unit == Tokens {
				unit = 1
			}
			r := row{true, limit.Max, max(0, limit.Max-v.used[place]), limit.reset(v.at)}
			if l := rows[unit]; !l.told || r.remaining < l.remaining || r.remaining == l.remaining && r.reset > l.reset {
				rows[unit] = r
			}
		}
	}
	return rows
}

// headerNames are the x-ratelimit headers, by what they tell and of which unit, in the
// order of the alphabet.
var headerNames = [3][2]string{
	{"x-ratelimit-limit-requests", "x-ratelimit-limit-tokens"},
	{"x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens"},
	{"x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"},
}

// each calls f with each header of the rows. Their values are one text.
func each(rows [2]row, f func(name, value string)) {
	var ends [len(headerNames)][2]int
	all := make([]byte, 0, 128)
	for what := range headerNames {
		for unit := range rows {
			switch r := &rows[unit]; {
			case !r.told:
			case what == 0:
				all = strconv.AppendInt(all, r.limit, 10)
			case what == 1:
				all = strconv.AppendInt(all, r.remaining, 10)
			default:
				all = append(all, r.reset.String()...)
			}
			ends[what][unit] = len(all)
		}
	}
	text, from := string(all), 0
	for what, names := range headerNames {
		for unit, name := range names {
			end := ends[what][unit]
			if rows[unit].told {
				f(name, text[from:end])
			}
			from = end
		}
	}
}
