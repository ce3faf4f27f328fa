package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"aisix/cmd/internal/stack"
	usagev1 "aisix/proto/aisix/v1"
)

// region is an upstream that does what its behaviour says, and counts.
type region struct {
	*upstream
	name     string
	does     atomic.Pointer[func(w http.ResponseWriter, r *http.Request)]
	settings map[string]any // further members of its target
	secret   string         // of its provider key; "" is the page's
}

// behave is what a region does from now on.
func (r *region) behave(f func(w http.ResponseWriter, r *http.Request)) { r.does.Store(&f) }

func newRegion(t *testing.T, name string, f func(w http.ResponseWriter, r *http.Request)) *region {
	r := &region{name: name}
	r.behave(f)
	r.upstream = newUpstream(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("X-Amzn-Requestid", "aws-"+name)
		(*r.does.Load())(w, q)
	})
	return r
}

// good answers, in the form that was asked for, in its own name.
func good(name string) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if !isStream(r) {
			whole(w, name)
			return
		}
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		emit(w, "contentBlockDelta", delta(name))
		finish(w)
	}
}

// says refuses as AWS does.
func says(status int, exception string, header ...string) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Amzn-Errortype", exception)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, `{"message":"said by a test"}`)
	}
}

// hangs never answers.
func hangs(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// resets breaks the connection before any answer.
func resets(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }

// over makes a tenant whose model has the regions for targets, each with a provider key of its own.
func (g *gateway) over(t *testing.T, members map[string]any, regions ...*region) *tenant {
	t.Helper()
	name := unique(strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(t.Name(), "Test"), "/", "-")))
	c := &tenant{gateway: g, key: "sk-" + name, alias: name}
	var targets []any
	for i, r := range regions {
		base := "http://127.0.0.1:1"
		if r.upstream != nil {
			base = r.URL
		}
		key := g.create(t, "provider_keys", map[string]any{"display_name": name + r.name, "api_base": base,
			"secret": cmp.Or(r.secret, `{"access_key_id":"YOUR_AWS_ACCESS_KEY_ID","secret_access_key":"YOUR_AWS_SECRET_ACCESS_KEY","region":"us-west-2"}`)})
		targets = append(targets, merge(map[string]any{"name": r.name, "provider_key_id": key, "model_name": nova, "priority": i}, r.settings))
	}
	c.modelID = g.create(t, "models", merge(map[string]any{"display_name": name, "targets": targets}, members))
	c.keyID = g.create(t, "apikeys", map[string]any{"key_hash": hex.EncodeToString(sum(c.key)), "allowed_models": []string{name}})
	c.inForce(t)
	return c
}

