package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// loss waits until the Admin API says of every path that the store is lost, and gives
// what is to be asked to confirm that.
func (g *gateway) loss(t *testing.T, c *tenant) (confirm string) {
	t.Helper()
	eventually(t, patience, func() error {
		for _, x := range []struct {
			method, path string
			value        any
		}{
			{http.MethodGet, "/readyz", nil}, {http.MethodGet, "/admin/v1/health", nil}, {http.MethodGet, "/admin/v1/usage", nil},
			{http.MethodGet, "/admin/v1/apikeys", nil}, {http.MethodGet, "/admin/v1/apikeys/" + c.keyID, nil},
			{http.MethodPost, "/admin/v1/apikeys", map[string]any{"allowed_models": []string{}}},
			{http.MethodPatch, "/admin/v1/apikeys/" + c.keyID, map[string]any{"disabled": true}},
			{http.MethodPost, "/admin/v1/apikeys/" + c.keyID + "/rotate", nil}, {http.MethodDelete, "/admin/v1/models/" + c.modelID, nil},
		} {
			a, err := g.manage(t.Context(), x.method, x.path, x.value)
			if err != nil {
				return err
			}
			var problem struct {
				Message string `json:"error_msg"`
				Code    string `json:"code"`
			}
			if err := json.Unmarshal([]byte(a.body), &problem); err != nil || a.status != http.StatusServiceUnavailable || problem.Code != "store_lost" {
				return fmt.Errorf("%s %s: %d %s", x.method, x.path, a.status, a.body)
			}
			_, confirm, _ = strings.Cut(problem.Message, "POST ")
		}
		return nil
	})
	return confirm
}

// told waits until the proxy says that it serves what Redis has lost, or no more.
func (g *gateway) told(t *testing.T, lost bool) {
	t.Helper()
	eventually(t, patience, func() error {
		a, err := do(t.Context(), http.MethodGet, g.proxy+"/readyz", "", "")
		if err != nil {
			return err
		}
		if a.status != http.StatusOK || strings.Contains(a.body, "lost") != lost {
			return fmt.Errorf("/readyz: %d %s", a.status, a.body)
		}
		if m := g.scrape(t)["aisix_config_lost"]; (m == 1) != lost {
			return fmt.Errorf("aisix_config_lost is %v", m)
		}
		return nil
	})
}

// letGo confirms a loss, and waits until nothing of what was lost is served.
func (g *gateway) letGo(t *testing.T, c *tenant, confirm string) {
	t.Helper()
	if a, err := g.manage(t.Context(), http.MethodPost, confirm, nil); err != nil || a.status != http.StatusOK {
		t.Fatalf("POST %s: %d %s, %v", confirm, a.status, a.body, err)
	}
	eventually(t, patience, func() error {
		a, err := c.chat(t.Context(), "Hello")
		if err == nil && a.status != http.StatusUnauthorized {
			err = fmt.Errorf("a key that is gone: %d %s", a.status, a.body)
		}
		return err
	})
	g.told(t, false)
}

// Valkey emptied under traffic: nobody is refused, and nothing can be administered until an operator
// confirms. Then what it holds is in force, and a store begins anew.
func TestValkeyEmptied(t *testing.T) {
	t.Parallel()
	g := start(t, options{})
	upstream := newUpstream(t, nil).URL
	c := g.tenant(t, upstream, limited)
	all := c.call(t, 4)
	all.more(t, 20, "200")
	if err := redisClient(t, g).FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	g.told(t, true)
	confirm := g.loss(t, c)
	all.more(t, 50, "200")
	all.only(t, "200")

	g.letGo(t, c, confirm)
	if a, err := g.manage(t.Context(), http.MethodPost, confirm, nil); err != nil || a.status != http.StatusConflict {
		t.Errorf("confirmed twice: %d %s, %v", a.status, a.body, err)
	}
	if n := len(g.list(t, "models")); n != 0 {
		t.Errorf("%d models", n)
	}
	g.tenant(t, upstream, limited).served(t)
}

