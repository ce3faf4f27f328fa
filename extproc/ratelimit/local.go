package ratelimit

import (
	"sync"
	"time"
)

// local counts in this process while Redis is away: the same windows, on this
// machine's clock, with the whole limit for each process.
type local struct {
	mu      sync.Mutex
	buckets map[string]*localBucket
}

type localBucket struct {
	window [windows]int64
	used   [dimensions]int64
}

func newLocal() *local { return &local{buckets: map[string]*localBucket{}} }

func (l *local) reserve(now time.Time, buckets []bucket, tokens int64) verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := verdict{at: now.Truncate(time.Millisecond), used: make([][dimensions]int64, len(buckets))}
	longest := time.Duration(-1)
	for i, b := range buckets {
		c := l.buckets[b.scope]
		if c == nil {
			c = &localBucket{}
			l.buckets[b.scope] = c
		}
		c.roll(now)
		v.used[i] = c.used
		for d, limit := range b.limits {
			if limit == nil || c.used[d] < *limit && c.used[d]+counted(d, tokens) <= *limit {
				continue
			}
			wait := time.Duration(0)
			if d < windows {
				wait = reset(v.at, d)
			}
			if wait > longest {
				v.refused, v.bucket, v.dim, longest = true, i, d, wait
			}
		}
	}
	if v.refused {
		return v
	}
	for i, b := range buckets {
		c := l.buckets[b.scope]
		for d := range dimensions {
			c.used[d] += counted(d, tokens)
		}
		v.used[i] = c.used
	}
	return v
}

// settle frees the slots and corrects the tokens in the windows of at.
func (l *local) settle(at, now time.Time, buckets []bucket, correction int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range buckets {
		c := l.buckets[b.scope]
		c.roll(now)
		c.used[concurrency]--
		for _, d := range []int{tpm, tpd} {
			if c.window[d] == window(at, d) {
				c.used[d] += correction
			}
		}
	}
}

func (c *localBucket) roll(now time.Time) {
	for d := range windows {
		if w := window(now, d); w != c.window[d] {
			c.window[d], c.used[d] = w, 0
		}
	}
}

func window(t time.Time, d int) int64 { return t.UnixMilli() / sizes[d].Milliseconds() }
