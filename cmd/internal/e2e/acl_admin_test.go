package e2e

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"aisix/cmd/internal/stack"
)

// Valkey with the users that `admin -create-secrets` makes, as compose runs it: admin and extproc have all
// that they need, each with its password from its file, and nobody else has anything.
func TestRedisUsersThatAdminMakes(t *testing.T) {
	t.Parallel()
	secrets := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "admin"), "-create-secrets", secrets).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	address, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(address, ":")
	server := exec.CommandContext(t.Context(), tool("VALKEY_SERVER", "valkey-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--aclfile", filepath.Join(secrets, "valkey/users.acl"))
	server.Dir = t.TempDir()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	url := "redis://" + address

	nobody := redis.NewClient(&redis.Options{Addr: address, MaxRetries: -1})
	defer nobody.Close()
	probe := redis.NewClient(&redis.Options{Addr: address, Username: "probe", Password: "any", MaxRetries: -1})
	defer probe.Close()
	eventually(t, patience, func() error { return probe.Ping(t.Context()).Err() })
	if err := nobody.Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without a user: %v", err)
	}
	if err := probe.Get(t.Context(), "a").Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("the probe may read: %v", err)
	}

	user := func(name string) []string {
		return []string{"AISIX_REDIS__USERNAME=" + name, "AISIX_REDIS__PASSWORD_FILE=" + filepath.Join(secrets, name, "redis.password")}
	}
	first := start(t, options{parts: []string{stack.Admin}, redis: url, env: user("admin")})
	second := start(t, options{parts: []string{stack.Extproc, stack.Envoy}, redis: url, env: user("extproc"), key: first.Config.Secrets.MasterKeyFile})
	both := &gateway{Stack: second.Stack, proxy: second.proxy, admin: first.admin, metrics: second.metrics}
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { whole(w, "Hello.") })
	c := both.tenant(t, u.URL, settings{})
	c.served(t)
	both.accounted(t, c, 1) // admin reads the usage
	for _, g := range []*gateway{first, second} {
		for _, p := range g.Parts() {
			if log := string(p.Log()); strings.Contains(log, "NOPERM") || strings.Contains(log, "NOAUTH") {
				t.Error(log)
			}
		}
	}
}