// extproc restarted while Valkey is away serves from its snapshot file; Valkey back without its data
// is a loss all the same, for an admin too that has just started.
func TestValkeyLosesItsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := start(t, options{dir: dir, env: []string{"AISIX_EXTPROC__SNAPSHOT_FILE=" + filepath.Join(dir, "spool", "resources.snapshot")}})
	upstream := newUpstream(t, nil).URL
	c := g.tenant(t, upstream, limited)
	c.served(t)

	g.Valkey.Kill()
	g.Extproc.Stop(t.Context()) // which brings the file up to date
	if err := g.Extproc.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.inForce(t)
	c.served(t)
	if age := g.scrape(t)["aisix_config_age_seconds"]; age <= 0 || age > 600 {
		t.Errorf("aisix_config_age_seconds is %v", age)
	}
	if err := g.Valkey.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := g.tenant(t, upstream, limited) // a write comes into force
	second.served(t)
	g.told(t, false)

	all := c.call(t, 2)
	all.more(t, 10, "200")
	g.Admin.Kill()
	g.Valkey.Kill()
	if err := os.RemoveAll(filepath.Join(dir, "valkey", "appendonlydir")); err != nil {
		t.Fatal(err)
	}
	if err := g.Valkey.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.told(t, true)
	if err := g.Admin.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	confirm := g.loss(t, c)
	all.more(t, 20, "200")
	all.only(t, "200")
	g.Extproc.Stop(t.Context())
	if err := g.Extproc.Start(t.Context()); err != nil { // from its file once more, though Valkey answers
		t.Fatal(err)
	}
	second.inForce(t)
	second.served(t)

	g.letGo(t, c, confirm)
	g.tenant(t, upstream, limited).served(t)
	for _, p := range g.Parts() {
		if log := p.Log(); strings.Contains(string(log), "YOUR_AWS_SECRET") {
			t.Errorf("%s logs a secret", p.Name)
		}
	}
}

// Valkey that loses one key, as by eviction: nobody is refused, over a restart of extproc too. Put back,
// all goes on by itself; confirmed, what is left is in force and can be administered.
func TestValkeyLosesAPart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "spool", "resources.snapshot")
	g := start(t, options{dir: dir, env: []string{"AISIX_EXTPROC__SNAPSHOT_FILE=" + file}})
	upstream := newUpstream(t, nil).URL
	c := g.tenant(t, upstream, limited)
	client := redisClient(t, g)
	all := c.call(t, 2)
	for _, key := range []string{"{aisix:config}:apikeys", "{aisix:config}:models"} {
		rows := client.Dump(t.Context(), key).Val()
		if err := client.Del(t.Context(), key).Err(); err != nil {
			t.Fatal(err)
		}
		g.told(t, true)
		g.loss(t, c)
		all.more(t, 10, "200")
		if err := client.Restore(t.Context(), key, 0, rows).Err(); err != nil {
			t.Fatal(err)
		}
		g.told(t, false)
		if a, err := g.manage(t.Context(), http.MethodGet, "/readyz", nil); err != nil || a.status != http.StatusOK {
			t.Errorf("%s put back: %d %s, %v", key, a.status, a.body, err)
		}
	}
	all.only(t, "200")

	rows := client.Dump(t.Context(), "{aisix:config}:apikeys").Val()
	g.Extproc.Stop(t.Context()) // which brings the file up to date
	if err := client.Del(t.Context(), "{aisix:config}:apikeys").Err(); err != nil {
		t.Fatal(err)
	}
	if err := g.Extproc.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.inForce(t)
	g.told(t, true)
	c.served(t)
	if n := strings.Count(string(g.Extproc.Log()), "lost in part"); n != 3 {
		t.Errorf("extproc has told of three losses %d times", n)
	}

	g.Extproc.Stop(t.Context())
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := g.Extproc.Start(t.Context()); err != nil { // which knows nothing, and refuses nobody's key
		t.Fatal(err)
	}
	eventually(t, patience, func() error {
		if m := g.scrape(t)["aisix_config_lost"]; m != 1 {
			return fmt.Errorf("aisix_config_lost is %v", m)
		}
		return nil
	})
	for path, key := range map[string]string{"/readyz": "", "/v1/models": c.key} {
		if a, err := do(t.Context(), http.MethodGet, g.proxy+path, key, ""); err != nil || a.status != http.StatusServiceUnavailable {
			t.Errorf("%s without a file: %d %s, %v", path, a.status, a.body, err)
		}
	}
	if err := client.Restore(t.Context(), "{aisix:config}:apikeys", 0, rows).Err(); err != nil {
		t.Fatal(err)
	}
	c.inForce(t)
	g.told(t, false)
	if err := client.Del(t.Context(), "{aisix:config}:apikeys").Err(); err != nil {
		t.Fatal(err)
	}
	g.told(t, true)
	g.letGo(t, c, g.loss(t, c))
	if n, m := len(g.list(t, "apikeys")), len(g.list(t, "models")); n != 0 || m != 1 {
		t.Errorf("%d API keys and %d models", n, m)
	}
	g.tenant(t, upstream, limited).served(t)
}
