package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"aisix/cmd/bedrocksim/sigv4"
	"aisix/cmd/bedrocksim/sim"
	"aisix/cmd/internal/stack"
)

// An extproc that hangs has its connections still, and the kernel takes new ones for it: over a Unix
// socket, and over loopback TCP, the other way to reach it. Calls end with our 503 all the same,
// what was in flight ends, and when it goes on, so do they. Nothing of it reaches the upstream twice.
func TestExtprocHangs(t *testing.T) {
	t.Parallel()
	loopback, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string][]string{"socket": nil, "TCP": {"AISIX_EXTPROC__ADDRESS=" + loopback}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				if !isStream(r) {
					whole(w, "Hello.")
					return
				}
				streaming(w)
				emit(w, "messageStart", `{"role":"assistant"}`)
				emit(w, "contentBlockDelta", delta("Once upon"))
				<-r.Context().Done()
			})
			g := start(t, options{env: env})
			if network, _ := g.Config.Extproc.Network(); (network == "unix") != (name == "socket") {
				t.Fatalf("extproc listens on %s", g.Config.Extproc.Address)
			}
			c := g.tenant(t, u.URL, settings{})
			c.served(t)
			e := c.stream(t, t.Context(), "A story")
			if _, err := e.next(); err != nil {
				t.Fatal(err)
			}
			before := u.requests()

			g.Extproc.Signal(syscall.SIGSTOP)
			t.Cleanup(func() { g.Extproc.Signal(syscall.SIGCONT) })
			eventually(t, patience, func() error { return stopped(g.Extproc.PID()) })
			refused := func() {
				var all sync.WaitGroup
				defer all.Wait()
				for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPost} {
					path, body := "/livez", ""
					if method == http.MethodPost {
						path, body = "/v1/chat/completions", c.ask("Hello", false)
					}
					all.Go(func() {
						a, err := do(t.Context(), method, g.proxy+path, c.key, body)
						if err != nil {
							t.Error(err)
							return
						}
						a.want(t, http.StatusServiceUnavailable, "gateway_unavailable")
						if a.header.Get("retry-after") == "" {
							t.Error("no Retry-After")
						}
					})
				}
			}
			refused()
			all, err := e.rest()
			if err == nil || err == io.EOF {
				t.Errorf("the stream in flight ended as if it were whole: %q, %v", all, err)
			}
			if name == "socket" {
				refused() // on connections that nobody has taken
			}

			g.Extproc.Signal(syscall.SIGCONT)
			eventually(t, patience, func() error {
				a, err := c.chat(t.Context(), "Hello")
				if err == nil && a.status != http.StatusOK {
					err = errors.New(a.body)
				}
				return err
			})
			if n := u.requests() - before; n != 1 {
				t.Errorf("the upstream got %d requests, and one was answered", n)
			}
		})
	}
}

// stopped is nil once all threads of a process stand still: a signal takes its time to reach them.
func stopped(pid int) error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err == nil && len(threads) == 0 {
		err = errors.New("no threads")
	}
	for _, thread := range threads {
		stat, readErr := os.ReadFile(thread)
		_, state, _ := strings.Cut(string(stat), ") ")
		if err = errors.Join(err, readErr); err == nil && !strings.HasPrefix(state, "T") {
			err = errors.New("it still runs: " + string(stat))
		}
	}
	return err
}

