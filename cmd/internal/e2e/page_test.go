package e2e

import (
	_ "embed"
	"encoding/json"
	"os/exec"
	"reflect"
	"strings"
	"testing"
)

// page is the documentation page's commands, word for word.
//
//go:embed testdata/page.sh
var page string

// The commands of the documentation page, pasted into a shell one after the other. What differs from
// the page: the ports, the id that a reader writes down, and the simulator as api_base.
func TestPage(t *testing.T) {
	g := shared(t)
	script := strings.NewReplacer(
		"http://127.0.0.1:3001", g.admin,
		"http://127.0.0.1:3000", g.proxy,
		`"adapter": "bedrock",`, `"adapter": "bedrock", "api_base": "`+g.SimURL()+`",`,
	).Replace(page)
	first, rest, ok := strings.Cut(script, `export PROVIDER_KEY_ID="YOUR_PROVIDER_KEY_ID"`)
	if !ok {
		t.Fatal("the page has no id to write down")
	}
	var entry struct{ ID string }
	if err := json.Unmarshal(shell(t, first), &entry); err != nil || entry.ID == "" {
		t.Fatalf("the provider key: %v", err)
	}
	// The output is two entries and the answer, one after the other.
	out := json.NewDecoder(strings.NewReader(string(shell(t, `export AISIX_ADMIN_KEY="`+adminKey+`" PROVIDER_KEY_ID="`+entry.ID+`"`+"\n"+rest))))
	var values [3]map[string]any
	for i := range values {
		if err := out.Decode(&values[i]); err != nil {
			t.Fatal(err)
		}
	}
	got := values[2]
	if id, _ := got["id"].(string); !strings.HasPrefix(id, "msg_") {
		t.Errorf("id %v", got["id"])
	}
	if created, _ := got["created"].(float64); created < 1_700_000_000 {
		t.Errorf("created %v", got["created"])
	}
	delete(got, "id")
	delete(got, "created")
	var want map[string]any
	json.Unmarshal([]byte(`{"object":"chat.completion","model":"claude-bedrock",
		"choices":[{"index":0,"message":{"role":"assistant","content":"Hello from Bedrock!"},"finish_reason":"stop"}],
		"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14}}`), &want)
	usage, _ := got["usage"].(map[string]any)
	delete(usage, "prompt_tokens_details") // of tokens from the cache, where known
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// shell runs a script as a reader's shell would.
func shell(t *testing.T, script string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "bash", "-c", script).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return out
}
