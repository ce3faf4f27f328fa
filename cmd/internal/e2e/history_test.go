package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What the gateway answered it takes back, an answer of nothing too, beside system messages
// in mid-conversation and members of another provider's; the operator reads of the latter.
func TestHistoryComesBack(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 2)
	u := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the request: %v", err)
		}
		asked <- string(body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"output":{"message":{"role":"assistant","content":[]}},"stopReason":"end_turn","usage":{"inputTokens":3,"outputTokens":0,"totalTokens":3}}`)
	}))
	t.Cleanup(u.Close)
	c := shared(t).tenant(t, u.URL, settings{})
	ask := func(messages ...any) (message map[string]any, sent string) {
		t.Helper()
		body, err := json.Marshal(map[string]any{"model": c.alias, "messages": messages})
		if err != nil {
			t.Fatal(err)
		}
		a, err := do(t.Context(), http.MethodPost, c.proxy+"/v1/chat/completions", c.key, string(body))
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("%v, %d %s", err, a.status, a.body)
		}
		var answer struct {
			Choices []struct{ Message map[string]any }
		}
		if err := json.Unmarshal([]byte(a.body), &answer); err != nil || len(answer.Choices) != 1 {
			t.Fatalf("%v in %s", err, a.body)
		}
		return answer.Choices[0].Message, <-asked
	}
	user := func(text string) any { return map[string]any{"role": "user", "content": text} }
	system := func(text string) any { return map[string]any{"role": "system", "content": text} }

	nothing, _ := ask(system("s"), user("hi"))
	if nothing["content"] != "" {
		t.Errorf("answered %v", nothing)
	}
	detail := "detail_of_" + c.alias
	foreign := map[string]any{"role": "assistant", "content": "Well?", detail: []any{1}}
	_, sent := ask(system("s"), user("hi"), nothing, user("go on"), foreign, system("t"), user("x"))
	const want = `"messages":[{"content":[{"text":"hi"},{"text":"go on"}],"role":"user"},{"content":[{"text":"Well?"}],"role":"assistant"},{"content":[{"text":"t"},{"text":"x"}],"role":"user"}],"system":[{"text":"s"}]`
	if !strings.Contains(sent, want) {
		t.Errorf("sent %s, want %s", sent, want)
	}
	eventually(t, patience, func() error {
		n := 0
		for _, p := range c.Parts() {
			n += strings.Count(string(p.Log()), "left out: messages."+detail)
		}
		if n != 1 {
			return fmt.Errorf("the log has the note %d times", n)
		}
		return nil
	})
}
