package extproc_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aisix/extproc"
	"aisix/extproc/exchange/exchangetest"
	"aisix/extproc/usage"
)

// again is a server with the model of a golden case, which is asked once more where it is silent, and
// what is played to it: the first request is answered as first says, the next one as the case does.
func again(t *testing.T, dir string, first heard) (*caller, *sideDoor) {
	t.Helper()
	var n atomic.Int32
	door := openSideDoor(t, func(_ []byte, w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			first(w, r)
			return
		}
		reply := reply(t, dir)
		for name, values := range reply.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(max(reply.Status, http.StatusOK))
		w.Write(reply.Body)
	})
	model := cmp.Or(strings.TrimSpace(read(t, dir, "model.json")), `{"display_name":"*","model_name":"*"}`)
	model = strings.TrimSuffix(model, "}") + `,"routing":{"first_byte_timeout":100,"retries":1}}`
	return server(t, "", func(p *extproc.Parts) {
		p.Egress, p.Snapshots = door.client, snapshotOf(t, model)
		p.NewID = func() string { return "00000000-0000-4000-8000-000000000000" }
	}), door
}

// repeats says the same small thing over and over.
func repeats(contentType, says string) heard {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		pace := time.NewTicker(10 * time.Millisecond)
		defer pace.Stop()
		for {
			w.Write([]byte(says))
			w.(http.Flusher).Flush()
			select {
			case <-pace.C:
			case <-r.Context().Done():
				return
			}
		}
	}
}

// What says no more than that somebody is there is no byte of an answer, by whichever API the
// upstream is asked and in whichever the caller asks: comments, pings, white space.
func TestWhatSaysNothingIsNoFirstByte(t *testing.T) {
	const sse, pings = "text/event-stream", "event: ping\ndata: {\"type\": \"ping\"}\n\n: ping\n\n"
	ping := string(frames(t, `{"type":"chunk","payload":{"type":"ping"}}`))
	for dir, first := range map[string]heard{
		"converse/chat_stream":            repeats(sse, ": waiting\n\n"),
		"converse/as_came_stream":         repeats(sse, ": waiting\n\n"),
		"converse/responses_stream":       repeats(sse, ": waiting\n\nevent: keepalive\ndata: {\"type\":\"keepalive\"}\n\n"),
		"responses/verbatim_stream":       repeats(sse, ": waiting\n\nevent: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":0}\n\n"),
		"converse/mantle_messages_stream": repeats(sse, pings),
		"messages/by_mantle_text_stream":  repeats(sse, pings),
		"responses/by_mantle_text_stream": repeats(sse, pings),
		"messages/by_responses_text":      repeats("application/json", " \n"),
		"messages/claude_verbatim":        repeats("application/json", " \n"),
		"messages/claude_verbatim_stream": repeats(eventStream, ping),
		"converse/as_came_whole":          repeats("application/json", " \n"),
		"responses/verbatim":              repeats("application/json", " \n"),
		"responses/claude_codex_stream":   repeats(eventStream, ping),
		"embeddings/titan_v1":             repeats("application/json", " \n"),
	} {
		t.Run(dir, func(t *testing.T) {
			t.Parallel()
			operation, dir := filepath.Dir(dir), filepath.Join("testdata", dir)
			c, side := again(t, dir, first)
			a := c.ask("POST", paths[operation], read(t, dir, "caller.json"))
			want := read(t, dir, "answer.sse")
			got := string(created.ReplaceAll(a.Body, []byte(`"created$1":1700000000`)))
			if want == "" {
				want, got = read(t, dir, "answer.json"), indent(t, json.RawMessage(got))
			}
			if a.Status != 200 || got != want || a.Header.Get("x-aisix-attempts") != "2" || a.Forwarded != nil {
				t.Errorf("%d %v, %d upstream calls:\n%s\nwant\n%s", a.Status, a.Header, len(side.requests()), got, want)
			}
			if f := c.one(t); len(f.Tries) != 2 || f.Tries[0].Reason != "timeout" || f.Tries[1].Reason != "served" || f.Outcome != usage.Succeeded {
				t.Errorf("%+v", f)
			}
			c.idle()
		})
	}
}

