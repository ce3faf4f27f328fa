package ratelimit

import (
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
	"aisix/admin/store/redistest"
)

// What somebody else has written to one bucket's keys is repaired: no other
// bucket's limits are lifted, nor its own, which begin with what is known.
func TestCorruptedKeys(t *testing.T) {
	counters, slots := countersKey(named("apikey:a")), slotsKey(named("apikey:a"))
	field := func(value string) func(*redis.Client) error {
		return func(c *redis.Client) error { return c.HSet(ctx, counters, "requests:86400", value).Err() }
	}
	for name, test := range map[string]struct {
		harm     func(*redis.Client) error
		repaired int64
	}{
		"counters are a string": {func(c *redis.Client) error { return c.Set(ctx, counters, "x", 0).Err() }, 1},
		"counters are a set": {func(c *redis.Client) error {
			return errors.Join(c.Del(ctx, counters).Err(), c.SAdd(ctx, counters, "x").Err())
		}, 1},
		"slots are a string": {func(c *redis.Client) error { return c.Set(ctx, slots, "x", 0).Err() }, 1},
		"both": {func(c *redis.Client) error {
			return c.MSet(ctx, counters, "x", slots, "y").Err()
		}, 2},
		"a word":          {field("many"), 1},
		"no window":       {field("3"), 1},
		"a fraction":      {field("1:2.5"), 1},
		"negative":        {field("1:-5"), 1},
		"huge":            {field("1:99999999999999999999"), 1},
		"nothing":         {field(""), 1},
		"a great deal":    {field(strings.Repeat("9", 1<<20)), 1},
		"foreign fields":  {func(c *redis.Client) error { return c.HSet(ctx, counters, "\xff\n", "x", "y", "\xff").Err() }, 0},
		"a slot for ever": {func(c *redis.Client) error { return c.Do(ctx, "ZADD", slots, "+inf", "x", "1e300", "y").Err() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			c := s.Client()
			var repaired atomic.Int64
			var log buffer
			o := Options{Repaired: func() { repaired.Add(1) }, Log: slog.New(slog.NewTextHandler(&log, nil))}
			l, other := limiter(t, c, o), limiter(t, s.Client(), Options{})
			a := of("apikey:a", resource.RateLimit{RPD: n(4), TPD: n(1000), Concurrency: n(2)})
			m := of("model:m", resource.RateLimit{RPD: n(6)})
			held := reserve(t, l, 10, a, m)
			reserve(t, l, 10, a, m).Settle(Amount{30})
			if err := l.flush(ctx); err != nil {
				t.Fatal(err)
			}
			if err := test.harm(c); err != nil {
				t.Fatal(err)
			}
			reserve(t, l, 10, a, m).Settle(Amount{20}) // key 3 of 4, model 3 of 6
			reserve(t, other, 0, m).Settle(Amount{})
			reserve(t, l, 10, a, m)
			refused(t, l, 10, "rpd", a, m)
			refused(t, other, 10, "rpd", a)
			reserve(t, other, 0, m).Settle(Amount{})
			refused(t, l, 0, "rpd", m)
			refused(t, other, 0, "rpd", m)
			if l.Away() || other.Away() {
				t.Error("Redis is taken to be away")
			}
			if got := repaired.Load(); got != test.repaired || int64(log.count("level=ERROR")) != got {
				t.Errorf("%d keys were repaired, want %d; log: %s", got, test.repaired, log.b.String())
			}
			// The call that is still open gets its slot back at the next renewal.
			if err := l.renew(); err != nil {
				t.Fatal(err)
			}
			if err := c.ZScore(ctx, slots, held.member.(string)).Err(); err != nil {
				t.Errorf("the open call has no slot: %v", err)
			}
		})
	}
}

