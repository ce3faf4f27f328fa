package e2e

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"aisix/cmd/internal/bootstrap"
	"aisix/envoy"
	usagev1 "aisix/proto/aisix/v1"
)

// regionsThatLie are five regions, each asked by another API, of another family, with another key.
func regionsThatLie(t *testing.T, seed uint64) []*liar { return regionsThatLieBy(t, seed, false) }

// regionsThatLieBy are those over HTTP/1.1 in the clear, or HTTP/2 over TLS.
func regionsThatLieBy(t *testing.T, seed uint64, http2 bool) []*liar {
	all := []*liar{
		{name: "a", region: "us-east-1", host: "runtime", api: "converse", model: nova},
		{name: "b", region: "eu-central-1", host: "runtime", api: "invoke", model: claude},
		{name: "c", region: "us-west-2", host: "runtime", api: "chat", model: "us.openai.gpt-5.6-sol", path: "/openai/v1/chat/completions"},
		{name: "d", region: "ap-northeast-1", host: "mantle", api: "messages", model: "anthropic.claude-opus-4-5", path: "/anthropic/v1/messages"},
		{name: "e", region: "us-east-2", host: "runtime", api: "responses", model: "openai.gpt-5.6-sol", path: "/openai/v1/responses"},
	}
	for i, l := range all {
		l.seed, l.number, l.good, l.http2 = seed, i, 40, http2
		l.begin(t)
	}
	return all
}

// among makes a tenant of a model that has the regions for targets, one where nobody listens, and one
// that does not speak TLS as it should.
func (g *gateway) among(t *testing.T, all []*liar, members, key map[string]any) *tenant {
	t.Helper()
	name := unique("lies")
	c := &tenant{gateway: g, key: "sk-" + name, alias: name}
	var targets []any
	for _, l := range all {
		targets = append(targets, l.target(l.providerKey(t, g, name)))
	}
	clear := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(clear.Close)
	for target, base := range map[string]string{"none": all[0].scheme() + "127.0.0.1:1", "notls": "https://" + strings.TrimPrefix(clear.URL, "http://")} {
		id := g.create(t, "provider_keys", map[string]any{"display_name": name + target, "api_base": base, "secret": `{"access_key_id":"a","secret_access_key":"s","region":"us-west-2"}`})
		targets = append(targets, map[string]any{"name": target, "provider_key_id": id, "model_name": nova})
	}
	c.modelID = g.create(t, "models", merge(map[string]any{"display_name": name, "targets": targets}, members))
	c.keyID = g.create(t, "apikeys", merge(map[string]any{"key_hash": hex.EncodeToString(sum(c.key)), "allowed_models": []string{name}}, key))
	c.inForce(t)
	return c
}

// called is one call and what came of it.
type called struct {
	id     string
	door   door
	stream bool
	answer answer
	err    error
}

// load is what is asked of regions.
type load struct {
	calls, first int // how many, and the number of the first
	seed         uint64
	tries        int  // that a call may have
	rounds       int  // how often it may come to a region
	direct       bool // all of them by egress
}

// lied asks calls, some at a time, and holds what came of them against what the regions know.
func lied(t *testing.T, c *tenant, all []*liar, o load) {
	t.Helper()
	calls := make([]called, o.calls)
	next := make(chan int)
	var group sync.WaitGroup
	for range 12 {
		group.Go(func() {
			for i := range next {
				calls[i].ask(t, c, nil)
			}
		})
	}
	chance := rand.New(rand.NewPCG(o.seed, 1))
	for i := range calls {
		calls[i] = called{id: fmt.Sprintf("call-%d-", o.first+i), door: doors[chance.IntN(len(doors))], stream: chance.IntN(2) == 0}
		next <- i
	}
	close(next)
	group.Wait()

	records := c.recordsByID(t, o.calls)
	believed(t, all)
	ends := map[string]int{}
	for _, call := range calls {
		ends[call.judge(t, all, records[call.id], o)]++
	}
	t.Logf("%v", ends)
}

