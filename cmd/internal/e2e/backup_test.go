package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"aisix/admin/store"
)

// backup runs admin with a backup's flags, as a person would beside the gateway, and gives what it says.
func (g *gateway) backup(key string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(bin, "admin"), args...)
	cmd.Env = []string{"AISIX_REDIS__URL=" + g.Config.Redis.URL, "AISIX_SECRETS__MASTER_KEY_FILE=" + key}
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// A backup, a Valkey that loses everything, and a restore: the gateway serves the same keys, and no
// operator has to confirm anything. What came after the backup is gone, and what it counted is there.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	g := start(t, options{})
	upstream := newUpstream(t, nil).URL
	c := g.tenant(t, upstream, settings{})
	c.served(t)
	eventually(t, patience, func() error { return g.counted(t, c, 1) })
	key, dir := g.Config.Secrets.MasterKeyFile, t.TempDir()
	file := filepath.Join(dir, "aisix.backup")
	if says, err := g.backup(key, "-backup", file); err != nil || !strings.Contains(says, "1 provider key, 1 model, 1 API key, 1 day of usage") {
		t.Fatal(says, err)
	}
	later := g.tenant(t, upstream, settings{})
	other := filepath.Join(dir, "other.key")
	if err := store.CreateMasterKey(other); err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string]struct {
		key, says string
		args      []string
	}{
		"over resources":         {key, "-overwrite", []string{"-restore", file}},
		"another master key":     {other, "made under master key", []string{"-restore", file}},
		"no such file":           {key, "no such file", []string{"-restore", file + "x"}},
		"no backup":              {key, "no backup of this version", []string{"-restore", other}},
		"a file that is there":   {key, "name another file", []string{"-backup", file}},
		"both at once":           {key, "exclude each other", []string{"-restore", file, "-backup", file}},
		"a backup by that key":   {other, "sealed under another master key", []string{"-backup", file + "x"}},
		"-overwrite for nothing": {key, "goes with -restore", []string{"-overwrite"}},
	} {
		if says, err := g.backup(x.key, x.args...); err == nil || !strings.Contains(says, x.says) {
			t.Errorf("%s: %v, %s", what, err, says)
		}
	}
	later.served(t)

	all := c.call(t, 4)
	all.more(t, 20, "200")
	if err := redisClient(t, g).FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	g.told(t, true)
	g.loss(t, c)
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd := exec.Command(filepath.Join(bin, "admin"), "-restore", "-") // by a pipe, as into a container
	cmd.Stdin, cmd.Env = in, []string{"AISIX_REDIS__URL=" + g.Config.Redis.URL, "AISIX_SECRETS__MASTER_KEY_FILE=" + key}
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(string(b), err)
	}
	g.told(t, false)
	all.more(t, 20, "200")
	all.only(t, "200")
	eventually(t, patience, func() error {
		a, err := later.chat(t.Context(), "Hello")
		if err == nil && a.status != http.StatusUnauthorized {
			err = fmt.Errorf("a key of after the backup: %d %s", a.status, a.body)
		}
		return err
	})
	if n := len(g.list(t, "apikeys")); n != 1 {
		t.Errorf("%d API keys", n)
	}
	g.tenant(t, upstream, settings{}).served(t) // writes go on
	eventually(t, patience, func() error { return g.counted(t, c, 2) })
}

// counted is an error unless a tenant's usage of today is so many requests at least.
func (g *gateway) counted(t *testing.T, c *tenant, least int) error {
	a, err := g.manage(t.Context(), http.MethodGet, "/admin/v1/usage?group_by=model", nil)
	if err != nil {
		return err
	}
	var answer []struct {
		Model     string
		Succeeded int
	}
	if err := json.Unmarshal([]byte(a.body), &answer); err != nil {
		return fmt.Errorf("%w: %s", err, a.body)
	}
	for _, row := range answer {
		if row.Model == c.alias && row.Succeeded >= least {
			return nil
		}
	}
	return fmt.Errorf("usage %s", a.body)
}
