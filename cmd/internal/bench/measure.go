package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"aisix/cmd/internal/bench/load"
	"aisix/cmd/internal/bench/proc"
	"aisix/cmd/internal/bench/upstream"
)

// A figure is what one window of a gateway in a mode gave.
type figure struct {
	perSecond  float64
	p50, p99   time.Duration
	first      time.Duration // p50
	gap        time.Duration // p99
	cpu        map[string]time.Duration
	switches   map[string]float64
	resident   map[string]int64
	other      float64 // CPU that neither the gateway nor the bench used, as a share of one core
	behind     int     // requests that waited for a connection, where there is a rate
	answers    int
	cpuDecides time.Duration // of Envoy and extproc together
}

// measure asks g as the mode says and reads what it cost. The upstream must have
// answered as often as was asked.
func (b *bench) measure(ctx context.Context, g *gateway, m *mode, window time.Duration) (*figure, error) {
	if err := b.set(ctx, m); err != nil {
		return nil, err
	}
	before, err := b.count(ctx)
	if err != nil {
		return nil, err
	}
	plan := m.plan
	plan.Warmup, plan.Window = b.warmup+plan.Stagger, window
	var readings []*reading
	var failed error
	peak := newPeak(g)
	result, err := load.Run(ctx, m.target(g), plan, func() {
		r, err := b.read(g)
		readings, failed = append(readings, r), errors.Join(failed, err)
	})
	resident := peak.end()
	if err := errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("%s, %s: %w", g.name, m.name, err)
	}
	after, err := b.count(ctx)
	if err != nil {
		return nil, err
	}
	if answered := after.Answered - before.Answered; answered != int64(result.Asked) || after.Refused != before.Refused {
		return nil, fmt.Errorf("%s, %s: asked %d times, but the upstream answered %d requests and refused %d",
			g.name, m.name, result.Asked, answered, after.Refused-before.Refused)
	}
	if result.Answers == 0 || len(readings) != 2 {
		return nil, fmt.Errorf("%s, %s: no answer ended in %v", g.name, m.name, window)
	}
	return newFigure(g, result, readings[0], readings[1], resident), nil
}

// A reading is what had been used at a moment.
type reading struct {
	parts   []proc.Usage  // of the gateway, in its order
	ours    time.Duration // the gateway's, the bench's and its upstream's
	machine time.Duration
}

func (b *bench) read(g *gateway) (*reading, error) {
	r := &reading{}
	for _, p := range g.parts {
		u, err := proc.Of(p.pid)
		if err != nil {
			return r, fmt.Errorf("%s: %w", p.name, err)
		}
		r.parts = append(r.parts, u)
		r.ours += u.CPU
	}
	for _, pid := range []int{b.upstreamPID, os.Getpid()} {
		u, err := proc.Of(pid)
		if err != nil {
			return r, err
		}
		r.ours += u.CPU
	}
	var err error
	r.machine, err = proc.Machine()
	return r, err
}

func newFigure(g *gateway, result *load.Result, from, to *reading, resident map[string]int64) *figure {
	n := time.Duration(result.Answers)
	f := &figure{
		perSecond: float64(result.Answers) / result.Took.Seconds(), answers: result.Answers, behind: result.Behind,
		p50: result.Whole.Quantile(.5), p99: result.Whole.Quantile(.99), first: result.First.Quantile(.5), gap: result.Gaps.Quantile(.99),
		cpu: map[string]time.Duration{}, switches: map[string]float64{}, resident: resident,
		other: max(0, ((to.machine-from.machine)-(to.ours-from.ours)).Seconds()) / result.Took.Seconds(),
	}
	for i, p := range g.parts {
		used := to.parts[i].Minus(from.parts[i])
		f.cpu[p.name] = used.CPU / n
		f.switches[p.name] = float64(used.Switches) / float64(result.Answers)
		if p.name != partValkey {
			f.cpuDecides += used.CPU / n
		}
	}
	return f
}

// A peak watches the memory of a gateway's processes.
type peak struct {
	stop chan struct{}
	done sync.WaitGroup
	most map[string]int64
}

func newPeak(g *gateway) *peak {
	p := &peak{stop: make(chan struct{}), most: map[string]int64{}}
	p.done.Go(func() {
		for {
			for _, part := range g.parts {
				if bytes, err := proc.Resident(part.pid); err == nil {
					p.most[part.name] = max(p.most[part.name], bytes)
				}
			}
			select {
			case <-p.stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	return p
}

func (p *peak) end() map[string]int64 {
	close(p.stop)
	p.done.Wait()
	return p.most
}

// set has the upstream answer as the mode wants.
func (b *bench) set(ctx context.Context, m *mode) error {
	return b.control(ctx, upstream.SettingsPath, upstream.Settings{Deltas: max(1, m.long.Deltas), Interval: m.long.Interval}, nil)
}

// control asks the upstream's own paths; in is posted, out is read.
func (b *bench) control(ctx context.Context, path string, in, out any) error {
	method, body := http.MethodGet, []byte(nil)
	if in != nil {
		method, body = http.MethodPost, []byte(marshal(in))
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+b.upstream+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := get(r)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

// get gives the body of an answer, which must be a 200.
func get(r *http.Request) ([]byte, error) {
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %.300s", r.URL.Path, response.Status, answer)
	}
	return answer, nil
}

// count is what the upstream has answered. The last answer is counted when its
// handler returns, which may be after the caller has it: two counts must agree.
func (b *bench) count(ctx context.Context) (upstream.Count, error) {
	var last upstream.Count
	for i := 0; ; i++ {
		var c upstream.Count
		if err := b.control(ctx, upstream.CountPath, nil, &c); err != nil || i > 0 && c == last {
			return c, err
		}
		last = c
		time.Sleep(5 * time.Millisecond)
	}
}

// median of figures by one value; figures stays as it is.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// spread is how far apart values lie, as a share of their median.
func spread(values []float64) float64 {
	m := median(values)
	if m == 0 {
		return 0
	}
	return (slices.Max(values) - slices.Min(values)) / m
}
