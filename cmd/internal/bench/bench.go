package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"aisix/cmd/internal/stack"
)

// A bench is what one run has started.
type bench struct {
	options
	out, log io.Writer
	dir      string // of everything that is written, short as a socket's path has to be

	upstream    string // host:port
	upstreamTLS string // host:port, where it speaks TLS, and HTTP/2 with who wants it
	upstreamCA  string // its certificate's file
	upstreamPID int
	stacks      []*stack.Stack
	kill        []func()
	started     int // processes, ever
}

func newBench(ctx context.Context, o options, out, log io.Writer) (*bench, error) {
	// Envoy needs two files for each open stream. Set here, even to what it is: a child
	// would get the limit of before Go raised it.
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return nil, err
	}
	files.Cur = files.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, out: out, log: log, dir: dir}
	b.upstreamCA = filepath.Join(dir, "upstream.pem")
	if err = writeCertificate(b.upstreamCA); err == nil {
		b.upstream, err = stack.FreePort()
	}
	if err == nil {
		b.upstreamTLS, err = stack.FreePort()
	}
	if err == nil {
		b.upstreamPID, err = b.helper(ctx, helperUpstream, "tcp", b.upstream, b.upstreamTLS, b.upstreamCA+keySuffix)
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// close ends all processes and removes what was written.
func (b *bench) close() {
	for _, s := range b.stacks {
		s.Kill()
	}
	for _, kill := range b.kill {
		kill()
	}
	os.RemoveAll(b.dir)
}

// say tells whoever waits.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

// compare is the table. Within a round each mode is measured for every gateway in
// turn, so that what disturbs the machine disturbs them alike.
func (b *bench) compare(ctx context.Context) error {
	wanted, err := b.wanted()
	if err != nil {
		return err
	}
	return b.beside(ctx, wanted, nameNoop, b.plain, b.noop, func(ctx context.Context) (*gateway, error) {
		return b.product(ctx, nameOurs, stock{keys: 10, models: 1})
	})
}

// beside is the table of gateways in some modes, as multiples of the one that is named floor.
func (b *bench) beside(ctx context.Context, modes []mode, floor string, starts ...func(context.Context) (*gateway, error)) error {
	var all []*gateway
	for _, start := range starts {
		g, err := start(ctx)
		if err != nil {
			return err
		}
		all = append(all, g)
	}
	t := &table{}
	if err := b.rounds(ctx, modes, all, t); err != nil {
		return err
	}
	fmt.Fprintln(b.out, t.markdown(floor))
	return nil
}

// rounds measures every gateway in every mode, again and again.
func (b *bench) rounds(ctx context.Context, modes []mode, all []*gateway, t *table) error {
	began := time.Now()
	for round := range b.options.rounds {
		for i := range modes {
			for _, g := range all {
				if modes[i].kind == kindNova && g.asks.models == 0 {
					continue // nothing but the path would differ: the row's floor is that of Claude
				}
				f, err := b.measure(ctx, g, &modes[i], b.window)
				if err != nil {
					return err
				}
				t.add(&modes[i], g, round, f)
				b.say("%4.0fs  round %d  %-28s %-16s %8.0f/s  p50 %8.3f ms  CPU %7.3f ms  other %2.0f%%",
					time.Since(began).Seconds(), round+1, modes[i].name, g.name, f.perSecond, ms(f.p50), ms(f.cpuDecides), 100*f.other)
			}
		}
	}
	return nil
}

// wanted are the modes that -only names, all without it, with streams as long as -deltas says and as
// many as -streams does.
func (b *bench) wanted() ([]mode, error) {
	wanted := slices.Clone(modes)
	if b.only != "" {
		wanted = nil
		for name := range strings.SplitSeq(b.only, ",") {
			i := slices.IndexFunc(modes, func(m mode) bool { return m.flag == name })
			if i < 0 {
				return nil, fmt.Errorf("-only: no mode %q: want c1, c32, r100, paced, messages, mantle, responses, 64k, 5m, nova", name)
			}
			wanted = append(wanted, modes[i])
		}
	}
	for i, m := range wanted {
		if !m.streams() {
			continue
		}
		if b.deltas > 0 {
			m = m.of(b.deltas)
		}
		if b.streams > 0 {
			m.plan.Connections = b.streams
			m.name = strings.Replace(m.name, "16 ", strconv.Itoa(b.streams)+" ", 1)
		}
		wanted[i] = m
	}
	return wanted, nil
}
