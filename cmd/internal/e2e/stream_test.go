package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each event reaches the caller before the upstream sends the next frame: the upstream waits for the
// caller's word.
func TestEachEventArrivesWithItsFrame(t *testing.T) {
	t.Parallel()
	arrived := make(chan string)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		for i := range 10 {
			text := fmt.Sprintf("piece %d.", i)
			emit(w, "contentBlockDelta", delta(text))
			select {
			case got := <-arrived:
				if got != text {
					t.Errorf("%q arrived after %q", got, text)
				}
			case <-time.After(patience):
				t.Errorf("%q did not arrive before the next frame", text)
				return
			case <-r.Context().Done():
				return
			}
		}
		finish(w)
	})
	c := shared(t).tenant(t, u.URL, settings{})
	e := c.stream(t, t.Context(), "Go on")
	for {
		data, err := e.next()
		if err == io.EOF {
			t.Fatal("no [DONE]")
		}
		if err != nil {
			t.Fatal(err)
		}
		if data == "[DONE]" {
			return
		}
		if _, text, ok := strings.Cut(data, `"content":"`); ok && strings.HasPrefix(text, "piece") {
			text, _, _ = strings.Cut(text, `"`)
			arrived <- text
		}
	}
}

// With an upstream that sends a frame every 100 ms, the first event comes with the first frame, in
// both of Bedrock's forms.
func TestFirstEventIsNotHeldBack(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for _, id := range []string{nova, claude} {
		c := g.tenant(t, g.SimURL(), settings{id: id})
		begun := time.Now()
		e := c.stream(t, t.Context(), "Tell me a story sim:every=100ms sim:words=40 sim:chunks=20")
		if _, err := e.next(); err != nil {
			t.Fatal(err)
		}
		first := time.Since(begun)
		all, err := e.rest()
		if whole := time.Since(begun); err != io.EOF || first > whole/2 {
			t.Errorf("%s: first event after %v of %v, %v", id, first, whole, err)
		}
		if len(all) == 0 || all[len(all)-1] != "[DONE]" {
			t.Errorf("%s: ended with %q", id, all)
		}
	}
}

// A stream that falls silent is kept alive by comments. (Before its first frame it can't be: Envoy
// takes nothing for the caller before the upstream's first byte.)
func TestSilenceIsBrokenByComments(t *testing.T) {
	t.Parallel()
	commented := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		for range 2 {
			select {
			case <-commented:
			case <-r.Context().Done():
				return
			}
		}
		emit(w, "contentBlockDelta", delta("x"))
		finish(w)
	})
	c := shared(t).tenant(t, u.URL, settings{})
	e := c.stream(t, t.Context(), "Hello")
	comments, last := 0, ""
	for {
		data, err := e.next()
		if err != nil {
			break
		}
		if last = data; strings.HasPrefix(data, ":") {
			if comments++; comments <= 2 {
				commented <- struct{}{}
			}
		}
	}
	if comments < 2 || last != "[DONE]" {
		t.Errorf("%d comments, ended with %q", comments, last)
	}
}

// Frames that say nothing are a silence too.
func TestEmptyFramesAreASilence(t *testing.T) {
	t.Parallel()
	commented := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		emit(w, "contentBlockDelta", delta("x"))
		tick := time.NewTicker(keepAlive / 10)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				emit(w, "contentBlockDelta", delta(""))
				continue
			case <-commented:
			case <-r.Context().Done():
				return
			}
			break
		}
		finish(w)
	})
	e := shared(t).tenant(t, u.URL, settings{}).stream(t, t.Context(), "Hello")
	last := ""
	for {
		data, err := e.next()
		if err != nil {
			break
		}
		if last = data; strings.HasPrefix(data, ":") {
			select {
			case commented <- struct{}{}:
			default:
			}
		}
	}
	if last != "[DONE]" {
		t.Errorf("ended with %q", last)
	}
}

