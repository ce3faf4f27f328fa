package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// updated does something to one extproc after the other, while streams and new calls go on: none may be refused or
// cut.
func (b *bench) updated(command ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		if _, err := served(ctx); err != nil {
			return "", err
		}
		traffic := begin(ctx)
		var errs []error
		for _, service := range []string{"extproc-a", "extproc-b"} {
			_, err := b.compose(ctx, append(command[:len(command):len(command)], service)...)
			errs = append(errs, err, b.allHealthy(ctx))
		}
		said, err := traffic.end()
		return said, errors.Join(append(errs, err)...)
	}
}

// envoyRestarted restarts Envoy under streams: those that are under way end first. Nobody listens for a moment, so
// there are no new calls meanwhile.
func (b *bench) envoyRestarted(ctx context.Context) (string, error) {
	const streams = 10
	results := make(chan error, streams)
	for range streams {
		go func() { results <- call(ctx, streamPrompt, true) }()
	}
	time.Sleep(2 * time.Second)
	_, err := b.compose(ctx, "restart", "envoy")
	errs := []error{err}
	whole := streams
	for range streams {
		if err := <-results; err != nil {
			whole--
			errs = append(errs, err)
		}
	}
	took, err := served(ctx)
	errs = append(errs, err)
	return fmt.Sprintf("%d of %d streams whole, new calls served %s after the restart", whole, streams, took), errors.Join(errs...)
}

// crashed kills the process of each container, as a crash or a lack of memory does. Calls are served again, and
// the container is back, by themselves.
func (b *bench) crashed(ctx context.Context) (string, error) {
	all, err := b.containers(ctx)
	if err != nil {
		return "", err
	}
	var said []string
	for _, before := range all {
		if before.once() || before.service() == "bedrocksim" {
			continue
		}
		if err := syscall.Kill(before.State.Pid, syscall.SIGKILL); err != nil {
			return "", leftOut(fmt.Sprintf("the engine's processes are not to be killed from here (%v)", err))
		}
		took, err := served(ctx)
		if err != nil {
			return "", fmt.Errorf("without %s: %w", before.service(), err)
		}
		if err := eventually(ctx, func() error {
			now, err := b.one(ctx, before.service())
			if err == nil && (!now.healthy() || now.RestartCount == before.RestartCount) {
				err = fmt.Errorf("%s is not back", before.service())
			}
			return err
		}); err != nil {
			return "", err
		}
		said = append(said, fmt.Sprintf("%s %s", before.service(), took))
	}
	if err := b.allHealthy(ctx); err != nil {
		return "", err
	}
	return "back by itself, served again after: " + strings.Join(said, ", "), nil
}

// killed is docker kill, which the engine takes for an order to stay down, whatever the restart policy says: calls go
// on without each container but Envoy, and `up` brings back what is missing.
func (b *bench) killed(ctx context.Context) (string, error) {
	all, err := b.containers(ctx)
	if err != nil {
		return "", err
	}
	var without []string
	for _, c := range all {
		if c.once() || c.service() == "bedrocksim" {
			continue
		}
		if _, err := b.compose(ctx, "kill", c.service()); err != nil {
			return "", err
		}
		if c.service() == "envoy" {
			if err := call(ctx, "Say hello from Bedrock.", false); err == nil {
				return "", errors.New("calls are served without Envoy")
			}
		} else {
			if _, err := served(ctx); err != nil {
				return "", fmt.Errorf("without %s: %w", c.service(), err)
			}
			for range 20 {
				if err := call(ctx, "Say hello from Bedrock.", false); err != nil {
					return "", fmt.Errorf("without %s: %w", c.service(), err)
				}
			}
			without = append(without, c.service())
		}
		if now, err := b.one(ctx, c.service()); err != nil || now.State.Running {
			return "", fmt.Errorf("%s runs again (%v): docs/operations.md says that it does not", c.service(), err)
		}
		if err := b.up(ctx); err != nil {
			return "", err
		}
		if _, err := served(ctx); err != nil {
			return "", fmt.Errorf("after up, %s: %w", c.service(), err)
		}
	}
	return "20 of 20 calls served while down: " + strings.Join(without, ", ") + "; each is back after `up`, envoy too", b.allHealthy(ctx)
}

// healthTold: an Envoy whose every call is refused says so.
func (b *bench) healthTold(ctx context.Context) (string, error) {
	if _, err := b.compose(ctx, "kill", "extproc-a", "extproc-b"); err != nil {
		return "", err
	}
	if err := eventually(ctx, func() error {
		c, err := b.one(ctx, "envoy")
		if err == nil && (c.State.Health == nil || c.State.Health.Status != "unhealthy") {
			err = errors.New("envoy does not say that it is unhealthy")
		}
		return err
	}); err != nil {
		return "", err
	}
	if _, err := b.compose(ctx, "start", "extproc-a", "extproc-b"); err != nil {
		return "", err
	}
	return "envoy is unhealthy, and healthy once one is back", b.allHealthy(ctx)
}

// engine restarts the engine: each time calls are served again, and all containers are healthy, by themselves.
func (b *bench) engine(ctx context.Context) (string, error) {
	if b.restart == "" {
		return "", leftOut("nobody said how the engine is restarted: ENGINE_RESTART='systemctl restart docker'")
	}
	var longest time.Duration
	for i := range b.restarts {
		if out, err := exec.CommandContext(ctx, "bash", "-c", b.restart, "engine-restart", fmt.Sprint(i+1)).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w: %s", b.restart, err, lastLine(string(out)))
		}
		took, err := served(ctx)
		if err == nil {
			err = b.allHealthy(ctx)
		}
		if err != nil {
			return "", fmt.Errorf("%d of %d came back; then: %w", i, b.restarts, err)
		}
		longest = max(longest, took)
	}
	return fmt.Sprintf("%d of %d, served again after %s at the latest", b.restarts, b.restarts, longest), nil
}