// Who has begun to answer is not given up for being slow: a stream has its own bound on silence, and an
// answer that is none goes on as long as something comes.
func TestTheFirstByteCameInTime(t *testing.T) {
	const bound = 400 * time.Millisecond
	for _, stream := range []bool{false, true} {
		kind, all := "application/json", []byte(novaWhole)
		pause := bound * 3 / 8 // shorter, and all of them together longer
		if stream {
			kind, all = eventStream, frames(t, novaEvents)
			pause = bound * 5 / 4
		}
		c, side := places(t, fmt.Sprintf(`"routing":{"first_byte_timeout":%d}`, bound.Milliseconds()), nil, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			parts := [][]byte{all[:40], all[40:60], all[60:80], all[80:]}
			if stream {
				first := len(frames(t, strings.SplitN(novaEvents, "\n", 2)[0]))
				parts = [][]byte{all[:first], all[first:]}
			}
			for i, part := range parts {
				if i > 0 {
					time.Sleep(pause)
				}
				w.Write(part)
				w.(http.Flusher).Flush()
			}
		})
		a := c.ask("POST", doors[0].path, fmt.Sprintf(doors[0].body, stream))
		if a.Status != 200 || !bytes.Contains(a.Body, []byte("Hello.")) || a.Header.Get("x-aisix-target") != "east" || len(side.requests()) != 1 {
			t.Errorf("stream %v: %d requests, %+v\n%s", stream, len(side.requests()), a, a.Body)
		}
	}
}

// A stream that has begun is never asked for again: what breaks it, the caller learns in it.
func TestNoOtherTargetBehindTheFirstByte(t *testing.T) {
	begun := frames(t, strings.SplitN(novaEvents, "\n", 2)[0])
	begins := func(then heard) heard {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", eventStream)
			w.Write(begun)
			w.(http.Flusher).Flush()
			then(w, r)
		}
	}
	for _, door := range doors {
		for name, then := range map[string]heard{
			"reset": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			"ends":  func(http.ResponseWriter, *http.Request) {},
			"hangs": silent,
		} {
			c, side := places(t, `"stream_timeout":300,"routing":{"first_byte_timeout":100}`, nil, begins(then))
			a := c.ask("POST", door.path, fmt.Sprintf(door.body, true))
			if a.Status != 200 || a.Broken || !strings.Contains(string(a.Body), strings.TrimPrefix(door.inStream, "\n")) || strings.Contains(string(a.Body), door.ended) {
				t.Errorf("%s, %s: %+v\n%s", door.path, name, a, a.Body)
			}
			if f := c.one(t); len(side.requests()) != 1 || len(f.Tries) != 1 || f.Tries[0].Reason != "broke_off" || f.Outcome != usage.Failed || a.Header.Get("x-aisix-target") != "east" {
				t.Errorf("%s, %s: %d requests, %+v", door.path, name, len(side.requests()), f)
			}
			c.idle()
		}
	}
}

// A connection that is reset before the first byte is another reason, and the next target's answer is
// streamed as well.
func TestAResetBeforeTheFirstByte(t *testing.T) {
	for _, stream := range []bool{false, true} {
		c, _ := places(t, `"routing":{"first_byte_timeout":5000}`, nil, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, speaks(t, stream))
		a := c.ask("POST", doors[0].path, fmt.Sprintf(doors[0].body, stream))
		if f := c.one(t); a.Status != 200 || a.Header.Get("x-aisix-target") != "west" || a.Streamed != stream || f.Tries[0].Reason != "transport" {
			t.Errorf("%+v, %+v", a, f)
		}
	}
}

