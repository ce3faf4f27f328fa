package e2e

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A connection that fails before anything was on it is made anew, by extproc: the call is served as if
// nothing had been, with its body whole and once, at each door, whole and streamed, and of embeddings.
// One that keeps failing is the upstream's fault, and is tried twice.
func TestConnectionFails(t *testing.T) {
	t.Parallel()
	connectionFails(t, shared(t), false)
}

func TestConnectionFailsByHTTP2(t *testing.T) {
	t.Parallel()
	connectionFails(t, agreeing(t), true)
}

func connectionFails(t *testing.T, g *gateway, http2 bool) {
	t.Helper()
	var refuse, handshakes atomic.Int32
	var mu sync.Mutex
	var bodies []int
	u := script(nil)
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if (r.ProtoMajor == 2) != http2 {
			t.Errorf("spoken to in %s", r.Proto)
		}
		mu.Lock()
		bodies = append(bodies, len(b))
		mu.Unlock()
		switch {
		case strings.HasSuffix(r.URL.Path, "/converse-stream"):
			streaming(w)
			emit(w, "messageStart", `{"role":"assistant"}`)
			emit(w, "contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"Hello."}}`)
			emit(w, "contentBlockStop", `{"contentBlockIndex":0}`)
			emit(w, "messageStop", `{"stopReason":"end_turn"}`)
			emit(w, "metadata", `{"usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5},"metrics":{"latencyMs":1}}`)
		case strings.Contains(r.URL.Path, "embed"):
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"embedding":[0.5,0.5],"embeddingsByType":{"float":[0.5,0.5]},"inputTextTokenCount":3}`)
		default:
			whole(w, "Hello.")
		}
	})
	u.Config.SetKeepAlivesEnabled(false) // a handshake for every request
	u.TLS = &tls.Config{SessionTicketsDisabled: true, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		handshakes.Add(1)
		if refuse.Add(-1) >= 0 {
			return nil, errors.New("as told")
		}
		return nil, nil
	}}
	u.EnableHTTP2 = http2
	u.StartTLS()
	t.Cleanup(u.Close)

	talks := g.tenant(t, u.URL, settings{})
	two := g.over(t, nil, &region{name: "first", upstream: u}, &region{name: "second", upstream: u})
	embeds := g.tenant(t, u.URL, settings{id: titan})

	type ask struct {
		name, path, key string
		body            map[string]any
	}
	var asks []ask
	for _, d := range doors {
		for name, text := range map[string]string{"short": "Hello", "300 kB": strings.Repeat("hello ", 50<<10)} {
			asks = append(asks,
				ask{name, d.path, talks.key, d.body(talks.alias, text, false)},
				ask{name + " streamed", d.path, talks.key, d.body(talks.alias, text, true)},
				ask{name + " of two targets", d.path, two.key, d.body(two.alias, text, false)})
		}
	}
	asks = append(asks, ask{"embeddings", "/v1/embeddings", embeds.key, map[string]any{"model": embeds.alias, "input": "red"}})
	for _, a := range asks {
		body, err := json.Marshal(a.body)
		if err != nil {
			t.Fatal(err)
		}
		call := func(failures int32) (answer, int32, []int) {
			t.Helper()
			mu.Lock()
			bodies = nil
			mu.Unlock()
			refuse.Store(failures)
			before := handshakes.Load()
			got, err := do(t.Context(), http.MethodPost, talks.proxy+a.path, a.key, string(body))
			if err != nil {
				t.Fatal(err)
			}
			refuse.Store(0)
			mu.Lock()
			defer mu.Unlock()
			return got, handshakes.Load() - before, bodies
		}
		plain, _, size := call(0)
		if plain.status != 200 || len(size) != 1 {
			t.Fatalf("%s at %s: %d %s", a.name, a.path, plain.status, plain.body)
		}
		again, tried, got := call(1)
		if again.status != 200 || tried != 2 || len(got) != 1 || got[0] != size[0] || again.header.Get("X-Aisix-Attempts") != "1" {
			t.Errorf("%s at %s: %d %s, after %d handshakes; the upstream got bodies of %v bytes, want one of %v; %v", a.name, a.path, again.status, again.body, tried, got, size, again.header)
		}
		if strings.HasSuffix(a.name, "two targets") {
			continue
		}
		failed, tried, got := call(100)
		if failed.status != 502 && failed.status != 500 || !strings.Contains(failed.body, "could not be reached") || tried != 2 || len(got) != 0 {
			t.Errorf("%s at %s: %d %s, after %d handshakes", a.name, a.path, failed.status, failed.body, tried)
		}
	}
}
