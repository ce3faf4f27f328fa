package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// start is a new user's first minutes: up, and the documentation's commands, pasted.
func (b *bench) start(ctx context.Context) (string, error) {
	var more []string
	if b.build {
		more = []string{"--build"}
	}
	if err := b.up(ctx, more...); err != nil {
		return "", err
	}
	page, err := os.ReadFile("cmd/internal/e2e/testdata/page.sh")
	if err != nil {
		return "", err
	}
	// The one addition is the simulator, and the one thing that a reader does by hand is to write down an id.
	first, rest, ok := strings.Cut(strings.Replace(string(page), `"adapter": "bedrock",`, `"adapter": "bedrock", "api_base": "`+sim+`",`, 1), `export PROVIDER_KEY_ID="YOUR_PROVIDER_KEY_ID"`)
	if !ok {
		return "", errors.New("the page has no id to write down")
	}
	out, err := exec.CommandContext(ctx, "bash", "-c", first).Output()
	if err != nil {
		return "", err
	}
	var entry struct{ ID string }
	if err := json.Unmarshal(out, &entry); err != nil || entry.ID == "" {
		return "", fmt.Errorf("the provider key: %s", out)
	}
	out, err = exec.CommandContext(ctx, "bash", "-c", `export AISIX_ADMIN_KEY="admin-local-only-change-me" PROVIDER_KEY_ID="`+entry.ID+`"`+"\n"+rest).Output()
	if err != nil {
		return "", err
	}
	if !strings.Contains(string(out), `"content":"Hello from Bedrock!"`) {
		return "", fmt.Errorf("the last command answers %s", out)
	}
	if err := b.allHealthy(ctx); err != nil {
		return "", err
	}
	_, err = served(ctx)
	return "Hello from Bedrock!", err
}

// contained looks at what the engine says of each container, and Go of its memory.
func (b *bench) contained(ctx context.Context) (string, error) {
	all, err := b.containers(ctx)
	if err != nil {
		return "", err
	}
	var errs []error
	for _, c := range all {
		wrong := func(what string) { errs = append(errs, fmt.Errorf("%s: %s", c.service(), what)) }
		h := c.HostConfig
		if c.Config.User == "" || c.Config.User == "root" || c.Config.User == "0" {
			wrong("runs as root")
		}
		if !h.ReadonlyRootfs || h.Privileged || !slices.Contains(h.CapDrop, "ALL") || !slices.ContainsFunc(h.SecurityOpt, func(o string) bool { return strings.HasPrefix(o, "no-new-privileges") }) {
			wrong("is not hardened")
		}
		if h.Memory == 0 || h.PidsLimit == nil || *h.PidsLimit <= 0 {
			wrong("has no limit on memory or processes")
		}
		if h.LogConfig.Config["max-size"] == "" || h.LogConfig.Config["max-file"] == "" {
			wrong("fills the disk with its log")
		}
		if s := c.service(); s != "admin" && !strings.HasPrefix(s, "extproc") {
			continue
		}
		log, err := b.docker(ctx, "logs", c.ID)
		if err != nil {
			return "", err
		}
		limit := regexp.MustCompile(`"gomemlimit":(\d+)`).FindAllStringSubmatch(log, -1)
		if want := fmt.Sprint(h.Memory / 10 * 9); len(limit) == 0 || limit[len(limit)-1][1][:6] != want[:6] {
			wrong(fmt.Sprintf("GOMEMLIMIT is %v, want %s", limit, want))
		}
	}
	return fmt.Sprintf("%d containers read-only, not root, without capabilities, bounded in memory, processes and logs; GOMEMLIMIT is 90 %% of the container's", len(all)), errors.Join(errs...)
}

