package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	proxy = "http://127.0.0.1:3000"
	admin = "http://127.0.0.1:3001"
	sim   = "http://bedrocksim:3010"
	// leastCompose is the oldest compose that takes the file; README.md and the file say the same.
	leastMajor, leastMinor = 2, 20
	patience               = 2 * time.Minute
)

// A bench is the gateway in containers, as a project of its own.
type bench struct {
	out      io.Writer
	project  string
	build    bool
	keep     bool
	restarts int
	restart  string // the engine, by a shell
	env      []string
}

// missing is why nothing can be tried here; "" where all can.
func (b *bench) missing(ctx context.Context) string {
	if _, err := exec.LookPath("docker"); err != nil {
		return "there is no docker"
	}
	if out, err := b.docker(ctx, "info", "--format", "{{.ServerVersion}}"); err != nil {
		return "no engine answers: " + lastLine(out)
	}
	version, err := b.docker(ctx, "compose", "version", "--short")
	if err != nil {
		return "docker has no compose plugin"
	}
	if !newEnough(version) {
		return fmt.Sprintf("docker compose is %s, and docker-compose.yaml needs %d.%d", strings.TrimSpace(version), leastMajor, leastMinor)
	}
	return ""
}

func newEnough(version string) bool {
	found := regexp.MustCompile(`^v?(\d+)\.(\d+)`).FindStringSubmatch(strings.TrimSpace(version))
	if found == nil {
		return false
	}
	major, _ := strconv.Atoi(found[1])
	minor, _ := strconv.Atoi(found[2])
	return major > leastMajor || major == leastMajor && minor >= leastMinor
}

// docker runs one command; its output is both of its streams.
func (b *bench) docker(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	c := exec.CommandContext(ctx, "docker", args...)
	c.Stdout, c.Stderr, c.Env = &out, &out, append(os.Environ(), b.env...)
	err := c.Run()
	if err != nil {
		err = fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, lastLine(out.String()))
	}
	return out.String(), err
}

// compose runs one command on the project, the simulator included.
func (b *bench) compose(ctx context.Context, args ...string) (string, error) {
	return b.docker(ctx, append([]string{"compose", "--project-name", b.project, "--profile", "sim"}, args...)...)
}

// up is what a user does.
func (b *bench) up(ctx context.Context, more ...string) error {
	_, err := b.compose(ctx, append([]string{"up", "--detach", "--wait", "--wait-timeout", "180"}, more...)...)
	return err
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// A container as the engine describes it.
type container struct {
	ID           string
	Name         string
	RestartCount int
	Config       struct {
		User   string
		Labels map[string]string
	}
	State struct {
		Running bool
		Pid     int
		Health  *struct{ Status string }
	}
	HostConfig struct {
		Memory, NanoCpus int64
		PidsLimit        *int64
		ReadonlyRootfs   bool
		Privileged       bool
		CapDrop          []string
		SecurityOpt      []string
		LogConfig        struct {
			Type   string
			Config map[string]string
		}
	}
}

func (c container) service() string { return c.Config.Labels["com.docker.compose.service"] }
func (c container) once() bool      { return c.service() == "secrets" }

func (c container) healthy() bool {
	return c.State.Running && c.State.Health != nil && c.State.Health.Status == "healthy"
}

// containers are all of the project; those that only make something and end last.
func (b *bench) containers(ctx context.Context) (all []container, err error) {
	ids, err := b.docker(ctx, "ps", "--all", "--quiet", "--no-trunc", "--filter", "label=com.docker.compose.project="+b.project, "--filter", "label=com.docker.compose.oneoff=False")
	if err != nil {
		return nil, err
	}
	out, err := b.docker(ctx, append([]string{"inspect"}, strings.Fields(ids)...)...)
	if err != nil {
		return nil, err
	}
	return all, json.Unmarshal([]byte(out), &all)
}

// one is the container of a service.
func (b *bench) one(ctx context.Context, service string) (container, error) {
	all, err := b.containers(ctx)
	for _, c := range all {
		if c.service() == service {
			return c, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("no container of %s", service)
	}
	return container{}, err
}

// allHealthy waits until every container that should run is healthy.
func (b *bench) allHealthy(ctx context.Context) error {
	return eventually(ctx, func() error {
		all, err := b.containers(ctx)
		if err != nil {
			return err
		}
		for _, c := range all {
			if !c.once() && !c.healthy() {
				return fmt.Errorf("%s is not healthy", c.service())
			}
		}
		return nil
	})
}

// eventually asks until the answer is nil, or patience is over.
func eventually(ctx context.Context, ask func() error) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", patience, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
