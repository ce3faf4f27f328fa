package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"aisix/cmd/internal/bootstrap"
	"aisix/cmd/internal/config"
	"aisix/cmd/internal/envoyrun"
)

// runEnvoy is -run-envoy: a container of Envoy whose restart reads the configuration anew and cuts no
// stream. Its start file, and the socket of its admin interface where proxy.envoy_admin names none, are
// in the folder of -o, or in one of their own.
func runEnvoy(ctx context.Context, c *config.Config, o flagged, stdout, stderr io.Writer) error {
	log := c.Logging.Logger(stderr)
	path := o.out
	if path == "" {
		dir, err := os.MkdirTemp("", "envoy")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "bootstrap.yaml")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if c.Proxy.EnvoyAdmin == "" {
		c.Proxy.EnvoyAdmin = "unix:" + filepath.Join(filepath.Dir(path), "envoy-admin.sock")
	}
	if err := bootstrap.Write(c, path); err != nil {
		return err
	}
	go bootstrap.Follow(ctx, c, path, log)
	hurry, stop := secondSignal(ctx)
	defer stop()
	return envoyrun.Run(ctx, hurry, envoyrun.Options{
		Socket: strings.TrimPrefix(c.Proxy.EnvoyAdmin, "unix:"), LameDuck: o.lameDuck, For: c.Timeouts.Drain, Log: log,
	}, o.runEnvoy, bootstrap.Arguments(c, path, o.envoyArgs...), stdout, stderr)
}

// drainEnvoy is -drain-envoy.
func drainEnvoy(ctx context.Context, o flagged, stderr io.Writer) error {
	return envoyrun.Drain(ctx, envoyrun.Options{
		Socket: strings.TrimPrefix(o.drainEnvoy, "unix:"), LameDuck: o.lameDuck, For: o.drainFor, Log: slog.New(slog.NewJSONHandler(stderr, nil)),
	})
}

// secondSignal is a context that ends with the first signal after the end of ctx.
func secondSignal(ctx context.Context) (hurry context.Context, stop func()) {
	hurry, end := context.WithCancel(context.WithoutCancel(ctx))
	unregister := context.AfterFunc(ctx, func() {
		again, stop := signal.NotifyContext(hurry, os.Interrupt, syscall.SIGTERM)
		defer stop()
		<-again.Done()
		end()
	})
	return hurry, func() { unregister(); end() }
}
