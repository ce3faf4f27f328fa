package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// crowded is a gateway that takes on little: 20 calls, 1 MiB of bodies.
func crowded(t *testing.T, env ...string) *gateway {
	return start(t, options{env: append([]string{
		"AISIX_PROXY__MAX_BODY_BYTES=262144", "AISIX_EXTPROC__MAX_CALLS=20", "AISIX_EXTPROC__MAX_BUFFERED_BYTES=1048576",
	}, env...)})
}

// holds waits until extproc holds as many calls and bytes as it should.
func (g *gateway) holds(t *testing.T, is func(calls, bytes float64) bool) {
	t.Helper()
	eventually(t, patience, func() error {
		m := g.scrape(t)
		calls, known := m["aisix_calls_in_flight"]
		bytes, also := m["aisix_buffered_bytes"]
		if !known || !also || !is(calls, bytes) {
			return fmt.Errorf("%v calls and %v bytes", calls, bytes)
		}
		return nil
	})
}

// unharmed fails unless everything is given back, another key is served, probes are answered, and
// the process is the one that was started.
func (c *tenant) unharmed(t *testing.T, pid int) {
	t.Helper()
	c.holds(t, func(calls, bytes float64) bool { return calls == 0 && bytes == 0 })
	c.alive(t, pid)
}

func (c *tenant) alive(t *testing.T, pid int) {
	t.Helper()
	c.served(t)
	for _, path := range []string{"/livez", "/readyz"} {
		if a, err := do(t.Context(), http.MethodGet, c.proxy+path, "", ""); err != nil || a.status != http.StatusOK {
			t.Errorf("%s: %d %s, %v", path, a.status, a.body, err)
		}
	}
	if !c.Extproc.Running() || c.Extproc.PID() != pid {
		t.Error("extproc has ended")
	}
}

