package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// What an upstream can do to one call on a connection, and to the connection, before it answers: what
// it has not taken is sent again, and else the call fails as it does by HTTP/1.1.
func TestUpstreamFailsByHTTP2(t *testing.T) {
	t.Parallel()
	g := agreeing(t)
	// failed is what Envoy says of them.
	const failed = "upstream_reset_before_response_started{"
	for name, test := range map[string]struct {
		does   func(came int32, s *framedCall)
		status int    // 0: served
		log    string // in the operator's error line
		sent   int
	}{
		"refused once":                  {does: atFirst(func(s *framedCall) { s.reset(http2.ErrCodeRefusedStream) }), sent: 2},
		"refused always":                {does: everyTime(func(s *framedCall) { s.reset(http2.ErrCodeRefusedStream) }), status: 502, log: failed + "remote_refused_stream_reset}", sent: 4},
		"GOAWAY before it":              {does: atFirst(func(s *framedCall) { s.goAway(0, http2.ErrCodeNo) }), sent: 2},
		"GOAWAY before it, and closed":  {does: atFirst(func(s *framedCall) { s.goAway(0, http2.ErrCodeNo); s.Close() }), sent: 2},
		"GOAWAY before it, always":      {does: everyTime(func(s *framedCall) { s.goAway(0, http2.ErrCodeEnhanceYourCalm) }), status: 502, log: failed + "remote_refused_stream_reset}", sent: 4},
		"GOAWAY behind it, and served":  {does: everyTime(func(s *framedCall) { s.goAway(s.id, http2.ErrCodeNo); s.answer() }), sent: 1},
		"GOAWAY behind it, and closed":  {does: everyTime(func(s *framedCall) { s.goAway(s.id, http2.ErrCodeNo); s.Close() }), status: 502, log: failed + "connection_termination}", sent: 1},
		"closed":                        {does: everyTime(func(s *framedCall) { s.Close() }), status: 502, log: failed + "connection_termination}", sent: 1},
		"reset":                         {does: everyTime(func(s *framedCall) { s.reset(http2.ErrCodeInternal) }), status: 502, log: failed + "remote_reset}", sent: 1},
		"reset without an error":        {does: everyTime(func(s *framedCall) { s.reset(http2.ErrCodeNo) }), status: 502, log: failed + "remote_reset}", sent: 1},
		"asked for HTTP/1.1":            {does: everyTime(func(s *framedCall) { s.reset(http2.ErrCodeHTTP11Required) }), status: 502, log: failed + "remote_reset}", sent: 1},
		"no HTTP/2":                     {does: everyTime(func(s *framedCall) { s.write(func(*http2.Framer) { s.Conn.Write(make([]byte, 100)) }) }), status: 502, log: failed + "protocol_error}", sent: 1},
		"a header that is none":         {does: everyTime(func(s *framedCall) { s.head(false, 200, "X-Upper", "x") }), status: 502, log: failed + "protocol_error}", sent: 1},
		"a huge head":                   {does: everyTime(func(s *framedCall) { s.head(true, 200, "x", strings.Repeat("x", 200<<10)) }), status: 502, log: failed + "protocol_error}", sent: 1},
		"refused, then throttled":       {does: atFirstAndThen(func(s *framedCall) { s.reset(http2.ErrCodeRefusedStream) }, func(s *framedCall) { s.says(429, "x-amzn-errortype", "ThrottlingException", "retry-after", "7") }), status: 429, log: "slow down", sent: 2},
		"throttled":                     {does: everyTime(func(s *framedCall) { s.says(429, "x-amzn-errortype", "ThrottlingException", "retry-after", "7") }), status: 429, log: "slow down", sent: 1},
		"unavailable":                   {does: everyTime(func(s *framedCall) { s.says(503, "x-amzn-errortype", "ServiceUnavailableException") }), status: 503, log: "slow down", sent: 1},
		"an error whose words stay out": {does: everyTime(func(s *framedCall) { s.head(false, 503, "content-type", "application/json") }), status: 503, sent: 1},
		"frames without a payload": {does: everyTime(func(s *framedCall) {
			s.head(false, 200, "content-type", "application/json")
			for range 20 {
				s.data(false, nil)
			}
			s.data(true, []byte(said))
		}), sent: 1},
		"trailers": {does: everyTime(func(s *framedCall) {
			s.head(false, 200, "content-type", "application/json")
			s.data(false, []byte(said))
			s.trailers("x-checksum", "1")
		}), sent: 1},
		"heads before the head": {does: everyTime(func(s *framedCall) { s.head(false, 100); s.head(false, 103, "link", "x"); s.answer() }), sent: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, d := range doors {
				var came atomic.Int32
				f := newFraming(t, &framing{does: func(s *framedCall) { test.does(came.Add(1), s) }})
				c := g.tenant(t, f.URL, settings{})
				body, err := json.Marshal(d.body(c.alias, "Hello", false))
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				a, err := do(ctx, http.MethodPost, c.proxy+d.path, c.key, string(body))
				if err != nil {
					t.Fatal(err)
				}
				requests, _ := f.seen()
				if len(requests) != test.sent {
					t.Errorf("%s: %d requests, want %d", d.path, len(requests), test.sent)
				}
				for _, r := range requests {
					if string(r.body) != string(requests[0].body) || r.field("authorization") != requests[0].field("authorization") {
						t.Errorf("sent %s and %s", requests[0].body, r.body)
					}
				}
				if got := a.header.Get("X-Aisix-Attempts"); got != "1" {
					t.Errorf("%s: %q attempts", d.path, got)
				}
				if test.status == 0 {
					if a.status != 200 || !strings.Contains(a.body, "Hello.") {
						t.Errorf("%s: %d %s", d.path, a.status, a.body)
					}
					continue
				}
				k := called{door: d, answer: a}
				k.wantError(func(format string, args ...any) { t.Errorf("%s: "+format, append([]any{d.path}, args...)...) })
				if d.dialect != "messages" && a.status != test.status || test.status == 429 && a.header.Get("Retry-After") != "7" {
					t.Errorf("%s: %d %s %v, want %d", d.path, a.status, a.body, a.header, test.status)
				}
				if line := fmt.Sprint(c.errorLine(t)["error"]); !strings.Contains(line, test.log) {
					t.Errorf("%s: the operator reads %q, want %q", d.path, line, test.log)
				}
			}
		})
	}
}