// networks tries what must not work.
func (b *bench) networks(ctx context.Context) (string, error) {
	valkey, err := b.one(ctx, "valkey")
	if err != nil {
		return "", err
	}
	addresses, err := b.docker(ctx, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", valkey.ID)
	if err != nil {
		return "", err
	}
	for _, host := range append(strings.Fields(addresses), "valkey") {
		if _, err := b.compose(ctx, "exec", "-T", "envoy", "timeout", "3", "bash", "-c", "exec 3<>/dev/tcp/"+host+"/6379"); err == nil {
			return "", fmt.Errorf("envoy reaches Valkey at %s", host)
		}
	}
	for _, command := range []string{"INFO", "KEYS *", "FLUSHALL", "ACL LIST"} {
		out, err := b.compose(ctx, append([]string{"exec", "-T", "valkey", "valkey-cli"}, strings.Fields(command)...)...)
		if err != nil || !strings.HasPrefix(out, "NOAUTH") {
			return "", fmt.Errorf("without a password Valkey answers %s: %s", command, out)
		}
	}
	operator := `valkey-cli --user operator --pass "$(cat /secrets/valkey/operator.password)" --no-auth-warning PING`
	if out, err := b.compose(ctx, "exec", "-T", "valkey", "sh", "-c", operator); err != nil || strings.TrimSpace(out) != "PONG" {
		return "", fmt.Errorf("the operator is not let in: %s", out)
	}
	// Whoever is in networks without a way out only has none.
	out, err := b.docker(ctx, "network", "inspect", "--format", "{{.Internal}}", b.project+"_data", b.project+"_metrics")
	if err != nil || strings.Join(strings.Fields(out), " ") != "true true" {
		return "", fmt.Errorf("data, metrics: internal %s (%v)", out, err)
	}
	return "Valkey is out of Envoy's reach and answers nobody without a password; it and extproc have no way out", nil
}

// scraped reads each target as Prometheus would, from a container in its network.
func (b *bench) scraped(ctx context.Context) (string, error) {
	file, err := os.ReadFile("deploy/observability/prometheus.yml")
	if err != nil {
		return "", err
	}
	var said []string
	for _, target := range regexp.MustCompile(`[a-z-]+:\d{4}`).FindAllString(string(file), -1) {
		if strings.HasPrefix(target, "localhost:") {
			continue
		}
		path := "/metrics"
		if strings.HasPrefix(target, "envoy:") {
			path = "/stats/prometheus"
		}
		out, err := b.docker(ctx, "run", "--rm", "--network", b.project+"_metrics", "--entrypoint", "wget", "aisix-extproc", "-q", "-O", "-", "http://"+target+path)
		if err != nil {
			return "", err
		}
		lines := strings.Count(out, "\n# TYPE ")
		if lines == 0 {
			return "", fmt.Errorf("%s exports nothing: %.200s", target, out)
		}
		said = append(said, fmt.Sprintf("%s %d metrics", target, lines))
	}
	if len(said) == 0 {
		return "", errors.New("prometheus.yml names no target")
	}
	return strings.Join(said, ", "), nil
}

// configured changes a key of Envoy's by the environment, with nothing but compose.
func (b *bench) configured(ctx context.Context) (string, error) {
	override := filepath.Join(os.TempDir(), b.project+".yaml")
	defer os.Remove(override)
	if err := os.WriteFile(override, []byte("services: {envoy: {environment: {AISIX_PROXY__MAX_CONNECTIONS: \"321\"}}}\n"), 0o600); err != nil {
		return "", err
	}
	has := func(want string) error {
		out, err := b.compose(ctx, "exec", "-T", "envoy", "sh", "-c", "cat /tmp/envoy*/bootstrap.yaml")
		if err == nil && !strings.Contains(out, `downstream_connections: "`+want+`"`) {
			err = fmt.Errorf("the start file of Envoy has no %s", want)
		}
		return err
	}
	files := strings.FieldsFunc(cmp.Or(os.Getenv("COMPOSE_FILE"), "docker-compose.yaml"), func(r rune) bool { return r == ':' })
	var args []string
	for _, file := range append(files, override) {
		args = append(args, "--file", file)
	}
	if _, err := b.compose(ctx, append(args, "up", "--detach", "--wait", "--no-deps", "envoy")...); err != nil {
		return "", err
	}
	if err := has("321"); err != nil {
		return "", err
	}
	if err := b.up(ctx); err != nil {
		return "", err
	}
	return "Envoy's start file follows the environment", has("10000")
}

// adminKey takes the admin key that the service secrets has made, as docs/operations.md says: one line in .env.
func (b *bench) adminKey(ctx context.Context) (string, error) {
	b.env = []string{"ADMIN_KEY_FILE=/secrets/admin/admin.key"}
	defer func() { b.env = nil }()
	if err := b.up(ctx); err != nil {
		return "", err
	}
	key, err := b.compose(ctx, "exec", "-T", "admin", "cat", "/secrets/admin/admin.key")
	if err != nil {
		return "", err
	}
	for _, try := range []struct {
		key  string
		want string
	}{{"admin-local-only-change-me", "401"}, {strings.TrimSpace(key), "200"}} {
		out, err := exec.CommandContext(ctx, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Authorization: Bearer "+try.key, admin+"/admin/v1/models").Output()
		if err != nil || string(out) != try.want {
			return "", fmt.Errorf("status %s, want %s (%v)", out, try.want, err)
		}
	}
	b.env = nil
	return "the generated one works, the sample no longer", b.up(ctx)
}
