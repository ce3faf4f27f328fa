package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aisix/cmd/internal/bootstrap"
	"aisix/cmd/internal/stack"
	envoys "aisix/envoy"
	usagev1 "aisix/proto/aisix/v1"
)

// giveUp is a model's routing that gives a silent target up soon.
var giveUp = map[string]any{"routing": map[string]any{"first_byte_timeout": 150}}

// silences are what a target may be like that has nothing for the caller. The upstream counts
// those whose connection was ended.
var silences = map[string]func(w http.ResponseWriter, r *http.Request){
	"before its headers": hangs,
	"behind its headers": func(w http.ResponseWriter, r *http.Request) {
		if isStream(r) {
			streaming(w)
		} else {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	},
	"in its first frame": func(w http.ResponseWriter, r *http.Request) {
		whole := []byte(`{"output":`)
		if isStream(r) {
			w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
			whole = frame("messageStart", `{"role":"assistant"}`)[:20]
		} else {
			w.Header().Set("Content-Type", "application/json")
		}
		for _, b := range whole {
			w.Write([]byte{b})
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	},
	"but for what says nothing": func(w http.ResponseWriter, r *http.Request) {
		nothing := []byte(" \n")
		w.Header().Set("Content-Type", "application/json")
		if isStream(r) {
			w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
			nothing = frame("novelEvent", "{}")
		}
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for {
			w.Write(nothing)
			w.(http.Flusher).Flush()
			select {
			case <-pace.C:
			case <-r.Context().Done():
				return
			}
		}
	},
}

// silenceDoors are the doors of conversations: how a question is asked there, and how a stream ends.
var silenceDoors = map[string]struct {
	body  map[string]any
	ended string
	kind  string // of a timeout
}{
	"/v1/chat/completions": {told("Hello"), "data: [DONE]\n\n", `"type":"timeout"`},
	"/v1/messages":         {merge(told("Hello"), map[string]any{"max_tokens": 9}), "event: message_stop\n", `"type":"timeout_error"`},
	"/v1/responses":        {map[string]any{"input": "Hello"}, "event: response.completed\n", `"type":"timeout"`},
}

// buffered has the gateway's Envoy hand over request bodies whole, as an attached one of 1.36 does.
func (g *gateway) buffered(t *testing.T) {
	t.Helper()
	o, err := bootstrap.Options(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	o.BodyMode, o.UpstreamCAFile = envoys.Buffered, envoys.SystemCAFile()
	text, err := envoys.Bootstrap(o)
	if err == nil {
		err = os.WriteFile(filepath.Join(g.Dir, "bootstrap.yaml"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A silent target is followed by the next one at every door, streamed or not, however Envoy hands
// bodies over; its own request is ended at once, and the record tells of it.
func TestSilentTargets(t *testing.T) {
	t.Parallel()
	awake := "AISIX_TIMEOUTS__KEEP_ALIVE=10s" // the answer's head says who answered
	first := start(t, options{env: []string{awake}})
	beside := func(env ...string) *gateway {
		o := options{redis: first.Config.Redis.URL, key: first.Config.Secrets.MasterKeyFile, parts: []string{stack.Extproc, stack.Envoy}, dir: t.TempDir(), env: append(env, awake)}
		g, err := newGateway(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.Kill)
		return g
	}
	counting, buffered := beside("AISIX_UPSTREAM__COUNT_IN_ENVOY=true"), beside()
	buffered.buffered(t)
	for _, g := range []*gateway{counting, buffered} {
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.admin = first.admin
	}
	// In the other modes one door stands for all.
	chat := []string{"/v1/chat/completions"}
	all := append([]string{"/v1/messages", "/v1/responses"}, chat...)
	for mode, test := range map[string]struct {
		g     *gateway
		doors []string
	}{"full duplex": {first, all}, "counting": {counting, chat}, "buffered": {buffered, chat}} {
		t.Run(mode, func(t *testing.T) {
			for _, path := range test.doors {
				for name, silence := range silences {
					for _, stream := range []bool{false, true} {
						t.Run(fmt.Sprint(path, name, stream), func(t *testing.T) {
							t.Parallel()
							test.g.silentTarget(t, path, silence, stream)
						})
					}
				}
				t.Run(path+" all", func(t *testing.T) { t.Parallel(); test.g.silentTargets(t, path) })
			}
			t.Run("embeddings", func(t *testing.T) { t.Parallel(); test.g.silentEmbedder(t) })
			t.Run("the caller leaves", func(t *testing.T) { t.Parallel(); test.g.leavesSilence(t) })
		})
		if races := test.g.races(); races != "" {
			t.Error(races)
		}
	}
	first.noEgress(t)
}

// silentTarget is one of two targets that is silent.
func (g *gateway) silentTarget(t *testing.T, path string, silence func(w http.ResponseWriter, r *http.Request), stream bool) {
	door := silenceDoors[path]
	var ended atomic.Int32
	east := newRegion(t, "east", func(w http.ResponseWriter, r *http.Request) {
		silence(w, r)
		ended.Add(1)
	})
	west := newRegion(t, "west", good("west"))
	c := g.over(t, giveUp, east, west)
	a := c.messages(t, path, merge(map[string]any{"stream": stream}, door.body))
	if a.status != http.StatusOK || !strings.Contains(a.body, "west") || stream != strings.Contains(a.body, door.ended) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a.header.Get("X-Aisix-Attempts") != "2" || a.header.Get("X-Aisix-Target") != "west" {
		t.Errorf("%v", a.header)
	}
	eventually(t, patience, func() error {
		if n := ended.Load(); n != 1 {
			return fmt.Errorf("%d of the silent target's requests ended", n)
		}
		return nil
	})
	r := c.recorded(t, 1)[0]
	if len(r.Tries) != 2 || r.Tries[0].Target != "east" || r.Tries[0].Reason != "timeout" || r.Tries[1].Target != "west" || r.Tries[1].Reason != "served" || r.Outcome != usagev1.Outcome_OUTCOME_SUCCEEDED {
		t.Errorf("%v", r)
	}
	if east.requests() != 1 || west.requests() != 1 {
		t.Errorf("%d and %d requests", east.requests(), west.requests())
	}
}

// silentTargets are all of them: the last one's bound holds as well.
func (g *gateway) silentTargets(t *testing.T, path string) {
	door := silenceDoors[path]
	c := g.over(t, giveUp, newRegion(t, "east", hangs), newRegion(t, "west", hangs))
	for _, stream := range []bool{false, true} {
		a := c.messages(t, path, merge(map[string]any{"stream": stream}, door.body))
		if a.status != http.StatusGatewayTimeout || !strings.Contains(a.body, door.kind) || a.header.Get("X-Aisix-Attempts") != "2" || a.header.Get("X-Aisix-Request-Id") == "" {
			t.Errorf("%d %s %v", a.status, a.body, a.header)
		}
	}
	for _, r := range c.recorded(t, 2) {
		if len(r.Tries) != 2 || r.Tries[0].Reason != "timeout" || r.Tries[1].Reason != "timeout" || r.Outcome != usagev1.Outcome_OUTCOME_FAILED {
			t.Errorf("%v", r)
		}
	}
}

// silentEmbedder is a target that is silent where texts are embedded, one or several.
func (g *gateway) silentEmbedder(t *testing.T) {
	east, west := newRegion(t, "east", hangs), newRegion(t, "west", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"embedding":[1,2],"inputTextTokenCount":3}`)
	})
	east.settings, west.settings = map[string]any{"model_name": titan}, map[string]any{"model_name": titan}
	for _, texts := range []any{"one", []string{"one", "two"}} {
		a, err := g.over(t, giveUp, east, west).embed(t, t.Context(), texts, nil)
		if err != nil || a.status != http.StatusOK || a.header.Get("X-Aisix-Target") != "west" {
			t.Errorf("%v: %d %s %v %v", texts, a.status, a.body, a.header, err)
		}
	}
}

// leavesSilence is a caller who leaves a silent target: its request ends, and no other is asked.
func (g *gateway) leavesSilence(t *testing.T) {
	for _, stream := range []bool{false, true} {
		asked, ended := make(chan struct{}), make(chan struct{})
		east := newRegion(t, "east", func(w http.ResponseWriter, r *http.Request) {
			close(asked)
			hangs(w, r)
			close(ended)
		})
		west := newRegion(t, "west", good("west"))
		c := g.over(t, map[string]any{"routing": map[string]any{"first_byte_timeout": 60_000}}, east, west)
		ctx, leave := context.WithTimeout(t.Context(), patience)
		go func() {
			select {
			case <-asked:
			case <-ctx.Done():
			}
			leave()
		}()
		do(ctx, http.MethodPost, c.proxy+"/v1/chat/completions", c.key, c.ask("Hello", stream))
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the upstream's request goes on without a caller")
		}
		if r := c.recorded(t, 1)[0]; len(r.Tries) != 1 || r.Tries[0].Reason != "cancelled" || r.Outcome != usagev1.Outcome_OUTCOME_CANCELLED || west.requests() != 0 {
			t.Errorf("%v", r)
		}
	}
}

// noEgress takes Envoy's egress listener away: calls are served all the same, and it is told.
func (g *gateway) noEgress(t *testing.T) {
	if err := os.Remove(strings.TrimPrefix(g.Config.EgressAddress(), "unix:")); err != nil {
		t.Fatal(err)
	}
	g.Extproc.Kill() // and its connections
	if err := g.Extproc.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := g.over(t, giveUp, newRegion(t, "east", good("east")), newRegion(t, "west", good("west")))
	for _, stream := range []bool{false, true} {
		c.askAt(t, t.Context(), stream, nil).is(t, stream, "east", 1)
	}
	eventually(t, patience, func() error {
		if n := g.scrape(t)[`aisix_egress_missing_total{model="`+c.alias+`"}`]; n != 2 {
			return fmt.Errorf("%v calls were counted", n)
		}
		return nil
	})
	if n := strings.Count(string(g.Extproc.Log()), "routing.first_byte_timeout"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
}

// While nobody answers, the caller of a stream hears that the wait goes on; whoever answers then, answers in
// that stream.
func TestTheWaitForATargetIsNotSilent(t *testing.T) {
	t.Parallel()
	g := shared(t)
	wait := map[string]any{"routing": map[string]any{"first_byte_timeout": 700}} // more than keepAlive
	for path, words := range map[string]struct{ waits, fails string }{
		"/v1/chat/completions": {": waiting\n", `data: {"error":`},
		"/v1/messages":         {"event: ping\n", "event: error\n"},
		"/v1/responses":        {": waiting\n", "event: response.failed\n"},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			door := silenceDoors[path]
			for _, served := range []bool{true, false} {
				does := hangs
				if served {
					does = good("west")
				}
				c := g.over(t, wait, newRegion(t, "east", hangs), newRegion(t, "west", does))
				a := c.messages(t, path, merge(map[string]any{"stream": true}, door.body))
				if a.status != http.StatusOK || !strings.HasPrefix(a.body, words.waits) || served != strings.Contains(a.body, door.ended) || served == strings.Contains(a.body, words.fails) || served != strings.Contains(a.body, "west") {
					t.Errorf("served %v: %d %s", served, a.status, a.body)
				}
				if a.header.Get("X-Aisix-Attempts")+a.header.Get("X-Aisix-Target") != "" {
					t.Errorf("who answers was not known: %v", a.header)
				}
				if r := c.recorded(t, 1)[0]; len(r.Tries) != 2 || (r.ErrorType == "timeout") == served {
					t.Errorf("%v", r)
				}
			}
		})
	}
}

// A caller who does not read an answer that comes so has Envoy hold no more than is said.
func TestADirectAnswerThatNobodyReads(t *testing.T) {
	t.Parallel()
	piece := frame("contentBlockDelta", delta(strings.Repeat("x", 64<<10)))
	ended := make(chan int, 1)
	east := newRegion(t, "east", func(w http.ResponseWriter, r *http.Request) {
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		sent := 0
		for r.Context().Err() == nil {
			n, err := w.Write(piece)
			if sent += n; err != nil {
				break
			}
		}
		ended <- sent
	})
	c := shared(t).over(t, map[string]any{"routing": map[string]any{"first_byte_timeout": 10_000}}, east)
	connection := c.dial(t)
	connection.(*net.TCPConn).SetReadBuffer(64 << 10)
	body := c.ask("Much", true)
	fmt.Fprintf(connection, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", c.key, len(body), body)
	select {
	case sent := <-ended:
		if sent > 48<<20 {
			t.Errorf("%d MB were taken of the upstream", sent>>20)
		}
	case <-time.After(3 * patience):
		t.Fatal("the upstream goes on and on")
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(all[max(0, len(all)-400):]), "gateway_overloaded") || strings.HasSuffix(string(all), "[DONE]\n\n") {
		t.Errorf("%d bytes, %v, ending with %s", len(all), err, all[max(0, len(all)-400):])
	}
}