// believed fails unless all that came to the regions was as AWS would have it.
func believed(t *testing.T, all []*liar) {
	t.Helper()
	for _, l := range all {
		l.mu.Lock()
		for _, wrong := range l.wrong {
			t.Errorf("%s got what is not right: %s", l.name, wrong)
		}
		l.mu.Unlock()
	}
}

// recordsByID are the tenant's usage records by request id, once there are those of so many calls.
func (c *tenant) recordsByID(t *testing.T, calls int) map[string]*usagev1.Record {
	t.Helper()
	records := map[string]*usagev1.Record{}
	eventually(t, patience, func() error {
		for _, r := range c.records(t) {
			if r.KeyId == c.keyID && r.ModelId != "" {
				records[r.RequestId] = r
			}
		}
		if len(records) < calls {
			return fmt.Errorf("%d records of %d calls", len(records), calls)
		}
		return nil
	})
	return records
}

// ask makes the call, under its id. It says so once some of the answer has come, where somebody waits
// for that.
func (k *called) ask(t *testing.T, c *tenant, read chan struct{}) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	b, err := json.Marshal(k.door.body(c.alias, "Hello, this is "+k.id+" and no other", k.stream))
	if err != nil {
		t.Error(err)
		return
	}
	response, err := open(ctx, http.MethodPost, c.proxy+k.door.path, c.key, string(b), "x-aisix-request-id", k.id)
	if k.err = err; err == nil {
		first := make([]byte, 1)
		n, _ := io.ReadFull(response.Body, first)
		if read != nil {
			close(read)
		}
		rest, err := io.ReadAll(response.Body)
		response.Body.Close()
		k.answer, k.err = answer{response.StatusCode, response.Header, string(first[:n]) + string(rest)}, err
	}
	if ctx.Err() != nil {
		t.Errorf("%s hung", k.id)
	}
}

// trace is what the regions did with a call, in their order: what, and which of them.
func trace(id string, all []*liar) (deeds []arrival, at []*liar) {
	type one struct {
		arrival
		at *liar
	}
	var ones []one
	for _, l := range all {
		l.mu.Lock()
		for _, a := range l.came[id] {
			ones = append(ones, one{a, l})
		}
		l.mu.Unlock()
	}
	slices.SortFunc(ones, func(a, b one) int { return cmp.Compare(a.order, b.order) })
	for _, o := range ones {
		deeds, at = append(deeds, o.arrival), append(at, o.at)
	}
	return deeds, at
}

// judge holds an answer against what the regions know of the call, and its record against both. It
// tells what became of the call.
func (k *called) judge(t *testing.T, all []*liar, r *usagev1.Record, o load) string {
	t.Helper()
	deeds, at := trace(k.id, all)
	var story, names []string
	for i, d := range deeds {
		names = append(names, at[i].name)
		story = append(story, at[i].name+": "+d.deed)
	}
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s at %s, stream %v, %s\n\t%d %s %v\n\t%v\n\t%v", k.id, k.door.path, k.stream, fmt.Sprintf(format, args...), k.answer.status, k.answer.body, k.err, story, r.Tries)
	}
	k.judgeTries(wrong, names, deeds, r, o)
	var last arrival
	if len(deeds) > 0 {
		last = deeds[len(deeds)-1]
	}
	if got := k.answer.header.Get("X-Aisix-Request-Id"); k.err == nil && got != k.id {
		wrong("answered as %s", got)
	}
	// Where an upstream breaks off and nothing has gone to the caller yet, the answer is Envoy's own.
	if attempts := k.answer.header.Get("X-Aisix-Attempts"); k.err == nil && attempts != strconv.Itoa(len(r.Tries)) && !k.early() && (attempts != "" || last.class != breaks) {
		wrong("says %q attempts", attempts)
	}
	if last.class == serves {
		k.judgeServed(wrong, at[len(at)-1], r)
		return "served"
	}
	failed := k.err == nil && k.answer.status != http.StatusOK
	switch {
	case k.err == nil && k.answer.status == http.StatusOK && k.whole():
		wrong("a whole answer that no region gave")
	case failed:
		k.wantError(wrong)
	case last.class == breaks: // an error in the stream, or a connection that broke
	case k.err != nil:
		wrong("broken off")
	case !strings.Contains(k.answer.body, k.door.fault) || !k.early() && k.door.dialect != "responses":
		wrong("a 200 that is none")
	}
	switch {
	case last.class == breaks && r.Outcome == usagev1.Outcome_OUTCOME_SUCCEEDED, last.class != breaks && r.Outcome != usagev1.Outcome_OUTCOME_FAILED:
		wrong("recorded as %v", r.Outcome)
	case last.class == breaks && !(o.direct && last.saysNothing()):
		return "broke off"
	case len(r.Tries) < o.tries:
		wrong("lost: %d of %d tries", len(r.Tries), o.tries)
	}
	return "nobody served it"
}

