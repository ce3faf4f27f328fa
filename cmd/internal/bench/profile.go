package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"
)

// profiling is how long the CPU profile takes, below what the server lets an answer take.
const profiling = 24 * time.Second

// profileMix is what extproc is asked meanwhile, by share of the time: what most
// gateways carry.
var profileMix = []struct {
	flag  string
	share int
}{{"c32", 5}, {"nova", 4}, {"paced", 5}, {"64k", 2}, {"r100", 2}, {"5m", 1}}

// profile writes extproc's CPU profile under a mix of requests to a file: what
// cmd/extproc/default.pgo is.
func (b *bench) profile(ctx context.Context, file string) error {
	g, err := b.product(ctx, nameOurs, stock{keys: 1000, models: 100})
	if err != nil {
		return err
	}
	b.say("a profile of %v", profiling)
	written := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { written <- fetchProfile(ctx, g.metrics, file) }()
	all := 0
	for _, part := range profileMix {
		all += part.share
	}
	for _, part := range profileMix {
		m := &modes[slices.IndexFunc(modes, func(m mode) bool { return m.flag == part.flag })]
		window := profiling*time.Duration(part.share)/time.Duration(all) - b.warmup - m.plan.Stagger
		f, err := b.measure(ctx, g, m, max(window, b.warmup))
		if err != nil {
			return err
		}
		b.say("%-28s %8.0f/s  extproc %7.3f ms", m.name, f.perSecond, ms(f.cpu[partExtproc]))
	}
	return <-written
}

func fetchProfile(ctx context.Context, address, file string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", address, int(profiling.Seconds())), nil)
	if err != nil {
		return err
	}
	profile, err := get(r)
	if err != nil {
		return err
	}
	return os.WriteFile(file, profile, 0o644)
}
