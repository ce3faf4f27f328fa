package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A key of one limit that is not as the limiter writes it lifts no other limit, nor that one.
func TestCorruptedLimitKey(t *testing.T) {
	t.Parallel()
	g := start(t, options{})
	client := redisClient(t, g)
	u := newUpstream(t, nil)
	corrupted := g.tenant(t, u.URL, settings{key: map[string]any{"rate_limit": map[string]any{"rpd": 4, "concurrency": 2}}})
	other := g.tenant(t, u.URL, settings{key: map[string]any{"rate_limit": map[string]any{"rpd": 3}}})
	corrupted.served(t)
	other.served(t)
	key := "aisix:limit:{apikey:" + corrupted.keyID + "}:"
	for _, harm := range []func() error{
		func() error { return client.Set(t.Context(), key+"windows", "x", 0).Err() },
		func() error { return client.Set(t.Context(), key+"open", "x", 0).Err() },
		func() error { return client.HSet(t.Context(), key+"windows", "requests:86400", "many").Err() },
	} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		corrupted.served(t)
	}
	other.served(t)
	other.served(t)
	for _, c := range []*tenant{corrupted, other} {
		for range 3 {
			a, err := c.chat(t.Context(), "Hello")
			if err != nil {
				t.Fatal(err)
			}
			a.want(t, http.StatusTooManyRequests, "rate_limit_exceeded")
		}
	}
	if n := u.requests(); n != 7 {
		t.Errorf("%d requests reached the upstream, the limits are 4 and 3", n)
	}
	m := g.scrape(t)
	if m["aisix_limit_keys_repaired_total"] != 3 || m["aisix_redis_away"] != 0 || m[`aisix_redis_failures_total{use="limits"}`] != 0 {
		t.Errorf("%v repaired, away %v, %v failures", m["aisix_limit_keys_repaired_total"], m["aisix_redis_away"], m[`aisix_redis_failures_total{use="limits"}`])
	}
	if n := strings.Count(string(g.Extproc.Log()), "was corrupted, and is repaired"); n != 3 {
		t.Errorf("%d lines in the log", n)
	}
}

// A Valkey that comes and goes does not multiply a limit, nor the slots of calls in flight.
func TestFlappingValkey(t *testing.T) {
	t.Parallel()
	g := start(t, options{})
	held, release := make(chan struct{}, 8), make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if isStream(r) {
			streaming(w)
			emit(w, "messageStart", `{"role":"assistant"}`)
			held <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
			}
			finish(w)
			return
		}
		whole(w, "Hello.")
	})
	daily := g.tenant(t, u.URL, settings{key: map[string]any{"rate_limit": map[string]any{"rpd": 6}}})
	slots := g.tenant(t, u.URL, settings{key: map[string]any{"rate_limit": map[string]any{"concurrency": 2}}})
	away := func(want float64) {
		t.Helper()
		eventually(t, patience, func() error {
			daily.chat(t.Context(), "Hello") // what there is to find out is found out by a call
			if got := g.scrape(t)["aisix_redis_away"]; got != want {
				return fmt.Errorf("aisix_redis_away is %v, want %v", got, want)
			}
			return nil
		})
	}
	tooMany := func(c *tenant) {
		t.Helper()
		a, err := c.chat(t.Context(), "Hello")
		if err != nil {
			t.Fatal(err)
		}
		a.want(t, http.StatusTooManyRequests, "rate_limit_exceeded")
	}
	daily.served(t)
	streams := []*events{slots.stream(t, t.Context(), "A story")}
	<-held
	for range 3 {
		g.Valkey.Kill()
		away(1)
		if len(streams) < 2 {
			streams = append(streams, slots.stream(t, t.Context(), "A story"))
			<-held
		}
		tooMany(slots)
		if err := g.Valkey.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		away(0)
		tooMany(slots)
	}
	for range 6 {
		daily.chat(t.Context(), "Hello")
	}
	tooMany(daily)
	close(release)
	for _, e := range streams {
		if all, err := e.rest(); len(all) == 0 || all[len(all)-1] != "[DONE]" {
			t.Errorf("a stream ended with %q, %v", all, err)
		}
	}
	if n := u.requests() - len(streams); n != 6 {
		t.Errorf("%d requests reached the upstream, the limit is 6", n)
	}
	eventually(t, patience, func() error {
		a, err := slots.chat(t.Context(), "Hello")
		if err == nil && a.status != http.StatusOK {
			err = errors.New(a.body)
		}
		return err
	})
}

// A request that no window of a token limit holds is told so, and reaches nobody.
func TestRequestLargerThanALimit(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, nil)
	c := shared(t).tenant(t, u.URL, settings{key: map[string]any{"rate_limit": map[string]any{"tpd": 100}}})
	a, err := c.chat(t.Context(), strings.Repeat("Hello ", 200))
	if err != nil {
		t.Fatal(err)
	}
	a.want(t, http.StatusBadRequest, "invalid_request_error")
	if _, code, _ := a.fault(); code != "request_too_large" || a.header.Get("retry-after") != "" || u.requests() != 0 {
		t.Errorf("code %q, retry-after %q, %d requests reached the upstream", code, a.header.Get("retry-after"), u.requests())
	}
	c.served(t)
}
