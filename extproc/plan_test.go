package extproc_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/extproc"
	"aisix/extproc/egress"
	"aisix/extproc/usage"
)

// modelOf is a snapshot of a model, "here", that has each of the ids for a target.
func modelOf(t testing.TB, ids ...string) *snapshot.Holder {
	t.Helper()
	m := &resource.Model{DisplayName: "here", Provider: "amazon-bedrock"}
	rows := []snapshot.Row{{ID: "30000000-0000-4000-8000-000000000000", Value: &resource.APIKey{KeyHash: hashOf(plaintext), AllowedModels: []string{"*"}}}}
	for i, id := range ids {
		key := string(rune('1'+i)) + "0000000-0000-4000-8000-00000000000a"
		m.Targets = append(m.Targets, resource.Target{Name: string(rune('a' + i)), ProviderKeyID: key, ModelName: id, Priority: i})
		rows = append(rows, snapshot.Row{ID: key, Value: &resource.ProviderKey{DisplayName: key, Provider: "amazon-bedrock", Adapter: "bedrock",
			Credentials: resource.Static{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "secret", Region: "us-west-2"}}})
	}
	return holderOf(t, append(rows, snapshot.Row{ID: "20000000-0000-4000-8000-000000000000", Value: m})...)
}

// Where the egress listener cannot be reached, the call ends with what was said before, and the
// record has no try that called nobody.
func TestNoWayToAnotherTry(t *testing.T) {
	nowhere := func(p *extproc.Parts) {
		p.Egress = egress.New(egress.Options{Network: "unix", Address: filepath.Join(t.TempDir(), "none")})
	}
	throttled := jsonReply(`{"message":"slow down"}`)
	throttled.Status = http.StatusTooManyRequests
	throttled.Header.Set("Retry-After", "7")
	throttled.Header.Set("X-Amzn-Errortype", "ThrottlingException")
	refused := jsonReply(`{"message":"extraneous key [cachePoint] is not permitted"}`)
	refused.Status = http.StatusBadRequest
	refused.Header.Set("X-Amzn-Errortype", "ValidationException")
	const nova = "amazon.nova-pro-v1:0"
	for name, test := range map[string]struct {
		at         func(*extproc.Parts)
		path, body string
		status     int
		reason     string
	}{
		"a chat":          {func(p *extproc.Parts) { p.Snapshots = modelOf(t, nova, nova) }, "/v1/chat/completions", `{"model":"here","messages":[{"role":"user","content":"Hi"}]}`, 429, "throttled"},
		"embeddings":      {func(p *extproc.Parts) { p.Snapshots = modelOf(t, titan, titan) }, "/v1/embeddings", `{"model":"here","input":"one"}`, 429, "throttled"},
		"a refused field": {func(p *extproc.Parts) {}, "/v1/chat/completions", `{"model":"` + nova + `","messages":[{"role":"user","content":[{"type":"text","text":"Hi","cache_control":{"type":"ephemeral"}}]}]}`, 400, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			c := server(t, "", func(p *extproc.Parts) { nowhere(p); test.at(p) })
			if c.upstream = throttled; test.status == http.StatusBadRequest {
				c.upstream = refused
			}
			a := c.ask(http.MethodPost, test.path, test.body)
			if a.Status != test.status || a.Header.Get("Retry-After") != c.upstream.Header.Get("Retry-After") || a.Header.Get("X-Aisix-Attempts") != "1" {
				t.Errorf("%d %s %v", a.Status, a.Body, a.Header)
			}
			if f := c.one(t); len(f.Tries) != 1 || f.Tries[0].Reason != test.reason {
				t.Errorf("recorded %+v", f.Tries)
			}
		})
	}
}

// An answer that is none, and says what it cost, is paid for: by the record, and with what the
// next target's costs.
func TestAMalformedAnswerIsPaidFor(t *testing.T) {
	for _, stop := range []string{"malformed_tool_use", "malformed_model_output"} {
		t.Run(stop, func(t *testing.T) {
			c := server(t, "", func(*extproc.Parts) {})
			c.upstream = jsonReply(`{"output":{"message":{"role":"assistant","content":[{"text":"Hi"}]}},"stopReason":"` + stop + `","usage":{"inputTokens":11,"outputTokens":7,"totalTokens":18}}`)
			a := c.ask(http.MethodPost, "/v1/chat/completions", `{"model":"amazon.nova-pro-v1:0","messages":[{"role":"user","content":"Hi"}]}`)
			f := c.one(t)
			if a.Status != http.StatusBadGateway || f.Usage.Prompt() != 11 || f.Usage.Completion() != 7 || f.Partial || f.Outcome != usage.Failed {
				t.Errorf("%d %s, %d and %d tokens, %+v", a.Status, a.Body, f.Usage.Prompt(), f.Usage.Completion(), f)
			}
		})
	}
}
