package ratelimit

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// valkey is a real server on a socket of its own.
type valkey struct {
	t      testing.TB
	socket string
	args   []string
	cmd    *exec.Cmd
}

func binary(t testing.TB) string {
	for _, path := range []string{os.Getenv("VALKEY_SERVER"), "../../.tools/valkey-server"} {
		if path == "" {
			continue
		}
		if abs, err := filepath.Abs(path); err == nil {
			if _, err := os.Stat(abs); err == nil {
				return abs
			}
		}
	}
	t.Skip("no valkey-server: make test fetches it")
	return ""
}

func startValkey(t testing.TB) *valkey {
	dir, err := os.MkdirTemp("", "valkey")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	v := &valkey{t: t, socket: filepath.Join(dir, "s"), args: []string{binary(t), "--port", "0", "--save", "", "--appendonly", "no", "--dir", dir, "--unixsocket", filepath.Join(dir, "s")}}
	v.start()
	t.Cleanup(v.kill)
	return v
}

func (v *valkey) start() {
	v.t.Helper()
	os.Remove(v.socket)
	v.cmd = exec.Command(v.args[0], v.args[1:]...)
	if err := v.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	c := v.client()
	eventually(v.t, "valkey answers", func() bool { return c.Ping(context.Background()).Err() == nil })
}

func (v *valkey) kill() {
	if v.cmd != nil {
		_ = v.cmd.Process.Kill()
		_ = v.cmd.Wait()
		v.cmd = nil
	}
}

func (v *valkey) client() *redis.Client {
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: v.socket, ContextTimeoutEnabled: true, MaxRetries: 1})
	v.t.Cleanup(func() { c.Close() })
	return c
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
