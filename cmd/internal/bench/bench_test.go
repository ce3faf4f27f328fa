package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"aisix/cmd/internal/bench/upstream"
	"aisix/envoy/envoytest"
)

// The helpers are this binary.
func TestMain(m *testing.M) {
	if len(os.Args) >= 3 && (os.Args[1] == helperUpstream || os.Args[1] == helperNoop) {
		if err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// The floors carry every mode on a real Envoy: each answer is checked, and the
// upstream has answered as often as was asked.
func TestTheFloorsCarryEveryMode(t *testing.T) {
	b, err := newBench(t.Context(), options{envoy: envoytest.Binary(t)}, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	plain, err := b.plain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	noop, err := b.noop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range modes {
		if m.kind == kindNova {
			continue
		}
		m.plan.Stagger /= 20
		m.long.Interval /= 20
		for _, g := range []*gateway{plain, noop} {
			f, err := b.measure(t.Context(), g, &m, 100*time.Millisecond)
			if err != nil {
				t.Error(err)
				continue
			}
			if f.answers == 0 || f.cpu[partEnvoy] <= 0 || f.resident[partEnvoy] < 1<<20 || g == noop && f.cpu[partExtproc] <= 0 {
				t.Errorf("%s, %s: %+v", g.name, m.name, f)
			}
		}
	}
	// One that answers less than it was asked is found out.
	plain.asks = asksNoop
	if _, err := b.measure(t.Context(), plain, &modes[0], 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "answers were wrong") {
		t.Error(err)
	}
}

func TestTheTable(t *testing.T) {
	json, nova := &mode{name: "JSON"}, &mode{name: "Nova: JSON", kind: kindNova}
	floor := &gateway{name: nameNoop, parts: []part{{partEnvoy, 1}, {partExtproc, 2}}}
	ours := &gateway{name: "this gateway", parts: []part{{partEnvoy, 3}, {partExtproc, 4}, {partValkey, 5}}}
	figure := func(ms time.Duration) *figure {
		return &figure{
			perSecond: 100, p50: ms * time.Millisecond, cpuDecides: ms * time.Millisecond,
			cpu:      map[string]time.Duration{partEnvoy: 2 * time.Millisecond, partValkey: time.Millisecond},
			resident: map[string]int64{partEnvoy: 64 << 20},
		}
	}
	table := &table{}
	for round, ms := range []time.Duration{10, 20, 40} { // the machine slows down
		table.add(json, floor, round, figure(ms))
		table.add(json, ours, round, figure(ms*3/2))
		table.add(nova, ours, round, figure(ms*2))
	}
	got := strings.Split(table.markdown(nameNoop), "\n")
	want := []string{
		"| JSON | no-op ext_proc | 100 | 20.00 | 0.00 |  |  | 2.000 | 0.000 |  | **20.000** | 150 | 1.00 | 0.0 | 0.0 |  | 64 | 0 | 0 |",
		"| JSON | this gateway | 100 | 30.00 | 0.00 |  |  | 2.000 | 0.000 | 1.000 | **30.000** | 150 | 1.50 | 0.0 | 0.0 | 0.0 | 64 | 0 | 0 |",
		"| Nova: JSON | this gateway | 100 | 40.00 | 0.00 |  |  | 2.000 | 0.000 | 1.000 | **40.000** | 150 | 2.00 | 0.0 | 0.0 | 0.0 | 64 | 0 | 0 |",
	}
	if len(got) != 6 || strings.Join(got[2:5], "\n") != strings.Join(want, "\n") {
		t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if columns := strings.Count(got[0], "|"); columns != strings.Count(got[1], "|") || columns != strings.Count(got[2], "|") {
		t.Errorf("columns differ:\n%s", strings.Join(got, "\n"))
	}
}

// The upstream speaks HTTP/2 over TLS, by a certificate that a gateway can trust.
func TestTheUpstreamSpeaksHTTP2(t *testing.T) {
	b, err := newBench(t.Context(), options{}, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	text, err := os.ReadFile(b.upstreamCA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	a, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get("https://" + b.upstreamTLS + upstream.CountPath)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode != http.StatusOK || a.ProtoMajor != 2 {
		t.Errorf("%s %s", a.Proto, a.Status)
	}
}

func TestMediansAndSpread(t *testing.T) {
	for _, test := range []struct {
		values         []float64
		median, spread float64
	}{{nil, 0, 0}, {[]float64{3}, 3, 0}, {[]float64{4, 1}, 2.5, 1.2}, {[]float64{9, 1, 2}, 2, 4}} {
		if m, s := median(test.values), spread(test.values); m != test.median || s != test.spread {
			t.Errorf("%v: %g, %g", test.values, m, s)
		}
	}
}

func TestOnlyNamesModes(t *testing.T) {
	b := &bench{options: options{only: "c1,paced"}}
	if got, err := b.wanted(); err != nil || len(got) != 2 || got[1].flag != "paced" {
		t.Error(got, err)
	}
	b.only = "c1,c2"
	if _, err := b.wanted(); err == nil || !strings.Contains(err.Error(), `"c2"`) {
		t.Error(err)
	}
	b.only = "mantle,paced"
	if err := b.counted(t.Context()); err == nil || !strings.Contains(err.Error(), `"paced"`) {
		t.Error(err)
	}
	for _, name := range counting {
		b.only = name
		if got, err := b.wanted(); err != nil || len(got) != 1 || !got[0].passes() || !got[0].streams() {
			t.Error(name, got, err)
		}
	}
}

func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-window", "2h"}, {"extra"}, {"-rounds", "x"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Error(args)
		}
	}
}
