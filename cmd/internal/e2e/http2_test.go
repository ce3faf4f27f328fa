package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// crowd is how many ask at once in these tests.
const crowd = 10

// newHTTP2Upstream is newUpstream over TLS that agrees to HTTP/2.
func newHTTP2Upstream(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *upstream {
	t.Helper()
	u := script(answer)
	u.EnableHTTP2 = true
	u.StartTLS()
	t.Cleanup(u.Close)
	return u
}

// What an endpoint agrees to is what it is spoken to in: HTTP/2 by few connections, HTTP/1.1 where
// it knows nothing else, or no ALPN, or has no TLS. All callers of a burst are served by each.
func TestWhatTheEndpointAgreesTo(t *testing.T) {
	t.Parallel()
	g := agreeing(t)
	for name, test := range map[string]struct {
		protocols []string // of ALPN
		clear     bool
		major     int
	}{
		"HTTP/2":                 {protocols: []string{"h2", "http/1.1"}, major: 2},
		"HTTP/2 alone":           {protocols: []string{"h2"}, major: 2},
		"HTTP/1.1 alone":         {protocols: []string{"http/1.1"}, major: 1},
		"none, for want of ALPN": {major: 1},
		"none, for want of TLS":  {clear: true, major: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var came, connections atomic.Int32
			all := make(chan struct{})
			u := script(func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != test.major {
					t.Errorf("spoken to in %s", r.Proto)
				}
				if came.Add(1) == crowd {
					close(all)
				}
				select { // until all are there, so that each has a stream or a connection of its own
				case <-all:
				case <-r.Context().Done():
					return
				}
				good("it")(w, r)
			})
			u.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					connections.Add(1)
				}
			}
			switch {
			case test.clear:
				u.Start()
			case len(test.protocols) == 0:
				u.Listener = tls.NewListener(u.Listener, &tls.Config{Certificates: []tls.Certificate{ofLocalhost()}})
				u.Start()
				u.URL = strings.Replace(u.URL, "http://127.0.0.1", "https://localhost", 1)
			default:
				u.EnableHTTP2 = slices.Contains(test.protocols, "h2")
				u.TLS = &tls.Config{NextProtos: test.protocols}
				u.StartTLS()
			}
			t.Cleanup(u.Close)
			c := g.tenant(t, u.URL, settings{})
			burst(t, c, crowd, true)
			if n := connections.Load(); test.major == 1 && n < crowd || test.major == 2 && n > 4 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// burst asks so often at once, half of them for streams where those are wanted, and fails unless all are
// answered.
func burst(t *testing.T, c *tenant, n int, streams bool) {
	t.Helper()
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			a, err := do(ctx, http.MethodPost, c.proxy+"/v1/chat/completions", c.key, c.ask("Hello", streams && i%2 == 0))
			if err != nil || a.status != http.StatusOK || !strings.Contains(a.body, `"finish_reason":"stop"`) {
				t.Errorf("%d %s, %v", a.status, a.body, err)
			}
		})
	}
	group.Wait()
}

// An endpoint that takes few calls on a connection has as many connections as it takes. Those of a burst
// that come before it has said so are refused, and sent again.
func TestEndpointsThatTakeFewStreams(t *testing.T) {
	t.Parallel()
	g := agreeing(t)
	for most, asking := range map[int]int{1: 4, 3: crowd} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			open, taken := map[*framedConn]int{}, map[*framedCall]bool{}
			all := make(chan struct{})
			f := newFraming(t, &framing{
				settings: []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: uint32(most)}},
				begins: func(s *framedCall) {
					mu.Lock()
					defer mu.Unlock()
					if open[s.framedConn] == most {
						s.reset(http2.ErrCodeRefusedStream)
						return
					}
					open[s.framedConn]++
					if taken[s] = true; len(taken) == asking {
						close(all)
					}
				},
				does: func(s *framedCall) {
					mu.Lock()
					ours := taken[s]
					mu.Unlock()
					if !ours {
						return
					}
					select {
					case <-all:
						s.answer()
					case <-s.ended.Done():
					}
				},
			})
			burst(t, g.tenant(t, f.URL, settings{}), asking, true)
			requests, connections := f.seen()
			t.Logf("%d requests on %d connections", len(requests), connections)
			if connections < asking/most {
				t.Errorf("%d connections", connections)
			}
		})
	}
}