// half sends the head of a chat and the beginning of its body, and what is answered to that, should
// anything be; leave ends it.
func (c *tenant) half(t *testing.T, announced int, sent string) (answered <-chan answer, leave func()) {
	t.Helper()
	connection := c.dial(t)
	out := make(chan answer, 1)
	go func() {
		fmt.Fprintf(connection, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", c.key, announced, sent)
	}()
	go func() {
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil {
			return // left
		}
		defer response.Body.Close()
		if response.StatusCode == http.StatusOK {
			<-t.Context().Done() // does not read on
			return
		}
		body, _ := io.ReadAll(response.Body)
		out <- answer{response.StatusCode, response.Header, string(body)}
	}()
	return out, func() { connection.Close() }
}

// One key that sends all it can, in every way, shuts out nobody else, and all that it took is given back.
func TestOneKeyShutsOutNobody(t *testing.T) {
	t.Parallel()
	g := crowded(t)
	upstream := newUpstream(t, nil).URL
	hostile, other := g.tenant(t, upstream, settings{}), g.tenant(t, upstream, settings{})
	pid := g.Extproc.PID()
	other.unharmed(t, pid)

	// attack opens n calls and tells what was answered to those that were not kept open.
	attack := func(t *testing.T, n, announced int, sent string) (refused map[int]int, leave func()) {
		t.Helper()
		var answers []<-chan answer
		var all []func()
		for range n {
			answered, leave := hostile.half(t, announced, sent)
			answers, all = append(answers, answered), append(all, leave)
		}
		refused = map[int]int{}
		eventually(t, patience, func() error {
			for _, answered := range answers {
				select {
				case a := <-answered:
					refused[a.status]++
					if after := a.header.Get("retry-after"); after == "" || after == "0" {
						t.Errorf("%d without Retry-After: %v", a.status, a.header)
					}
					kind := map[int]string{429: "rate_limit_exceeded", 503: "gateway_overloaded"}[a.status]
					a.want(t, a.status, kind)
				default:
				}
			}
			calls, total := int(g.scrape(t)["aisix_calls_in_flight"]), 0
			for _, n := range refused {
				total += n
			}
			if calls+total != n {
				return fmt.Errorf("%d in flight, %d refused, of %d", calls, total, n)
			}
			return nil
		})
		return refused, func() {
			for _, f := range all {
				f()
			}
		}
	}

	t.Run("unfinished bodies", func(t *testing.T) {
		refused, leave := attack(t, 60, 1000, "{")
		if refused[429] != 50 || len(refused) != 1 {
			t.Errorf("refused: %v, want 50 of 60 with a 429", refused)
		}
		other.alive(t, pid)
		leave()
		other.unharmed(t, pid)
	})

	t.Run("unfinished bodies over HTTP/2", func(t *testing.T) {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		defer transport.CloseIdleConnections()
		ctx, cancel := context.WithCancel(t.Context())
		statuses, ended := make(chan int, 60), sync.WaitGroup{}
		for range 60 {
			ended.Go(func() {
				body, w := io.Pipe()
				defer w.Close()
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.proxy+"/v1/chat/completions", body)
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Authorization", "Bearer "+hostile.key)
				if response, err := transport.RoundTrip(r); err == nil {
					response.Body.Close()
					statuses <- response.StatusCode
				}
			})
		}
		for range 50 {
			select {
			case status := <-statuses:
				if status != http.StatusTooManyRequests {
					t.Errorf("a %d", status)
				}
			case <-time.After(patience):
				t.Fatal("not refused")
			}
		}
		other.alive(t, pid)
		cancel()
		ended.Wait()
		other.unharmed(t, pid)
	})

	t.Run("half-sent bodies", func(t *testing.T) {
		refused, leave := attack(t, 30, 262_000, strings.Repeat(" ", 200_000))
		if held := 30 - refused[429] - refused[503]; held > 2 || refused[503] == 0 {
			t.Errorf("refused: %v, %d held, which is more than half of 1 MiB", refused, held)
		}
		g.holds(t, func(_, bytes float64) bool { return bytes <= 1<<19 })
		other.alive(t, pid)
		leave()
		other.unharmed(t, pid)
	})

	t.Run("whole bodies at once", func(t *testing.T) {
		var mu sync.Mutex
		statuses := map[int]int{}
		var all sync.WaitGroup
		text := strings.Repeat("hello ", 40_000)
		for range 40 {
			all.Go(func() {
				a, err := hostile.chat(t.Context(), text)
				if err != nil { // refused before it was sent, and broken off
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if statuses[a.status]++; a.status != 200 && a.status != 429 && a.status != 503 {
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		other.alive(t, pid)
		all.Wait()
		if statuses[200] == 0 {
			t.Errorf("none was served: %v", statuses)
		}
		other.unharmed(t, pid)
	})
}

// A key that is at its limit is told so before its body is read.
func TestRefusedBeforeTheBody(t *testing.T) {
	t.Parallel()
	c := shared(t).tenant(t, newUpstream(t, nil).URL, settings{key: map[string]any{"rate_limit": map[string]any{"concurrency": 1}}})
	first, leave := c.half(t, 5_000_000, "{")
	second, leaveToo := c.half(t, 5_000_000, "")
	var a answer
	select { // whichever came last
	case a = <-first:
	case a = <-second:
	case <-time.After(patience):
		t.Fatal("nothing is answered before the body")
	}
	a.want(t, http.StatusTooManyRequests, "rate_limit_exceeded")
	if after := a.header.Get("retry-after"); after == "" || after == "0" {
		t.Errorf("Retry-After %q", after)
	}
	leave()
	leaveToo()
	eventually(t, patience, func() error {
		if a, err := c.chat(t.Context(), "Hello"); err != nil || a.status != http.StatusOK {
			return fmt.Errorf("%d %s, %v", a.status, a.body, err)
		}
		return nil
	})
}

// A caller who stops reading in the middle of a stream is one who left, not an upstream that was
// silent: Envoy, which takes all that extproc sends, has the kernel close its connection first.
func TestStalledReader(t *testing.T) {
	t.Parallel()
	g := crowded(t, "AISIX_TIMEOUTS__STREAM_GAP=4s")
	c := g.tenant(t, newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if !isStream(r) {
			whole(w, "Hello.")
			return
		}
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		for piece := frame("contentBlockDelta", delta(strings.Repeat("word ", 2000))); ; {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}).URL, settings{})
	body := c.ask("A story without an end", true)
	c.half(t, len(body), body) // reads the headers, at most
	line := c.accessLine(t, func(line map[string]any) bool { return line["stream"] == true })
	if line["outcome"] != "cancelled" || line["error_type"] != nil || line["partial"] != true {
		t.Errorf("recorded as %v", line)
	}
	c.unharmed(t, g.Extproc.PID())
}

// A body that drips is cut off by us, in our shape, long before timeouts.request.
func TestDrippingBody(t *testing.T) {
	t.Parallel()
	g := crowded(t, "AISIX_TIMEOUTS__BODY=300ms", "AISIX_PROXY__MIN_BODY_RATE=100000")
	c := g.tenant(t, newUpstream(t, nil).URL, settings{})
	answered, _ := c.half(t, 1000, "{")
	select {
	case a := <-answered:
		a.want(t, http.StatusRequestTimeout, "invalid_request_error")
		if !strings.Contains(a.body, "fewer than 30000 bytes in 300ms") {
			t.Error(a.body)
		}
	case <-time.After(patience):
		t.Fatal("still waiting")
	}
	if line := c.accessLine(t, func(map[string]any) bool { return true }); line["status"] != float64(408) || line["outcome"] != "refused" {
		t.Errorf("recorded as %v", line)
	}
	c.unharmed(t, g.Extproc.PID())
}
