package extproc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/extproc"
	"aisix/extproc/egress"
	"aisix/extproc/exchange/exchangetest"
	"aisix/extproc/usage"
)

// heard is what an upstream says to one request.
type heard func(w http.ResponseWriter, r *http.Request)

// silent never answers.
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// silentAfter begins an answer, and says no more.
func silentAfter(contentType string, body ...byte) heard {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(http.StatusOK)
		w.Write(body)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

// drips says something long, a byte at a time.
func drips(contentType string, long []byte) heard {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for _, b := range long {
			w.Write([]byte{b})
			w.(http.Flusher).Flush()
			select {
			case <-pace.C:
			case <-r.Context().Done():
				return
			}
		}
	}
}

const (
	eventStream = "application/vnd.amazon.eventstream"
	novaWhole   = `{"output":{"message":{"role":"assistant","content":[{"text":"Hello."}]}},"stopReason":"end_turn","usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5}}`
	novaEvents  = `{"type":"messageStart","payload":{"role":"assistant"}}
{"type":"contentBlockDelta","payload":{"contentBlockIndex":0,"delta":{"text":"Hello."}}}
{"type":"contentBlockStop","payload":{"contentBlockIndex":0}}
{"type":"messageStop","payload":{"stopReason":"end_turn"}}
{"type":"metadata","payload":{"usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5}}}`
)

// speaks answers as Nova does.
func speaks(t *testing.T, stream bool) heard {
	return func(w http.ResponseWriter, r *http.Request) {
		if !stream {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, novaWhole)
			return
		}
		w.Header().Set("Content-Type", eventStream)
		w.Write(frames(t, novaEvents))
	}
}

// places is a server whose model has two targets, east and west, and these members; the n-th
// request of a call is answered by the n-th of says, the last of them those that are left.
func places(t *testing.T, members string, change func(*extproc.Parts), says ...heard) (*caller, *sideDoor) {
	t.Helper()
	var n atomic.Int32
	door := openSideDoor(t, func(_ []byte, w http.ResponseWriter, r *http.Request) {
		says[min(int(n.Add(1))-1, len(says)-1)](w, r)
	})
	var targets []string
	for i, name := range []string{"east", "west"} {
		targets = append(targets, fmt.Sprintf(`{"name":%q,"provider_key_id":%q,"model_name":"amazon.nova-pro-v1:0","priority":%d}`, name, providerKeyID, i))
	}
	return modelled(t, `{"display_name":"m","targets":[`+strings.Join(targets, ",")+`],`+members+`}`, func(p *extproc.Parts) {
		p.Egress = door.client
		if change != nil {
			change(p)
		}
	}), door
}

// modelled is a server with a model as the Admin API takes it.
func modelled(t *testing.T, model string, change func(*extproc.Parts)) *caller {
	t.Helper()
	m, err := resource.Decode(resource.Models, []byte(model), nil)
	if err != nil {
		t.Fatal(err)
	}
	return server(t, "", func(p *extproc.Parts) {
		p.Snapshots = holderOf(t,
			snapshot.Row{ID: providerKeyID, Value: &resource.ProviderKey{DisplayName: "p", Provider: "amazon-bedrock", Adapter: "bedrock",
				Credentials: resource.Static{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "secret", Region: "us-west-2"}}},
			snapshot.Row{ID: "20000000-0000-4000-8000-000000000000", Value: m},
			snapshot.Row{ID: "30000000-0000-4000-8000-000000000000", Value: &resource.APIKey{KeyHash: hashOf(plaintext), AllowedModels: []string{"*"}}})
		change(p)
	})
}

// happens waits for what is closed when it does.
func happens(t *testing.T, closed <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Errorf("there was not %s within 20 s", what)
	}
}

