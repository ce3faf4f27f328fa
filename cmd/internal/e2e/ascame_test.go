package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// The simulator, which is as strict as OpenAI's API, takes a chat completion in the caller's own
// bytes, and the caller has its answer with the alias, whole and streamed, with the counts only
// where they were asked for.
func TestChatCompletionsAsTheyCame(t *testing.T) {
	t.Parallel()
	g := shared(t)
	key := agentsModel(t, g, "as-came", map[string]any{"model_name": "us.openai.gpt-5.6-sol", "api": "chat"})
	ask := func(more map[string]any) answer {
		body := map[string]any{
			"model": "as-came", "max_tokens": 200, "user": "u", "metadata": map[string]any{"a": "b"}, "store": false, "seed": nil, "reasoning_effort": "max",
			"messages": []any{
				map[string]any{"role": "system", "content": "be brief"},
				map[string]any{"role": "user", "content": []any{map[string]any{"type": "text", "text": "What is the weather in Oslo?"}}},
			},
			"tools": []any{map[string]any{"type": "function", "function": map[string]any{
				"name": "get_weather", "parameters": map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}},
			}}},
		}
		for name, value := range more {
			body[name] = value
		}
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		a, err := do(t.Context(), http.MethodPost, g.proxy+"/v1/chat/completions", key, string(raw))
		if err != nil || a.status != 200 {
			t.Fatalf("%d %s, %v", a.status, a.body, err)
		}
		return a
	}
	if a := ask(nil); !strings.Contains(a.body, `"as-came"`) || strings.Contains(a.body, "gpt-5.6") || !strings.Contains(a.body, `"usage"`) {
		t.Errorf("whole: %s", a.body)
	}
	for _, counts := range []bool{false, true} {
		a := ask(map[string]any{"stream": true, "stream_options": map[string]any{"include_usage": counts}})
		if strings.Contains(a.body, "gpt-5.6") || !strings.HasSuffix(a.body, "data: [DONE]\n\n") || strings.Count(a.body, "[DONE]") != 1 ||
			strings.Contains(a.body, `"completion_tokens"`) != counts {
			t.Errorf("streamed, counts %t: %s", counts, a.body)
		}
	}
}
