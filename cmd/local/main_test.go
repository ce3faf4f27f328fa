package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"aisix/admin/store/redistest"
	"aisix/cmd/internal/config"
	"aisix/cmd/internal/stack"
	"aisix/envoy/envoytest"
)

// `make run` without make: the real binaries, Envoy and Valkey, and the commands that it prints,
// pasted into a shell.

func TestThePrintedCommandsAnswerAsThePageSays(t *testing.T) {
	g := newGateway(t)
	first := g.start(t)
	printed := first.commands(t)
	checkAnswer(t, shell(t, printed))
	first.stop(t)
	g.checkPortsAreFree(t)

	second := g.start(t) // "The resources are kept: after a second start the last command is enough."
	last := printed[strings.LastIndex(printed, "\ncurl "):]
	checkAnswer(t, shell(t, "AISIX_API_KEY=sk-bedrock-caller\n"+last))
	second.stop(t)
}

func TestRunNamesAPortThatIsTaken(t *testing.T) {
	g := newGateway(t)
	taken, err := net.Listen("tcp", g.proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(g.proxy)
	err = run(g.args, g.env, io.Discard, io.Discard, make(chan os.Signal))
	if err == nil || !strings.Contains(err.Error(), "port "+port+" is taken") || !strings.Contains(err.Error(), "AISIX_PROXY__ADDRESS=") {
		t.Errorf("run: %v", err)
	}
	taken.Close()
	g.checkPortsAreFree(t)
}

// Envoy reaches extproc by a Unix socket in the data folder; by loopback where that folder's name is
// too long, and says so; as the configuration says where it does.
func TestWhereExtprocListens(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	short := t.TempDir()
	for _, test := range []struct{ data, env, want, says string }{
		{data: short, want: "unix:" + short + "/extproc.sock"},
		{data: long, want: "127.0.0.1:3002", says: "extproc listens on 127.0.0.1:3002 instead"},
		{data: short, env: "AISIX_EXTPROC__ADDRESS=127.0.0.1:4000", want: "127.0.0.1:4000"},
		{data: long, env: "AISIX_EXTPROC__ADDRESS=unix:/run/s", want: "unix:/run/s"},
	} {
		var out strings.Builder
		env := []string{"HOME=/"}
		if test.env != "" {
			env = append(env, test.env)
		}
		env, err := complete("../../deploy/config.yaml", env, test.data, &out)
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Load("../../deploy/config.yaml", env)
		if err != nil || c.Extproc.Address != test.want || !strings.Contains(out.String(), test.says) || (out.Len() > 0) != (test.says != "") {
			t.Errorf("%+v: %s, %v; said %q", test, c.Extproc.Address, err, out.String())
		}
	}
}

func TestRunRefusesWhatItDoesNotKnow(t *testing.T) {
	err := run([]string{"-sim", "", "foo"}, nil, io.Discard, io.Discard, make(chan os.Signal))
	if err == nil || err.Error() != `unexpected argument "foo"` {
		t.Errorf("run: %v", err)
	}
	if err := run([]string{"-h"}, nil, io.Discard, io.Discard, make(chan os.Signal)); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("run -h: %v, which main takes for a failure", err)
	}
}

func TestASignalDuringTheStartStopsWhatHasStarted(t *testing.T) {
	g := newGateway(t)
	r := g.launch(t)
	awaitDial(t, g.redis) // Valkey listens: the rest is still to come
	r.stop(t)
	g.checkPortsAreFree(t)
}

func TestCtrlCWaitsForCallsInFlightAndASecondOneDoesNot(t *testing.T) {
	g := newGateway(t)
	r := g.start(t)
	shell(t, strings.Replace(r.commands(t), "Say hello from Bedrock.", "sim:words=1", 1))
	call := exec.CommandContext(t.Context(), "curl", "-sN", "http://"+g.proxy+"/v1/chat/completions", "-H", "Authorization: Bearer sk-bedrock-caller",
		"-H", "Content-Type: application/json", "-d", `{"model":"claude-bedrock","stream":true,"messages":[{"role":"user","content":"sim:stall-mid sim:words=9"}]}`)
	answer, err := call.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := call.Start(); err != nil {
		t.Fatal(err)
	}
	defer call.Wait() //nolint:errcheck // it is cut off
	if _, err := answer.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	r.signals <- syscall.SIGINT
	await(t, "the stop", func() bool { return strings.Contains(r.out.String(), "A second Ctrl-C") })
	select {
	case err := <-r.ended:
		t.Fatalf("the call in flight was not waited for: %v", err)
	case <-time.After(time.Second): // longer than what make's copy of the signal may take
	}
	r.stop(t)
	g.checkPortsAreFree(t)
}

