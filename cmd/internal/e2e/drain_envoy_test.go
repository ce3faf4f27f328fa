package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"aisix/cmd/internal/stack"
)

// exited waits for a process's end.
func exited(t *testing.T, name string, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		t.Fatalf("%s still runs", name)
		return nil
	}
}

// Envoy as a container has it, below extproc -run-envoy: its start file is made from the configuration, a
// SIGTERM lets the stream end that runs, no new connection is taken meanwhile, and then both end.
func TestRunEnvoyDrains(t *testing.T) {
	t.Parallel()
	g := start(t, options{parts: []string{stack.Valkey, stack.Admin, stack.Extproc}})
	u, release := held(t)
	dir := t.TempDir()
	var log lockedBuffer
	parent := exec.Command(filepath.Join(bin, stack.Extproc), "-run-envoy", tool("ENVOY", "envoy"), "-o", filepath.Join(dir, "b.yaml"), "--", "--concurrency", "1")
	parent.Stderr, parent.Stdout, parent.Env = &log, &log, []string{
		"AISIX_PROXY__ADDRESS=" + g.Config.Proxy.Address, "AISIX_EXTPROC__ADDRESS=" + g.Config.Extproc.Address, "HOME=" + dir,
		"AISIX_PROXY__ENVOY_ADMIN=unix:" + filepath.Join(bin, fmt.Sprintf("s%d", sockets.Add(1))), // as short as a socket's path has to be
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- parent.Wait() }()
	t.Cleanup(func() {
		parent.Process.Kill() // and Envoy with it
		if t.Failed() {
			t.Log(log.String())
		}
	})
	c := g.tenant(t, u.URL, settings{})
	open := c.streams(t, 3)
	parent.Process.Signal(syscall.SIGTERM)
	eventually(t, patience, func() error {
		connection, err := net.Dial("tcp", g.proxyAddress())
		if err != nil {
			return nil
		}
		connection.Close()
		return fmt.Errorf("new connections are taken")
	})
	select {
	case err := <-ended:
		t.Fatalf("ended with streams open: %v", err)
	default:
	}
	release()
	c.whole(t, open)
	if err := exited(t, "extproc -run-envoy", ended); err != nil {
		t.Errorf("it ended with %v", err)
	}

	// It can't run what is not there, and says so.
	out, err := exec.Command(filepath.Join(bin, stack.Extproc), "-run-envoy", "/nonexistent/envoy", "-o", filepath.Join(dir, "b.yaml")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "/nonexistent/envoy") {
		t.Errorf("%v: %s", err, out)
	}
}

// The same as a command, for an Envoy that somebody else runs: it ends once no call is in flight, and
// before that when its time is over.
func TestDrainEnvoy(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(bin, fmt.Sprintf("s%d", sockets.Add(1)))
	g := start(t, options{env: []string{"AISIX_PROXY__ENVOY_ADMIN=unix:" + socket}})
	u, release := held(t)
	c := g.tenant(t, u.URL, settings{})
	open := c.streams(t, 3)
	drain := func(args ...string) (*bytes.Buffer, chan error) {
		command, out, ended := exec.Command(filepath.Join(bin, stack.Extproc), append([]string{"-drain-envoy", socket}, args...)...), new(bytes.Buffer), make(chan error, 1)
		command.Stderr = out
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { command.Process.Kill() })
		go func() { ended <- command.Wait() }()
		return out, ended
	}
	// While it is a lame duck it says so, and serves.
	drain("-lame-duck", "1h")
	eventually(t, patience, func() error {
		a, err := do(t.Context(), http.MethodGet, g.proxy+"/readyz", "", "")
		if err == nil && a.status != http.StatusServiceUnavailable {
			err = fmt.Errorf("ready: %d %s", a.status, a.body)
		}
		if err == nil {
			a.want(t, http.StatusServiceUnavailable, "gateway_unavailable")
		}
		return err
	})
	c.served(t)
	out, ended := drain("-for", "300ms")
	if err := exited(t, "extproc -drain-envoy -for 300ms", ended); err == nil || !strings.Contains(out.String(), "3 calls were still in flight after 300ms") {
		t.Errorf("%v: %s", err, out)
	}
	out, ended = drain()
	eventually(t, patience, func() error {
		if connection, err := net.Dial("tcp", g.proxyAddress()); err == nil {
			connection.Close()
			return fmt.Errorf("new connections are taken")
		}
		return nil
	})
	select {
	case err := <-ended:
		t.Fatalf("ended with streams open: %v, %s", err, out)
	default:
	}
	release()
	c.whole(t, open)
	if err := exited(t, "extproc -drain-envoy", ended); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if !g.Envoy.Running() {
		t.Error("Envoy is not the command's to end")
	}
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	out, ended = drain()
	if err := exited(t, "extproc -drain-envoy", ended); err == nil || !strings.Contains(out.String(), "admin interface at "+socket) {
		t.Errorf("no Envoy there: %v: %s", err, out)
	}
}