// askAt asks for an answer, streamed or not, with members in the body.
func (c *tenant) askAt(t *testing.T, ctx context.Context, stream bool, members map[string]any, header ...string) answer {
	t.Helper()
	b, err := json.Marshal(merge(map[string]any{"model": c.alias, "stream": stream, "messages": []any{map[string]any{"role": "user", "content": "Hello"}}}, members))
	if err != nil {
		t.Fatal(err)
	}
	a, err := do(ctx, http.MethodPost, c.proxy+"/v1/chat/completions", c.key, string(b), header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// is fails unless the answer came whole, from the target, with so many tries.
func (a answer) is(t *testing.T, stream bool, target string, attempts int) {
	t.Helper()
	text, end := `"content":"`+target+`"`, `"finish_reason":"stop"`
	if a.status != http.StatusOK || !strings.Contains(a.body, text) || !strings.Contains(a.body, end) || stream != strings.HasSuffix(a.body, "data: [DONE]\n\n") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if got, n := a.header.Get("X-Aisix-Target"), a.header.Get("X-Aisix-Attempts"); got != target || n != fmt.Sprint(attempts) {
		t.Errorf("target %q, attempts %q, want %q, %d", got, n, target, attempts)
	}
}

// recorded are the usage records of a tenant, once there are so many.
func (c *tenant) recorded(t *testing.T, n int) (of []*usagev1.Record) {
	t.Helper()
	eventually(t, patience, func() error {
		of = slices.DeleteFunc(c.records(t), func(r *usagev1.Record) bool { return r.KeyId != c.keyID || r.ModelId == "" })
		if len(of) != n {
			return fmt.Errorf("%d records, want %d", len(of), n)
		}
		return nil
	})
	return of
}

// Each failure that another target may make good is followed by it, streamed or not, and the
// record tells both.
func TestAnotherTargetServesTheCall(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for name, test := range map[string]struct {
		does    func(w http.ResponseWriter, r *http.Request)
		reason  string
		status  int32
		members map[string]any
	}{
		"throttled":     {does: says(429, "ThrottlingException"), reason: "throttled", status: 429},
		"quota":         {does: says(400, "ServiceQuotaExceededException"), reason: "throttled", status: 400},
		"notready":      {does: says(429, "ModelNotReadyException"), reason: "model_not_ready", status: 429},
		"overloaded":    {does: says(503, "ServiceUnavailableException"), reason: "overloaded", status: 503},
		"internal":      {does: says(500, "InternalServerException"), reason: "server_error", status: 500},
		"timeout":       {does: says(408, "ModelTimeoutException"), reason: "timeout", status: 408},
		"bare529":       {does: says(529, ""), reason: "overloaded", status: 529},
		"reset":         {does: resets, reason: "transport"},
		"denied":        {does: says(403, "AccessDeniedException"), reason: "access_denied", status: 403, members: map[string]any{"routing": map[string]any{"also_on": []string{"access_denied"}}}},
		"nomodel":       {does: says(404, "ResourceNotFoundException"), reason: "model_not_found", status: 404, members: map[string]any{"routing": map[string]any{"also_on": []string{"model_not_found"}}}},
		"nothing there": {reason: "transport"},
		"lies":          {does: func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }, reason: "server_error", status: 200},
		"exception first": {does: func(w http.ResponseWriter, r *http.Request) {
			if !isStream(r) {
				says(429, "ThrottlingException")(w, r)
				return
			}
			streaming(w)
			w.Write(exception("throttlingException", `{"message":"slow down"}`))
		}, reason: "throttled"},
	} {
		t.Run(name, func(t *testing.T) {
			first := &region{name: "east"}
			if test.does != nil {
				first = newRegion(t, "east", test.does)
			}
			second := newRegion(t, "west", good("west"))
			c := g.over(t, test.members, first, second)
			for i, stream := range []bool{false, true} {
				c.cooled(t)
				c.askAt(t, t.Context(), stream, nil).is(t, stream, "west", 2)
				if second.requests() != i+1 {
					t.Errorf("%d requests at the second", second.requests())
				}
			}
			for _, r := range c.recorded(t, 2) {
				if len(r.Tries) != 2 || r.Attempts != 2 || r.Outcome != usagev1.Outcome_OUTCOME_SUCCEEDED || r.GetPromptTokens() == 0 {
					t.Fatalf("%v", r)
				}
				lost, won := r.Tries[0], r.Tries[1]
				if lost.Target != "east" || lost.Reason != test.reason || test.status != 0 && lost.Status != test.status || (lost.Status != 0) != (lost.UpstreamRequestId != "") {
					t.Errorf("%v", lost)
				}
				if won.Target != "west" || won.Reason != "served" || won.Status != 200 || won.UpstreamRequestId != "aws-west" || won.ProviderKeyId == lost.ProviderKeyId {
					t.Errorf("%v", won)
				}
			}
		})
	}
}

// cooled waits until none of the tenant's targets cools down.
func (c *tenant) cooled(t *testing.T) {
	t.Helper()
	eventually(t, patience, func() error {
		if cooling := c.cooling(t); len(cooling) > 0 {
			return fmt.Errorf("%v cool down", cooling)
		}
		return nil
	})
}

// exception is a frame that ends a stream.
func exception(kind, payload string) []byte {
	m := eventstream.Message{Payload: []byte(payload)}
	m.Headers.Set(":message-type", eventstream.StringValue("exception"))
	m.Headers.Set(":exception-type", eventstream.StringValue(kind))
	m.Headers.Set(":content-type", eventstream.StringValue("application/json"))
	var b bytes.Buffer
	if err := eventstream.NewEncoder().Encode(&b, m); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// cooling are the tenant's targets that cool down, as the Admin API tells.
func (c *tenant) cooling(t *testing.T) (names []string) {
	t.Helper()
	a, err := c.manage(t.Context(), http.MethodGet, "/admin/v1/health", nil)
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %s %v", a.status, a.body, err)
	}
	var h struct {
		Targets []struct {
			ModelID               string `json:"model_id"`
			Target, State, Reason string
			Until                 time.Time
		}
	}
	if err := json.Unmarshal([]byte(a.body), &h); err != nil {
		t.Fatal(err)
	}
	for _, s := range h.Targets {
		if s.ModelID == c.modelID && s.State == "cooling" && s.Reason != "" && s.Until.After(time.Now().Add(-time.Second)) {
			names = append(names, s.Target)
		}
	}
	return names
}

// What no other target can make good is told at once; a call is sent once after its first byte.
func TestNoOtherTarget(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for name, test := range map[string]struct {
		does   func(w http.ResponseWriter, r *http.Request)
		status int
	}{
		"invalid": {says(400, "ValidationException"), 400},
		"denied":  {says(403, "AccessDeniedException"), 403},
		"nomodel": {says(404, "ResourceNotFoundException"), 404},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := newRegion(t, "east", test.does), newRegion(t, "west", good("west"))
			c := g.over(t, nil, first, second)
			for _, stream := range []bool{false, true} {
				a := c.askAt(t, t.Context(), stream, nil)
				if a.status != test.status || a.header.Get("X-Aisix-Attempts") != "1" || a.header.Get("X-Aisix-Target") != "east" {
					t.Errorf("%d %s %v", a.status, a.body, a.header)
				}
			}
			if first.requests() != 2 || second.requests() != 0 {
				t.Errorf("%d and %d requests", first.requests(), second.requests())
			}
		})
	}
	t.Run("mid-answer", func(t *testing.T) {
		first, second := newRegion(t, "east", func(w http.ResponseWriter, r *http.Request) {
			streaming(w)
			emit(w, "messageStart", `{"role":"assistant"}`)
			emit(w, "contentBlockDelta", delta("half"))
			panic(http.ErrAbortHandler)
		}), newRegion(t, "west", good("west"))
		c := g.over(t, nil, first, second)
		a, _ := do(t.Context(), http.MethodPost, c.proxy+"/v1/chat/completions", c.key, c.ask("Hello", true))
		if strings.Contains(a.body, "[DONE]") || strings.Contains(a.body, "west") || second.requests() != 0 {
			t.Errorf("%d %s, %d requests at the second", a.status, a.body, second.requests())
		}
	})
}

