package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// messages asks in Anthropic's format, with its credential header.
func (c *tenant) messages(t *testing.T, path string, body map[string]any, header ...string) answer {
	t.Helper()
	body["model"] = c.alias
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	a, err := do(t.Context(), http.MethodPost, c.proxy+path, "", string(b), append([]string{"x-api-key", c.key, "anthropic-version", "2023-06-01"}, header...)...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func told(text string) map[string]any {
	return map[string]any{"max_tokens": 2000, "messages": []any{map[string]any{"role": "user", "content": text}}}
}

// The simulator answers Anthropic's clients through the whole gateway: Claude's own events, and a
// translation of another family's, with tools, counts, models and errors.
func TestMessages(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for _, id := range []string{claude, nova} {
		c := g.tenant(t, g.SimURL(), settings{id: id})
		a := c.messages(t, "/v1/messages?beta=true", told("Hello"), "anthropic-beta", "claude-code-20250219,prompt-caching-scope-2026-01-05")
		var m struct {
			ID, Type, Model string
			StopReason      string `json:"stop_reason"`
		}
		if json.Unmarshal([]byte(a.body), &m); a.status != 200 || m.Type != "message" || !strings.HasPrefix(m.ID, "msg_") || m.Model != c.alias || m.StopReason != "end_turn" || a.header.Get("request-id") == "" {
			t.Errorf("%s: %d %s %v", id, a.status, a.body, a.header)
		}
		body := told("What is the weather in Oslo?")
		body["stream"] = true
		body["tools"] = []any{map[string]any{"name": "get_weather", "input_schema": map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}}}}
		body["tool_choice"] = map[string]any{"type": "tool", "name": "get_weather"}
		a = c.messages(t, "/v1/messages", body)
		if !strings.HasPrefix(a.body, "event: message_start\n") || !strings.Contains(a.body, `tool_use`) || !strings.Contains(a.body, "input_json_delta") ||
			!strings.Contains(a.body, "event: message_stop\n") || !strings.Contains(a.body, c.alias) || strings.Contains(a.body, "amazon-bedrock") || strings.Contains(a.body, "[DONE]") {
			t.Errorf("%s: %d %s", id, a.status, a.body)
		}
		a = c.messages(t, "/v1/messages/count_tokens?beta=true", map[string]any{"messages": told("Hello")["messages"], "tools": []any{}})
		if estimated := a.header.Get("x-aisix-estimated") == "true"; a.status != 200 || !strings.HasPrefix(a.body, `{"input_tokens":`) || estimated != (id == nova) {
			t.Errorf("%s: %d %s %v", id, a.status, a.body, a.header)
		}
		if a, err := do(t.Context(), http.MethodGet, c.proxy+"/v1/models?limit=1000", c.key, "", "anthropic-version", "2023-06-01"); err != nil || !strings.Contains(a.body, `"has_more":false`) {
			t.Errorf("%s: %s, %v", id, a.body, err)
		}
		for text, want := range map[string]string{"sim:throttle": "429 rate_limit_error", "sim:overloaded": "529 overloaded_error"} {
			a := c.messages(t, "/v1/messages", told(text))
			var e struct {
				Type  string
				Error struct{ Type string }
			}
			_ = json.Unmarshal([]byte(a.body), &e)
			if got := fmt.Sprint(a.status, " ", e.Error.Type); got != want || e.Type != "error" {
				t.Errorf("%s: %s: %s %s, want %s", id, text, got, a.body, want)
			}
		}
	}
	c := g.tenant(t, g.SimURL(), settings{})
	a := c.messages(t, "/v1/messages", told(strings.Repeat("x", 11<<20)))
	if a.status != 413 || !strings.Contains(a.body, `"request_too_large"`) {
		t.Errorf("%d %.200s", a.status, a.body)
	}
	if a, err := do(t.Context(), http.MethodHead, g.proxy+"/", "", ""); err != nil || a.status < 400 { // Claude Code's first request
		t.Errorf("HEAD /: %d, %v", a.status, err)
	}
}

// A long silence is broken by pings, for either kind of upstream.
func TestSilenceIsBrokenByPings(t *testing.T) {
	t.Parallel()
	pinged := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		select {
		case <-pinged:
		case <-r.Context().Done():
			return
		}
		emit(w, "contentBlockDelta", delta("x"))
		finish(w)
	})
	c := shared(t).tenant(t, u.URL, settings{})
	body := told("Hello")
	body["model"], body["stream"] = c.alias, true
	raw, _ := json.Marshal(body)
	response, err := open(t.Context(), http.MethodPost, c.proxy+"/v1/messages", c.key, string(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var got strings.Builder
	once := false
	for piece := make([]byte, 4096); ; {
		n, err := response.Body.Read(piece)
		got.Write(piece[:n])
		if !once && strings.Contains(got.String(), "event: ping\n") {
			once = true
			close(pinged)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !once || !strings.HasSuffix(got.String(), "data: {\"type\":\"message_stop\"}\n\n") {
		t.Errorf("%s", got.String())
	}
}
