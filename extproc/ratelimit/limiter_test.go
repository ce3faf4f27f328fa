package ratelimit

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
	"aisix/admin/store/redistest"
	"aisix/extproc/fault"
)

var ctx = context.Background()

func n(v int64) *int64 { return &v }

// named is the scope "<kind>:<id>".
func named(name string) Scope {
	kind, id, _ := strings.Cut(name, ":")
	return Scope{kind, id}
}

// of is the bucket of that scope.
func of(name string, l resource.RateLimit) Bucket { return Of(named(name).Kind, named(name).ID, &l) }

func limiter(t testing.TB, c redis.UniversalClient, o Options) *Limiter {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := New(c, o)
	t.Cleanup(func() { l.Close(ctx) })
	return l
}

// calm waits until the minute of Redis's clock has enough left for a test.
func calm(t testing.TB, c *redis.Client) {
	eventually(t, "a minute with time left", func() bool {
		now, err := c.Time(ctx).Result()
		return err == nil && now.Second() < 55
	})
}

func reserve(t testing.TB, l *Limiter, tokens int64, buckets ...Bucket) *Reservation {
	t.Helper()
	r, err := l.Reserve(ctx, buckets, Amount{tokens})
	if err != nil {
		t.Fatalf("Reserve: %v", err)
	}
	headers(r) // as every caller does, which the race detector is to see
	return r
}

// headers are the reservation's, as its caller's answer has them.
func headers(r *Reservation) http.Header {
	h := http.Header{}
	r.Headers(h.Set)
	return h
}

// holding is how many reservations are open in Redis: the set of them holds one
// member that is none (reserve.lua).
func holding(c *redis.Client, s Scope) int64 { return c.ZCount(ctx, slotsKey(s), "(0", "+inf").Val() }

func refused(t testing.TB, l *Limiter, tokens int64, limit string, buckets ...Bucket) *Rejection {
	t.Helper()
	_, err := l.Reserve(ctx, buckets, Amount{tokens})
	var r *Rejection
	if !errors.As(err, &r) {
		t.Fatalf("Reserve gave %v, want a rejection by %s", err, limit)
	}
	if r.Limit != limit {
		t.Fatalf("refused by %q, want %q", r.Limit, limit)
	}
	return r
}

func TestEachDimension(t *testing.T) {
	c := redistest.Start(t).Client()
	for name, b := range map[string]resource.RateLimit{
		"rpm": {RPM: n(2)}, "rph": {RPH: n(2)}, "rpd": {RPD: n(2)},
		"tpm": {TPM: n(20)}, "tpd": {TPD: n(20)}, "concurrency": {Concurrency: n(2)},
	} {
		for _, mode := range []string{"redis", "local"} {
			t.Run(name+" "+mode, func(t *testing.T) {
				calm(t, c)
				client := c
				if mode == "local" {
					client = absent(t)
				}
				l := limiter(t, client, Options{})
				bucket := of("apikey:"+name, b)
				first := reserve(t, l, 10, bucket)
				reserve(t, l, 10, bucket)
				r := refused(t, l, 10, name, bucket)
				if s, err := strconv.Atoi(r.Fault.RetryAfter); err != nil || s < 1 {
					t.Errorf("Retry-After %q", r.Fault.RetryAfter)
				}
				if f := fault.From(r); f.Status != 429 || f.Kind != fault.RateLimited {
					t.Errorf("fault %v", f)
				}
				first.Settle(Amount{})
				if name == "tpm" || name == "tpd" || name == "concurrency" {
					reserve(t, l, 10, bucket)
				}
				refused(t, l, 10, name, bucket)
			})
		}
	}
}

func TestSecondWindowEnds(t *testing.T) {
	c := redistest.Start(t).Client()
	l := limiter(t, c, Options{})
	b := of("apikey:a", resource.RateLimit{RPS: n(1)})
	reserve(t, l, 0, b)
	eventually(t, "the next second admits", func() bool { _, err := l.Reserve(ctx, []Bucket{b}, Amount{}); return err == nil })
	if fields, _ := c.HKeys(ctx, countersKey(named("apikey:a"))).Result(); len(fields) != 1 {
		t.Errorf("old windows stay: %v", fields)
	}
}

