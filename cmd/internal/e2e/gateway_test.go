package e2e

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aisix/admin/store"
	"aisix/cmd/internal/stack"
)

// adminKey is the admin key of every gateway here.
const adminKey = "admin-local-only-change-me"

// keepAlive is short, so that a test need not wait for a comment.
const keepAlive = 300 * time.Millisecond

// gateway is one stack, with its addresses.
type gateway struct {
	*stack.Stack
	proxy, admin string // base URLs
	metrics      string // URL
}

// options of a gateway; the zero value runs all parts.
type options struct {
	env   []string
	parts []string
	redis string // a Valkey that runs already; "" starts one
	dir   string // where it lives; "" makes one
	key   string // the master key's file; "" makes one
	envoy string // the binary; "" is the newest
}

// common is a gateway that tests share; it starts with the first that asks.
type common struct {
	name    string
	env     []string
	once    sync.Once
	gateway *gateway
	err     error
}

// commons are all of them: the one that most tests share, and one that speaks HTTP/2 to upstreams. Each of
// Envoy's threads has connections of its own, so that one has one.
var commons = [...]*common{{name: "shared"}, {name: "http2", env: []string{"AISIX_UPSTREAM__HTTP2=true", "AISIX_PROXY__WORKERS=1"}}}

// shared is the gateway that most tests share.
func shared(t *testing.T) *gateway {
	t.Helper()
	return commons[0].get(t)
}

// agreeing is the one that speaks HTTP/2 to upstreams that do.
func agreeing(t *testing.T) *gateway {
	t.Helper()
	return commons[1].get(t)
}

func (c *common) get(t *testing.T) *gateway {
	t.Helper()
	c.once.Do(func() {
		var g *gateway
		if g, c.err = newGateway(options{dir: filepath.Join(bin, c.name), env: append(c.env, "AISIX_UPSTREAM__CA_FILE="+upstreamCA(c.name))}); c.err != nil {
			return
		}
		if c.err = g.Start(context.Background()); c.err == nil {
			c.gateway = g
		}
	})
	if c.err != nil {
		t.Fatal(c.err)
	}
	return c.gateway
}

// start runs a gateway for one test.
func start(t *testing.T, o options) *gateway {
	t.Helper()
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	g, err := newGateway(o)
	if err != nil {
		t.Fatal(err)
	}
	g.run(t)
	return g
}

// run starts a gateway, for one test.
func (g *gateway) run(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		g.Kill()
		if races := g.races(); races != "" {
			t.Error(races)
		}
		if t.Failed() {
			t.Log(g.logs())
		}
	})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// sockets counts them.
var sockets atomic.Int32

func newGateway(o options) (*gateway, error) {
	addresses := make([]string, 5)
	for i := range addresses {
		var err error
		if addresses[i], err = stack.FreePort(); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return nil, err
	}
	if o.key == "" {
		o.key = filepath.Join(o.dir, "master.key")
		if err := store.CreateMasterKey(o.key); err != nil {
			return nil, err
		}
	}
	valkey := ""
	if o.redis == "" {
		o.redis, valkey = "redis://"+addresses[3], tool("VALKEY_SERVER", "valkey-server")
	}
	s, err := stack.New(stack.Options{
		Dir: o.dir, Bin: bin, Envoy: cmp.Or(o.envoy, tool("ENVOY", "envoy")), Valkey: valkey, SimAddress: addresses[4], Parts: o.parts,
		Env: append([]string{
			"AISIX_PROXY__ADDRESS=" + addresses[0],
			"AISIX_ADMIN__ADDRESS=" + addresses[1],
			"AISIX_ADMIN__KEY=" + adminKey,
			"AISIX_EXTPROC__ADDRESS=unix:" + filepath.Join(bin, fmt.Sprintf("s%d", sockets.Add(1))), // short, as a socket's path has to be
			"AISIX_EXTPROC__LAME_DUCK=0s",                                                           // nobody takes over
			"AISIX_METRICS__ADDRESS=" + addresses[2],
			"AISIX_REDIS__URL=" + o.redis,
			"AISIX_SECRETS__MASTER_KEY_FILE=" + o.key,
			"AISIX_USAGE__SPOOL_DIR=" + filepath.Join(o.dir, "spool"),
			"AISIX_TIMEOUTS__KEEP_ALIVE=" + keepAlive.String(),
			"HOME=" + o.dir,
		}, o.env...),
	})
	if err != nil {
		return nil, err
	}
	return &gateway{Stack: s, proxy: s.ProxyURL(), admin: s.AdminURL(), metrics: "http://" + addresses[2] + "/metrics"}, nil
}

// tool is a binary: what the variable names, else the one that make fetched.
func tool(variable, name string) string {
	if path := os.Getenv(variable); path != "" {
		return path
	}
	path, err := filepath.Abs(filepath.Join("..", "..", "..", ".tools", name))
	if err != nil {
		panic(err)
	}
	return path
}

// races is what the race detector found in the processes, "" if nothing.
func (g *gateway) races() string {
	for _, p := range g.Parts() {
		if log := p.Log(); bytes.Contains(log, []byte("DATA RACE")) {
			return p.Name + ":\n" + string(log)
		}
	}
	return ""
}

// logs is the end of what every part wrote.
func (g *gateway) logs() string {
	var all strings.Builder
	for _, p := range g.Parts() {
		log := p.Log()
		fmt.Fprintf(&all, "--- %s\n%s\n", p.Name, log[max(0, len(log)-8<<10):])
	}
	return all.String()
}

// proxyAddress is host:port of the proxy, for those who speak without a client.
func (g *gateway) proxyAddress() string { return strings.TrimPrefix(g.proxy, "http://") }

// dial connects to the proxy.
func (g *gateway) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", g.proxyAddress(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// eventually waits until check says nothing is missing, and fails with what was.
func eventually(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("not within %v: %v", within, err)
}