// doors are how a question is asked, and how an answer ends.
var doors = []struct{ path, body, ended, timeout, inStream, waits string }{
	{"/v1/chat/completions", `{"model":"m","stream":%v,"messages":[{"role":"user","content":"Hi"}]}`, "data: [DONE]\n\n", `"type":"timeout"`, "\ndata: {\"error\":", ": waiting\n"},
	{"/v1/messages", `{"model":"m","stream":%v,"max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}`, "event: message_stop", `"type":"timeout_error"`, "event: error\n", "event: ping\n"},
	{"/v1/responses", `{"model":"m","stream":%v,"input":"Hi"}`, "event: response.completed", `"type":"timeout"`, "event: response.failed\n", ": waiting\n"},
}

// A target that has nothing for the caller in time is given up, and the next one asked, whatever
// the silence is like: before the headers, behind them, or bytes that come to nothing.
func TestASilentTargetIsFollowedByTheNext(t *testing.T) {
	for _, door := range doors {
		for _, stream := range []bool{false, true} {
			kind, good, long := "application/json", []byte(novaWhole), bytes.Repeat([]byte(" "), 100_000)
			if stream {
				kind, good = eventStream, frames(t, novaEvents)
				long = frames(t, `{"type":"messageStart","payload":{"role":"assistant","p":"`+string(long)+`"}}`)
			}
			for name, first := range map[string]heard{
				"no headers": silent, "headers alone": silentAfter(kind), "a half": silentAfter(kind, good[:8]...), "drips": drips(kind, long),
				"an error's headers alone": func(w http.ResponseWriter, r *http.Request) {
					w.WriteHeader(http.StatusInternalServerError)
					w.(http.Flusher).Flush()
					<-r.Context().Done()
				},
			} {
				t.Run(fmt.Sprint(door.path, stream, name), func(t *testing.T) {
					left := make(chan struct{})
					c, side := places(t, `"routing":{"first_byte_timeout":60}`, nil, func(w http.ResponseWriter, r *http.Request) {
						first(w, r)
						close(left)
					}, speaks(t, stream))
					a := c.ask("POST", door.path, fmt.Sprintf(door.body, stream))
					if a.Status != 200 || !bytes.Contains(a.Body, []byte("Hello.")) || stream != bytes.Contains(a.Body, []byte(door.ended)) || a.Streamed != stream || a.Forwarded != nil {
						t.Errorf("%+v\n%s", a, a.Body)
					}
					if a.Header.Get("x-aisix-attempts") != "2" || a.Header.Get("x-aisix-target") != "west" {
						t.Errorf("%v", a.Header)
					}
					happens(t, left, "the end of the silent target's request") // and not at that of its upstream
					if n := len(side.requests()); n != 2 {
						t.Errorf("%d requests", n)
					}
					f, reason := c.one(t), "timeout"
					if strings.HasPrefix(name, "an error") {
						reason = "server_error" // its status says it
					}
					if len(f.Tries) != 2 || f.Tries[0].Target != "east" || f.Tries[0].Reason != reason || f.Tries[1].Reason != "served" || f.Outcome != usage.Succeeded || f.Usage.Prompt() != 3 {
						t.Errorf("%+v", f)
					}
					c.idle()
				})
			}
		}
	}
}

