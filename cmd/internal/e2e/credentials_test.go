package e2e

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aisix/cmd/bedrocksim/sigv4"
	"aisix/cmd/bedrocksim/sim"
	"aisix/cmd/internal/stack"
)

// amazon is Bedrock, STS and the host's metadata in one, for gateways whose provider keys
// have no key of their own.
type amazon struct{ *httptest.Server }

const (
	bedrockRole = "arn:aws:iam::210987654321:role/external-id/tenant-1/bedrock"
	bedrockKey  = "ABSKe2eOnlyAPIKeyOfBedrock1234"
)

func newAmazon(t *testing.T) amazon {
	t.Helper()
	known := map[string][]sigv4.Key{"AKIAE2EEXAMPLE000001": {{Secret: "e2e-secret"}}}
	s := sim.New(&sigv4.Verifier{Keys: known, Service: "bedrock", Skew: 5 * time.Minute, Now: time.Now}, slog.New(slog.DiscardHandler))
	s.Take(sim.APIKey{Secret: bedrockKey})
	a := amazon{httptest.NewServer(s)}
	t.Cleanup(a.Close)
	t.Cleanup(a.CloseClientConnections)
	return a
}

// behave has everything obey control words.
func (a amazon) behave(t *testing.T, words string) {
	t.Helper()
	if got, err := do(t.Context(), http.MethodPut, a.URL+"/_sim/behaviour", "", words+" "); err != nil || got.status != http.StatusOK {
		t.Fatalf("%+v %v", got, err)
	}
}

// calls are the newest hundred that came.
func (a amazon) calls(t *testing.T) (all []sim.Call) {
	t.Helper()
	got, err := do(t.Context(), http.MethodGet, a.URL+"/_sim/calls", "", "")
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Calls []sim.Call }
	if err := json.Unmarshal([]byte(got.body), &list); err != nil {
		t.Fatal(err)
	}
	return list.Calls
}