func TestZeroBlocks(t *testing.T) {
	l := limiter(t, redistest.Start(t).Client(), Options{})
	refused(t, l, 0, "tpm", of("apikey:a", resource.RateLimit{TPM: n(0)}))
	refused(t, l, 0, "rpd", of("apikey:b", resource.RateLimit{RPD: n(0)}))
	refused(t, l, 0, "concurrency", of("apikey:c", resource.RateLimit{Concurrency: n(0)}))
}

func TestRefusalLeavesNoTrace(t *testing.T) {
	c := redistest.Start(t).Client()
	calm(t, c)
	l := limiter(t, c, Options{})
	key := of("apikey:a", resource.RateLimit{RPM: n(100), TPM: n(100), Concurrency: n(9)})
	reserve(t, l, 10, key)
	before := dump(t, c)
	r := refused(t, l, 10, "rpd", key, of("model:m", resource.RateLimit{RPD: n(0)}))
	if r.Scope != named("model:m") {
		t.Errorf("scope %q", r.Scope)
	}
	if d := cmp.Diff(before, dump(t, c)); d != "" {
		t.Error(d)
	}
}

func dump(t testing.TB, c *redis.Client) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	keys, err := c.Keys(ctx, "aisix:limit:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if c.Type(ctx, k).Val() == "hash" {
			all[k] = c.HGetAll(ctx, k).Val()
		} else {
			all[k] = map[string]string{}
			for _, z := range c.ZRangeWithScores(ctx, k, 0, -1).Val() {
				all[k][z.Member.(string)] = strconv.FormatFloat(z.Score, 'f', -1, 64)
			}
		}
	}
	return all
}

func TestSettleCorrectsOnce(t *testing.T) {
	c := redistest.Start(t).Client()
	calm(t, c)
	l := limiter(t, c, Options{})
	b := of("apikey:a", resource.RateLimit{TPM: n(1000), RPM: n(10)})
	r := reserve(t, l, 10, b)
	r.Settle(Amount{70})
	r.Settle(Amount{500})
	if err := l.flush(ctx); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	l.settle(r) // as after a lost answer
	l.mu.Unlock()
	next := reserve(t, l, 0, b)
	if got := headers(next).Get("x-ratelimit-remaining-tokens"); got != "930" {
		t.Errorf("remaining tokens %s", got)
	}
	if got := headers(next).Get("x-ratelimit-remaining-requests"); got != "8" {
		t.Errorf("remaining requests %s", got)
	}
}

func TestNeverMoreThanTheLimit(t *testing.T) {
	v := redistest.Start(t)
	calm(t, v.Client())
	a, b := limiter(t, v.Client(), Options{}), limiter(t, v.Client(), Options{})
	bucket := of("apikey:a", resource.RateLimit{RPM: n(50)})
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			l := a
			if i%2 == 0 {
				l = b
			}
			if r, err := l.Reserve(ctx, []Bucket{bucket}, Amount{}); err == nil {
				admitted.Add(1)
				r.Settle(Amount{})
			}
		})
	}
	wg.Wait()
	if got := admitted.Load(); got != 50 {
		t.Errorf("%d admitted", got)
	}
}

// absent is a client of a server that is not there.
func absent(t testing.TB) *redis.Client {
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: "/nonexistent/redis", ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestPolicies(t *testing.T) {
	b := of("apikey:a", resource.RateLimit{RPM: n(0)})
	if r := reserve(t, limiter(t, absent(t), Options{OnFailure: Open}), 1, b); len(headers(r)) != 0 {
		t.Errorf("headers %v", headers(r))
	}
	r := refused(t, limiter(t, absent(t), Options{OnFailure: Closed}), 1, "", b)
	if r.Fault.Status != 503 || r.Fault.Kind != fault.LimitsUnavailable {
		t.Error(r.Fault)
	}
	reserve(t, limiter(t, absent(t), Options{OnFailure: Closed}), 1) // no limit, no Redis
	refused(t, limiter(t, absent(t), Options{}), 1, "rpm", b)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
