package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"aisix/cmd/internal/stack"
)

// callers ask one after the other, several at a time, until they are told to stop.
type callers struct {
	*tenant
	t      *testing.T
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	answers map[string]int // how many ended so: "200", "503 gateway_unavailable", "broken"
}

// call starts n of them.
func (c *tenant) call(t *testing.T, n int) *callers {
	ctx, cancel := context.WithCancel(t.Context())
	all := &callers{tenant: c, t: t, cancel: cancel, answers: map[string]int{}}
	for range n {
		all.done.Go(func() {
			for ctx.Err() == nil {
				all.one(ctx)
				time.Sleep(5 * time.Millisecond) // while the proxy is away, refused connections are quick
			}
		})
	}
	return all
}

// one asks and takes note of the answer, which must be a good one or an error in our shape.
func (c *callers) one(ctx context.Context) {
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	a, err := c.chat(asking, "Hello")
	how := fmt.Sprint(a.status)
	switch kind, _, _ := a.fault(); {
	case asking.Err() != nil:
		c.t.Errorf("a request hung")
	case err != nil:
		how = "broken"
	case a.status != http.StatusOK:
		a.want(c.t, a.status, kind)
		how += " " + kind
	case !strings.Contains(a.body, `"finish_reason":"stop"`):
		c.t.Errorf("not a whole answer: %s", a.body)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[how]++
}

// count is how many have ended so.
func (c *callers) count(how string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answers[how]
}

// more waits for n further answers of that kind.
func (c *callers) more(t *testing.T, n int, how string) {
	t.Helper()
	before := c.count(how)
	eventually(t, patience, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.answers[how] < before+n {
			return fmt.Errorf("%d of %d answers %q came; so far %v", c.answers[how]-before, n, how, c.answers)
		}
		return nil
	})
}

// only ends the callers and fails if an answer was none of these.
func (c *callers) only(t *testing.T, hows ...string) {
	t.Helper()
	c.cancel()
	c.done.Wait()
	rest := map[string]int{}
	for how, n := range c.answers {
		rest[how] = n
	}
	for _, how := range hows {
		delete(rest, how)
	}
	if len(rest) > 0 {
		t.Errorf("answers %v, want only %q", c.answers, hows)
	}
}

// limited are limits that nobody reaches: every call has to do with Redis.
var limited = settings{key: map[string]any{"rate_limit": map[string]any{"rpd": 1_000_000, "tpd": 100_000_000, "concurrency": 1000}}}

// Valkey away: chats go on, admin writes are a 503. Back: everything works by itself, nothing is
// lost, and every call is accounted for.
func TestValkeyKilled(t *testing.T) {
	t.Parallel()
	g := start(t, options{})
	c := g.tenant(t, newUpstream(t, nil).URL, limited)
	all := c.call(t, 4)
	all.more(t, 20, "200")

	g.Valkey.Kill()
	all.more(t, 50, "200")
	a, err := g.manage(t.Context(), http.MethodPost, "/admin/v1/models", map[string]any{"display_name": "new", "model_name": nova, "provider_key_id": c.modelID})
	if err != nil || a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "error_msg") {
		t.Errorf("admin write while Valkey is away: %d %s, %v", a.status, a.body, err)
	}
	if a, err := do(t.Context(), http.MethodGet, g.proxy+"/readyz", "", ""); err != nil || a.status != http.StatusOK {
		t.Errorf("the proxy is not ready while Valkey is away: %d %v", a.status, err)
	}
	if m := g.scrape(t); m["aisix_redis_away"] != 1 {
		t.Errorf("aisix_redis_away is %v while Valkey is away", m["aisix_redis_away"])
	}

	if err := g.Valkey.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() error {
		if m := g.scrape(t); m["aisix_redis_away"] != 0 {
			return fmt.Errorf("aisix_redis_away is %v", m["aisix_redis_away"])
		}
		return nil
	})
	second := g.tenant(t, c.upstream, settings{}) // writes work, and come into force
	second.served(t)
	all.more(t, 20, "200")
	all.only(t, "200")
	if n := len(g.list(t, "models")); n != 2 {
		t.Errorf("%d models after the outage, want 2", n)
	}
	g.accounted(t, c, all.count("200"))
}

