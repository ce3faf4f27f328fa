// Command extproc is the data plane: Envoy's ext_proc sidecar that answers
// OpenAI's API from AWS Bedrock.
//
//	extproc -config config.yaml
//	extproc -config config.yaml -bootstrap [-o FILE]   writes Envoy's start file
//	extproc -config config.yaml -run-envoy /usr/local/bin/envoy   writes it, runs Envoy, and drains it in the end
//	extproc -drain-envoy SOCKET                        drains an Envoy that somebody else runs
//	extproc -version
//
// It wires config, Redis, the snapshot of resources, limits and records to
// extproc.Server, and runs them as one group. The first SIGTERM or SIGINT makes
// it not ready and lets calls in flight end, within timeouts.drain; a second one
// ends it at once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"aisix/admin/cooling"
	"aisix/admin/ledger"
	"aisix/admin/snapshot"
	"aisix/admin/store"
	"aisix/cmd/internal/config"
	"aisix/cmd/internal/machine"
	"aisix/cmd/internal/version"
	"aisix/extproc"
	"aisix/extproc/connections"
	"aisix/extproc/egress"
	"aisix/extproc/fetch"
	"aisix/extproc/ratelimit"
	"aisix/extproc/routing"
	"aisix/extproc/rpc"
	"aisix/extproc/usage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop() // no sooner: what a second signal does is drain's to say
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "extproc:", err)
		os.Exit(1)
	}
}

// flushTimeout bounds what is written to Redis at the end.
const flushTimeout = 5 * time.Second

// run is the command until ctx ends. Logs go to stderr, as JSON lines.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := options(args, stderr)
	if err != nil {
		return err
	}
	if o.version {
		return version.Print(stdout, "extproc")
	}
	if o.drainEnvoy != "" {
		return drainEnvoy(ctx, o, stderr)
	}
	c, err := config.Load(o.config, os.Environ())
	if err != nil {
		return err
	}
	switch {
	case o.bootstrap:
		return writeBootstrap(c, o.out, stdout)
	case o.runEnvoy != "":
		return runEnvoy(ctx, c, o, stdout, stderr)
	}
	if o.probe {
		return probe(ctx, c.Extproc)
	}
	out := newLines(stderr)
	defer out.Close()
	log := c.Logging.Logger(out)
	slog.SetDefault(log) // of packages that are not given one
	var calls io.Writer  // nil where such lines are not logged
	if log.Enabled(ctx, slog.LevelInfo) {
		calls = out.ofCalls()
	}
	return serve(ctx, c, log, calls)
}

