package ratelimit

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aisix/admin/resource"
	"aisix/admin/store/redistest"
	"aisix/extproc/fault"
)

// noon is 12:34:56.750 on some day.
var noon = time.Date(2026, 3, 1, 12, 34, 56, 750_000_000, time.UTC)

func fixed(t time.Time) func() time.Time { return func() time.Time { return t } }

func canonical(s string) string { return http.CanonicalHeaderKey(s) }

func TestHeaders(t *testing.T) {
	for name, test := range map[string]struct {
		buckets []Bucket
		want    map[string]string
	}{
		"none":             {nil, map[string]string{}},
		"only concurrency": {[]Bucket{of("apikey:a", resource.RateLimit{Concurrency: n(3)})}, map[string]string{}},
		"least left wins": {
			[]Bucket{of("apikey:a", resource.RateLimit{RPM: n(60), RPD: n(1000), TPM: n(500)}), of("model:m", resource.RateLimit{RPH: n(20), TPD: n(400)})},
			map[string]string{"limit-requests": "20", "remaining-requests": "19", "reset-requests": "25m3.25s", "limit-tokens": "400", "remaining-tokens": "300", "reset-tokens": "11h25m3.25s"},
		},
		"the later reset wins a tie": {
			[]Bucket{of("apikey:a", resource.RateLimit{RPS: n(5), RPM: n(5)})},
			map[string]string{"limit-requests": "5", "remaining-requests": "4", "reset-requests": "3.25s"},
		},
		"a scope counts once": {
			[]Bucket{of("apikey:a", resource.RateLimit{RPM: n(2)}), of("apikey:a", resource.RateLimit{RPM: n(2)})},
			map[string]string{"limit-requests": "2", "remaining-requests": "1", "reset-requests": "3.25s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := limiter(t, absent(t), Options{Now: fixed(noon)})
			got := map[string]string{}
			for k, v := range headers(reserve(t, l, 100, test.buckets...)) {
				got[k] = v[0]
			}
			want := map[string]string{}
			for k, v := range test.want {
				want[canonical("x-ratelimit-"+k)] = v
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRejection(t *testing.T) {
	for name, test := range map[string]struct {
		limit   resource.RateLimit
		refuser string
		retry   string
		message string
		headers map[string]string
	}{
		"rpm": {resource.RateLimit{RPM: n(1)}, "rpm", "4", "Rate limit reached for this API key: limit rpm, 1 requests per minute. Please try again in 4 s.",
			map[string]string{"limit-requests": "1", "remaining-requests": "0", "reset-requests": "3.25s"}},
		"tokens": {resource.RateLimit{TPM: n(15), RPM: n(9)}, "tpm", "4", "Rate limit reached for this API key: limit tpm, 15 tokens per minute. Please try again in 4 s.",
			map[string]string{"limit-tokens": "15", "remaining-tokens": "5", "reset-tokens": "3.25s"}},
		"the longest wait": {resource.RateLimit{RPM: n(1), RPH: n(1), Concurrency: n(1)}, "rph", "1504", "Rate limit reached for this API key: limit rph, 1 requests per hour. Please try again in 1504 s.",
			map[string]string{"limit-requests": "1", "remaining-requests": "0", "reset-requests": "25m3.25s"}},
		"concurrency": {resource.RateLimit{Concurrency: n(1), RPM: n(9)}, "concurrency", "1", "Rate limit reached for this API key: limit concurrency, 1 requests at a time. Please try again in 1 s.",
			map[string]string{"limit-requests": "1", "remaining-requests": "0", "reset-requests": "1s"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := limiter(t, absent(t), Options{Now: fixed(noon)})
			b := of("apikey:a", test.limit)
			reserve(t, l, 10, b)
			r := refused(t, l, 10, test.refuser, b)
			if r.Fault.RetryAfter != test.retry || r.Fault.Message != test.message {
				t.Errorf("%s: %s", r.Fault.RetryAfter, r.Fault.Message)
			}
			got, want := map[string]string{}, map[string]string{}
			for k, v := range r.Headers {
				got[k] = v[0]
			}
			for k, v := range test.headers {
				want[canonical("x-ratelimit-"+k)] = v
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// A call that no window holds is told so, and nothing of when to come back.
func TestRequestTooLarge(t *testing.T) {
	l := limiter(t, redistest.Start(t).Client(), Options{})
	key, model := of("apikey:a", resource.RateLimit{TPM: n(100), TPD: n(1000)}), of("model:m", resource.RateLimit{TPM: n(50)})
	for _, test := range []struct {
		tokens  int64
		buckets []Bucket
		message string
	}{
		{101, []Bucket{key}, "Request too large for this API key: limit tpm, 100 tokens per minute, requested about 101. Please shorten the request."},
		{51, []Bucket{key, model}, "Request too large for this model: limit tpm, 50 tokens per minute, requested about 51. Please shorten the request."},
	} {
		_, err := l.Reserve(ctx, test.buckets, Amount{test.tokens})
		if f := fault.From(err); f.Status != 400 || f.Kind != fault.InvalidRequest || f.Code != "request_too_large" || f.RetryAfter != "" || f.Message != test.message {
			t.Errorf("%d tokens: %v", test.tokens, f)
		}
	}
	reserve(t, l, 50, key, model).Settle(Amount{})
	refused(t, l, 51, "tpm", of("apikey:b", resource.RateLimit{TPM: n(0)}))
	away := limiter(t, absent(t), Options{OnFailure: Open})
	away.failed(errors.New("gone"))
	reserve(t, away, 101, key)
}

func TestLocalWindows(t *testing.T) {
	now := noon
	l := limiter(t, absent(t), Options{Now: func() time.Time { return now }})
	b := of("apikey:a", resource.RateLimit{RPS: n(1), TPM: n(100), TPD: n(1000)})
	r := reserve(t, l, 100, b)
	refused(t, l, 0, "tpm", b)
	now = now.Add(4 * time.Second) // the next minute
	reserve(t, l, 10, b)
	r.Settle(Amount{900}) // of the minute before: only the day counts it
	now = now.Add(time.Second)
	refused(t, l, 95, "tpd", b)
	if got := reserve(t, l, 0, b).verdict.used; got[1] != 10 || got[2] != 910 {
		t.Errorf("used %v", got)
	}
}