// Valkey silent, with its connections open: nobody waits for it for long, and nothing is counted twice
// once it is back.
func TestValkeyFrozen(t *testing.T) {
	t.Parallel()
	g := start(t, options{})
	c := g.tenant(t, newUpstream(t, nil).URL, limited)
	all := c.call(t, 4)
	all.more(t, 20, "200")
	g.Valkey.Signal(syscall.SIGSTOP)
	t.Cleanup(func() { g.Valkey.Signal(syscall.SIGCONT) })
	all.more(t, 50, "200")
	begun := time.Now()
	c.served(t)
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("a call took %v while Valkey was silent", took)
	}
	a, err := g.manage(t.Context(), http.MethodPatch, "/admin/v1/models/"+c.modelID, map[string]any{"timeout": 1000})
	if err != nil || a.status != http.StatusServiceUnavailable {
		t.Errorf("admin write while Valkey is silent: %d %s, %v", a.status, a.body, err)
	}
	g.Valkey.Signal(syscall.SIGCONT)
	eventually(t, patience, func() error {
		if m := g.scrape(t); m["aisix_redis_away"] != 0 {
			return fmt.Errorf("aisix_redis_away is %v", m["aisix_redis_away"])
		}
		return nil
	})
	all.more(t, 20, "200")
	all.only(t, "200")
	g.accounted(t, c, all.count("200")+1)
}

// extproc away: a clear error, never a pass; back: chats by themselves.
func TestExtprocKilled(t *testing.T) {
	t.Parallel()
	g := start(t, options{})
	u := newUpstream(t, nil)
	c := g.tenant(t, u.URL, limited)
	all := c.call(t, 4)
	all.more(t, 20, "200")
	g.Extproc.Kill()
	all.more(t, 20, "503 gateway_unavailable")
	before := u.requests()
	all.more(t, 20, "503 gateway_unavailable")
	if n := u.requests(); n != before {
		t.Errorf("%d requests reached the upstream while extproc was away", n-before)
	}
	if err := g.Extproc.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	all.more(t, 20, "200")
	all.only(t, "200", "503 gateway_unavailable", "500 internal_error", "broken") // those that it was serving when it died
	if lost := all.count("500 internal_error") + all.count("broken"); lost > 4 {
		t.Errorf("%v: more than the 4 in flight were lost", all.answers)
	}
}

// admin away: chats go on. Back: its resources are all there.
func TestAdminKilled(t *testing.T) {
	t.Parallel()
	g := start(t, options{})
	c := g.tenant(t, newUpstream(t, nil).URL, limited)
	all := c.call(t, 2)
	all.more(t, 10, "200")
	g.Admin.Kill()
	all.more(t, 30, "200")
	if err := g.Admin.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.tenant(t, c.upstream, settings{}).served(t)
	all.only(t, "200")
	if n := len(g.list(t, "apikeys")); n != 2 {
		t.Errorf("%d API keys, want 2", n)
	}
}

// Envoy away: nobody is served. Back: everybody by themselves, and no slot is lost.
func TestEnvoyKilled(t *testing.T) {
	t.Parallel()
	g := start(t, options{})
	held := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if isStream(r) {
			streaming(w)
			emit(w, "messageStart", `{"role":"assistant"}`)
			close(held)
			<-r.Context().Done()
			return
		}
		whole(w, "Hello.")
	})
	c := g.tenant(t, u.URL, limited)
	one := g.tenant(t, u.URL, settings{key: map[string]any{"rate_limit": map[string]any{"concurrency": 1}}})
	one.stream(t, t.Context(), "A story")
	<-held
	all := c.call(t, 4)
	all.more(t, 20, "200")
	g.Envoy.Kill()
	all.more(t, 20, "broken")
	if err := g.Envoy.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	all.more(t, 20, "200")
	all.only(t, "200", "broken")
	one.served(t) // the stream that Envoy's end broke holds its slot no more
}

// An announcement that extproc missed is made up for.
func TestMissedAnnouncement(t *testing.T) {
	t.Parallel()
	g := start(t, options{})
	client := redisClient(t, g)
	upstream := newUpstream(t, nil).URL
	g.tenant(t, upstream, settings{}).served(t)
	for range 3 {
		// Whoever listens is cut off, and cannot be back before the write is announced.
		if err := client.Do(t.Context(), "CLIENT", "KILL", "TYPE", "PUBSUB").Err(); err != nil {
			t.Fatal(err)
		}
		g.tenant(t, upstream, settings{}).served(t)
	}
}