// serve is the life of the data plane (calls is the log of those): wire, listen, wait for the end of ctx, drain, flush.
func serve(ctx context.Context, c *config.Config, log *slog.Logger, calls io.Writer) error {
	client, err := c.Redis.Client(log)
	if err != nil {
		return err
	}
	defer client.Close()
	sealer, err := store.LoadSealer(c.Secrets.MasterKey.Reveal(), c.Secrets.MasterKeyFile, c.Secrets.PreviousMasterKeyFile)
	if err != nil {
		return err
	}

	life, end := context.WithCancel(context.WithoutCancel(ctx)) // calls in flight outlive ctx
	defer end()
	group, life := errgroup.WithContext(life)

	holder := new(snapshot.Holder)
	group.Go(func() error { return store.New(client, sealer).Watch(life, holder, c.Extproc.SnapshotFile) })
	build := version.Of()
	metrics := usage.NewMetrics()
	metrics.Build(build.Version, build.Commit, build.Go)
	metrics.ConfigLost(holder.Lost)
	metrics.Config(func() (int64, time.Time) {
		if s := holder.Load(); s != nil {
			return s.Revision, holder.Confirmed()
		}
		return 0, time.Time{}
	})
	limiter := ratelimit.New(client, ratelimit.Options{
		OnFailure: c.Limits.OnRedisFailure,
		Log:       log,
		Failed:    func(error) { metrics.RedisFailed("limits") },
		Changed:   metrics.RedisAway,
		Repaired:  metrics.LimitRepaired,
	})
	writer, err := usage.NewWriter(ledger.New(client), usage.WriterOptions{SpoolDir: c.Usage.SpoolDir, Log: log, Metrics: metrics})
	if err != nil {
		return err
	}
	recorder := usage.NewRecorder(calls, log, metrics, writer)

	out, err := egressOf(c)
	if err != nil {
		return err
	}
	if out != nil {
		defer out.Close()
	}
	identities, err := newIdentities(c, holder, metrics, log)
	if err != nil {
		return err
	}
	defer identities.Close()

	board := routing.NewBoard(nil)
	group.Go(func() error { return board.Share(life, cooling.New(client), log) })
	memory := machine.Fit(log)
	bounds := boundsOf(c, memory)
	server := extproc.New(extproc.Parts{
		Config:    bounds,
		Snapshots: holder,
		Limiter:   limiter,
		Images: fetch.New(fetch.Config{
			Enabled:       c.Images.Fetch,
			MaxBytes:      int64(c.Images.MaxBytes),
			MaxTotalBytes: int64(c.Images.MaxTotalBytes),
			Timeout:       c.Images.Timeout,
		}),
		Egress:     out,
		Board:      board,
		Identities: identities,
		Recorder:   recorder,
		Log:        log,
	})
	metrics.Load(server.Load)
	metrics.Refusing(server.Refusing)
	counter := connections.New(c.Proxy.MaxPerAddress, log, nil)
	release := func() {}
	if c.Metrics.Address != "" {
		if release, err = serveMetrics(life, group, metrics, c.Metrics); err != nil {
			return err
		}
	}
	// Last: where another process hands over to this one, nothing may be missing any more.
	g, door, err := serveEnvoy(ctx, group, server, counter, c.Extproc)
	if err != nil {
		end()
		_ = group.Wait() // of the port for metrics
		return err
	}
	log.Info("extproc is up", "version", build.Version, "commit", build.Commit, "address", c.Extproc.Address, "metrics", c.Metrics.Address,
		"memory", memory, "max_calls", bounds.MaxCalls, "max_calls_per_key", bounds.CallsPerKey, "max_buffered_bytes", bounds.MaxBufferedBytes)

	select {
	case <-ctx.Done():
		hurry, stop := signal.NotifyContext(life, os.Interrupt, syscall.SIGTERM) // the second signal
		defer stop()
		release() // first: the process that comes after this one needs the port
		server.Drain()
		log.Info("stopping: not ready, but new calls are served for a while", "cause", context.Cause(ctx).Error(), "lame_duck", c.Extproc.LameDuck.String())
		door.lameDuck(hurry, c.Extproc.LameDuck)
		log.Info("stopping: calls in flight end first", "deadline", c.Timeouts.Drain.String())
		counter.Close()
		drain(hurry, g, c.Timeouts.Drain)
	case <-life.Done():
		g.Stop()
	}
	end()
	// What the last calls left to be written goes out before the process ends.
	flush, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	recorder.Close()
	if err := errors.Join(limiter.Close(flush), writer.Close(flush)); err != nil {
		log.Error("not everything was written", "error", err)
	}
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// egressOf is the way by Envoy's egress listener, nil where there is none.
func egressOf(c *config.Config) (*egress.Client, error) {
	address := c.EgressAddress()
	if address == "" {
		return nil, nil
	}
	secret, err := c.Egress.Secret()
	if err != nil {
		return nil, err
	}
	o := egress.Options{Secret: secret.Reveal()}
	o.Network, o.Address = config.Network(address)
	return egress.New(o), nil
}

// serveEnvoy listens where Envoy reaches the server, and the count of connections.
func serveEnvoy(ctx context.Context, group *errgroup.Group, server *extproc.Server, counter *connections.Counter, c config.Extproc) (*rpc.Server, *door, error) {
	tls, err := c.TLS()
	if err != nil {
		return nil, nil, err
	}
	g := server.GRPC(tls)
	counter.Register(g)
	d, err := open(ctx, c, server.Ready)
	if err != nil {
		return nil, nil, fmt.Errorf("extproc.address: %w", err)
	}
	group.Go(func() error { return g.Serve(d.Listener) })
	return g, d, nil
}

// serveMetrics serves /metrics until ctx ends. release gives the port back before
// that: whoever connects anew finds the next process, and a scraper that keeps its
// connection, as Prometheus does, goes on reading this one while calls drain.
func serveMetrics(ctx context.Context, group *errgroup.Group, metrics *usage.Metrics, c config.Metrics) (release func(), err error) {
	listener, err := net.Listen("tcp", c.Address)
	if err != nil {
		return nil, fmt.Errorf("metrics.address: %w", err)
	}
	handler := metrics.Handler()
	if c.Profiling {
		handler = profiled(handler)
	}
	m := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 5 * time.Minute}
	group.Go(func() error { return ignoreClosed(m.Serve(listener)) })
	group.Go(func() error { <-ctx.Done(); return m.Close() })
	return func() { listener.Close() }, nil
}

// drain lets calls in flight end; the end of hurry or the deadline cuts them.
func drain(hurry context.Context, g *rpc.Server, deadline time.Duration) {
	done := make(chan struct{})
	go func() { g.GracefulStop(); close(done) }()
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		g.Stop()
	case <-hurry.Done():
		g.Stop()
	}
	<-done
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
