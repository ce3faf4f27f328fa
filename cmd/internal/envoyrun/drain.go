// Package envoyrun runs an Envoy and lets it end in good order.
//
// Envoy ends at once on SIGTERM, and with it every stream; what drains it is its admin interface. The
// images of Envoy hold nothing that could speak to that, so our own binary does: as the command that a
// pod runs before it stops (`extproc -drain-envoy`), or as Envoy's parent (`extproc -run-envoy`).
package envoyrun

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// look is how often Envoy is asked how many calls it has.
	look = 100 * time.Millisecond
	// quiet is for how long there must be none: between two answers on a connection that is kept,
	// another request may be on its way.
	quiet = time.Second
)

// Options are how an Envoy is drained.
type Options struct {
	Socket   string        // of its admin interface
	LameDuck time.Duration // how long it still takes connections, while balancers find out
	For      time.Duration // how long calls in flight have
	Log      *slog.Logger
}

// Drain makes Envoy close each connection behind the answer that is under way, take no new connections
// after a while, and returns once no call is in flight. It is an error if some are after o.For, or when
// ctx ends; none if Envoy ends by itself.
func Drain(ctx context.Context, o Options) error {
	a := admin{&http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", o.Socket)
	}}}}
	// Answers say "connection: close" from here on; HTTP/2 gets a GOAWAY.
	if _, err := a.ask(ctx, http.MethodPost, "/healthcheck/fail"); err != nil {
		return fmt.Errorf("the admin interface at %s: %w", o.Socket, err)
	}
	o.Log.Info("draining Envoy", "lame_duck", o.LameDuck.String(), "deadline", o.For.String())
	if err := pause(ctx, o.LameDuck); err != nil {
		return err
	}
	// Of callers alone: calls in flight may still go out by the egress listener.
	if _, err := a.ask(ctx, http.MethodPost, "/drain_listeners?inboundonly"); err != nil {
		return gone(err)
	}
	deadline, cancel := context.WithTimeout(ctx, o.For)
	defer cancel()
	idle := time.Duration(0)
	for {
		calls, err := a.calls(deadline)
		if err != nil && deadline.Err() == nil {
			return gone(err)
		}
		if idle += look; calls > 0 || err != nil {
			idle = 0
		}
		if idle > quiet {
			return nil
		}
		if pause(deadline, look) != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%d calls were still in flight after %s", calls, o.For)
		}
	}
}

// gone is nil where nobody listens any more: Envoy has ended.
func gone(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
		return nil
	}
	return err
}

// admin is an Envoy's admin interface.
type admin struct{ client *http.Client }

func (a admin) ask(ctx context.Context, method, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://envoy"+path, nil)
	if err != nil {
		return "", err
	}
	response, err := a.client.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s", method, path, response.Status)
	}
	return string(body), err
}

// active are the gauges of calls in flight, of each HTTP listener.
const active = ".downstream_rq_active"

// calls is how many calls are in flight, those of the admin interface itself apart.
func (a admin) calls(ctx context.Context) (n int, err error) {
	stats, err := a.ask(ctx, http.MethodGet, "/stats?filter="+url.QueryEscape(`^http\..*\.downstream_rq_active$`))
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(strings.NewReader(stats))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		if name == "http.admin"+active || name == "http.statistics"+active {
			continue
		}
		count, err := strconv.Atoi(value)
		if err != nil {
			return 0, fmt.Errorf("%s is %q", name, value)
		}
		n += count
	}
	return n, lines.Err()
}

// pause waits, and returns an error where ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
