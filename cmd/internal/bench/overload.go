package main

import (
	"context"
	"fmt"
	"time"

	"aisix/cmd/internal/bench/load"
	"aisix/cmd/internal/bench/proc"
	"aisix/cmd/internal/bench/upstream"
)

// crowd is over how many connections a load comes that does not wait for answers.
const crowd = 1024

// loads are how much is asked, as multiples of the capacity. The last shows whether
// the gateway is itself again at once.
var loads = []float64{0.5, 1, 1.5, 3, 0.5}

// overload tells what becomes of requests that come as fast as somebody likes: faster
// than the machine answers, and more at a time than there may be calls in flight.
func (b *bench) overload(ctx context.Context) error {
	g, err := b.product(ctx, nameOurs, stock{keys: 10, models: 1})
	if err != nil {
		return err
	}
	m := &modes[1] // JSON, 32 connections: the most that it answers
	most, err := b.measure(ctx, g, m, b.window)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "Capacity: %.0f requests a second over %d connections, p50 %.1f ms, p99 %.1f ms.\n\n", most.perSecond, m.plan.Connections, ms(most.p50), ms(most.p99))
	if err := b.pressures(ctx, g, m, most.perSecond); err != nil {
		return err
	}
	return b.bound(ctx)
}

// bound is the same where the calls in flight are what is bounded, and an answer takes
// its time, as Bedrock's do.
func (b *bench) bound(ctx context.Context) error {
	const calls, deltas = 24, 10
	g, err := b.product(ctx, nameOurs, stock{keys: 10, models: 1}, fmt.Sprintf("AISIX_EXTPROC__MAX_CALLS=%d", calls))
	if err != nil {
		return err
	}
	m := &mode{name: "bound", plan: load.Plan{Connections: calls}, body: conversation, long: upstream.Settings{Deltas: deltas, Interval: pace}}
	most := calls / ((deltas - 1) * pace).Seconds() // the first delta comes at once
	fmt.Fprintf(b.out, "\nAt most %d calls in flight (`extproc.max_calls`), streams of %d ms: %.0f a second.\n\n", calls, ((deltas - 1) * pace).Milliseconds(), most)
	return b.pressures(ctx, g, m, most)
}

// pressures asks g as m says at multiples of a rate.
func (b *bench) pressures(ctx context.Context, g *gateway, m *mode, most float64) error {
	fmt.Fprint(b.out, "| load | asked/s | answered/s | p50 ms | p99 ms | shed/s | p99 of the shed ms | late /s | extproc: CPU | Envoy: CPU |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, x := range loads {
		if err := b.press(ctx, g, m, x, x*most); err != nil {
			return err
		}
	}
	return nil
}

// press asks so many times a second, whatever is answered.
func (b *bench) press(ctx context.Context, g *gateway, m *mode, x, rate float64) error {
	if err := b.set(ctx, m); err != nil {
		return err
	}
	target := m.target(g)
	target.Sheds = true
	var used []map[string]time.Duration
	r, err := load.Run(ctx, target, load.Plan{Connections: crowd, Rate: rate, Warmup: b.warmup, Window: b.window}, func() {
		cpu := map[string]time.Duration{}
		for _, p := range g.parts {
			if u, err := proc.Of(p.pid); err == nil {
				cpu[p.name] = u.CPU
			}
		}
		used = append(used, cpu)
	})
	if err != nil {
		return err
	}
	s := r.Took.Seconds()
	share := func(part string) float64 { return (used[1][part] - used[0][part]).Seconds() / s }
	fmt.Fprintf(b.out, "| %.1f | %.0f | %.0f | %.1f | %.1f | %.0f | %.1f | %.0f | %.2f | %.2f |\n", x, rate, float64(r.Answers)/s,
		ms(r.Whole.Quantile(.5)), ms(r.Whole.Quantile(.99)), float64(r.Shed)/s, ms(r.Refused.Quantile(.99)), float64(r.Behind)/s, share(partExtproc), share(partEnvoy))
	return nil
}