// All fail: the caller gets what says most, and nothing is asked more often than it may be.
func TestAllTargetsFail(t *testing.T) {
	t.Parallel()
	g := shared(t)
	all := []*region{newRegion(t, "a", says(429, "ThrottlingException", "Retry-After", "40")), newRegion(t, "b", says(429, "ThrottlingException", "Retry-After", "7")), newRegion(t, "c", says(500, "InternalServerException"))}
	c := g.over(t, nil, all...)
	for i, stream := range []bool{false, true} {
		a := c.askAt(t, t.Context(), stream, nil)
		if a.status != 429 || a.header.Get("Retry-After") != "7" || a.header.Get("X-Aisix-Attempts") != "3" {
			t.Errorf("%d %s %v", a.status, a.body, a.header)
		}
		for _, r := range all { // cooling down or not: the last is never left out
			if r.requests() != i+1 {
				t.Errorf("%s: %d requests", r.name, r.requests())
			}
		}
	}
	two := g.over(t, map[string]any{"routing": map[string]any{"max_attempts": 2}}, all...)
	if a := two.askAt(t, t.Context(), false, nil); a.status != 429 || a.header.Get("X-Aisix-Attempts") != "2" {
		t.Errorf("%d %v", a.status, a.header)
	}
	single := newRegion(t, "only", says(500, "InternalServerException"))
	for retries, want := range map[int]int{0: 1, 2: 3} {
		before := single.requests()
		one := g.over(t, map[string]any{"routing": map[string]any{"retries": retries}}, single)
		a := one.askAt(t, t.Context(), false, nil)
		if a.status != 502 || single.requests()-before != want {
			t.Errorf("retries %d: %d, %d requests", retries, a.status, single.requests()-before)
		}
	}
}