// gateway is one on a host that has credentials of its own, as a pod on EKS has.
func (a amazon) gateway(t *testing.T, more ...string) (g *gateway, tokens string) {
	t.Helper()
	tokens = t.TempDir()
	claims := fmt.Sprintf(`{"iss":"https://oidc.example","sub":"e2e","aud":"sts.amazonaws.com","exp":%d}`, time.Now().Add(time.Hour).Unix())
	for name, text := range map[string]string{"irsa": "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln", "pod": "a.b.c"} {
		if err := os.WriteFile(filepath.Join(tokens, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return start(t, options{env: append([]string{
		"AISIX_CREDENTIALS__AMBIENT=true", "AISIX_CREDENTIALS__TOKEN_DIRS=" + tokens, "AISIX_CREDENTIALS__STS_ENDPOINT=" + a.URL,
		"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + a.URL + "/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=" + filepath.Join(tokens, "pod"),
		"AWS_EC2_METADATA_DISABLED=true",
	}, more...)}), tokens
}

// with makes a provider key of that secret, a model of it and an API key.
func (g *gateway) with(t *testing.T, upstream, name, secret string) *tenant {
	t.Helper()
	c := &tenant{gateway: g, key: "sk-" + name, alias: name, upstream: upstream}
	provider := g.create(t, "provider_keys", map[string]any{"display_name": name, "api_base": upstream, "secret": secret})
	c.modelID = g.create(t, "models", map[string]any{"display_name": name, "model_name": nova, "provider_key_id": provider})
	c.keyID = g.create(t, "apikeys", map[string]any{"key_hash": hex.EncodeToString(sum(c.key)), "allowed_models": []string{name}})
	c.inForce(t)
	return c
}

const byKey = `{"type":"assume_role","role_arn":"` + bedrockRole + `","external_id":"tenant-1","region":"us-west-2","source":{"access_key_id":"AKIAE2EEXAMPLE000001","secret_access_key":"e2e-secret"}}`

// Every type of secret answers callers, streamed and not; what there are of calls to STS is
// what there has to be, and nothing of it reaches a caller or a reader of the Admin API.
func TestCredentialTypes(t *testing.T) {
	t.Parallel()
	a := newAmazon(t)
	g, tokens := a.gateway(t)
	for name, c := range map[string]struct{ secret, asked, signer string }{
		"static":           {`{"access_key_id":"AKIAE2EEXAMPLE000001","secret_access_key":"e2e-secret","region":"us-west-2"}`, "", "AKIA"},
		"role-by-key":      {byKey, "AssumeRole", "ASIA"},
		"role-by-the-host": {`{"type":"assume_role","role_arn":"` + bedrockRole + `","external_id":"tenant-1","session_name":"gw","region":"us-west-2","source":"ambient"}`, "container credentials AssumeRole", "ASIA"},
		"irsa":             {`{"type":"web_identity","role_arn":"` + bedrockRole + `","token_file":"` + tokens + `/irsa","region":"us-west-2"}`, "AssumeRoleWithWebIdentity", "ASIA"},
		"the-host":         {`{"type":"ambient","region":"us-west-2"}`, "container credentials", "ASIA"},
		"api-key":          {`{"type":"bedrock_api_key","api_key":"` + bedrockKey + `","region":"us-west-2"}`, "", "api key"},
	} {
		if got, err := do(t.Context(), http.MethodDelete, a.URL+"/_sim/calls", "", ""); err != nil || got.status != http.StatusOK && got.status != 0 {
			t.Logf("%+v %v", got, err)
		}
		caller := g.with(t, a.URL, name, c.secret)
		for range 3 {
			caller.served(t)
		}
		stream, err := do(t.Context(), http.MethodPost, g.proxy+"/v1/chat/completions", caller.key, caller.ask("Hello", true))
		if err != nil || stream.status != http.StatusOK || !strings.Contains(stream.body, "[DONE]") {
			t.Errorf("%s: %+v %v", name, stream, err)
		}
		var asked []string
		models := 0
		for _, call := range a.calls(t) {
			if call.Model == "" {
				asked = append(asked, call.Operation)
				continue
			}
			models++
			if !strings.HasPrefix(call.AccessKeyID, c.signer) {
				t.Errorf("%s: signed by %s", name, call.AccessKeyID)
			}
		}
		if got := strings.Join(asked, " "); got != c.asked || models != 4 {
			t.Errorf("%s: asked %q for credentials, and models %d times", name, got, models)
		}
	}
	keys, err := g.manage(t.Context(), http.MethodGet, "/admin/v1/provider_keys", nil)
	if err != nil || strings.Contains(keys.body, "e2e-secret") || strings.Contains(keys.body, bedrockKey) || strings.Contains(keys.body, "tenant-1\"") || !strings.Contains(keys.body, `"role_arn":"`+bedrockRole+`"`) || !strings.Contains(keys.body, `"api_key_last4":"1234"`) {
		t.Errorf("%s %v", keys.body, err)
	}
	for _, p := range g.Parts() {
		if log := string(p.Log()); strings.Contains(log, "e2e-secret") || strings.Contains(log, bedrockKey) {
			t.Errorf("%s logs a secret", p.Name)
		}
	}
	refused, err := g.manage(t.Context(), http.MethodPost, "/admin/v1/provider_keys", map[string]any{"display_name": "no", "secret": `{"type":"web_identity","role_arn":"` + bedrockRole + `","token_file":"/etc/passwd","region":"us-west-2"}`})
	if err != nil || refused.status != http.StatusBadRequest || !strings.Contains(refused.body, "credentials.token_dirs") {
		t.Errorf("%d %s %v", refused.status, refused.body, err)
	}
	if m := g.scrape(t); m[`aisix_credentials_age_seconds{provider_key="irsa",type="web_identity"}`] < 0 || m[`aisix_credentials_expire_seconds{provider_key="the-host",type="ambient"}`] < 3000 {
		t.Errorf("%v", m)
	}
}

// Sessions of seconds under load: token after token, and no call fails. Then STS is away:
// the last token does as long as it lasts, calls fail after it, at once and without a storm;
// back, all is well by itself. So it is after extproc was killed.
func TestSessionsOfSeconds(t *testing.T) {
	t.Parallel()
	a := newAmazon(t)
	a.behave(t, "session=3s")
	g, _ := a.gateway(t)
	c := g.with(t, a.URL, "seconds", byKey)
	all := c.call(t, 4)
	sessions := func() map[string]bool {
		seen := map[string]bool{}
		for _, call := range a.calls(t) {
			if call.Model != "" && call.Status == http.StatusOK {
				seen[call.AccessKeyID] = true
			}
		}
		return seen
	}
	seen := map[string]bool{}
	eventually(t, patience, func() error {
		for id := range sessions() {
			seen[id] = true
		}
		if len(seen) < 3 {
			return fmt.Errorf("%d sessions were used", len(seen))
		}
		return nil
	})
	all.only(t, "200")

	a.behave(t, "session=3s sts=away")
	all = c.call(t, 4)
	all.more(t, 10, "502 upstream_error")
	if all.count("200") == 0 {
		t.Errorf("the token was not used while it lasted: %v", all.answers)
	}
	refusal, err := c.chat(t.Context(), "Hello")
	if kind, code, _ := refusal.fault(); err != nil || kind != "upstream_error" || code != "credentials_unavailable" || !strings.Contains(refusal.body, "upstream authentication failed") {
		t.Errorf("%+v %v", refusal, err)
	}
	for _, secret := range []string{"arn:", "210987654321", "us-west-2", "AKIA", "sts", "AssumeRole", "127.0.0.1"} {
		if strings.Contains(refusal.body, secret) {
			t.Errorf("a caller sees %s: %s", secret, refusal.body)
		}
	}
	all.more(t, 200, "502 upstream_error")
	asked := 0
	for _, call := range a.calls(t) {
		if call.Operation == "AssumeRole" && call.Exception != "" {
			asked++
		}
	}
	if asked > 12 {
		t.Errorf("STS was asked %d times while it was away", asked)
	}
	if log := string(g.Extproc.Log()); !strings.Contains(log, "credentials_unavailable") || !strings.Contains(log, "ServiceUnavailable") {
		t.Error("the log does not say why")
	}
	if m := g.scrape(t); m[`aisix_credentials_refresh_failures_total{type="assume_role"}`] == 0 || m[`aisix_credentials_expire_seconds{provider_key="seconds",type="assume_role"}`] > 0 {
		t.Error("the metrics do not tell")
	}

	a.behave(t, "session=3s")
	all.more(t, 20, "200")
	g.Extproc.Kill()
	all.more(t, 5, "503 gateway_unavailable")
	if err := g.Extproc.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	all.more(t, 20, "200")
	// On a machine that is slow enough a call with the last of a token arrives when that has ended.
	all.only(t, "200", "502 upstream_error", "503 gateway_unavailable", "500 internal_error", "broken", "403 upstream_error")
	if n := all.count("403 upstream_error"); n > 4 {
		t.Errorf("%d calls went out with a token that had ended", n)
	}
}

// What the configuration of extproc does not grant it does not use, whatever admin's does.
func TestCredentialsNotGranted(t *testing.T) {
	t.Parallel()
	a := newAmazon(t)
	g := start(t, options{parts: []string{stack.Valkey, stack.Admin}, env: []string{"AISIX_CREDENTIALS__AMBIENT=true"}})
	second := start(t, options{parts: []string{stack.Extproc, stack.Envoy}, redis: g.Config.Redis.URL, key: g.Config.Secrets.MasterKeyFile,
		env: []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + a.URL + "/v2/credentials/x"}})
	both := &gateway{Stack: second.Stack, proxy: second.proxy, admin: g.admin, metrics: second.metrics}
	c := both.with(t, a.URL, "not-granted", `{"type":"ambient","region":"us-west-2"}`)
	refusal, err := c.chat(t.Context(), "Hello")
	if err != nil {
		t.Fatal(err)
	}
	refusal.want(t, http.StatusBadGateway, "upstream_error")
	if n := len(a.calls(t)); n != 0 {
		t.Errorf("%d calls went out", n)
	}
	eventually(t, patience, func() error {
		if !strings.Contains(string(second.Extproc.Log()), "credentials.ambient: true") {
			return fmt.Errorf("the log does not say what to change")
		}
		return nil
	})

	// Another target may have what this one lacks.
	east := newRegion(t, "east", good("east"))
	west := newRegion(t, "west", good("west"))
	east.secret = `{"type":"ambient","region":"us-west-2"}`
	for _, d := range doors {
		for _, stream := range []bool{false, true} {
			c := both.over(t, nil, east, west)
			k := &called{id: "no-credentials", door: d, stream: stream}
			k.ask(t, c, nil)
			if k.err != nil || k.answer.status != http.StatusOK || !k.whole() || k.answer.header.Get("X-Aisix-Target") != "west" || east.requests() != 0 {
				t.Errorf("%s, stream %v: %d %s %v", d.path, stream, k.answer.status, k.answer.body, k.err)
			}
			if tries := c.recorded(t, 1)[0].Tries; len(tries) != 2 || tries[0].Reason != "credentials_unavailable" || tries[0].Status != 0 || tries[1].Reason != "served" {
				t.Errorf("recorded %v", tries)
			}
		}
	}
}
