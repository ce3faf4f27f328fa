package mesh

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"aisix/cmd/internal/stack"
)

// The lines of the page that start admin and extproc are run as they stand, but for the folders, the
// users and the Redis that are the test's own.
func TestTheLinesThatStartExtproc(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "<!-- start -->\n```sh\n")
	lines, _, ok := strings.Cut(rest, "```\n<!-- /start -->")
	if n := strings.Count(lines, "\n"); !ok || n > 12 {
		t.Fatalf("%s: %d lines start extproc:\n%s", page, n, lines)
	}
	a := attach(t, plainCells()[0])
	a.Envoy = newest
	addresses := make([]string, 3)
	for i := range addresses {
		if addresses[i], err = stack.FreePort(); err != nil {
			t.Fatal(err)
		}
	}
	redis, err := stack.New(stack.Options{Dir: t.TempDir(), Valkey: tool("VALKEY_SERVER", "valkey-server"), Parts: []string{stack.Valkey}, Env: []string{"AISIX_REDIS__URL=redis://" + addresses[0]}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(redis.Kill)
	if err := redis.Start(t.Context()); err != nil {
		t.Fatal(err)
	}

	script := strings.NewReplacer(
		"-o aisix -g aisix ", "", "-o aisix -g envoy ", "", "runuser -u aisix -- ", "",
		"/etc/aisix", a.dir+"/etc", "/var/lib/aisix", a.dir+"/lib", "/run/aisix", a.dir,
		"127.0.0.1:6379", addresses[0],
	).Replace(lines)
	cmd := exec.Command("sh", "-ec", script+"\nwait")
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + a.dir,
		"AISIX_ADMIN__ADDRESS=" + addresses[1], "AISIX_METRICS__ADDRESS=" + addresses[2], "AISIX_EXTPROC__ADDRESS=unix:" + filepath.Join(a.dir, "extproc.sock")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})

	a.running = "unix:" + filepath.Join(a.dir, "extproc.sock")
	plain(t, a, "envoy-1.39")
	a.ready(t)
	key := func() string {
		b, err := os.ReadFile(filepath.Join(a.dir, "etc", "env"))
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(b), "AISIX_ADMIN__KEY=")
		return strings.TrimSpace(after)
	}()
	r, err := http.NewRequest(http.MethodGet, "http://"+addresses[1]+"/admin/v1/models", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	if got := send(t, r); got.status != 200 || len(key) != 32 {
		t.Errorf("the Admin API, by the key %q: %v", key, got)
	}
}