// The bound holds for each try, the last one too: where none has said anything the caller gets a 504.
func TestAllTargetsAreSilent(t *testing.T) {
	for _, door := range doors {
		for _, stream := range []bool{false, true} {
			c, side := places(t, `"routing":{"first_byte_timeout":30}`, nil, silent)
			a := c.ask("POST", door.path, fmt.Sprintf(door.body, stream))
			if a.Status != 504 || !bytes.Contains(a.Body, []byte(door.timeout)) || a.Header.Get("x-aisix-attempts") != "2" || a.Header.Get("x-aisix-target") != "west" {
				t.Errorf("%s: %+v\n%s", door.path, a, a.Body)
			}
			if n := len(side.requests()); n != 2 || len(c.one(t).Tries) != n {
				t.Errorf("%d requests, %+v", n, c.one(t))
			}
		}
	}
	// One target has one try, unless retries say otherwise; the model's timeout ends them all.
	for routing, want := range map[string]int{`{"first_byte_timeout":20}`: 1, `{"first_byte_timeout":20,"retries":1}`: 2, `{"first_byte_timeout":60000}`: 1} {
		door := openSideDoor(t, func(_ []byte, w http.ResponseWriter, r *http.Request) { silent(w, r) })
		c := modelled(t, `{"display_name":"m","provider_key_id":"`+providerKeyID+`","model_name":"amazon.nova-pro-v1:0","timeout":1000,"routing":`+routing+`}`, func(p *extproc.Parts) { p.Egress = door.client })
		if a := c.ask("POST", doors[0].path, fmt.Sprintf(doors[0].body, true)); a.Status != 504 || len(door.requests()) != want || a.Forwarded != nil {
			t.Errorf("%s: %d requests, %+v", routing, len(door.requests()), a)
		}
	}
}

// From the start of the wait a stream's silence is broken, in the words of its door. Then
// the answer's head has gone: the next target's answer follows it, or an error.
func TestTheWaitIsNotSilent(t *testing.T) {
	short := func(p *extproc.Parts) { p.Config.KeepAlive = 10 * time.Millisecond }
	for _, door := range doors {
		for name, first := range map[string]heard{"no headers": silent, "headers alone": silentAfter(eventStream)} {
			c, _ := places(t, `"routing":{"first_byte_timeout":150}`, short, first, speaks(t, true))
			a := c.ask("POST", door.path, fmt.Sprintf(door.body, true))
			begins, rest, _ := strings.Cut(string(a.Body), door.waits)
			if a.Status != 200 || begins != "" || !strings.Contains(rest, door.waits) || !strings.Contains(rest, "Hello.") || !strings.Contains(rest, door.ended) {
				t.Errorf("%s, %s: %+v\n%s", door.path, name, a, a.Body)
			}
			// Who would answer was not known.
			if a.Header.Get("x-aisix-attempts")+a.Header.Get("x-aisix-target") != "" || !strings.HasPrefix(a.Header.Get("content-type"), "text/event-stream") || a.Header.Get("x-aisix-request-id") == "" {
				t.Errorf("%s: %v", door.path, a.Header)
			}
			f := c.one(t)
			if len(f.Tries) != 2 || f.Target != "west" || f.Outcome != usage.Succeeded || f.FirstByte.Sub(f.Time) < 100*time.Millisecond { // of the answer, not of a comment
				t.Errorf("%+v", f)
			}
			c.idle()

			c, _ = places(t, `"routing":{"first_byte_timeout":60}`, short, first, silent)
			a = c.ask("POST", door.path, fmt.Sprintf(door.body, true))
			if a.Status != 200 || a.Broken || !strings.HasPrefix(string(a.Body), door.waits) || !strings.Contains(string(a.Body), door.inStream) || strings.Contains(string(a.Body), door.ended) {
				t.Errorf("%s, %s: %+v\n%s", door.path, name, a, a.Body)
			}
			if f := c.one(t); f.Outcome != usage.Failed || f.ErrorType != "timeout" || len(f.Tries) != 2 || f.Status != 200 {
				t.Errorf("%+v", f)
			}
			c.idle()
		}
	}
}

