// Package redistest starts a real Valkey for tests, one per call, on a free
// loopback port. It is imported by tests only. It knows how to stop, kill and
// restart the server with its data kept; it fakes nothing.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is one Valkey, with append-only file and noeviction as the product has it.
type Server struct {
	Addr string // host:port
	URL  string // redis://host:port/0

	t    testing.TB
	dir  string
	port int
	cmd  *exec.Cmd
	done chan struct{}
}

// Start starts a server, waits until it answers, and stops it when the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	redis.SetLogger(quiet{})
	s := &Server{t: t, dir: t.TempDir()}
	for attempt := 0; ; attempt++ {
		s.port = freePort(t)
		s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
		s.URL = "redis://" + s.Addr + "/0"
		err := s.launch()
		if err == nil {
			break
		}
		if attempt == 4 { // somebody else may have taken the port in between
			t.Fatalf("start valkey: %v", err)
		}
	}
	t.Cleanup(s.Stop)
	return s
}

// quiet keeps the client's own words about a server that is away out of the tests'
// output: here it is away on purpose.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// Client gives a new client, closed when the test ends. It does not retry, so that
// a test sees the server go.
func (s *Server) Client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr, ContextTimeoutEnabled: true, MaxRetries: -1,
		DialTimeout: time.Second, DialerRetries: 1, ReadTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second})
	s.t.Cleanup(func() { c.Close() })
	return c
}

// Stop ends the server in good order. A stopped server is left as it is.
func (s *Server) Stop() { s.signal(syscall.SIGTERM) }

// Kill ends the server at once, as a crash would.
func (s *Server) Kill() { s.signal(syscall.SIGKILL) }

// Forget takes away the files of a server that was stopped or killed: it restarts with
// nothing.
func (s *Server) Forget() {
	s.t.Helper()
	if s.cmd != nil {
		s.t.Fatal("forget: valkey runs")
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "appendonlydir")); err != nil {
		s.t.Fatal(err)
	}
}

// Freeze makes the server silent with its connections open, Thaw ends that.
func (s *Server) Freeze() { s.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (s *Server) Thaw() { s.cmd.Process.Signal(syscall.SIGCONT) }

// Restart starts a server that was stopped or killed, with its data and address.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	if err := s.launch(); err != nil {
		s.t.Fatalf("restart valkey: %v", err)
	}
}

func (s *Server) signal(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(sig)
	s.cmd.Process.Signal(syscall.SIGCONT) // a frozen one too
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		s.cmd.Process.Kill()
		<-s.done
	}
	s.cmd = nil
}

func (s *Server) launch() error {
	output, err := os.Create(filepath.Join(s.dir, "valkey.log"))
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.Command(Binary(s.t), "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir,
		"--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction",
		// With everysec a write may answer before it is in the file, while an fsync is going on: Kill
		// could lose it, and does on a busy disk.
		"--appendfsync", "no")
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	s.cmd, s.done = cmd, done

	c := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second})
	defer c.Close()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := s.isMine(c)
		if err == nil {
			return nil
		}
		select {
		case <-done:
			log, _ := os.ReadFile(output.Name())
			s.cmd = nil
			return fmt.Errorf("it ended: %s", log)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.Kill()
			return err
		}
	}
}

// isMine guards against a port that another server took first.
func (s *Server) isMine(c *redis.Client) error {
	dir, err := c.ConfigGet(context.Background(), "dir").Result()
	if err != nil {
		return err
	}
	if dir["dir"] != s.dir {
		return fmt.Errorf("port %d belongs to another server", s.port)
	}
	return nil
}

// Binary is the path of valkey-server: $VALKEY_SERVER, else .tools/valkey-server at
// the root of the repository (make fetches it).
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("VALKEY_SERVER"); path != "" {
		return path
	}
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(file), "..", "..", "..", ".tools", "valkey-server")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no valkey-server: run make tools, or name one in VALKEY_SERVER (%v)", err)
	}
	return path
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