// A caller who leaves: the upstream is closed and the concurrency slot is free within 3 s, and what
// was seen is accounted for.
func TestCallerLeaves(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{true, false} {
		t.Run(fmt.Sprintf("stream=%v", stream), func(t *testing.T) {
			t.Parallel()
			called, closed := make(chan struct{}), make(chan struct{})
			u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-called:
					whole(w, "Hello.")
					return
				default:
				}
				if stream {
					streaming(w)
					emit(w, "messageStart", `{"role":"assistant"}`)
					emit(w, "contentBlockDelta", delta("Once upon a time"))
				}
				close(called)
				<-r.Context().Done()
				close(closed)
			})
			c := shared(t).tenant(t, u.URL, settings{key: map[string]any{"rate_limit": map[string]any{"concurrency": 1}}})
			ctx, leave := context.WithCancel(t.Context())
			if stream {
				e := c.stream(t, ctx, "A story")
				for {
					if data, err := e.next(); err != nil {
						t.Fatal(err)
					} else if strings.Contains(data, "Once upon") {
						break
					}
				}
			} else {
				go c.chat(ctx, "A story")
				<-called
			}
			a, err := c.chat(t.Context(), "Another")
			if err != nil {
				t.Fatal(err)
			}
			a.want(t, http.StatusTooManyRequests, "rate_limit_exceeded")

			leave()
			left := time.Now()
			select {
			case <-closed:
			case <-time.After(3 * time.Second):
				t.Error("the upstream is still open 3 s after its caller left")
			}
			eventually(t, 3*time.Second-time.Since(left), func() error {
				a, err := c.chat(t.Context(), "Another")
				if err == nil && a.status != http.StatusOK {
					err = fmt.Errorf("%d %s", a.status, a.body)
				}
				return err
			})
			line := c.accessLine(t, func(l map[string]any) bool { return l["outcome"] == "cancelled" })
			if line["partial"] != true || stream && line["completion_tokens"].(float64) < 1 {
				t.Errorf("the call that was left: %v", line)
			}
		})
	}
}

// An upstream that breaks off never looks like a clean end; before the caller was told anything it is
// a plain error.
func TestUpstreamBreaksOff(t *testing.T) {
	t.Parallel()
	read := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if isStream(r) {
			streaming(w)
			emit(w, "messageStart", `{"role":"assistant"}`)
			emit(w, "contentBlockDelta", delta("Once upon"))
			select {
			case <-read:
			case <-r.Context().Done():
			}
		}
		panic(http.ErrAbortHandler)
	})
	c := shared(t).tenant(t, u.URL, settings{})
	e := c.stream(t, t.Context(), "A story")
	for text := ""; !strings.Contains(text, "Once upon"); {
		var err error
		if text, err = e.next(); err != nil {
			t.Fatal(err)
		}
	}
	close(read)
	all, err := e.rest()
	if err == io.EOF && !strings.Contains(strings.Join(all, ""), `"transport_error"`) || slices.Contains(all, "[DONE]") {
		t.Errorf("ended with %q, %v", all, err)
	}
	line := c.accessLine(t, func(l map[string]any) bool { return l["stream"] == true })
	if line["partial"] != true || line["outcome"] == "succeeded" {
		t.Errorf("recorded as %v", line)
	}
	a, err := c.chat(t.Context(), "Hello")
	if err != nil {
		t.Fatal(err)
	}
	a.want(t, http.StatusBadGateway, "transport_error")
}

// A caller that reads slowly slows the upstream, and its stream ends well all the same.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	const pieces, piece = 640, 64 << 10 // 40 MB: more than all buffers on the way
	text := strings.Repeat("x", piece)
	sent := make(chan int, pieces)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		for i := range pieces {
			emit(w, "contentBlockDelta", delta(text))
			sent <- i
		}
		finish(w)
	})
	c := shared(t).tenant(t, u.URL, settings{model: map[string]any{"stream_timeout": 60_000}})
	connection := c.dial(t)
	connection.(*net.TCPConn).SetReadBuffer(64 << 10)
	body := c.ask("Much", true)
	fmt.Fprintf(connection, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", c.key, len(body), body)
	// Nothing is read until the upstream has stood still for a while.
	still := 0
	for settled := false; !settled; {
		select {
		case still = <-sent:
		case <-time.After(500 * time.Millisecond):
			settled = true
		}
	}
	if still == pieces-1 {
		t.Errorf("all of %d MB was taken from the upstream while nobody read", pieces*piece>>20)
	}
	t.Logf("%d MB are on the way", still*piece>>20)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(response.Body)
	if err != nil || strings.Count(string(all), text) != pieces || !strings.HasSuffix(string(all), "data: [DONE]\n\n") {
		t.Errorf("%d bytes, %d pieces, %v", len(all), strings.Count(string(all), text), err)
	}
}
