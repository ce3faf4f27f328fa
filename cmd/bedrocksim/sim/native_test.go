package sim

import (
	"encoding/base64"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

const (
	mantleClaude = "anthropic.claude-opus-4-8"
	nativePath   = "/anthropic/v1/messages"
)

// nativeAsk is a body for mantle's Messages, with more members.
func nativeAsk(text, more string) []byte {
	return []byte(`{"model":"` + mantleClaude + `","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"` + text + `"}]}]` + comma(more) + `}`)
}

func (s *simulator) native(t *testing.T, body []byte, headers ...string) *http.Response {
	t.Helper()
	return s.send(t, "POST", nativePath, "bedrock-mantle", body, append([]string{"Anthropic-Version", "2023-06-01"}, headers...)...)
}

const nativeTool = `"tools":[{"name":"get_weather","input_schema":{"type":"object","properties":{"city":{"type":"string"}}}}]`

func TestMantleSpeaksMessages(t *testing.T) {
	s := start(t)
	cached := `{"model":"` + mantleClaude + `","max_tokens":9000,"system":[{"type":"text","text":"Be brief, and then some more.","cache_control":{"type":"ephemeral","ttl":"1h"}}],"messages":[{"role":"user","content":[{"type":"text","text":"What is up?","cache_control":{"type":"ephemeral"}}]}]}`
	golden(t, "messages-whole", s.native(t, []byte(cached)))
	golden(t, "messages-read-again", s.native(t, []byte(cached)))
	golden(t, "messages-stream", s.native(t, nativeAsk("Weather in Paris?", `"stream":true,"thinking":{"type":"adaptive","display":"summarized"},`+nativeTool)))
	golden(t, "messages-error-event", s.native(t, nativeAsk("sim:error-event sim:after=4 hello", `"stream":true`)))
	golden(t, "messages-exception", s.native(t, nativeAsk("sim:exception sim:after=4 hello", `"stream":true`)))
	golden(t, "messages-cut", s.native(t, nativeAsk("sim:cut sim:after=5 hello", `"stream":true`)))
	golden(t, "messages-count", s.send(t, "POST", nativePath+"/count_tokens?beta=true", "bedrock-mantle", []byte(`{"model":"`+mantleClaude+`","messages":[{"role":"user","content":"What is up?"}],"tools":[]}`), "Anthropic-Version", "2023-06-01"))
}

func TestMessagesRefuseAsAnthropicDoes(t *testing.T) {
	s := start(t)
	for name, r := range map[string]*http.Response{
		"version":        s.send(t, "POST", nativePath, "bedrock-mantle", nativeAsk("x", "")),
		"unknown-member": s.native(t, nativeAsk("x", `"anthropic_version":"bedrock-2023-05-31"`)),
		"unknown-model":  s.native(t, []byte(strings.Replace(string(nativeAsk("x", "")), mantleClaude, "us.anthropic.claude-opus-4-8", 1))),
		"no-model":       s.native(t, asked("x")),
		"format":         s.native(t, nativeAsk("x", `"output_config":{"format":{"type":"json_schema","schema":{"type":"object","additionalProperties":false}}}`)),
		"server-tool":    s.native(t, nativeAsk("x", `"tools":[{"type":"web_search_20250305","name":"web_search"}]`)),
		"beta":           s.native(t, nativeAsk("x", ""), "Anthropic-Beta", "claude-code-20250219,prompt-caching-scope-2026-01-05"),
		"no-beta":        s.native(t, nativeAsk("x", `"context_management":{"edits":[]}`)),
		"bearer":         s.send(t, "POST", nativePath, "", nativeAsk("x", ""), "Authorization", "Bearer other"),
		"service":        s.send(t, "POST", nativePath, "bedrock", nativeAsk("x", ""), "Anthropic-Version", "2023-06-01"),
		"throttle":       s.native(t, nativeAsk("sim:throttle=7", "")),
		"overloaded":     s.native(t, nativeAsk("sim:overloaded", `"stream":true`)),
		"too-long":       s.native(t, nativeAsk("sim:prompt-too-long", "")),
		"counting":       s.send(t, "POST", nativePath+"/count_tokens", "bedrock-mantle", nativeAsk("x", ""), "Anthropic-Version", "2023-06-01"),
	} {
		golden(t, "messages-refusal-"+name, r)
	}
	if r := s.native(t, nativeAsk("x", `"context_management":{"edits":[]}`), "Anthropic-Beta", "context-management-2025-06-27, future-2027-01-01"); r.StatusCode != 200 {
		t.Errorf("with its flag: %s", bodyOf(t, r))
	}
}

func TestWhoMayAskMantle(t *testing.T) {
	s := start(t)
	for name, headers := range map[string][]string{
		"bearer":    {"Authorization", "Bearer " + PlaceholderAPIKey},
		"x-api-key": {"X-Api-Key", PlaceholderAPIKey},
	} {
		if r := s.send(t, "POST", nativePath, "", nativeAsk("x", ""), append(headers, "Anthropic-Version", "2023-06-01")...); r.StatusCode != 200 {
			t.Errorf("%s: %s", name, bodyOf(t, r))
		}
	}
	if r := s.send(t, "POST", "/model/"+claude+"/invoke", "", asked("x"), "Authorization", "Bearer "+PlaceholderAPIKey); r.StatusCode != 200 {
		t.Errorf("runtime's bearer: %s", bodyOf(t, r))
	}
	golden(t, "runtime-bad-bearer", s.send(t, "POST", "/model/"+claude+"/invoke", "", asked("x"), "Authorization", "Bearer other"))
	golden(t, "runtime-x-api-key", s.send(t, "POST", "/model/"+claude+"/invoke", "", asked("x"), "X-Api-Key", PlaceholderAPIKey))
	golden(t, "models", s.send(t, "GET", "/v1/models", "bedrock-mantle", nil))
	golden(t, "models-for-bedrock", s.send(t, "GET", "/v1/models", "bedrock", nil))
	if c := s.recorded(t).Calls[0]; c.Host != "mantle" || c.Operation != "messages" || c.Model != mantleClaude {
		t.Errorf("%+v", c)
	}
}

func TestNoTwoMessagesHaveOneID(t *testing.T) {
	s := start(t)
	seen := map[string]bool{}
	id := regexp.MustCompile(`"id":"(msg_[^"]+)"`)
	for range 3 {
		for _, r := range []*http.Response{s.native(t, nativeAsk("x", "")), s.native(t, nativeAsk("x", `"stream":true`)), s.post(t, claude, "invoke", asked("x"))} {
			m := id.FindStringSubmatch(bodyOf(t, r))
			if m == nil || seen[m[1]] {
				t.Fatalf("%v is no id, or not a new one", m)
			}
			seen[m[1]] = true
		}
	}
}

func TestBetaFlagsOfInvokeModel(t *testing.T) {
	s := start(t)
	for _, c := range []struct{ more, want string }{
		{`"anthropic_beta":["prompt-caching-scope-2026-01-05"]`, "invalid beta flag"},
		{`"anthropic_beta":["context-1m-2025-08-07","extended-cache-ttl-2025-04-11"]`, "invalid beta flag"},
		{`"anthropic_beta":["future-2027-01-01"]`, ""},
		{`"context_management":{"edits":[]}`, "context_management: Extra inputs are not permitted"},
		{`"anthropic_beta":["context-management-2025-06-27"],"context_management":{"edits":[]}`, ""},
		{`"tools":[{"name":"x","input_schema":{"type":"object"},"defer_loading":true}]`, "tools.0.defer_loading: Extra inputs are not permitted"},
		{`"tools":[{"type":"web_search_20250305","name":"web_search"}]`, "Input tag 'web_search_20250305' found using 'type' does not match any of the expected tags"},
		{`"tools":[{"type":"bash_20250124","name":"bash"}]`, ""},
	} {
		body := []byte(`{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[{"role":"user","content":"x"}],` + c.more + `}`)
		verdict(t, s, claude, "invoke", string(body), c.want)
	}
	const opus55 = "anthropic.claude-opus-5-5"
	turns := func(flags, of string) string {
		return `{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"anthropic_beta":[` + flags + `],` + of + `,"messages":[{"role":"user","content":"x"},{"role":"system","content":"s"` + map[bool]string{true: `,"output_config":{"effort":"low"}`}[strings.Contains(flags, "-turn-")] + `}]}`
	}
	for _, c := range []struct{ model, flags, of, want string }{
		{opus55, `"per-turn-control-2026-07-01"`, `"metadata":{}`, ""},
		{"anthropic.claude-opus-5", `"per-turn-control-2026-07-01"`, `"metadata":{}`, "messages.1.output_config: Extra inputs are not permitted"},
		{opus55, `"no-turn-control"`, `"metadata":{}`, "messages.1.output_config: Extra inputs are not permitted"},
		{opus55, `"dangerous-tool-use-2026-09-03"`, `"safeguards":[]`, ""},
		{opus55, ``, `"safeguards":[]`, "safeguards: Extra inputs are not permitted"},
		{opus55, `"thinking-display-updates-2026-08-18"`, `"thinking":{"type":"adaptive","display":"updates"}`, ""},
		{opus55, ``, `"thinking":{"type":"adaptive","display":"updates"}`, "thinking.display: Input should be"},
		{"anthropic.claude-opus-4-8", `"thinking-display-updates-2026-08-18"`, `"thinking":{"type":"adaptive","display":"updates"}`, "thinking.display: Input should be"},
		{"anthropic.claude-opus-4-8", ``, `"thinking":{"type":"adaptive","display":"summarized"}`, ""},
		{opus55, `"thinking-binding-controls-2026-08-01"`, `"thinking":{"type":"adaptive","block_binding":{}}`, ""},
		{opus55, ``, `"thinking":{"type":"adaptive","block_binding":{}}`, "thinking.block_binding: Extra inputs are not permitted"},
	} {
		verdict(t, s, c.model, "invoke", turns(c.flags, c.of), c.want)
		verdict(t, s, c.model, "invoke", strings.Replace(turns(c.flags, c.of), `"content":"s","output_config"`, `"content":[],"output_config"`, 1), c.want) // an effort alone
	}
	verdict(t, s, "anthropic.claude-opus-4-5-20251101-v1:0", "invoke", `{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[{"role":"user","content":"x"}],"output_config":{"effort":"low"}}`, "output_config.effort: Extra inputs")
	verdict(t, s, claude, "converse", `{"messages":[{"role":"user","content":[{"text":"x"}]}],"additionalModelRequestFields":{"anthropic_beta":["prompt-caching-scope-2026-01-05"]}}`, "The model returned the following errors: invalid beta flag")
}

func TestABillingHeaderIsAFault(t *testing.T) {
	s := start(t)
	s.post(t, claude, "invoke", []byte(`{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=1"}],"messages":[{"role":"user","content":"x"}]}`))
	if c := s.recorded(t).Calls[0]; len(c.Faults) != 1 || !strings.Contains(c.Faults[0], "billing-header") || c.Status != 200 {
		t.Errorf("%+v", c)
	}
}

func TestCountTokens(t *testing.T) {
	s := start(t)
	invoke := func(body []byte) []byte {
		return marshal(object{"input": object{"invokeModel": object{"body": base64.StdEncoding.EncodeToString(body)}}})
	}
	converse := marshal(object{"input": object{"converse": object{"messages": []any{object{"role": "user", "content": []any{object{"text": "What is up?"}}}}}}})
	golden(t, "count-invoke", s.post(t, claude, "count-tokens", invoke(asked("What is up?"))))
	golden(t, "count-converse", s.post(t, claude, "count-tokens", converse))
	for name, r := range map[string]*http.Response{
		"nova": s.post(t, nova, "count-tokens", converse), "profile": s.post(t, "us."+claude, "count-tokens", converse), "opus-5": s.post(t, "anthropic.claude-opus-5", "count-tokens", converse),
	} {
		if _, message := refused(t, r); r.StatusCode != 400 || message != "The provided model doesn't support counting tokens." {
			t.Errorf("%s: %s %s", name, r.Status, message)
		}
	}
	for want, body := range map[string][]byte{
		"max_tokens: Field required":                              invoke([]byte(`{"anthropic_version":"bedrock-2023-05-31","messages":[{"role":"user","content":"x"}]}`)),
		"not valid JSON":                                          invoke([]byte(`{`)),
		"input: Field required":                                   []byte(`{}`),
		"must start with a user message":                          []byte(`{"input":{"converse":{"messages":[]}}}`),
		"prompt is too long: 200007 tokens > 200000 maximum":      invoke(asked(strings.Repeat("long", 200_000))),
		"exactly one member must be set":                          []byte(`{"input":{}}`),
		"input.other: Extra inputs are not permitted":             []byte(`{"input":{"other":{}}}`),
		"input.invokeModel.body: Invalid base64 data":             []byte(`{"input":{"invokeModel":{"body":"{"}}}`),
		"input.invokeModel.model: Extra inputs are not permitted": []byte(`{"input":{"invokeModel":{"body":"e30=","model":"x"}}}`),
	} {
		if kind, message := refused(t, s.post(t, claude, "count-tokens", body)); kind != "ValidationException" || !strings.Contains(message, want) {
			t.Errorf("%s: %s %s", want, kind, message)
		}
	}
}

func TestTheHostIsToldByPathAndService(t *testing.T) {
	s := start(t)
	for _, c := range []struct {
		path, service, host string
		status              int
	}{
		{nativePath, "bedrock-mantle", "", 200},
		{nativePath, "bedrock", "", 403},
		{nativePath, "bedrock-mantle", "bedrock-mantle.us-west-2.api.aws", 200},
		{"/model/" + claude + "/converse", "bedrock-mantle", "", 403},
		{"/openai/v1/nothing", "bedrock-mantle", "", 404},
		{"/openai/v1/nothing", "bedrock", "", 404},
		{"/openai/v1/nothing", "s3", "", 403},
	} {
		var headers []string
		if c.host != "" {
			headers = []string{"Host", c.host}
		}
		r := s.send(t, "POST", c.path, c.service, nativeAsk("x", ""), append(headers, "Anthropic-Version", "2023-06-01")...)
		body := bodyOf(t, r)
		if r.StatusCode != c.status || c.status == 403 && !strings.Contains(body, "Credential should be scoped to correct service: '") {
			t.Errorf("%s for %s: %s %s", c.path, c.service, r.Status, body)
		}
	}
}

func bodyOf(t *testing.T, r *http.Response) string {
	t.Helper()
	return string(readAll(t, r.Body))
}

// What the list of models names is there.
func TestListedModelsAnswer(t *testing.T) {
	for _, p := range table.Places {
		for _, id := range p.IDs {
			for _, a := range p.APIs {
				if _, f := resolveMantle(door{api: a, operation: string(a)}, p.Prefix, id); f != nil {
					t.Errorf("%s by %s: %v", id, a, f)
				}
			}
		}
	}
}