// A target that hangs before its headers is given up when the model's gap is over.
func TestATargetHangs(t *testing.T) {
	t.Parallel()
	g := shared(t)
	first, second := newRegion(t, "east", hangs), newRegion(t, "west", good("west"))
	c := g.over(t, map[string]any{"stream_timeout": 300}, first, second)
	c.askAt(t, t.Context(), true, nil).is(t, true, "west", 2)
	// One that hangs behind its headers has said nothing either.
	first.behave(func(w http.ResponseWriter, r *http.Request) {
		streaming(w)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	c.askAt(t, t.Context(), true, nil).is(t, true, "west", 2)
	for _, r := range c.recorded(t, 2) {
		if r.Tries[0].Reason != "timeout" || r.Tries[1].Reason != "served" {
			t.Errorf("%v", r.Tries)
		}
	}
}

// One conversation has one target while that is well; conversations spread by weight.
func TestConversationsStick(t *testing.T) {
	t.Parallel()
	g := shared(t)
	a, b := newRegion(t, "a", good("a")), newRegion(t, "b", good("b"))
	a.settings, b.settings = map[string]any{"priority": 0, "weight": 3}, map[string]any{"priority": 0, "weight": 1}
	c := g.over(t, nil, a, b)
	const conversations = 120
	var group sync.WaitGroup
	var at [conversations]string
	for i := range conversations {
		group.Go(func() {
			for range 2 {
				got := c.askAt(t, t.Context(), false, map[string]any{"prompt_cache_key": fmt.Sprint("c", i)}).header.Get("X-Aisix-Target")
				if at[i] != "" && at[i] != got {
					t.Errorf("conversation %d: %s, then %s", i, at[i], got)
				}
				at[i] = got
			}
		})
	}
	group.Wait()
	n := 0
	for _, name := range at {
		if name == "a" {
			n++
		}
	}
	if n < conversations*3/5 || n > conversations*9/10 { // three quarters
		t.Errorf("%d of %d conversations at the target of three quarters", n, conversations)
	}
	// The header of an agent's session, and what a conversation begins with, do as well.
	for _, header := range [][]string{{"X-Claude-Code-Session-Id", "s1"}, {"session-id", "s2"}, {"x-session-affinity", "s3"}, nil} {
		seen := map[string]bool{}
		for i := range 6 {
			turn := map[string]any{}
			if header == nil {
				turn["messages"] = []any{map[string]any{"role": "user", "content": "one"}, map[string]any{"role": "assistant", "content": fmt.Sprint(i)}, map[string]any{"role": "user", "content": fmt.Sprint(i)}}
			} else {
				turn["messages"] = []any{map[string]any{"role": "user", "content": fmt.Sprint(i)}}
			}
			seen[c.askAt(t, t.Context(), false, turn, header...).header.Get("X-Aisix-Target")] = true
		}
		if len(seen) != 1 {
			t.Errorf("%v: %v", header, seen)
		}
	}
	loose := g.over(t, map[string]any{"routing": map[string]any{"sticky": false}}, a, b)
	seen := map[string]bool{}
	for i := 0; i < 60 && len(seen) < 2; i++ {
		seen[loose.askAt(t, t.Context(), false, nil).header.Get("X-Aisix-Target")] = true
	}
	if len(seen) != 2 {
		t.Errorf("not sticky: %v", seen)
	}
}

// A field that we chose and the upstream refuses by name costs one more try, once.
func TestARefusedFieldIsLeftOut(t *testing.T) {
	t.Parallel()
	g := shared(t)
	var requests atomic.Int32
	u := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "cachePoint") {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("X-Amzn-Errortype", "ValidationException")
			w.WriteHeader(400)
			io.WriteString(w, `{"message":"extraneous key [cachePoint] is not permitted"}`)
			return
		}
		good("plain")(w, r)
	}))
	defer u.Close()
	c := g.tenant(t, u.URL, settings{})
	marked := map[string]any{"messages": []any{map[string]any{"role": "user", "content": []any{map[string]any{"type": "text", "text": "Hello", "cache_control": map[string]any{"type": "ephemeral"}}}}}}
	for i, stream := range []bool{false, true, true} {
		a := c.askAt(t, t.Context(), stream, marked)
		want := "1"
		if i == 0 {
			want = "2"
		}
		if a.status != 200 || !strings.Contains(a.body, "plain") || a.header.Get("X-Aisix-Attempts") != want {
			t.Errorf("%d: %d %s, attempts %s", i, a.status, a.body, a.header.Get("X-Aisix-Attempts"))
		}
	}
	if n := requests.Load(); n != 4 {
		t.Errorf("%d requests", n)
	}
}

