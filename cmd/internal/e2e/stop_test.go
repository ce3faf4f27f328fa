package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// heldStream is a gateway with one stream open, whose upstream waits to be released.
func heldStream(t *testing.T) (*gateway, *events, chan<- struct{}) {
	t.Helper()
	release := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		emit(w, "contentBlockDelta", delta("Once upon"))
		select {
		case <-release:
			finish(w)
		case <-r.Context().Done():
		}
	})
	g := start(t, options{})
	e := g.tenant(t, u.URL, settings{}).stream(t, t.Context(), "A story")
	if _, err := e.next(); err != nil {
		t.Fatal(err)
	}
	return g, e, release
}

// The first signal: calls in flight end well, new ones get a clear error, and then the process ends.
func TestStopLetsAStreamEnd(t *testing.T) {
	t.Parallel()
	g, e, release := heldStream(t)
	g.Extproc.Signal(syscall.SIGTERM)
	eventually(t, patience, func() error {
		a, err := do(t.Context(), http.MethodGet, g.proxy+"/readyz", "", "")
		if err != nil {
			return err
		}
		if kind, _, _ := a.fault(); a.status != http.StatusServiceUnavailable || kind != "gateway_unavailable" {
			return fmt.Errorf("ready after SIGTERM: %d %s", a.status, a.body)
		}
		return nil
	})
	if !g.Extproc.Running() {
		t.Fatal("extproc ended with a stream open")
	}
	close(release)
	all, err := e.rest()
	if err != io.EOF || len(all) == 0 || all[len(all)-1] != "[DONE]" {
		t.Errorf("the stream ended with %q, %v", all, err)
	}
	select {
	case <-g.Extproc.Exited():
	case <-time.After(patience):
		t.Fatal("extproc still runs after its last stream ended")
	}
	if log := string(g.Extproc.Log()); !strings.Contains(log, `"outcome":"succeeded","latency_ms"`) || strings.Contains(log, "not everything was written") {
		t.Errorf("the stream is not in the log as a success:\n%s", log)
	}
}

// The second signal ends it at once; the open stream does not look whole.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	g, e, _ := heldStream(t)
	g.Extproc.Signal(syscall.SIGTERM)
	eventually(t, patience, func() error {
		if !strings.Contains(string(g.Extproc.Log()), "stopping") {
			return fmt.Errorf("the first signal was not taken")
		}
		return nil
	})
	g.Extproc.Signal(syscall.SIGTERM)
	select {
	case <-g.Extproc.Exited():
	case <-time.After(patience):
		t.Fatal("extproc still runs after the second signal")
	}
	all, err := e.rest()
	if len(all) > 0 && all[len(all)-1] == "[DONE]" || err == io.EOF && !strings.Contains(strings.Join(all, ""), `"error"`) {
		t.Errorf("the stream ended as if it were whole: %q, %v", all, err)
	}
}