// Silence cools a target down as other failures do: after three it is asked last, and still is where no
// other serves the call.
func TestASilentTargetCoolsDown(t *testing.T) {
	var east, west atomic.Int32
	var mute atomic.Bool // west is silent too
	door := openSideDoor(t, func(_ []byte, w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("X-Aisix-Host"), "us-east-1") {
			east.Add(1)
			silent(w, r)
			return
		}
		west.Add(1)
		if mute.Load() {
			silent(w, r)
			return
		}
		speaks(t, false)(w, r)
	})
	at := `{"name":"%[1]s","provider_key_id":"` + providerKeyID + `","model_name":"amazon.nova-pro-v1:0","region":"us-%[1]s-1","priority":%[2]d}`
	c := modelled(t, `{"display_name":"m","targets":[`+fmt.Sprintf(at, "east", 0)+`,`+fmt.Sprintf(at, "west", 1)+`],"routing":{"first_byte_timeout":60}}`, func(p *extproc.Parts) { p.Egress = door.client })
	ask := func() *exchangetest.Answer { return c.ask("POST", doors[0].path, fmt.Sprintf(doors[0].body, false)) }
	for i := range 4 {
		want := "2"
		if i == 3 {
			want = "1" // it has gone to the end of the order
		}
		if a := ask(); a.Status != 200 || a.Header.Get("x-aisix-attempts") != want {
			t.Errorf("call %d: %+v", i, a)
		}
	}
	mute.Store(true)
	if a := ask(); a.Status != 504 || a.Header.Get("x-aisix-attempts") != "2" || east.Load() != 4 || west.Load() != 5 {
		t.Errorf("%d and %d requests, %+v", east.Load(), west.Load(), a)
	}
}

// Tokens are counted by the next target where one is silent.
func TestTokensAreCountedByTheNextTarget(t *testing.T) {
	var n atomic.Int32
	door := openSideDoor(t, func(_ []byte, w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			silent(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"inputTokens":42}`)
	})
	at := `{"name":%q,"provider_key_id":"` + providerKeyID + `","model_name":%q,"priority":%d}`
	c := modelled(t, `{"display_name":"m","targets":[`+fmt.Sprintf(at, "east", claude, 0)+`,`+fmt.Sprintf(at, "nova", "amazon.nova-pro-v1:0", 1)+`,`+fmt.Sprintf(at, "west", claude, 2)+`],"routing":{"first_byte_timeout":60}}`,
		func(p *extproc.Parts) { p.Egress = door.client })
	a := c.ask("POST", "/v1/messages/count_tokens", `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`)
	if a.Status != 200 || string(a.Body) != `{"input_tokens":42}` || a.Header.Get("x-aisix-target") != "west" || a.Header.Get("x-aisix-attempts") != "2" {
		t.Errorf("%+v %s", a, a.Body)
	}
	if f := c.one(t); len(f.Tries) != 2 || f.Tries[0].Reason != "timeout" || f.Tries[1].Reason != "served" {
		t.Errorf("%+v", f)
	}
	c.idle()
}

// Where the first target was asked by the caller's own request, and refused, the wait for the next one is
// not silent either. None can follow it: who answers is known.
func TestTheWaitForTheLastTargetIsNotSilent(t *testing.T) {
	for _, door := range doors {
		c, _ := places(t, `"routing":{}`, func(p *extproc.Parts) { p.Config.KeepAlive = 10 * time.Millisecond }, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(100 * time.Millisecond):
				speaks(t, true)(w, r)
			case <-r.Context().Done():
			}
		})
		c.upstream = exchangetest.Reply{Status: 429, Header: http.Header{"Content-Type": {"application/json"}, "X-Amzn-Errortype": {"ThrottlingException"}}, Body: []byte(`{"message":"slow"}`)}
		a := c.ask("POST", door.path, fmt.Sprintf(door.body, true))
		if a.Status != 200 || !strings.HasPrefix(string(a.Body), door.waits) || !strings.Contains(string(a.Body), door.ended) || a.Forwarded == nil {
			t.Errorf("%s: %+v\n%s", door.path, a, a.Body)
		}
		if a.Header.Get("x-aisix-attempts") != "2" || a.Header.Get("x-aisix-target") != "west" {
			t.Errorf("%s: %v", door.path, a.Header)
		}
		c.idle()
	}
}
