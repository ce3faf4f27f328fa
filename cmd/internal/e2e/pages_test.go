package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"aisix/cmd/internal/stack"
)

// docs is the text of a page.
func docs(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fenced are a page's blocks of a language.
func fenced(t *testing.T, page, language string) (blocks []string) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(docs(t, page), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no %s", page, language)
	}
	return blocks
}

// The commands of the page on regions, pasted into a shell: they are taken, and the model that they
// make answers by its targets. What differs from the page: the port, the id of the provider key, and
// that this goes to the simulator.
func TestThePageOnRegions(t *testing.T) {
	t.Parallel()
	g := shared(t)
	provider := g.create(t, "provider_keys", map[string]any{"display_name": "the page on regions", "api_base": g.SimURL(),
		"secret": `{"access_key_id":"YOUR_AWS_ACCESS_KEY_ID","secret_access_key":"YOUR_AWS_SECRET_ACCESS_KEY","region":"us-west-2"}`})
	var entry struct {
		ID    string
		Value struct {
			DisplayName string `json:"display_name"`
			Targets     []struct{ Name string }
		}
	}
	for _, command := range fenced(t, "regions.md", "sh") {
		command = strings.NewReplacer("http://127.0.0.1:3001", g.admin, "0198c1de-7a10-7000-8000-000000000001", provider, `"display_name": "claude"`, `"display_name": "the-page-on-regions"`).Replace(command)
		out := shell(t, `export AISIX_ADMIN_KEY="`+adminKey+`"`+"\n"+command)
		if err := json.Unmarshal(out, &entry); err != nil || entry.ID == "" || len(entry.Value.Targets) == 0 {
			t.Fatalf("%s%s", command, out)
		}
	}
	c := &tenant{gateway: g, key: "sk-the-page-on-regions", alias: entry.Value.DisplayName, modelID: entry.ID}
	c.keyID = g.create(t, "apikeys", map[string]any{"key_hash": fmt.Sprintf("%x", sum(c.key)), "allowed_models": []string{c.alias}})
	c.inForce(t)
	first := c.askAt(t, t.Context(), false, map[string]any{"user": "ann"})
	again := c.askAt(t, t.Context(), true, map[string]any{"user": "ann"})
	target := first.header.Get("X-Aisix-Target")
	if first.status != http.StatusOK || again.status != http.StatusOK || target != "oregon" && target != "virginia" || again.header.Get("X-Aisix-Target") != target {
		t.Errorf("%d by %s, %d by %s", first.status, target, again.status, again.header.Get("X-Aisix-Target"))
	}
	if a := c.askAt(t, t.Context(), false, map[string]any{"messages": []any{map[string]any{"role": "user", "content": "sim:throttle=600 Hello"}}}); a.status != http.StatusTooManyRequests || a.header.Get("X-Aisix-Attempts") != "3" {
		t.Errorf("all three throttled: %d %v", a.status, a.header)
	}

	// What the page shows of health has the members that there are.
	type health struct {
		Status   string
		Revision int
		Targets  []map[string]any
	}
	var want health
	for _, block := range fenced(t, "regions.md", "json") {
		if err := json.Unmarshal([]byte(block), &want); err != nil {
			t.Fatalf("%v: %s", err, block)
		}
		if strings.Contains(block, `"routing"`) { // what to set in the model
			if a, err := do(t.Context(), http.MethodPatch, g.admin+"/admin/v1/models/"+c.modelID, adminKey, block); err != nil || a.status != http.StatusOK {
				t.Errorf("%s: %d %s %v", block, a.status, a.body, err)
			}
		}
	}
	shown := map[string][]string{}
	for _, target := range want.Targets {
		shown[target["state"].(string)] = slices.Sorted(maps.Keys(target))
	}
	eventually(t, patience, func() error {
		var got health
		a, err := g.manage(t.Context(), http.MethodGet, "/admin/v1/health", nil)
		if err != nil || json.Unmarshal([]byte(a.body), &got) != nil || got.Status != want.Status {
			return fmt.Errorf("%d %s %v", a.status, a.body, err)
		}
		cooling := 0
		for _, target := range got.Targets {
			if state := target["state"].(string); target["model_id"] == c.modelID && state == "cooling" {
				if cooling++; !slices.Equal(slices.Sorted(maps.Keys(target)), shown[state]) {
					return fmt.Errorf("%v, the page shows %v", target, shown[state])
				}
			}
		}
		if cooling != 3 {
			return fmt.Errorf("%d of 3 cool down", cooling)
		}
		return nil
	})
}

// Each secret of the page on credentials is taken, under the configuration that the page shows.
func TestThePageOnCredentials(t *testing.T) {
	t.Parallel()
	g := start(t, options{parts: []string{stack.Valkey, stack.Admin}, env: []string{
		"AISIX_CREDENTIALS__AMBIENT=true", "AISIX_CREDENTIALS__TOKEN_DIRS=/var/run/secrets/eks.amazonaws.com/serviceaccount"}})
	types := map[string]bool{}
	for i, secret := range regexp.MustCompile(`\{"type":"[^\n`+"`"+`]*\}`).FindAllString(docs(t, "credentials.md"), -1) {
		id := g.create(t, "provider_keys", map[string]any{"display_name": fmt.Sprint("page", i), "secret": secret})
		a, err := g.manage(t.Context(), http.MethodGet, "/admin/v1/provider_keys/"+id, nil)
		var entry struct {
			Value struct {
				SecretInfo struct{ Type, Region string } `json:"secret_info"`
			}
		}
		var said struct{ Type, Region string }
		if err := errors.Join(err, json.Unmarshal([]byte(a.body), &entry), json.Unmarshal([]byte(secret), &said)); err != nil || said != entry.Value.SecretInfo || said.Region == "" {
			t.Errorf("%s: %d %s %v", secret, a.status, a.body, err)
		}
		types[said.Type] = true
	}
	if got := slices.Sorted(maps.Keys(types)); !slices.Equal(got, []string{"ambient", "assume_role", "bedrock_api_key", "web_identity"}) {
		t.Errorf("the page has secrets of %v", got)
	}
	for _, policy := range fenced(t, "credentials.md", "json") {
		var p struct {
			Version   string
			Statement []struct{ Effect string }
		}
		if err := json.Unmarshal([]byte(policy), &p); err != nil || p.Version != "2012-10-17" || len(p.Statement) == 0 {
			t.Errorf("%v: %s", err, policy)
		}
	}
}