// A settlement, a renewal and what is told meet corrupted keys too; those of other
// buckets in the same round trip go through.
func TestCorruptedKeysOffThePath(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	f := newFlapper(t, s.Addr, nil)
	a, b := of("apikey:a", resource.RateLimit{TPD: n(1000)}), of("apikey:b", resource.RateLimit{TPD: n(1000)})
	harm := func() {
		t.Helper()
		if err := c.MSet(ctx, countersKey(named("apikey:a")), "x", slotsKey(named("apikey:a")), "x").Err(); err != nil {
			t.Fatal(err)
		}
	}
	want := func(used int64) {
		t.Helper()
		if err := f.flush(ctx); err != nil {
			t.Fatal(err)
		}
		for _, scope := range []string{"apikey:a", "apikey:b"} {
			if got := counter(t, c, scope, "tokens:86400"); got != used {
				t.Errorf("%s: %d tokens are counted, want %d", scope, got, used)
			}
		}
	}
	first, second := reserve(t, f.Limiter, 10, a), reserve(t, f.Limiter, 10, b)
	harm()
	if err := f.renew(); err != nil {
		t.Fatal(err)
	}
	want(10)
	harm()
	first.Settle(Amount{20})
	second.Settle(Amount{20})
	want(20)
	f.shut(a)
	reserve(t, f.Limiter, 10, a).Settle(Amount{15})
	reserve(t, f.Limiter, 10, b).Settle(Amount{15})
	harm()
	f.back(s.Addr)
	want(35)
}

// A bucket that cannot be repaired follows the policy alone.
func TestBucketThatRedisRefuses(t *testing.T) {
	for policy, want := range map[string]int{Local: 2, Open: 5, Closed: 0} {
		t.Run(policy, func(t *testing.T) {
			s := redistest.Start(t)
			if err := s.Client().Do(ctx, "ACL", "SETUSER", "half", "on", "nopass", "+@all", "~aisix:limit:{apikey:good}:*", "~"+countersKey(nobody.Scope)+"*", "~"+slotsKey(nobody.Scope)+"*").Err(); err != nil {
				t.Fatal(err)
			}
			c := redis.NewClient(&redis.Options{Addr: s.Addr, Username: "half", Password: "x", ContextTimeoutEnabled: true, MaxRetries: -1})
			t.Cleanup(func() { c.Close() })
			var log buffer
			l := limiter(t, c, Options{OnFailure: policy, Log: slog.New(slog.NewTextHandler(&log, nil))})
			good, bad := of("apikey:good", resource.RateLimit{RPD: n(3)}), of("apikey:bad", resource.RateLimit{RPD: n(2)})
			admitted := 0
			for range 5 {
				if r, err := l.Reserve(ctx, []Bucket{bad}, Amount{}); err == nil {
					admitted++
					r.Settle(Amount{})
				}
			}
			if admitted != want {
				t.Errorf("%d of 5 calls in the bad bucket were let in, want %d", admitted, want)
			}
			reserve(t, l, 0, good).Settle(Amount{})
			reserve(t, limiter(t, s.Client(), Options{}), 0, good).Settle(Amount{})
			reserve(t, l, 0, good).Settle(Amount{})
			refused(t, l, 0, "rpd", good)
			if l.Away() {
				t.Error("Redis is taken to be away")
			}
			if log.count("does not count for a bucket") == 0 || log.count("level=ERROR") > 2 {
				t.Errorf("log: %s", log.b.String())
			}
		})
	}
}

// A Redis that answers every write with an error is away, and no key is to blame.
func TestRedisThatCannotCount(t *testing.T) {
	for name, test := range map[string]struct{ harm, heal []any }{
		"a replica":  {[]any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}},
		"no scripts": {[]any{"ACL", "SETUSER", "default", "-@scripting"}, []any{"ACL", "SETUSER", "default", "+@scripting"}},
		"no rights":  {[]any{"ACL", "SETUSER", "default", "-hset"}, []any{"ACL", "SETUSER", "default", "+hset"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			c := s.Client()
			var repaired atomic.Int64
			f := newFlapper(t, s.Addr, func() { repaired.Add(1) })
			b := of("apikey:a", resource.RateLimit{RPD: n(4), TPD: n(1000)})
			r := reserve(t, f.Limiter, 10, b)
			if err := c.Do(ctx, test.harm...).Err(); err != nil {
				t.Fatal(err)
			}
			r.Settle(Amount{30})
			admitted := 1 + f.try(2, b)
			f.await(true)
			if err := c.Do(ctx, test.heal...).Err(); err != nil {
				t.Fatal(err)
			}
			f.await(false)
			admitted += f.try(5, b)
			if admitted != 4 {
				t.Errorf("%d calls were let in, the limit is 4", admitted)
			}
			if err := f.flush(ctx); err != nil {
				t.Fatal(err)
			}
			if got := counter(t, c, "apikey:a", "tokens:86400"); got != 30 {
				t.Errorf("%d tokens are counted, want 30", got)
			}
			if repaired.Load() != 0 {
				t.Error("a key was repaired")
			}
		})
	}
}