// Connections that say nothing take all that there are: those who have something to say get in when
// the silent ones are let go, and callers who keep their connection keep it.
func TestSilentConnectionsShutNobodyOut(t *testing.T) {
	t.Parallel()
	const most = 20
	g := start(t, options{env: []string{fmt.Sprint("AISIX_PROXY__MAX_CONNECTIONS=", most), "AISIX_TIMEOUTS__FIRST_BYTE=1s"}})
	kept := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer kept.CloseIdleConnections()
	live := func(c *http.Client) (string, error) {
		r, err := c.Get(g.proxy + "/livez")
		if err != nil {
			return "", err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		return string(b), err
	}
	if _, err := live(kept); err != nil {
		t.Fatal(err)
	}
	var silent []net.Conn
	for range 2 * most { // those past the limit are closed at once
		c := g.dial(t)
		c.SetDeadline(time.Now().Add(patience))
		silent = append(silent, c)
	}
	for i, c := range silent {
		if n, err := c.Read(make([]byte, 1)); n != 0 || isTimeout(err) {
			t.Errorf("silent connection %d: %v", i, err)
		}
	}
	for name, c := range map[string]*http.Client{"the kept connection": kept, "a new one": client} {
		if got, err := live(c); err != nil || got != `{"status":"ok"}` {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// One address has only so many connections, those that say nothing too; others get in.
func TestConnectionsPerAddress(t *testing.T) {
	t.Parallel()
	const most = 5
	g := start(t, options{env: []string{fmt.Sprint("AISIX_PROXY__MAX_CONNECTIONS_PER_ADDRESS=", most)}})
	from := func(address string) net.Conn {
		t.Helper()
		d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		c, err := d.DialContext(t.Context(), "tcp", g.proxyAddress())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		return c
	}
	served := func(c net.Conn) bool {
		fmt.Fprint(c, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if isTimeout(err) {
			t.Error("left hanging")
		}
		return err == nil && r.StatusCode == http.StatusOK
	}
	var open []net.Conn
	eventually(t, patience, func() error {
		c := from("127.0.0.2")
		open = append(open, c)
		if len(open) <= most { // half of them say nothing
			if len(open)%2 == 0 && !served(c) {
				t.Fatalf("connection %d is not served", len(open))
			}
			return errors.New("more")
		}
		if served(c) {
			t.Fatalf("connection %d is served", len(open))
		}
		return nil
	})
	if !served(from("127.0.0.3")) {
		t.Error("another address is not served")
	}
	for _, c := range open[:most] { // all are there still, and count
		if !served(c) {
			t.Error("a connection within the limit was closed")
		}
	}
	open[0].Close()
	eventually(t, patience, func() error {
		if !served(from("127.0.0.2")) {
			return errors.New("room that was made is not given")
		}
		return nil
	})
	if log := string(g.Extproc.Log()); !strings.Contains(log, "connections refused") || !strings.Contains(log, "127.0.0.2/32") {
		t.Error("the operator is not told")
	}
	// The count holds up no stop; without extproc nobody is refused for it.
	g.Extproc.Signal(syscall.SIGTERM)
	select {
	case <-g.Extproc.Exited():
	case <-time.After(patience):
		t.Fatal("extproc does not stop")
	}
	c := from("127.0.0.4")
	fmt.Fprint(c, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	if r, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without extproc: %v, %v", r, err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// Callers who do not read what they asked for: their streams stand still, with all buffers on the
// way full, and others are served as ever.
func TestStalledReadersStallNobodyElse(t *testing.T) {
	t.Parallel()
	const stalled = 40
	var written atomic.Int64
	text := delta(strings.Repeat("x", 60<<10))
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if !isStream(r) {
			whole(w, "Hello.")
			return
		}
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		for r.Context().Err() == nil {
			emit(w, "contentBlockDelta", text)
			written.Add(1)
		}
	})
	g := shared(t)
	c := g.tenant(t, u.URL, settings{})
	others := g.tenant(t, g.SimURL(), settings{})
	for range stalled {
		conn := g.dial(t)
		body := c.ask("A story", true)
		fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", c.key, len(body), body)
	}
	eventually(t, 20*time.Second, func() error {
		if n := u.requests(); n != stalled {
			return fmt.Errorf("%d streams", n)
		}
		// Nothing moves any more: what the buffers take, they have.
		for range 10 {
			before := written.Load()
			time.Sleep(20 * time.Millisecond)
			if written.Load() != before {
				return errors.New("there is room in the buffers still")
			}
		}
		return nil
	})
	for range 10 {
		others.served(t)
		all, err := others.stream(t, t.Context(), "A story sim:words=50 sim:chunks=50").rest()
		if err != io.EOF || len(all) < 50 || all[len(all)-1] != "[DONE]" {
			t.Errorf("a stream of %d events, %v", len(all), err)
		}
	}
	if n := u.requests(); n != stalled {
		t.Errorf("%d streams stand still, not %d", n, stalled)
	}
}

// The host of an api_base may be anything: a name or an address of either kind, with a port. It is
// what is signed, and what the upstream sees.
func TestAnyHostOfAnAPIBase(t *testing.T) {
	t.Parallel()
	g := shared(t)
	key := sigv4.Key{Secret: "YOUR_AWS_SECRET_ACCESS_KEY"}
	for name, host := range map[string]string{"IPv4": "127.0.0.1", "IPv6": "::1", "a name": "localhost", "another": "a.localhost"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listen := host
			if net.ParseIP(host) == nil {
				listen = "127.0.0.1"
			}
			l, err := net.Listen("tcp", net.JoinHostPort(listen, "0"))
			if err != nil {
				t.Fatal(err)
			}
			verifier := &sigv4.Verifier{Keys: map[string][]sigv4.Key{"YOUR_AWS_ACCESS_KEY_ID": {key}}, Service: "bedrock", Skew: time.Minute, Now: time.Now}
			bedrock := sim.New(verifier, slog.New(slog.DiscardHandler))
			heads := make(chan *http.Request, 1)
			s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				heads <- r
				bedrock.ServeHTTP(w, r)
			})}}
			s.Start()
			t.Cleanup(s.Close)
			_, port, _ := net.SplitHostPort(l.Addr().String())
			host := net.JoinHostPort(host, port)

			c := g.tenant(t, "http://"+host, settings{})
			a, err := c.chat(t.Context(), "Hello", "X-Aisix-Host", "evil.example.com", "X-Aisix-Egress", "tls")
			if err != nil || a.status != http.StatusOK {
				t.Fatalf("%d %s, %v", a.status, a.body, err)
			}
			r := <-heads
			if r.Host != host {
				t.Errorf("the upstream saw host %q, want %q", r.Host, host)
			}
			for name := range r.Header {
				if strings.HasPrefix(name, "X-Aisix") || strings.HasPrefix(name, "X-Envoy") {
					t.Errorf("%s went to the upstream", name)
				}
			}
		})
	}
}
