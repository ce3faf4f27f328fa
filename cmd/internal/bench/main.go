// Command bench is `make bench`: what a request costs in this gateway, beside the
// same Envoy without it and with an ext_proc that decides nothing, on this machine, in
// one interleaved run.
//
// The load (package load) is in this process; the upstream and the no-op ext_proc are
// copies of it, each a process of its own, so that their CPU can be told apart. The
// gateway is what `make run` starts. Absolute figures belong to the machine; what can
// be compared are the rows of one table. A wrong answer ends the run.
//
//	bench           the table: JSON, streams, large bodies
//	bench -memory   memory by open streams
//	bench -scale    cost by stored API keys and models
//	bench -profile  extproc's CPU profile under a mix of requests
//	bench -overload what becomes of more requests than the gateway can answer
//	bench -count    streams whose tokens Envoy counts (upstream.count_in_envoy)
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"aisix/cmd/internal/bench/noop"
	"aisix/cmd/internal/bench/upstream"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	bin, config, envoy, valkey string
	rounds                     int
	window                     time.Duration
	warmup                     time.Duration // before each: connections, pools and caches are there then
	only                       string
	deltas                     int  // of a stream; 0: as the modes have them
	streams                    int  // open at a time; 0: the same
	profiling                  bool // the gateway serves its CPU profile
}

// run is the command. As `bench upstream ADDRESS ADDRESS-OF-TLS PEM-FILE` or `bench noop SOCKET`
// it is one of its own helpers.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	switch {
	case len(args) == 4 && args[0] == helperUpstream:
		secure, err := listenTLS(args[2], args[3])
		if err != nil {
			return err
		}
		return serve(ctx, "tcp", args[1], func(l net.Listener) error { return upstream.Serve(l, secure) })
	case len(args) == 2 && args[0] == helperNoop:
		return serve(ctx, "unix", args[1], noop.Serve)
	}
	o := options{warmup: 700 * time.Millisecond}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.bin, "bin", ".bin", "folder with admin and extproc")
	flags.StringVar(&o.config, "config", "deploy/config.yaml", "config.yaml of the gateway")
	flags.StringVar(&o.envoy, "envoy", ".tools/envoy", "Envoy's binary")
	flags.StringVar(&o.valkey, "valkey", ".tools/valkey-server", "Valkey's binary")
	flags.IntVar(&o.rounds, "rounds", 3, "how often each row is measured")
	flags.DurationVar(&o.window, "window", 3*time.Second, "how long each time")
	flags.StringVar(&o.only, "only", "", "modes to measure, of c1,c32,r100,paced,messages,mantle,responses,64k,5m,nova; empty: all")
	flags.IntVar(&o.deltas, "deltas", 0, "how many deltas a stream has, of 10 ms each; 0: 60. Choose -window to hold a few streams")
	flags.IntVar(&o.streams, "streams", 0, "how many streams are open at a time; 0: 16")
	memory := flags.Bool("memory", false, "measure memory by open streams instead")
	scale := flags.Bool("scale", false, "measure cost by stored API keys and models instead")
	profile := flags.String("profile", "", "write extproc's CPU profile under a mix of requests to this file instead")
	overload := flags.Bool("overload", false, "measure answers and refusals past capacity instead")
	counted := flags.Bool("count", false, "measure streams whose tokens Envoy counts instead, against plain Envoy")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.rounds < 1 || o.window <= 0 || o.window > time.Minute {
		return errors.New("-rounds must be 1 or more, -window above 0 and at most 1m")
	}
	if o.deltas < 0 || time.Duration(o.deltas)*pace > o.window {
		return errors.New("-deltas must be 0 or more, and its streams no longer than -window")
	}
	if o.streams < 0 || o.streams > 1000 {
		return errors.New("-streams must be 0 to 1000")
	}
	for _, path := range []*string{&o.bin, &o.config, &o.envoy, &o.valkey} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	if o.profiling = *profile != ""; *counted {
		o.only = cmp.Or(o.only, strings.Join(counting, ","))
	}
	b, err := newBench(ctx, o, stdout, stderr)
	if err != nil {
		return err
	}
	defer b.close()
	switch {
	case *memory:
		return b.memory(ctx)
	case *scale:
		return b.scale(ctx)
	case *profile != "":
		return b.profile(ctx, *profile)
	case *overload:
		return b.overload(ctx)
	case *counted:
		return b.counted(ctx)
	}
	return b.compare(ctx)
}

// The helpers, as the first argument.
const (
	helperUpstream = "upstream"
	helperNoop     = "noop"
)

// serve runs a helper until ctx ends.
func serve(ctx context.Context, network, address string, on func(net.Listener) error) error {
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	if err := on(l); ctx.Err() == nil {
		return err
	}
	return nil
}