// judgeTries fails unless the tries in the record are what came to the regions, none of them too
// many, and none after one that the caller had a byte of.
func (k *called) judgeTries(wrong func(string, ...any), names []string, deeds []arrival, r *usagev1.Record, o load) {
	var reached []string
	for _, try := range r.Tries {
		if try.Target != "none" && try.Target != "notls" {
			reached = append(reached, try.Target)
		} else if try.Reason != "transport" {
			wrong("a target that is not there: %v", try)
		}
	}
	if !slices.Equal(reached, names) {
		wrong("the record has tries that are not what came to the regions")
	}
	if len(r.Tries) != int(r.Attempts) || len(r.Tries) > o.tries {
		wrong("%d tries, %d attempts, at most %d", len(r.Tries), r.Attempts, o.tries)
	}
	times := map[string]int{}
	for i, d := range deeds {
		if times[names[i]]++; times[names[i]] > o.rounds {
			wrong("%d times at %s", times[names[i]], names[i])
		}
		if i < len(deeds)-1 && (d.class == serves || d.class == breaks && !d.saysNothing()) {
			wrong("sent on after %s", d.deed)
		}
	}
}

// judgeServed fails unless the answer is the region's, whole, and recorded as such.
func (k *called) judgeServed(wrong func(string, ...any), l *liar, r *usagev1.Record) {
	in, out := l.tokens(k.id)
	if k.err != nil || k.answer.status != http.StatusOK || !strings.Contains(k.answer.body, l.text(k.id)) || !k.whole() || k.answer.header.Get("X-Aisix-Target") != l.name && !k.early() {
		wrong("not the answer of %s", l.name)
	}
	if r.Outcome != usagev1.Outcome_OUTCOME_SUCCEEDED || r.GetPromptTokens() != int64(in) || r.GetCompletionTokens() != int64(out) || r.Partial || r.Tries[len(r.Tries)-1].Reason != "served" {
		wrong("recorded as %v", r)
	}
}

// early reports whether the stream began before there was an answer, by a comment or a ping in a
// silence that lasted: then its head does not know who will give it, and a fault is an event.
func (k *called) early() bool {
	return k.stream && k.answer.status == http.StatusOK && (strings.HasPrefix(k.answer.body, ":") || strings.HasPrefix(k.answer.body, "event: ping\n"))
}

// whole reports whether the answer came to its good end.
func (k *called) whole() bool {
	switch {
	case !k.stream:
		return json.Valid([]byte(k.answer.body)) && !strings.Contains(k.answer.body, `"error":{`)
	case k.door.end != "":
		return strings.HasSuffix(k.answer.body, k.door.end)
	}
	return strings.Contains(k.answer.body, "event: response.completed\n")
}

// wantError fails unless the answer is an error in the door's shape.
func (k *called) wantError(wrong func(string, ...any)) {
	var e struct {
		Type  string
		Error struct{ Type, Message string }
	}
	if err := json.Unmarshal([]byte(k.answer.body), &e); err != nil || e.Error.Message == "" || e.Error.Type == "" || (e.Type == "error") != (k.door.dialect == "messages") {
		wrong("no error of the door's: %v", err)
	}
	for _, secret := range []string{"AKIA", "secret/", "us-east", "127.0.0.1", "said by a test"} {
		if strings.Contains(k.answer.body, secret) {
			wrong("tells %s", secret)
		}
	}
}