// A Redis without memory goes on counting.
func TestRedisWithoutMemory(t *testing.T) {
	s := redistest.Start(t)
	c := s.Client()
	l := limiter(t, c, Options{})
	b := of("apikey:a", resource.RateLimit{RPD: n(2), TPD: n(1000), Concurrency: n(2)})
	if err := c.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	reserve(t, l, 10, b).Settle(Amount{30})
	held := reserve(t, l, 10, b)
	if err := l.renew(); err != nil {
		t.Fatal(err)
	}
	refused(t, l, 10, "rpd", b)
	held.Settle(Amount{40})
	if err := l.flush(ctx); err != nil {
		t.Fatal(err)
	}
	if got := counter(t, c, "apikey:a", "tokens:86400"); got != 70 || l.Away() {
		t.Errorf("%d tokens are counted, want 70; away: %v", got, l.Away())
	}
}

// Whatever stands in a counter's place, the bucket counts on.
func FuzzCounter(f *testing.F) {
	for _, seed := range []string{"", ":", "1:", ":1", "1:1", "-1:1", "1:-1", "1:1.5", "1:1e9", "0x1:0x1", "1:9007199254740993", "1:99999999999999999", " 1:1", "1:1\n", "\x00", "1:1:1", "nan:inf"} {
		f.Add(seed)
	}
	c := redistest.Start(f).Client()
	l := limiter(f, c, Options{})
	b := of("apikey:a", resource.RateLimit{RPD: n(1), TPD: n(1000)})
	f.Fuzz(func(t *testing.T, value string) {
		now, err := c.Time(ctx).Result()
		if err != nil {
			t.Fatal(err)
		}
		l.mu.Lock()
		clear(l.tallies)
		l.mu.Unlock()
		day := strconv.FormatInt(now.Unix()/86400, 10)
		for _, value := range []string{value, day + ":" + value} {
			if err := c.HSet(ctx, countersKey(named("apikey:a")), "requests:86400", value, "tokens:86400", value).Err(); err != nil {
				t.Fatal(err)
			}
			r, err := l.Reserve(ctx, []Bucket{b}, Amount{10})
			if refusal := (*Rejection)(nil); err != nil && !errors.As(err, &refusal) {
				t.Fatalf("%q: %v", value, err)
			}
			if err == nil {
				r.Settle(Amount{20})
			}
			if err := l.flush(ctx); err != nil {
				t.Fatalf("%q: %v", value, err)
			}
			l.mu.Lock()
			if l.away || l.late > 0 || !l.blamed.IsZero() {
				t.Errorf("%q: away %v, blamed %v", value, l.away, l.blamed)
			}
			l.mu.Unlock()
			for _, field := range []string{"requests:86400", "tokens:86400"} {
				if got := counter(t, c, "apikey:a", field); got < 0 {
					t.Errorf("%q: %s is %d", value, field, got)
				}
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{"", "1700000000000 0 1 2", "1700000000000 2 1 2", "1700000000000 3 1 2", "1 0 1", "1 0 1 2 3", "x", "1 -1 1 2", "1 0 1 -2", "1 0  1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if v, err := parse(text, 2); err == nil && (len(v.used) != 2 || v.refused < -1 || v.refused > 1 || v.used[0] < 0 || v.used[1] < 0) {
			t.Errorf("%q: %+v", text, v)
		}
	})
}
