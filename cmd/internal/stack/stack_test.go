package stack

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"aisix/admin/store/redistest"
	"aisix/cmd/internal/bootstrap"
	"aisix/cmd/internal/config"
	"aisix/envoy"
)

func TestValkeyKeepsWhatItHasOverStops(t *testing.T) {
	s := valkeyStack(t)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := client(t, s)
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"appendonly": "yes", "maxmemory-policy": "noeviction"} {
		if got := client.ConfigGet(t.Context(), name).Val()[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	s.Stop(t.Context())
	if s.Valkey.Running() {
		t.Fatal("still runs")
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := client.Get(t.Context(), "k").Val(); got != "v" {
		t.Errorf("k is %q", got)
	}
}

func TestATakenPortIsNamed(t *testing.T) {
	s := valkeyStack(t)
	listener, err := net.Listen("tcp", s.Valkey.listens[0].address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	err = s.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "port "+port+" is taken") || !strings.Contains(err.Error(), "AISIX_REDIS__URL") {
		t.Errorf("Start: %v", err)
	}
	if s.Valkey.Running() {
		t.Error("was started all the same")
	}
}

// A socket that a dead process left makes room; what is no socket stays, and is said.
func TestOnlyASocketMakesRoom(t *testing.T) {
	dir, err := os.MkdirTemp("", "ports") // short, as a socket's path has to be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := listen{"unix", filepath.Join(dir, "s"), "move it"}
	left, err := net.Listen("unix", l.address)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.free("extproc"); err == nil || !strings.Contains(err.Error(), "is taken") {
		t.Errorf("a served socket: %v", err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	if err := l.free("extproc"); err != nil {
		t.Errorf("a left socket: %v", err)
	}
	if err := os.WriteFile(l.address, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.free("extproc"); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file: %v", err)
	}
	if b, _ := os.ReadFile(l.address); string(b) != "kept" {
		t.Error("the file is gone")
	}
	l.address = filepath.Join(dir, "none", "s")
	if err := l.free("extproc"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no folder: %v", err)
	}
}

func TestSuperviseStartsAgainWhatWasKilled(t *testing.T) {
	s := valkeyStack(t)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done, reports := make(chan struct{}), make(chan string, 8)
	go func() {
		defer close(done)
		s.Supervise(ctx, func(part string, err error) { reports <- part + ": " + err.Error() })
	}()
	before := s.Valkey.PID()
	s.Valkey.Signal(syscall.SIGKILL)
	if got := <-reports; got != "valkey-server: ended (signal: killed): starting it again" {
		t.Errorf("report: %s", got)
	}
	for deadline := time.Now().Add(20 * time.Second); !s.Valkey.Running(); time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			t.Fatal("not started again")
		}
	}
	if s.Valkey.PID() == before {
		t.Error("the same process")
	}
	cancel()
	<-done
	s.Stop(t.Context())
	if s.Valkey.Running() {
		t.Error("still runs after Stop")
	}
}

func TestAPartThatEndsAtItsStartShowsItsLog(t *testing.T) {
	p := shell(t, "echo the reason >&2; exit 3")
	err := p.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("Start: %v", err)
	}
}

func TestALogThatGrewTooLongIsPutAside(t *testing.T) {
	p := shell(t, "echo new; exit 3")
	for _, size := range []int64{maxLogBytes, maxLogBytes + 1} {
		if err := os.WriteFile(p.logPath, []byte("old\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(p.logPath, size); err != nil {
			t.Fatal(err)
		}
		if err := p.Start(t.Context()); err == nil {
			t.Fatal("it ended well")
		}
		old, err := os.Stat(p.logPath + ".old")
		if size <= maxLogBytes {
			if err == nil {
				t.Errorf("put aside with %d bytes", size)
			}
		} else if err != nil || old.Size() != size || string(p.Log()) != "new\n" {
			t.Errorf("put aside: %v; the log begins anew with %.20q", err, p.Log())
		}
	}
}

func TestAPartThatIsNeverReadyIsNotLeftRunning(t *testing.T) {
	p := shell(t, "exec sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := p.Start(ctx); err == nil || !strings.Contains(err.Error(), "not yet") {
		t.Errorf("Start: %v", err)
	}
	if p.Running() {
		t.Error("still runs")
	}
}

func TestStopKillsWhatDoesNotEnd(t *testing.T) {
	p := shell(t, "trap '' TERM; while :; do sleep 1; done")
	p.ready = func(context.Context) error { return nil }
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	p.Stop(ctx)
	if p.Running() {
		t.Error("still runs")
	}
}

func TestTheShippedConfigurationMakesTheShippedBootstrap(t *testing.T) {
	// The bootstrap is compose's, but for what comes with the admin interface, and the egress listener.
	env := append(compose(t)["envoy"].env(), config.EnvName("proxy.stats_address")+"=", config.EnvName("egress.address")+"=")
	s, err := New(Options{Dir: t.TempDir(), ConfigFile: "../../../deploy/config.yaml", Env: env, Parts: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	o, err := bootstrap.Options(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := envoy.Bootstrap(o)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../../deploy/bootstrap.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("deploy/bootstrap.yaml is not what deploy/config.yaml asks for")
	}
}

func TestConfigurationReachesTheBootstrap(t *testing.T) {
	s, err := New(Options{Dir: t.TempDir(), Parts: []string{}, Env: []string{
		"AISIX_PROXY__ADDRESS=localhost:3100", "AISIX_EXTPROC__ADDRESS=unix:/run/extproc", "AISIX_PROXY__ENVOY_ADMIN=unix:/run/envoy",
		"AISIX_PROXY__TLS_CERT_FILE=/c", "AISIX_PROXY__TLS_KEY_FILE=/k", "AISIX_TIMEOUTS__CALL=2h",
		"AISIX_PROXY__MAX_MEMORY_BYTES=100000000", "AISIX_PROXY__MAX_CONNECTIONS_PER_ADDRESS=9", "AISIX_TIMEOUTS__FIRST_BYTE=5s", "AISIX_TIMEOUTS__IDLE=1m",
		"AISIX_PROXY__CORS__ALLOW_ORIGINS=https://app.example.com,http://localhost:*",
	}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := bootstrap.Options(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	want := envoy.Defaults()
	want.Listen, want.ExtProc, want.AdminSocket = "127.0.0.1:3100", "unix:/run/extproc", "/run/envoy"
	want.TLSCertFile, want.TLSKeyFile, want.StreamIdleTimeout = "/c", "/k", 4*time.Hour
	want.Egress, want.Reconnects = "unix:/run/egress", true // beside extproc's
	want.MaxPerAddress = 9
	want.MaxMemoryBytes, want.FirstByteTimeout, want.IdleTimeout = 100_000_000, 5*time.Second, time.Minute
	want.AllowOrigins = []string{"https://app.example.com", "http://localhost:*"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// valkeyStack is a stack of nothing but Valkey, on a port of its own, stopped with the test.
func valkeyStack(t *testing.T) *Stack {
	t.Helper()
	address, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Dir: t.TempDir(), Valkey: redistest.Binary(t), Env: []string{"AISIX_REDIS__URL=redis://" + address}, Parts: []string{Valkey}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// The parts reach the Valkey that is started here by its socket, in the same database; a path that
// is too long for one leaves them the port.
func TestValkeySocket(t *testing.T) {
	address, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"AISIX_REDIS__URL=redis://" + address + "/3"}
	dir, err := os.MkdirTemp("", "aisix") // short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := New(Options{Dir: dir, Valkey: redistest.Binary(t), Env: env, Parts: []string{Valkey, Admin}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	if err := s.Valkey.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := s.Admin.env[len(s.Admin.env)-1]
	other, err := New(Options{Dir: dir, Env: []string{last}, Parts: []string{Admin}}) // its own configuration
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := client(t, other).Set(ctx, "x", "y", 0).Err(); err != nil {
		t.Fatalf("%s: %v", last, err)
	}
	if got := client(t, s).Get(ctx, "x").Val(); got != "y" {
		t.Errorf("%s is another database: %q", last, got)
	}
	long := filepath.Join(dir, strings.Repeat("x", longestSocket))
	if s, err = New(Options{Dir: long, Valkey: redistest.Binary(t), Env: env, Parts: []string{Valkey, Admin}}); err != nil {
		t.Fatal(err)
	}
	if got := s.Admin.env[len(s.Admin.env)-1]; got != env[0] {
		t.Errorf("with a long path: %s", got)
	}
}

func client(t *testing.T, s *Stack) *redis.Client {
	t.Helper()
	options, err := s.Config.Redis.Options()
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}

// shell is a part that runs a script and is never ready.
func shell(t *testing.T, script string) *Part {
	t.Helper()
	p := &Part{
		Name: "shell", path: "/bin/sh", args: []string{"-c", script}, logPath: filepath.Join(t.TempDir(), "log"),
		ready: func(context.Context) error { return errors.New("not yet") },
	}
	t.Cleanup(p.Kill)
	return p
}