// A caller who leaves while an upstream is silent ends its request, and no other is asked.
func TestTheCallerLeavesASilentTarget(t *testing.T) {
	for _, stream := range []bool{false, true} {
		for _, keepAlive := range []time.Duration{0, 5 * time.Millisecond} {
			asked, left := make(chan struct{}), make(chan struct{})
			c, side := places(t, `"routing":{"first_byte_timeout":60000}`, func(p *extproc.Parts) { p.Config.KeepAlive = keepAlive }, func(w http.ResponseWriter, r *http.Request) {
				close(asked)
				silent(w, r)
				close(left)
			})
			ctx, leave := context.WithTimeout(t.Context(), 20*time.Second)
			go func() {
				defer leave()
				happens(t, asked, "a request of the silent target")
			}()
			exchangetest.Envoy{Path: doors[0].path, Header: http.Header{"Authorization": {"Bearer " + plaintext}}, Body: fmt.Appendf(nil, doors[0].body, stream)}.Run(ctx, t, c.Process)
			happens(t, left, "the end of the silent target's request")
			if n := len(side.requests()); n != 1 {
				t.Errorf("%d requests", n)
			}
			if f := c.one(t); f.Outcome != usage.Cancelled || len(f.Tries) != 1 || f.Tries[0].Reason != "cancelled" {
				t.Errorf("%+v", f)
			}
			c.idle()
		}
	}
}

// Without an egress listener, configured or not, calls are served by the caller's own request; the log says
// so, once a model.
func TestASilentTargetWithoutEgress(t *testing.T) {
	nowhere := egress.New(egress.Options{Network: "unix", Address: filepath.Join(t.TempDir(), "nobody")})
	for name, client := range map[string]*egress.Client{"not configured": nil, "not there": nowhere} {
		for _, door := range append(doors[:len(doors):len(doors)], struct{ path, body, ended, timeout, inStream, waits string }{path: "/v1/embeddings", body: `{"model":"m","input":"Hi"}`}) {
			var log bytes.Buffer
			id, reply := "amazon.nova-pro-v1:0", novaWhole
			if door.path == "/v1/embeddings" {
				id, reply = "amazon.titan-embed-text-v2:0", `{"embedding":[1,2],"inputTextTokenCount":3}`
			} else {
				door.body = fmt.Sprintf(door.body, false)
			}
			c := modelled(t, `{"display_name":"m","targets":[{"name":"east","provider_key_id":"`+providerKeyID+`","model_name":"`+id+`"}],"routing":{"first_byte_timeout":40}}`, func(p *extproc.Parts) {
				p.Egress, p.Log = client, slog.New(slog.NewJSONHandler(&log, nil))
			})
			c.upstream = jsonReply(reply)
			for range 2 {
				if a := c.ask("POST", door.path, door.body); a.Status != 200 || a.Forwarded == nil || a.Header.Get("x-aisix-attempts") != "1" || a.Header.Get("x-aisix-target") != "east" {
					t.Errorf("%s, %s: %+v\n%s", name, door.path, a, a.Body)
				}
			}
			if n := strings.Count(log.String(), "routing.first_byte_timeout"); n != 1 || !strings.Contains(log.String(), `"model":"m"`) {
				t.Errorf("%s, %s: said %d times: %s", name, door.path, n, &log)
			}
			for _, f := range c.calls {
				if !f.NoEgress || len(f.Tries) != 1 || f.Tries[0].Reason != "served" {
					t.Errorf("%s, %s: %+v", name, door.path, f)
				}
			}
			// The bound holds here as well.
			c.upstream.Hold = make(chan struct{})
			if a := c.ask("POST", door.path, door.body); a.Status != 504 {
				t.Errorf("%s, %s: %+v\n%s", name, door.path, a, a.Body)
			}
			c.idle()
		}
	}
}

// Where the body was buffered the first try is the caller's own request; one that is silent is
// followed by one whole answer.
func TestASilentTargetWhereBodiesAreBuffered(t *testing.T) {
	for _, stream := range []bool{false, true} {
		c, side := places(t, `"routing":{"first_byte_timeout":40}`, nil, speaks(t, stream))
		e := exchangetest.Envoy{Mode: exchangetest.Buffered, Path: doors[0].path, Header: http.Header{"Authorization": {"Bearer " + plaintext}}, Body: fmt.Appendf(nil, doors[0].body, stream),
			Upstream: func(exchangetest.Forwarded) exchangetest.Reply { return exchangetest.Reply{Hold: make(chan struct{})} }}
		a := e.Run(t.Context(), t, c.Process)
		if a.Status != 200 || !a.Immediate || !bytes.Contains(a.Body, []byte("Hello.")) || stream != bytes.HasSuffix(a.Body, []byte("data: [DONE]\n\n")) || a.Forwarded == nil || len(side.requests()) != 1 {
			t.Errorf("%+v\n%s", a, a.Body)
		}
		if a.Header.Get("x-aisix-attempts") != "2" || a.Header.Get("x-aisix-target") != "west" {
			t.Errorf("%v", a.Header)
		}
		if f := c.one(t); len(f.Tries) != 2 || f.Tries[0].Reason != "timeout" || f.NoEgress {
			t.Errorf("%+v", f)
		}
		c.idle()
	}
}