// says refuses as AWS does.
func (s *framedCall) says(status int, fields ...string) {
	s.head(false, status, append(fields, "content-type", "application/json")...)
	s.data(true, []byte(`{"message":"slow down"}`))
}

// everyTime, atFirst and atFirstAndThen are what is done with a call that comes again.
func everyTime(f func(*framedCall)) func(int32, *framedCall) { return atFirstAndThen(f, f) }
func atFirst(f func(*framedCall)) func(int32, *framedCall) {
	return atFirstAndThen(f, (*framedCall).answer)
}
func atFirstAndThen(f, next func(*framedCall)) func(int32, *framedCall) {
	return func(came int32, s *framedCall) {
		if came == 1 {
			f(s)
		} else {
			next(s)
		}
	}
}

// begun is a stream that stands still in the middle, with its caller and its call at the upstream.
type begun struct {
	*events
	at    *framedCall
	leave context.CancelFunc
}

// standing begins streams, all on one connection, that have said "Once upon". What is to be done with
// each at the upstream is the test's.
func standing(t *testing.T, c *tenant, came chan *framedCall, n int) (all []begun) {
	t.Helper()
	for range n {
		ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
		t.Cleanup(cancel)
		e := c.stream(t, ctx, "A story")
		for text := ""; !strings.Contains(text, "Once upon"); {
			var err error
			if text, err = e.next(); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, begun{e, within(t, came, "the upstream's call"), cancel})
		if all[0].at.framedConn != all[len(all)-1].at.framedConn {
			t.Fatal("another connection")
		}
	}
	return all
}

// within is what comes by a channel, in time.
func within[T any](t *testing.T, from <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("waited for %s", what)
	}
	return v
}