// What goes out is what was signed, for the host that it goes to, and nothing of the caller's connection.
func TestTheHeadersOfHTTP2(t *testing.T) {
	t.Parallel()
	g := agreeing(t)
	f := newFraming(t, &framing{does: func(s *framedCall) { s.head(true, 400) }})
	picture := "data:image/png;base64," + base64.StdEncoding.EncodeToString(append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 5<<20)...))
	conversation := func(path string) string {
		b, err := json.Marshal(map[string]any{"model": "MODEL", "max_tokens": 9, "stream": strings.Contains(path, "stream"), "messages": []any{map[string]any{"role": "user", "content": "Hello"}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const signed = `{"access_key_id":"AKIAEXAMPLE","secret_access_key":"s","session_token":"a-token","region":"us-west-2"}`
	for name, test := range map[string]struct {
		secret, door, body, path string
		model                    map[string]any
	}{
		"converse":   {signed, "/v1/chat/completions", conversation(""), "/model/amazon.nova-pro-v1%3A0/converse", map[string]any{"model_name": nova}},
		"a stream":   {signed, "/v1/chat/completions", conversation("stream"), "/model/amazon.nova-pro-v1%3A0/converse-stream", map[string]any{"model_name": nova}},
		"invoke":     {signed, "/v1/messages", conversation("stream"), "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/invoke-with-response-stream", map[string]any{"model_name": claude}},
		"messages":   {signed, "/v1/messages", conversation("stream"), "/anthropic/v1/messages", map[string]any{"model_name": "anthropic.claude-opus-4-5", "host": "mantle", "api": "messages"}},
		"responses":  {signed, "/v1/responses", `{"model":"MODEL","input":"Hello"}`, "/openai/v1/responses", map[string]any{"model_name": "openai.gpt-5.6-sol", "api": "responses"}},
		"embeddings": {signed, "/v1/embeddings", `{"model":"MODEL","input":"red"}`, "/model/amazon.titan-embed-text-v2%3A0/invoke", map[string]any{"model_name": "amazon.titan-embed-text-v2:0"}},
		"a bearer's": {`{"type":"bedrock_api_key","api_key":"ABSK-a-key-of-bedrocks","region":"us-west-2"}`, "/v1/chat/completions", conversation(""), "/model/amazon.nova-pro-v1%3A0/converse", map[string]any{"model_name": nova}},
		"5 MB":       {signed, "/v1/chat/completions", `{"model":"MODEL","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"` + picture + `"}}]}]}`, "/model/amazon.nova-pro-v1%3A0/converse", map[string]any{"model_name": nova}},
		"by egress":  {signed, "/v1/chat/completions", conversation("stream"), "/model/amazon.nova-pro-v1%3A0/converse-stream", map[string]any{"model_name": nova, "routing": map[string]any{"first_byte_timeout": 10_000}}},
	} {
		t.Run(name, func(t *testing.T) {
			before, _ := f.seen()
			c := g.tenant(t, f.URL, settings{model: test.model, secret: test.secret})
			a, err := do(t.Context(), http.MethodPost, c.proxy+test.door, c.key, strings.ReplaceAll(test.body, "MODEL", c.alias),
				"Connection", "x-hop", "X-Hop", "1", "TE", "trailers", "Keep-Alive", "timeout=5", "Proxy-Connection", "keep-alive", "X-Amz-Date", "20200101T000000Z",
				"Accept-Encoding", "gzip", "Cookie", "a=b", "X-Forwarded-Proto", "http", "Trailer", "x-later", "Expect", "", "X-Custom", "1")
			if err != nil || a.status != 400 {
				t.Fatalf("%d %s, %v", a.status, a.body, err)
			}
			requests, _ := f.seen()
			if requests = requests[len(before):]; len(requests) != 1 {
				t.Fatalf("%d requests", len(requests))
			}
			s := requests[0]
			want := map[string]string{":method": "POST", ":scheme": "https", ":authority": strings.TrimPrefix(f.URL, "https://"), ":path": test.path, "content-length": fmt.Sprint(len(s.body))}
			optional := []string{"authorization", "content-type", "accept", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "x-amzn-bedrock-accept", "anthropic-version"}
			for _, field := range s.fields {
				if value, ok := want[field.Name]; ok && value != field.Value || !ok && !slices.Contains(optional, field.Name) {
					t.Errorf("%s: %s", field.Name, field.Value)
				}
				delete(want, field.Name)
			}
			if len(want) != 0 {
				t.Errorf("without %v", want)
			}
			if test.secret == signed {
				if got := s.field("authorization"); !strings.HasPrefix(got, "AWS4-HMAC-SHA256 ") || !strings.Contains(got, "host;") || s.field("x-amz-security-token") != "a-token" || s.field("x-amz-content-sha256") != fmt.Sprintf("%x", sum(string(s.body))) {
					t.Errorf("signed %s", got)
				}
			} else if got := s.field("authorization"); got != "Bearer ABSK-a-key-of-bedrocks" {
				t.Errorf("authorized by %s", got)
			}
			if name == "5 MB" && len(s.body) < 5<<20 {
				t.Errorf("%d bytes", len(s.body))
			}
		})
	}
}

// Callers who do not read hold up nobody whose answer comes by the same connection, and the upstream
// is not read on for them. Once they do read, they have all of theirs.
func TestSlowReadersOfAConnection(t *testing.T) {
	t.Parallel()
	const slow, pieces, piece = 5, 320, 64 << 10 // 20 MB each: more than all buffers on the way
	text := strings.Repeat("x", piece)
	var sent [slow]atomic.Int32
	var asking, connections atomic.Int32
	u := script(func(w http.ResponseWriter, r *http.Request) {
		if !isStream(r) {
			good("it")(w, r)
			return
		}
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		count := &sent[asking.Add(1)-1]
		for range pieces {
			emit(w, "contentBlockDelta", delta(text))
			count.Add(1)
		}
		finish(w)
	})
	u.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	u.EnableHTTP2 = true
	u.StartTLS()
	t.Cleanup(u.Close)
	c := agreeing(t).tenant(t, u.URL, settings{model: map[string]any{"stream_timeout": 60_000}})
	c.served(t) // there is a connection
	var readers []net.Conn
	for range slow {
		nc := c.dial(t)
		nc.(*net.TCPConn).SetReadBuffer(64 << 10)
		nc.SetDeadline(time.Now().Add(3 * patience))
		body := c.ask("Much", true)
		fmt.Fprintf(nc, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", c.key, len(body), body)
		readers = append(readers, nc)
	}
	all := func() (n int32) {
		for i := range sent {
			n += sent[i].Load()
		}
		return n
	}
	// Until nothing more is taken of the upstream while others' calls come and go.
	eventually(t, 3*patience, func() error {
		before := all()
		for range 20 {
			burst(t, c, 10, false)
			if now := all(); now != before {
				return fmt.Errorf("%d pieces were taken, and then %d", before, now)
			}
		}
		return nil
	})
	for i := range sent {
		if n := sent[i].Load(); n == 0 || n == pieces {
			t.Errorf("%d of %d pieces were taken of the upstream while nobody read", n, pieces)
		}
	}
	t.Logf("%d MB are on the way", all()*piece>>20)
	burst(t, c, crowd, false)
	if n := connections.Load(); n > 2 {
		t.Errorf("%d connections", n)
	}
	var group sync.WaitGroup
	for _, nc := range readers {
		group.Go(func() {
			response, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				t.Error(err)
				return
			}
			all, err := io.ReadAll(response.Body)
			if err != nil || strings.Count(string(all), text) != pieces || !strings.HasSuffix(string(all), "data: [DONE]\n\n") {
				t.Errorf("%d bytes, %d pieces, %v", len(all), strings.Count(string(all), text), err)
			}
		})
	}
	group.Wait()
}

// An Envoy that hands bodies over whole speaks HTTP/2 as well, the oldest that there is.
func TestHTTP2OfABufferingEnvoy(t *testing.T) {
	t.Parallel()
	g := buffering(t, "AISIX_UPSTREAM__HTTP2=true", "AISIX_UPSTREAM__CA_FILE="+upstreamCA("buffering"))
	var refused atomic.Bool
	f := newFraming(t, &framing{does: func(s *framedCall) {
		if refused.CompareAndSwap(false, true) {
			s.reset(http2.ErrCodeRefusedStream)
			return
		}
		s.answer()
	}})
	c := g.tenant(t, f.URL, settings{})
	burst(t, c, 1, false)
	burst(t, c, crowd, true)
	picture := "data:image/png;base64," + base64.StdEncoding.EncodeToString(append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 5<<20)...))
	a, err := do(t.Context(), http.MethodPost, c.proxy+"/v1/chat/completions", c.key, `{"model":"`+c.alias+`","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"`+picture+`"}}]}]}`)
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %s, %v", a.status, a.body, err)
	}
	requests, _ := f.seen()
	for i, r := range requests {
		if want := fmt.Sprint(len(r.body)); r.field("content-length") != want || r.field(":scheme") != "https" {
			t.Errorf("request %d of %s bytes: %v", i, want, r.fields)
		}
	}
	if len(requests) != 1+1+crowd+1 || len(requests[len(requests)-1].body) < 5<<20 {
		t.Errorf("%d requests", len(requests))
	}
}