// Processes share what cools down, and no target is locked out.
func TestCoolDownIsShared(t *testing.T) {
	g := shared(t)
	other := start(t, options{redis: g.Config.Redis.URL, key: g.Config.Secrets.MasterKeyFile, parts: []string{stack.Extproc, stack.Envoy}})
	first, second := newRegion(t, "east", says(429, "ThrottlingException", "Retry-After", "600")), newRegion(t, "west", good("west"))
	c := g.over(t, nil, first, second)
	c.askAt(t, t.Context(), false, nil).is(t, false, "west", 2)
	there := *c
	there.gateway = &gateway{Stack: other.Stack, proxy: other.proxy, admin: g.admin, metrics: other.metrics}
	there.inForce(t)
	eventually(t, patience, func() error {
		if names := c.cooling(t); len(names) != 1 || names[0] != "east" {
			return fmt.Errorf("%v cool down", names)
		}
		return nil
	})
	eventually(t, patience, func() error {
		if n := there.askAt(t, t.Context(), true, nil).header.Get("X-Aisix-Attempts"); n != "1" {
			return fmt.Errorf("%s attempts in the other process", n)
		}
		return nil
	})
	before := first.requests()
	there.askAt(t, t.Context(), false, nil).is(t, false, "west", 1)
	if first.requests() != before {
		t.Error("the other process asked the target that cools down")
	}
	// The other one fails, too: the one that cools down is asked, and is well again.
	second.behave(says(500, "InternalServerException"))
	first.behave(good("east"))
	there.askAt(t, t.Context(), false, nil).is(t, false, "east", 2)
	c.cooled(t)
}

// Embeddings have another target as conversations do, one text or several.
func TestAnotherTargetEmbeds(t *testing.T) {
	t.Parallel()
	g := shared(t)
	first := newRegion(t, "east", says(429, "ThrottlingException"))
	second := newRegion(t, "west", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"embedding":[1,2],"inputTextTokenCount":3}`)
	})
	first.settings, second.settings = map[string]any{"model_name": titan}, map[string]any{"model_name": titan}
	for _, texts := range []any{"one", []string{"one", "two"}} {
		c := g.over(t, nil, first, second)
		a, err := c.embed(t, t.Context(), texts, nil)
		if err != nil || a.status != http.StatusOK || a.header.Get("X-Aisix-Target") != "west" {
			t.Errorf("%d %s %v %v", a.status, a.body, a.header, err)
		}
		r, came := c.recorded(t, 1)[0], map[string]int{}
		for _, try := range r.Tries { // of several texts, one that fails ends the others
			came[try.Target+" "+try.Reason]++
		}
		asked := 1
		if texts != "one" {
			asked = 2
		}
		if fmt.Sprint(len(r.Tries)) != a.header.Get("X-Aisix-Attempts") || came["east throttled"] == 0 || came["west served"] != asked || came["east throttled"]+came["east cancelled"]+asked != len(r.Tries) {
			t.Errorf("%v", r)
		}
	}
}
