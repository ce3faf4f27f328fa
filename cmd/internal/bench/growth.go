package main

import (
	"context"
	"fmt"
	"time"

	"aisix/cmd/internal/bench/load"
	"aisix/cmd/internal/bench/proc"
	"aisix/cmd/internal/bench/upstream"
)

// openStreams are how many streams are open at once when memory is read, and what their
// prompts are: a coding agent's are long.
var openStreams = []struct {
	streams int
	prompt  string
	body    func() message
	tls     bool // to the upstream: this gateway alone, by HTTP/1.1 and by HTTP/2
}{
	{1000, "1 kB", conversation, false},
	{1000, "1 kB", conversation, true},
	{5000, "1 kB", conversation, false},
	{5000, "1 kB", conversation, true},
	{1000, "64 kB", func() message { return text(64_000) }, false},
	{5000, "64 kB", func() message { return text(64_000) }, false},
}

// standing is a mode whose streams stand still, like one whose model thinks: some deltas
// have come, the rest does when it is let go.
func standing(body func() message) *mode {
	return &mode{
		name: "held streams", body: body,
		long: upstream.Settings{Deltas: 20, Interval: 50 * time.Millisecond, Hold: 10},
	}
}

// memory tells what an open stream takes, in this gateway and in the others.
func (b *bench) memory(ctx context.Context) error {
	type line struct {
		streams int
		prompt  string
		gateway string
		kB      map[string]float64
		whole   map[string]int64
	}
	var lines []line
	for _, open := range openStreams {
		ours := func(name string, tls bool, env ...string) func(context.Context) (*gateway, error) {
			return func(ctx context.Context) (*gateway, error) {
				return b.product(ctx, name, stock{keys: 10, models: 1, tls: tls}, env...)
			}
		}
		starts := []func(context.Context) (*gateway, error){b.plain, b.noop, ours(nameOurs, false)}
		if open.tls {
			starts = starts[:0]
			starts = append(starts, ours(nameOurs+", TLS to the upstream", true), ours(nameOurs+", HTTP/2 to the upstream", true, "AISIX_UPSTREAM__HTTP2=true"))
		}
		// Started anew for each figure: what a process once had, it keeps for a while.
		for _, start := range starts {
			mark := len(b.kill)
			g, err := start(ctx)
			if err != nil {
				return err
			}
			before, after, err := b.hold(ctx, g, standing(open.body), open.streams)
			if err != nil {
				return fmt.Errorf("%s, %d streams: %w", g.name, open.streams, err)
			}
			l := line{open.streams, open.prompt, g.name, map[string]float64{}, after}
			for part := range after {
				l.kB[part] = float64(after[part]-before[part]) / 1000 / float64(open.streams)
			}
			lines = append(lines, l)
			b.say("%s, %d streams: %v kB a stream", g.name, open.streams, l.kB)
			for _, kill := range b.kill[mark:] {
				kill()
			}
			b.kill = b.kill[:mark]
			for _, s := range b.stacks {
				s.Kill()
			}
			b.stacks = nil
		}
	}
	fmt.Fprint(b.out, "| open streams | prompts | | kB a stream: Envoy | extproc | MB in all: Envoy | extproc |\n|--:|--:|---|--:|--:|--:|--:|\n")
	for _, l := range lines {
		fmt.Fprintf(b.out, "| %d | %s | %s | %.1f | %.1f | %.0f | %.0f |\n", l.streams, l.prompt, l.gateway, l.kB[partEnvoy], l.kB[partExtproc],
			float64(l.whole[partEnvoy])/(1<<20), float64(l.whole[partExtproc])/(1<<20))
	}
	return nil
}

// hold reads a gateway's memory before and while so many streams are open. All of
// them must then end as they should.
func (b *bench) hold(ctx context.Context, g *gateway, m *mode, streams int) (before, after map[string]int64, err error) {
	warm := mode{name: "warm-up", plan: load.Plan{Connections: 32}, body: conversation}
	if _, err := b.measure(ctx, g, &warm, time.Second); err != nil {
		return nil, nil, err
	}
	if before, err = residents(g); err != nil {
		return nil, nil, err
	}
	if err := b.control(ctx, upstream.SettingsPath, m.long, nil); err != nil {
		return nil, nil, err
	}
	err = load.Hold(ctx, m.target(g), streams, func() error {
		// The last one has its first delta now; the rest of those before the hold are to come.
		time.Sleep(2 * time.Duration(m.long.Hold) * m.long.Interval)
		var err error
		after, err = residents(g)
		release := b.control(ctx, upstream.ReleasePath, struct{}{}, nil)
		if err == nil {
			err = release
		}
		return err
	})
	return before, after, err
}

func residents(g *gateway) (map[string]int64, error) {
	all := map[string]int64{}
	for _, p := range g.parts {
		bytes, err := proc.Resident(p.pid)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		all[p.name] = bytes
	}
	return all, nil
}

// stocks are what cost is compared by; the first is what the others are multiples of.
var stocks = []stock{{keys: 10, models: 1}, {keys: 100_000, models: 1}, {keys: 10, models: 10_000}}

// scale tells whether a request costs more where there are many API keys or models.
// The gateways stand side by side, as those of the table do.
func (b *bench) scale(ctx context.Context) error {
	var all []*gateway
	for _, s := range stocks {
		name := fmt.Sprintf("keys %d, models %d", s.keys, s.models)
		began := time.Now()
		g, err := b.product(ctx, name, s)
		if err != nil {
			return err
		}
		b.say("%s: there after %.1f s", name, time.Since(began).Seconds())
		all = append(all, g)
	}
	t := &table{}
	if err := b.rounds(ctx, modes[:3], all, t); err != nil {
		return err
	}
	fmt.Fprintln(b.out, t.markdown(all[0].name))
	return nil
}