// A gateway is the arguments of run for a stack on ports of its own.
type gateway struct {
	args, env                []string
	proxy, admin, sim, redis string
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{}
	for _, address := range []*string{&g.proxy, &g.admin, &g.sim, &g.redis} {
		free, err := stack.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		*address = free
	}
	data, err := os.MkdirTemp("", "local") // extproc's socket is there, and its path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(data) })
	g.args = []string{
		"-config", "../../deploy/config.yaml", "-data", data, "-bin", binaries(t), "-sim", g.sim, "-redis", "redis://" + g.redis,
		"-envoy", envoytest.Binary(t), "-valkey", redistest.Binary(t),
	}
	g.env = []string{
		"AISIX_PROXY__ADDRESS=" + g.proxy, "AISIX_ADMIN__ADDRESS=" + g.admin, "AISIX_METRICS__ADDRESS=",
	}
	return g
}

var binDir string // of built, to be removed at the end

var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bin")
	if err != nil {
		return "", err
	}
	binDir = dir
	args := []string{"build", "-o", dir, "aisix/cmd/admin", "aisix/cmd/extproc", "aisix/cmd/bedrocksim"}
	if raceEnabled() { // what the build cache has by then
		args = slices.Insert(args, 1, "-race")
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestMain(m *testing.M) {
	code := m.Run()
	if binDir != "" {
		os.RemoveAll(binDir)
	}
	os.Exit(code)
}

func binaries(t *testing.T) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// A running is one run of the command.
type running struct {
	signals chan os.Signal
	ended   chan error
	out     lockedBuffer
}

func (g *gateway) launch(t *testing.T) *running {
	t.Helper()
	r := &running{signals: make(chan os.Signal, 2), ended: make(chan error, 1)}
	go func() { r.ended <- run(g.args, g.env, &r.out, &r.out, r.signals) }()
	t.Cleanup(func() { // after a failure
		r.signals <- syscall.SIGTERM
		<-r.ended
	})
	return r
}

func (g *gateway) start(t *testing.T) *running {
	t.Helper()
	r := g.launch(t)
	await(t, "the end of the announcement", func() bool {
		select {
		case err := <-r.ended:
			r.ended <- err
			t.Fatalf("ended: %v\n%s", err, r.out.String())
		default:
		}
		return strings.Contains(r.out.String(), "Ctrl-C stops everything")
	})
	return r
}

// commands is what run has printed to be pasted.
func (r *running) commands(t *testing.T) string {
	t.Helper()
	_, rest, _ := strings.Cut(r.out.String(), "\n\n#")
	commands, _, ok := strings.Cut(rest, "\nThe resources are kept")
	if !ok {
		t.Fatalf("no commands in\n%s", r.out.String())
	}
	return "#" + commands
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.signals <- syscall.SIGINT
	select {
	case err := <-r.ended:
		r.ended <- err
		if err != nil {
			t.Errorf("stopped with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("does not stop")
	}
}

func (g *gateway) checkPortsAreFree(t *testing.T) {
	t.Helper()
	for _, address := range []string{g.proxy, g.admin, g.sim, g.redis} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Errorf("after the stop: %v", err)
			continue
		}
		l.Close()
	}
}

func shell(t *testing.T, commands string) string {
	t.Helper()
	bash := exec.CommandContext(t.Context(), "bash")
	bash.Stdin = strings.NewReader(commands)
	out, err := bash.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func checkAnswer(t *testing.T, got string) {
	t.Helper()
	const (
		begin = `{"id":"msg_01example","object":"chat.completion","created":`
		end   = `,"model":"claude-bedrock","choices":[{"index":0,"message":{"role":"assistant","content":"Hello from Bedrock!"},"finish_reason":"stop"}],` +
			`"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14}}`
	)
	if got = strings.TrimSpace(got); !strings.Contains(got, begin) || !strings.HasSuffix(got, end) {
		t.Errorf("the commands answer\n%s\nwant at the end\n%s…%s", got, begin, end)
	}
}

func awaitDial(t *testing.T, address string) {
	t.Helper()
	await(t, address, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
