package e2e

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"aisix/cmd/internal/stack"
)

// extproc has all that it needs with the rights that docs/operations.md gives it: resources are in
// force, limits count, usage records arrive, a loss is told.
func TestRedisUserOfExtproc(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`ACL SETUSER extproc .*`).FindString(string(page))
	if rule == "" {
		t.Fatal("the page has no rule")
	}
	g := start(t, options{parts: []string{stack.Valkey, stack.Admin}})
	var words []any
	for word := range strings.FieldsSeq(rule) {
		words = append(words, word)
	}
	redisOptions, err := redis.ParseURL(g.Config.Redis.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(redisOptions)
	defer client.Close()
	if err := client.Do(t.Context(), words...).Err(); err != nil {
		t.Fatal(err)
	}
	second := start(t, options{
		parts: []string{stack.Extproc, stack.Envoy}, redis: g.Config.Redis.URL, key: g.Config.Secrets.MasterKeyFile,
		env: []string{"AISIX_REDIS__USERNAME=extproc", "AISIX_REDIS__PASSWORD=PASSWORD"},
	})
	both := &gateway{Stack: second.Stack, proxy: second.proxy, admin: g.admin, metrics: second.metrics}
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { whole(w, "Hello.") })
	c := both.tenant(t, u.URL, settings{key: map[string]any{"rate_limit": map[string]any{"rpd": 2, "tpm": 1_000_000, "concurrency": 5}}})
	c.served(t)
	c.served(t)
	a, err := c.chat(t.Context(), "Hello")
	if err != nil {
		t.Fatal(err)
	}
	a.want(t, http.StatusTooManyRequests, "rate_limit_exceeded")
	both.accounted(t, c, 2)
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	both.told(t, true)
	eventually(t, patience, func() error { // extproc leaves word of it, before admin has asked for anything
		if n := client.HLen(t.Context(), "{aisix:config}:witnesses").Val(); n != 1 {
			return fmt.Errorf("%d witnesses", n)
		}
		return nil
	})
	for _, p := range second.Parts() {
		if log := string(p.Log()); strings.Contains(log, "NOPERM") {
			t.Error(log)
		}
	}
}