// seed is that of all that chance decides: 1, or what the environment says.
func seed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("AISIX_TEST_SEED")
	if text == "" {
		return 1
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// gap is short, so that what hangs need not be waited for, and long enough for a slow machine's answers.
func gap(routing map[string]any) map[string]any {
	return map[string]any{"stream_timeout": 1500, "routing": routing}
}

// Regions that throttle, hang, reset and lie in turn: no call is lost that could have been served, none is
// sent twice after its first byte, and what came to the regions is what the records say.
func TestRegionsThatLie(t *testing.T) {
	t.Parallel()
	g, seed := shared(t), seed(t)
	all := regionsThatLie(t, seed)
	t.Run("each once", func(t *testing.T) {
		t.Parallel()
		const calls = 120
		c := g.among(t, all, gap(map[string]any{}), map[string]any{"rate_limit": map[string]any{"rpd": 100_000, "concurrency": 1000}})
		lied(t, c, all, load{calls: calls, seed: seed, tries: 7, rounds: 1})
		c.taken(t, calls)
	})
	t.Run("two tries", func(t *testing.T) {
		t.Parallel()
		c := g.among(t, all, gap(map[string]any{"max_attempts": 2, "sticky": false}), nil)
		lied(t, c, all, load{calls: 60, first: 1000, seed: seed, tries: 2, rounds: 1})
	})
	t.Run("each twice", func(t *testing.T) {
		t.Parallel()
		c := g.among(t, all, gap(map[string]any{"retries": 1}), nil)
		lied(t, c, all, load{calls: 60, first: 2000, seed: seed, tries: 14, rounds: 2})
	})
	// Then a whole answer that breaks off, and a head without one, are no end either.
	t.Run("by egress from the start", func(t *testing.T) {
		t.Parallel()
		c := g.among(t, all, gap(map[string]any{"first_byte_timeout": 1000}), nil)
		lied(t, c, all, load{calls: 100, first: 4000, seed: seed, tries: 7, rounds: 1, direct: true})
	})
}

// So it is where Envoy hands request bodies over whole.
func TestRegionsThatLieToABufferingEnvoy(t *testing.T) {
	t.Parallel()
	g, seed := buffering(t), seed(t)
	all := regionsThatLie(t, seed)
	c := g.among(t, all, gap(map[string]any{}), nil)
	lied(t, c, all, load{calls: 60, first: 3000, seed: seed, tries: 7, rounds: 1})
}

// buffering runs a gateway whose Envoy hands request bodies over whole: the oldest that there is
// (make mesh-tools has fetched 1.36), else the newest.
func buffering(t *testing.T, env ...string) *gateway {
	t.Helper()
	version, old := 36, tool("", "envoy-1.36.4")
	if _, err := os.Stat(old); err != nil {
		version, old = 40, ""
	}
	g, err := newGateway(options{dir: t.TempDir(), envoy: old, env: env})
	if err != nil {
		t.Fatal(err)
	}
	o, err := bootstrap.Options(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	o.Version, o.BodyMode, o.UpstreamCAFile, o.CountInEnvoy = version, envoy.Buffered, cmp.Or(g.Config.Upstream.CAFile, envoy.SystemCAFile()), false
	text, err := envoy.Bootstrap(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(g.Dir, "bootstrap.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	g.run(t)
	t.Logf("Envoy 1.%d buffers", version)
	return g
}

// taken fails unless so many calls, whatever their tries, have been taken off the limit of a day.
func (c *tenant) taken(t *testing.T, calls int) {
	t.Helper()
	a, err := do(t.Context(), http.MethodPost, c.proxy+"/v1/chat/completions", c.key, c.ask("This is call-999- and no other", false))
	left, _ := strconv.Atoi(a.header.Get("X-Ratelimit-Remaining-Requests"))
	if err != nil || left != 100_000-calls-1 {
		t.Errorf("%d of 100000 are left after %d calls, %v", left, calls+1, err)
	}
}