// What Envoy holds of such an answer is bounded, as for later tries: in bytes of one answer, and in
// what the process takes.
func TestADirectAnswerIsBounded(t *testing.T) {
	delta := frames(t, `{"type":"contentBlockDelta","payload":{"contentBlockIndex":0,"delta":{"text":"`+strings.Repeat("0123456789", 10_000)+`"}}}`)
	for most, config := range map[int64]int64{32 << 20: 0, 3 << 20: 3 << 20} {
		left := make(chan struct{})
		c, _ := places(t, `"routing":{"first_byte_timeout":5000}`, func(p *extproc.Parts) { p.Config.MaxBufferedBytes = config }, func(w http.ResponseWriter, r *http.Request) {
			defer close(left)
			w.Header().Set("Content-Type", eventStream)
			w.Write(frames(t, `{"type":"messageStart","payload":{"role":"assistant"}}`))
			for r.Context().Err() == nil {
				if _, err := w.Write(delta); err != nil {
					return
				}
			}
		})
		a := c.ask("POST", doors[0].path, fmt.Sprintf(doors[0].body, true))
		happens(t, left, "the end of the upstream's answer")
		if n := int64(len(a.Body)); a.Broken || n > most+1<<16 || n < most/2 || !strings.Contains(string(a.Body[n-400:]), `data: {"error":`) || bytes.Contains(a.Body[n-400:], []byte("[DONE]")) {
			t.Errorf("%d bytes of %d, %s", n, most, a.Body[max(0, n-400):])
		}
		if f := c.one(t); f.Outcome != usage.Failed || len(f.Tries) != 1 || f.Tries[0].Reason != "broke_off" {
			t.Errorf("%+v", f)
		}
		c.idle()
	}
}

// A model whose calls go beside the caller's request is answered as any
// other, header by header and byte by byte.
func TestADirectAnswerIsAsAnyOther(t *testing.T) {
	for _, door := range doors {
		for _, stream := range []bool{false, true} {
			var answers [2]string
			for i, routing := range []string{`{}`, `{"first_byte_timeout":5000}`} {
				c, _ := places(t, `"routing":`+routing, func(p *extproc.Parts) {
					p.NewID = func() string { return "10000000-0000-4000-8000-00000000000a" }
				}, speaks(t, stream))
				c.upstream = jsonReply(novaWhole)
				if stream {
					c.upstream = exchangetest.Reply{Header: http.Header{"Content-Type": {eventStream}}, Body: frames(t, novaEvents)}
				}
				a := c.ask("POST", door.path, fmt.Sprintf(door.body, stream))
				if a.Status != 200 || a.Header.Get("x-aisix-attempts") != "1" || a.Header.Get("x-aisix-target") != "east" || (a.Forwarded == nil) != (i == 1) {
					t.Errorf("%s %v: %+v\n%s", door.path, stream, a, a.Body)
				}
				header, err := json.Marshal(a.Header)
				if err != nil {
					t.Fatal(err)
				}
				answers[i] = string(header) + "\n" + created.ReplaceAllString(string(a.Body), "")
			}
			if answers[0] != answers[1] {
				t.Errorf("%s %v:\n%s\nand directly\n%s", door.path, stream, answers[0], answers[1])
			}
		}
	}
}
