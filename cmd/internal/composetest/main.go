// Command composetest runs docker-compose.yaml on a real engine and does to it what happens to it in use: a first
// start with the documentation's commands, updates under traffic, crashes of each container, restarts of the
// engine. It counts calls: refused, and cut in the middle. `make compose-test` runs it.
//
// It knows the file as its users do, by `docker compose` and the two published ports, and runs as a project of
// its own: what it made it removes, volumes too. What it cannot do here it says, and why.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "composetest:", err)
		os.Exit(1)
	}
}

// leftOut is a step that cannot be done on this machine.
type leftOut string

func (l leftOut) Error() string { return string(l) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("composetest", flag.ContinueOnError)
	b := bench{out: out, project: "aisix-compose-test"}
	flags.BoolVar(&b.build, "build", true, "build the images first")
	flags.IntVar(&b.restarts, "restarts", 9, "how many restarts of the engine")
	flags.StringVar(&b.restart, "engine-restart", os.Getenv("ENGINE_RESTART"), "shell `command` that restarts the engine; its $1 is the number of the restart")
	flags.BoolVar(&b.keep, "keep", false, "leave the containers running at the end")
	only := flags.String("only", "", "steps to do, by the first word of their names, with commas between; the first start always is")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if why := b.missing(ctx); why != "" {
		fmt.Fprintf(out, "left out: all of compose-test, since %s\n", why)
		return nil
	}
	if !b.keep {
		defer b.compose(context.WithoutCancel(ctx), "--profile", "*", "down", "--volumes", "--timeout", "5")
	}
	failed := 0
	for i, s := range b.steps() {
		word, _, _ := strings.Cut(s.name, " ")
		if i > 0 && *only != "" && !strings.Contains(","+*only+",", ","+word+",") {
			continue
		}
		begun := time.Now()
		said, err := s.do(ctx)
		var no leftOut
		switch {
		case errors.As(err, &no):
			fmt.Fprintf(out, "left out  %s: %s\n", s.name, no)
		case err != nil:
			failed++
			fmt.Fprintf(out, "FAILED    %s: %v\n", s.name, err)
			if i == 0 {
				return errors.New("nothing to try: the gateway did not start")
			}
		default:
			fmt.Fprintf(out, "ok        %s: %s (%.0f s)\n", s.name, said, time.Since(begun).Seconds())
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d steps failed", failed)
	}
	return nil
}

// A step does one thing to the gateway, and says in a few words, with counts, what came of it.
type step struct {
	name string
	do   func(context.Context) (string, error)
}

func (b *bench) steps() []step {
	return []step{
		{"start, and the documentation's commands", b.start},
		{"containers: rights and limits", b.contained},
		{"networks: who reaches whom", b.networks},
		{"metrics: each target of prometheus.yml", b.scraped},
		{"configuration of proxy.* without Go", b.configured},
		{"admin key of one's own", b.adminKey},
		{"update: extproc-a, then extproc-b, restarted", b.updated("restart")},
		{"update: extproc-a, then extproc-b, recreated", b.updated("up", "--detach", "--no-deps", "--force-recreate", "--wait")},
		{"envoy restarted under streams", b.envoyRestarted},
		{"crash of each container", b.crashed},
		{"kill of each container by docker kill", b.killed},
		{"health without any extproc", b.healthTold},
		{"engine restarts", b.engine},
	}
}
