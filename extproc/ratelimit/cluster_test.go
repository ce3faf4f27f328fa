package ratelimit

import (
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
	"aisix/admin/store/redistest"
)

// cluster is one node that owns all slots: keys of two slots in one script are
// refused as in a large one.
func cluster(t *testing.T) (*redis.ClusterClient, *redis.Client) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(free.Addr().String())
	bus, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, busPort, _ := net.SplitHostPort(bus.Addr().String())
	free.Close()
	bus.Close()
	cmd := exec.Command(redistest.Binary(t), "--port", port, "--bind", host, "--cluster-enabled", "yes", "--cluster-port", busPort, "--dir", t.TempDir(), "--save", "")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	node := redis.NewClient(&redis.Options{Addr: free.Addr().String(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { node.Close() })
	eventually(t, "the node answers", func() bool { return node.Ping(ctx).Err() == nil })
	if err := node.ClusterAddSlotsRange(ctx, 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster is up", func() bool { return node.Set(ctx, "x", 1, time.Second).Err() == nil })
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{free.Addr().String()}, ContextTimeoutEnabled: true})
	t.Cleanup(func() { c.Close() })
	return c, node
}

func TestCluster(t *testing.T) {
	c, node := cluster(t)
	calm(t, node)
	l := limiter(t, c, Options{Timeout: 2 * time.Second})
	key := of("apikey:a", resource.RateLimit{RPM: n(100), TPM: n(100), Concurrency: n(2)})
	model := of("model:m", resource.RateLimit{RPD: n(2)})
	r := reserve(t, l, 10, key, model)
	if got := headers(r).Get("x-ratelimit-remaining-requests"); got != "1" {
		t.Errorf("remaining %s", got)
	}
	r.Settle(Amount{30})
	r = reserve(t, l, 10, key, model)
	before := dump(t, node)
	x := refused(t, l, 10, "rpd", key, model)
	if x.Scope != named("model:m") {
		t.Errorf("scope %s", x.Scope)
	}
	if d := cmp.Diff(before, dump(t, node)); d != "" {
		t.Errorf("the refusal left a trace: %s", d)
	}
	r.Settle(Amount{})
	if err := l.flush(ctx); err != nil {
		t.Fatal(err)
	}
	used := node.HGetAll(ctx, countersKey(named("apikey:a"))).Val()
	for field, want := range map[string]string{"requests:60": ":2", "tokens:60": ":30"} {
		if !strings.HasSuffix(used[field], want) {
			t.Errorf("counters %v", used)
		}
	}
}