// newStories is an upstream whose streams begin, and then do what the test does with them.
func newStories(t *testing.T) (*framing, chan *framedCall) {
	came := make(chan *framedCall, crowd)
	return newFraming(t, &framing{does: func(s *framedCall) {
		s.head(false, 200, "content-type", "application/vnd.amazon.eventstream")
		s.data(false, frame("messageStart", `{"role":"assistant"}`))
		s.data(false, frame("contentBlockDelta", delta("Once upon")))
		came <- s
	}}), came
}

// served fails unless the stream ends well, once its upstream ends it.
func (b begun) served(t *testing.T) {
	t.Helper()
	b.at.data(true, ending())
	if all, err := b.rest(); err != io.EOF || len(all) == 0 || all[len(all)-1] != "[DONE]" {
		t.Errorf("a neighbour's stream: %q, %v", all, err)
	}
}

// broken fails if the stream's end looks like a good one.
func (b begun) broken(t *testing.T) {
	t.Helper()
	all, err := b.rest()
	if text := strings.Join(all, ""); err == io.EOF && !strings.Contains(text, `{"error":{`) || strings.Contains(text, "[DONE]") {
		t.Errorf("ended with %q, %v", all, err)
	}
}

// One call of a connection ends, by whichever side: it is reset alone, and its neighbours go on.
func TestOneOfAConnectionEnds(t *testing.T) {
	t.Parallel()
	g := agreeing(t)
	for name, test := range map[string]struct {
		model  map[string]any
		end    func(*begun)
		theirs bool // the upstream's doing
	}{
		"the upstream resets it":             {end: func(b *begun) { b.at.reset(http2.ErrCodeInternal) }, theirs: true},
		"the upstream cancels it":            {end: func(b *begun) { b.at.reset(http2.ErrCodeCancel) }, theirs: true},
		"the upstream ends it in the middle": {end: func(b *begun) { b.at.data(true, frame("contentBlockDelta", delta("a"))[:20]) }, theirs: true},
		"its caller leaves":                  {end: func(b *begun) { b.leave() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, came := newStories(t)
			c := g.tenant(t, f.URL, settings{model: test.model})
			all := standing(t, c, came, 3)
			test.end(&all[1])
			if !test.theirs {
				<-within(t, oneOf(all[1].at.ended.Done()), "the reset at the upstream")
				if code, ok := context.Cause(all[1].at.ended).(errReset); !ok {
					t.Errorf("ended by %v", context.Cause(all[1].at.ended))
				} else {
					t.Logf("%v", code)
				}
			} else {
				all[1].broken(t)
			}
			all[0].served(t)
			all[2].served(t)
			if _, connections := f.seen(); connections != 1 {
				t.Errorf("%d connections", connections)
			}
		})
	}
	// Its time is over: alone too, and the next call comes by the same connection.
	t.Run("its time is over", func(t *testing.T) {
		t.Parallel()
		f, came := newStories(t)
		patient, hasty := g.tenant(t, f.URL, settings{}), g.tenant(t, f.URL, settings{model: map[string]any{"timeout": 1000}})
		other := standing(t, patient, came, 1)[0]
		late := standing(t, hasty, came, 1)[0]
		late.broken(t)
		<-within(t, oneOf(late.at.ended.Done()), "the reset at the upstream")
		if cause, ok := context.Cause(late.at.ended).(errReset); !ok {
			t.Errorf("ended by %v", cause)
		}
		next := standing(t, patient, came, 1)[0]
		other.served(t)
		next.served(t)
		if _, connections := f.seen(); connections != 1 {
			t.Errorf("%d connections", connections)
		}
	})
}

