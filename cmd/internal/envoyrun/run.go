package envoyrun

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// grace is how long an Envoy that was told to end may take.
const grace = 10 * time.Second

// Run runs Envoy until it ends by itself, which is an error, or until ctx ends: then it is drained
// first. The end of hurry ends it at once.
func Run(ctx, hurry context.Context, o Options, binary string, args []string, stdout, stderr io.Writer) error {
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = stdout, stderr, apart()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting Envoy: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err == nil {
			return errors.New("its Envoy ended by itself")
		}
		return fmt.Errorf("its Envoy ended by itself: %w", err)
	case <-ctx.Done():
	}
	draining, enough := context.WithCancel(hurry)
	defer enough()
	drained := make(chan error, 1)
	go func() { drained <- Drain(draining, o) }()
	select {
	case err := <-drained:
		if err != nil && hurry.Err() == nil {
			o.Log.Error("Envoy is ended before its calls have", "error", err)
		}
	case <-ended:
		return nil
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(grace):
		_ = cmd.Process.Kill()
		<-ended
	}
	return nil
}
