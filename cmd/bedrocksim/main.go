// Command bedrocksim is a Bedrock to develop against: package sim, behind a listener.
//
// Its flags are the keys that it takes and how it behaves from the start; how to make it misbehave
// is in docs/simulator.md.
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
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"aisix/cmd/bedrocksim/sigv4"
	"aisix/cmd/bedrocksim/sim"
	"aisix/cmd/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bedrocksim:", err)
		os.Exit(1)
	}
}

// keys is what the repeated -key and -expired-key flags say.
type keys map[string][]sigv4.Key

func (k keys) add(value string, expired bool) error {
	parts := strings.SplitN(value, ":", 3)
	if len(parts) < 2 || parts[0] == "" || parts[1] == "" {
		return errors.New("want id:secret or id:secret:token")
	}
	key := sigv4.Key{Secret: parts[1], Expired: expired}
	if len(parts) == 3 {
		key.Token = parts[2]
	}
	k[parts[0]] = append(k[parts[0]], key)
	return nil
}

// run is the command until ctx ends; calls that are open then are broken off.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	// The placeholders of the documentation page are good from the start.
	known := keys{"YOUR_AWS_ACCESS_KEY_ID": {{Secret: "YOUR_AWS_SECRET_ACCESS_KEY"}, {Secret: "YOUR_AWS_SECRET_ACCESS_KEY", Token: "YOUR_AWS_SESSION_TOKEN"}}}
	flags := flag.NewFlagSet("bedrocksim", flag.ContinueOnError)
	flags.SetOutput(stderr)
	address := flags.String("address", "127.0.0.1:3010", "host:port to listen on")
	region := flags.String("region", "", "the one region whose signatures are taken; empty: any")
	behaviour := flags.String("behaviour", "", "control words that every request obeys from the start, as in \"every=100ms words=50\"")
	flags.Func("key", "further credentials, `id:secret[:token]`; may be repeated", func(v string) error { return known.add(v, false) })
	var apiKeys []sim.APIKey
	flags.Func("api-key", "a Bedrock `API key` that is taken as a bearer; may be repeated", func(v string) error { apiKeys = append(apiKeys, sim.APIKey{Secret: v}); return nil })
	flags.Func("expired-api-key", "an `API key` that has expired; may be repeated", func(v string) error {
		apiKeys = append(apiKeys, sim.APIKey{Secret: v, Expired: true})
		return nil
	})
	flags.Func("expired-key", "temporary credentials that have expired, `id:secret:token`; may be repeated", func(v string) error { return known.add(v, true) })
	showVersion := flags.Bool("version", false, "say which build this is, and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if *showVersion {
		return version.Print(stdout, "bedrocksim")
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	server := sim.New(&sigv4.Verifier{Keys: known, Service: "bedrock", Region: *region, Skew: 5 * time.Minute, Now: time.Now}, log)
	server.Take(apiKeys...)
	if err := server.Behave(*behaviour); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	log.Info("bedrocksim listens", "version", version.Of().Version, "address", listener.Addr().String())
	h := &http.Server{Handler: server, ReadHeaderTimeout: 10 * time.Second}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return h.Serve(listener) })
	group.Go(func() error { <-ctx.Done(); return h.Close() })
	if err := group.Wait(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
