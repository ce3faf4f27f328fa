// Package envoytest runs the real Envoy in tests: it starts the binary with a
// bootstrap, waits until it serves, tells its addresses, statistics and memory,
// and shows its log where the test fails.
//
// It knows nothing of what a bootstrap holds but the names of its listeners. The
// tests of envoy and of extproc/exchange use it.
package envoytest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Binary is the real Envoy: $ENVOY, else .tools/envoy of this module, where
// `make test` puts it. Without one there is nothing to test against.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("ENVOY")
	if path == "" {
		dir, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				break
			}
		}
		path = filepath.Join(dir, ".tools", "envoy")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no Envoy (make tools fetches it, or set ENVOY): %v", err)
	}
	return path
}

// Version is the minor version of the binary: 40 of 1.40.0.
func Version(t testing.TB) int {
	t.Helper()
	out, err := exec.Command(Binary(t), "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(out), "/1.")
	minor, _, _ := strings.Cut(after, ".")
	n, err := strconv.Atoi(minor)
	if err != nil {
		t.Fatalf("no version in %q", out)
	}
	return n
}

// Validate has Envoy load a bootstrap without serving it.
func Validate(t testing.TB, bootstrap []byte) {
	t.Helper()
	out, err := exec.Command(Binary(t), "--mode", "validate", "-c", write(t, bootstrap), "--log-level", "error").CombinedOutput()
	if err != nil {
		t.Fatalf("envoy refuses the bootstrap: %v\n%s\n%s", err, out, bootstrap)
	}
}

// SocketDir is a folder of the test's whose name is short enough for a Unix
// socket's path.
func SocketDir(t testing.TB) string {
	t.Helper()
	d, err := os.MkdirTemp("", "ev")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(d) })
	return d
}

func write(t testing.TB, bootstrap []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bootstrap.yaml")
	if err := os.WriteFile(path, bootstrap, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Envoy is a running one.
type Envoy struct {
	pid   int
	admin *http.Client
	log   log
	lines log // standard output: the access log
}

// Start runs bootstrap until the test ends. An admin interface that it has is
// replaced by one of the test's own.
func Start(t testing.TB, bootstrap []byte) *Envoy {
	t.Helper()
	return StartBinary(t, Binary(t), bootstrap)
}

// StartBinary is Start with an Envoy of the test's choice.
func StartBinary(t testing.TB, binary string, bootstrap []byte) *Envoy {
	t.Helper()
	socket := filepath.Join(SocketDir(t), "admin.sock")
	cmd := exec.Command(binary, "-c", write(t, bootstrap), "--config-yaml", "admin: {address: {pipe: {path: "+socket+"}}}",
		"--concurrency", "1", "--disable-hot-restart", "--log-level", "info", "--file-flush-interval-msec", "10")
	e := &Envoy{}
	cmd.Stdout = &e.lines
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e.pid = cmd.Process.Pid
	e.admin = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	ready, drained := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(drained)
		e.log.follow(stderr, func() { close(ready) })
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-drained
		cmd.Wait()
		if t.Failed() {
			t.Logf("envoy's log:\n%s", e.log.String())
		}
	})
	select {
	case <-ready:
	case <-drained:
		t.Fatal("envoy ended at start")
	case <-time.After(30 * time.Second):
		t.Fatal("envoy did not start in 30 s")
	}
	return e
}

// log is what Envoy says.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) follow(r io.Reader, started func()) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		begins := strings.Contains(lines.Text(), "starting main dispatch loop")
		l.mu.Lock()
		if begins {
			l.text.Reset() // pages on what this Envoy is made of
		}
		fmt.Fprintln(&l.text, lines.Text())
		l.mu.Unlock()
		if begins {
			started()
		}
	}
}

// Write appends.
func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Stdout is what was written to standard output so far.
func (e *Envoy) Stdout() string { return e.lines.String() }

// AccessLog is what was written to standard output once it holds until.
func (e *Envoy) AccessLog(t testing.TB, until string) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if lines := e.lines.String(); strings.Contains(lines, until) {
			return lines
		}
		if time.Now().After(deadline) {
			t.Fatalf("the access log has no %s:\n%s", until, e.lines.String())
		}
	}
}

// Address is where a listener of this name takes connections, as Envoy chose it
// for port 0. Workers start a moment after the main loop, so Envoy is asked until
// it knows, and serves.
func (e *Envoy) Address(t testing.TB, name string) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var l struct {
			Statuses []struct {
				Name    string `json:"name"`
				Address struct {
					Socket struct {
						Address string `json:"address"`
						Port    int    `json:"port_value"`
					} `json:"socket_address"`
				} `json:"local_address"`
			} `json:"listener_statuses"`
		}
		if !strings.HasPrefix(string(e.get(t, "/ready")), "LIVE") {
			continue // each extproc is asked first whether it is ready
		}
		if err := json.Unmarshal(e.get(t, "/listeners?format=json"), &l); err != nil {
			t.Fatal(err)
		}
		for _, s := range l.Statuses {
			if s.Name == name && s.Address.Socket.Port != 0 {
				return fmt.Sprintf("%s:%d", s.Address.Socket.Address, s.Address.Socket.Port)
			}
		}
	}
	t.Fatalf("envoy does not listen as %q", name)
	return ""
}

func (e *Envoy) get(t testing.TB, path string) []byte {
	t.Helper()
	resp, err := e.admin.Get("http://admin" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Stat is a counter or gauge, 0 where Envoy has none of this name.
func (e *Envoy) Stat(t testing.TB, name string) int {
	t.Helper()
	for line := range strings.Lines(string(e.get(t, "/stats"))) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && k == name {
			n, err := strconv.Atoi(v)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return n
		}
	}
	return 0
}

// Memory is the most that Envoy has held so far, in bytes.
func (e *Envoy) Memory(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