// Valkey away at the start: clear errors, then service by itself.
func TestValkeyAwayAtTheStart(t *testing.T) {
	t.Parallel()
	g, err := newGateway(options{dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	ready := make(chan error, 3)
	for _, p := range []*stack.Part{g.Extproc, g.Admin, g.Envoy} {
		go func() { ready <- p.Start(t.Context()) }()
	}
	eventually(t, patience, func() error {
		a, err := do(t.Context(), http.MethodGet, g.proxy+"/v1/models", "sk-any", "")
		if err != nil {
			return err
		}
		if kind, _, _ := a.fault(); a.status != http.StatusServiceUnavailable || kind != "gateway_unavailable" || !strings.Contains(a.body, "configuration") {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
	if err := g.Valkey.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := <-ready; err != nil {
			t.Fatal(err)
		}
	}
	g.tenant(t, newUpstream(t, nil).URL, limited).served(t)
}

// Two gateways on one Valkey share resources, limits and usage.
func TestTwoExtprocs(t *testing.T) {
	t.Parallel()
	g := start(t, options{})
	second := start(t, options{parts: []string{stack.Extproc, stack.Envoy}, redis: g.Config.Redis.URL, key: g.Config.Secrets.MasterKeyFile})
	held, release := make(chan struct{}, 1), make(chan struct{})
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
	both := func(limits map[string]any) (here, there *tenant) {
		here = g.tenant(t, u.URL, settings{key: map[string]any{"rate_limit": limits}})
		other := *here
		other.gateway = second
		other.inForce(t)
		return here, &other
	}
	refused := func(c *tenant) {
		t.Helper()
		a, err := c.chat(t.Context(), "Hello")
		if err != nil {
			t.Fatal(err)
		}
		a.want(t, http.StatusTooManyRequests, "rate_limit_exceeded")
		if after := a.header.Get("retry-after"); after == "" || after == "0" {
			t.Errorf("retry-after %q", after)
		}
		if left := a.header.Get("x-ratelimit-remaining-requests"); left != "0" {
			t.Errorf("x-ratelimit-remaining-requests %q", left)
		}
	}

	here, there := both(map[string]any{"concurrency": 1})
	e := here.stream(t, t.Context(), "A story")
	<-held
	refused(there) // the one slot is taken at the other gateway
	close(release)
	if all, err := e.rest(); len(all) == 0 || all[len(all)-1] != "[DONE]" {
		t.Errorf("the stream ended with %q, %v", all, err)
	}
	eventually(t, patience, func() error {
		a, err := there.chat(t.Context(), "Hello")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})

	here, there = both(map[string]any{"rpd": 3})
	before := u.requests()
	here.served(t)
	there.served(t)
	here.served(t)
	refused(there)
	refused(here)
	if n := u.requests() - before; n != 3 {
		t.Errorf("%d requests reached the upstream; the limit of both together is 3", n)
	}
}

// redisClient is a client of the gateway's Valkey.
func redisClient(t *testing.T, g *gateway) *redis.Client {
	t.Helper()
	o, err := g.Config.Redis.Options()
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	return client
}

// list is a collection of the Admin API.
func (g *gateway) list(t *testing.T, kind string) []map[string]any {
	t.Helper()
	a, err := g.manage(t.Context(), http.MethodGet, "/admin/v1/"+kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	var entries []map[string]any
	if err := json.Unmarshal([]byte(a.body), &entries); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return entries
}

// accounted waits until the usage of the tenant's model shows so many good calls, and no more.
func (g *gateway) accounted(t *testing.T, c *tenant, calls int) {
	t.Helper()
	eventually(t, patience, func() error {
		a, err := g.manage(t.Context(), http.MethodGet, "/admin/v1/usage?group_by=model", nil)
		if err != nil {
			return err
		}
		var rows []map[string]any
		if err := json.Unmarshal([]byte(a.body), &rows); err != nil {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		for _, row := range rows {
			if row["model"] == c.alias && row["succeeded"] == float64(calls) && row["prompt_tokens"] == float64(3*calls) {
				return nil
			}
		}
		return fmt.Errorf("want %d calls of %s in %s", calls, c.alias, a.body)
	})
}
