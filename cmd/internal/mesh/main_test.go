package mesh

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"aisix/admin/store"
	"aisix/cmd/internal/stack"
)

var (
	// every asks for all cells whose binaries are at hand: what make mesh-test does.
	every  = flag.Bool("every", false, "run every cell, not the quick ones only")
	update = flag.Bool("update", false, "write down what was run, for the table of docs/attach.md")
)

// root is the repository's, seen from here.
const root = "../../.."

// bin is the folder of the binaries under test.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mesh")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	args := []string{"build", "-pgo=off"}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "-o", dir+string(filepath.Separator), "aisix/cmd/admin", "aisix/cmd/extproc", "aisix/cmd/bedrocksim", "aisix/cmd/internal/xds")...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		return 1
	}
	code := m.Run()
	if common.backend != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		common.backend.Stop(ctx)
	}
	return code
}

// backend is what every cell needs behind its extproc: Valkey, admin and the simulator.
type backend struct {
	*stack.Stack
	env []string // of the configuration that they share
}

const adminKey = "admin-local-only-change-me"

var common struct {
	once    sync.Once
	backend *backend
	err     error
}

// shared is the backend of all cells.
func shared(t *testing.T) *backend {
	t.Helper()
	common.once.Do(func() { common.backend, common.err = newBackend(filepath.Join(bin, "backend")) })
	if common.err != nil {
		t.Fatal(common.err)
	}
	return common.backend
}

func newBackend(dir string) (*backend, error) {
	addresses := make([]string, 3)
	for i := range addresses {
		var err error
		if addresses[i], err = stack.FreePort(); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key := filepath.Join(dir, "master.key")
	if err := store.CreateMasterKey(key); err != nil {
		return nil, err
	}
	b := &backend{env: []string{
		"AISIX_ADMIN__ADDRESS=" + addresses[0],
		"AISIX_ADMIN__KEY=" + adminKey,
		"AISIX_REDIS__URL=redis://" + addresses[1],
		"AISIX_SECRETS__MASTER_KEY_FILE=" + key,
	}}
	var err error
	b.Stack, err = stack.New(stack.Options{
		Dir: dir, Bin: bin, Valkey: tool("VALKEY_SERVER", "valkey-server"), SimAddress: addresses[2],
		Parts: []string{stack.Valkey, stack.Admin, stack.Sim},
		Env:   append([]string{"HOME=" + dir}, b.env...),
	})
	if err != nil {
		return nil, err
	}
	return b, b.Start(context.Background())
}

// extproc starts one that listens on address ("host:port" or "unix:/path"), with more of its
// configuration in env, until the test ends. The part can be killed and started again.
func (b *backend) extproc(t *testing.T, address string, env ...string) *stack.Part {
	t.Helper()
	metrics, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s, err := stack.New(stack.Options{
		Dir: dir, Bin: bin, Parts: []string{stack.Extproc},
		Env: append(append([]string{
			"HOME=" + dir,
			"AISIX_EXTPROC__ADDRESS=" + address,
			"AISIX_METRICS__ADDRESS=" + metrics,
			"AISIX_USAGE__SPOOL_DIR=" + filepath.Join(dir, "spool"),
			"AISIX_TIMEOUTS__KEEP_ALIVE=300ms",
		}, b.env...), env...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		log := string(s.Extproc.Log())
		if strings.Contains(log, "DATA RACE") {
			t.Error("extproc's race detector")
		}
		if t.Failed() {
			t.Logf("extproc's log:\n%s", log)
		}
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s.Extproc
}

// tool is a binary: what the variable names, else the one that make fetched.
func tool(variable, name string) string {
	if path := os.Getenv(variable); path != "" {
		return path
	}
	return fetched(name)
}

// fetched is where make puts a binary.
func fetched(name string) string {
	path, err := filepath.Abs(filepath.Join(root, ".tools", name))
	if err != nil {
		panic(err)
	}
	return path
}

// envoyBinary is the Envoy of a version: .tools/envoy-1.38.3; that of make tools is the newest.
func envoyBinary(version string) string {
	if version == newest {
		return tool("ENVOY", "envoy")
	}
	return fetched("envoy-" + version)
}

// newest is the Envoy that make tools fetches.
const newest = "1.40.0"
