package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// A wildcard's capture is filled in at each target, whose API is then the captured model's; what
// cools down is the target, whatever was captured.
func TestWildcardTargets(t *testing.T) {
	t.Parallel()
	g := shared(t)
	var mu sync.Mutex
	var paths []string
	east, west := newRegion(t, "east", says(429, "ThrottlingException", "Retry-After", "60")), newRegion(t, "west", nil)
	west.behave(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		paths = append(paths, r.URL.EscapedPath())
		mu.Unlock()
		if strings.HasSuffix(r.URL.Path, "/invoke") {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"west"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":2}}`)
			return
		}
		good("west")(w, r)
	})
	c := g.over(t, nil, east, west)
	name := c.alias
	c.wild(t)
	asked := []struct{ capture, path, attempts string }{
		{nova, "/model/us.amazon.nova-pro-v1%3A0/converse", "2"},
		{claude, "/model/us.anthropic.claude-3-5-sonnet-20241022-v2%3A0/invoke", "1"},
		{"amazon.nova-lite-v1:0", "/model/us.amazon.nova-lite-v1%3A0/converse-stream", "1"},
	}
	for _, ask := range asked {
		c.alias = name + "/" + ask.capture
		stream := strings.HasSuffix(ask.path, "-stream")
		a := c.askAt(t, t.Context(), stream, nil)
		if a.status != 200 || !strings.Contains(a.body, `"model":"`+c.alias+`"`) || a.header.Get("X-Aisix-Target") != "west" || a.header.Get("X-Aisix-Attempts") != ask.attempts {
			t.Errorf("%s: %d %s %v", ask.capture, a.status, a.body, a.header)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for i, r := range c.recorded(t, len(asked)) {
		if len(paths) <= i || paths[i] != asked[i].path {
			t.Errorf("asked for %q, want %s", paths, asked[i].path)
		}
		if r.ModelAlias != name+"/*" || r.Alias != name+"/"+asked[i].capture || r.UpstreamModel != "us."+asked[i].capture || r.Tries[len(r.Tries)-1].Target != "west" {
			t.Errorf("recorded %v", r)
		}
	}
	if n := east.requests(); n != 1 {
		t.Errorf("%d requests at the target that cools down", n)
	}
}

// wild makes the tenant's model a wildcard, whose capture stands after a slash.
func (c *tenant) wild(t *testing.T) {
	t.Helper()
	at := "/admin/v1/models/" + c.modelID
	a, err := c.manage(t.Context(), http.MethodGet, at, nil)
	var entry struct {
		Value struct{ Targets []map[string]any }
	}
	if err != nil || json.Unmarshal([]byte(a.body), &entry) != nil || len(entry.Value.Targets) != 2 {
		t.Fatalf("%d %s %v", a.status, a.body, err)
	}
	entry.Value.Targets[0]["model_name"], entry.Value.Targets[1]["model_name"] = "*", "us.*"
	for path, value := range map[string]any{
		at:                             map[string]any{"display_name": c.alias + "/*", "targets": entry.Value.Targets},
		"/admin/v1/apikeys/" + c.keyID: map[string]any{"allowed_models": []string{c.alias + "/*"}},
	} {
		if a, err := c.manage(t.Context(), http.MethodPatch, path, value); err != nil || a.status != http.StatusOK {
			t.Fatalf("%d %s %v", a.status, a.body, err)
		}
	}
	eventually(t, patience, func() error {
		a, err := do(t.Context(), http.MethodGet, c.proxy+"/v1/models", c.key, "")
		if err == nil && !strings.Contains(a.body, `"`+c.alias+`/*"`) {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
}
