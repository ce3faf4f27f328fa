package main

import (
	"fmt"
	"strings"
	"time"
)

// A table has, for each mode and gateway, the figures of each round.
type table struct{ rows []*row }

type row struct {
	mode    *mode
	gateway *gateway
	figures map[int]*figure // by round
}

func (t *table) add(m *mode, g *gateway, round int, f *figure) {
	r := t.row(m, g.name)
	if r == nil {
		r = &row{mode: m, gateway: g, figures: map[int]*figure{}}
		t.rows = append(t.rows, r)
	}
	r.figures[round] = f
}

func (t *table) row(m *mode, gateway string) *row {
	for _, r := range t.rows {
		if r.mode.name == m.name && r.gateway.name == gateway {
			return r
		}
	}
	return nil
}

// of gives a value of each round.
func (r *row) of(value func(*figure) float64) (values []float64) {
	for _, f := range r.figures {
		values = append(values, value(f))
	}
	return values
}

// against gives, of each round that both have, how many times the floor's CPU r took:
// two windows of one round saw the same machine.
func (r *row) against(floor *row) (ratios []float64) {
	for round, f := range r.figures {
		if g := floor.figures[round]; g != nil && g.cpuDecides > 0 {
			ratios = append(ratios, float64(f.cpuDecides)/float64(g.cpuDecides))
		}
	}
	return ratios
}

// columns are what a row tells; the × is against the floor.
var columns = []string{
	"", "", "req/s", "p50 ms", "p99 ms", "TTFT p50", "gap p99", "CPU ms: Envoy", "extproc", "Valkey", "Envoy + extproc", "± %", "×",
	"switches: Envoy", "extproc", "Valkey", "MB: Envoy", "extproc", "other %",
}

// markdown is the table: medians over the rounds. CPU and switches are by request.
// floor is the name of the gateway that the others are multiples of.
func (t *table) markdown(floor string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|---|---|%s\n", strings.Join(columns, " | "), strings.Repeat("--:|", len(columns)-2))
	for _, r := range t.rows {
		of := func(format string, value func(*figure) float64) string {
			return fmt.Sprintf(format, median(r.of(value)))
		}
		cpu := func(part string) string {
			return r.where(part, func() string { return of("%.3f", func(f *figure) float64 { return ms(f.cpu[part]) }) })
		}
		switches := func(part string) string {
			return r.where(part, func() string { return of("%.1f", func(f *figure) float64 { return f.switches[part] }) })
		}
		resident := func(part string) string {
			return r.where(part, func() string {
				return of("%.0f", func(f *figure) float64 { return float64(f.resident[part]) / (1 << 20) })
			})
		}
		first, gap := "", ""
		if r.mode.streams() {
			first = of("%.2f", func(f *figure) float64 { return ms(f.first) })
			gap = of("%.1f", func(f *figure) float64 { return ms(f.gap) })
		}
		ratio := ""
		if f := t.floor(r, floor); f != nil {
			ratio = fmt.Sprintf("%.2f", median(r.against(f)))
		}
		decides := func(f *figure) float64 { return ms(f.cpuDecides) }
		cells := []string{
			r.mode.name, r.gateway.name,
			of("%.0f", func(f *figure) float64 { return f.perSecond }),
			of("%.2f", func(f *figure) float64 { return ms(f.p50) }),
			of("%.2f", func(f *figure) float64 { return ms(f.p99) }),
			first, gap, cpu(partEnvoy), cpu(partExtproc), cpu(partValkey),
			of("**%.3f**", decides), fmt.Sprintf("%.0f", 100*spread(r.of(decides))), ratio,
			switches(partEnvoy), switches(partExtproc), switches(partValkey),
			resident(partEnvoy), resident(partExtproc),
			of("%.0f", func(f *figure) float64 { return 100 * f.other }),
		}
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	return b.String()
}

// floor is the row that r is a multiple of: the floor's in the same mode, or, where
// it was not measured with this kind of model, in the one that differs only in that.
func (t *table) floor(r *row, name string) *row {
	if f := t.row(r.mode, name); f != nil || r.mode.kind == "" {
		return f
	}
	_, other, _ := strings.Cut(r.mode.name, ": ")
	return t.row(&mode{name: other}, name)
}

// where gives what tell says if the gateway has such a part.
func (r *row) where(part string, tell func() string) string {
	for _, p := range r.gateway.parts {
		if p.name == part {
			return tell()
		}
	}
	return ""
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