// A call that gets no answer in time is given up, and its stream with it.
func TestACallOfAConnectionIsNotAnswered(t *testing.T) {
	t.Parallel()
	g := agreeing(t)
	came := make(chan *framedCall, crowd)
	f := newFraming(t, &framing{does: func(s *framedCall) { came <- s }})
	hasty, patient := g.tenant(t, f.URL, settings{model: map[string]any{"timeout": 500}}), g.tenant(t, f.URL, settings{})
	neighbour := make(chan answer, 1)
	go func() {
		a, _ := patient.chat(t.Context(), "Hello")
		neighbour <- a
	}()
	first := within(t, came, "the neighbour's call")
	a, err := hasty.chat(t.Context(), "Hello")
	if err != nil {
		t.Fatal(err)
	}
	a.want(t, http.StatusGatewayTimeout, "timeout")
	late := within(t, came, "the call")
	<-within(t, oneOf(late.ended.Done()), "the reset at the upstream")
	if cause, ok := context.Cause(late.ended).(errReset); !ok || late.framedConn != first.framedConn {
		t.Errorf("ended by %v", cause)
	}
	first.answer()
	if a := within(t, neighbour, "the neighbour's answer"); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// oneOf hands a channel on as a value, once it is closed.
func oneOf(done <-chan struct{}) <-chan (<-chan struct{}) {
	c := make(chan (<-chan struct{}), 1)
	go func() { <-done; c <- done }()
	return c
}

// A connection that breaks ends all its calls, none of them well. One whose upstream goes away in good
// order ends none, and new calls have another.
func TestAConnectionEnds(t *testing.T) {
	t.Parallel()
	g := agreeing(t)
	t.Run("it breaks", func(t *testing.T) {
		t.Parallel()
		f, came := newStories(t)
		all := standing(t, g.tenant(t, f.URL, settings{}), came, 3)
		all[0].at.Close()
		for _, b := range all {
			b.broken(t)
		}
	})
	t.Run("it is let go", func(t *testing.T) {
		t.Parallel()
		f, came := newStories(t)
		c := g.tenant(t, f.URL, settings{})
		all := standing(t, c, came, 2)
		all[0].at.goAway(all[1].at.id, http2.ErrCodeNo)
		next := standing(t, c, came, 1)[0]
		if next.at.framedConn == all[0].at.framedConn {
			t.Error("a call by a connection that is being let go")
		}
		for _, b := range append(all, next) {
			b.served(t)
		}
	})
}

// A connection whose other end is silent is found out, and ended; the next call has another.
func TestASilentConnection(t *testing.T) {
	t.Parallel()
	g, err := newGateway(options{dir: t.TempDir(), env: []string{"AISIX_UPSTREAM__HTTP2=true", "AISIX_PROXY__WORKERS=1", "AISIX_UPSTREAM__CA_FILE=" + upstreamCA("silent")}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(g.Dir, "bootstrap.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const shipped = "interval: 30s\n                timeout: 15s\n                connection_idle_interval: 5s"
	if !strings.Contains(string(text), shipped) {
		t.Fatalf("no such keepalive in %s", text)
	}
	soon := strings.Replace(string(text), shipped, "interval: 1s\n                timeout: 1s\n                connection_idle_interval: 0.001s", 1)
	if err := os.WriteFile(path, []byte(soon), 0o600); err != nil {
		t.Fatal(err)
	}
	g.run(t)

	var first atomic.Pointer[framedConn]
	deaf, hears := make(chan struct{}), make(chan struct{})
	close(hears)
	f := newFraming(t, &framing{
		does: (*framedCall).answer,
		deaf: func(c *framedConn) <-chan struct{} {
			if first.Load() == c {
				return deaf
			}
			return hears
		},
	})
	t.Cleanup(func() { close(deaf) }) // before the upstream ends
	c := g.tenant(t, f.URL, settings{})
	c.served(t)
	requests, _ := f.seen()
	first.Store(requests[0].framedConn)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := c.chat(ctx, "Hello")
	if err != nil {
		t.Fatal(err)
	}
	a.want(t, http.StatusBadGateway, "transport_error")
	if line := fmt.Sprint(c.errorLine(t)["error"]); !strings.Contains(line, "upstream_reset_before_response_started{connection_termination") {
		t.Errorf("the operator reads %q", line)
	}
	c.served(t)
	if requests, _ := f.seen(); len(requests) != 2 || requests[1].framedConn == requests[0].framedConn {
		t.Errorf("%d requests were heard", len(requests))
	}
}
