package extproc_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"aisix/extproc"
	"aisix/extproc/egress"
	"aisix/extproc/exchange/exchangetest"
)

// goneOn begins a call of the golden key, and waits until all of it has gone on; sent is how many
// bytes.
func (c *caller) goneOn(t *testing.T, body string) (h *half, sent int64) {
	t.Helper()
	h = c.begin(plaintext, []byte(body))
	h.Put(exchangetest.RequestBody(nil, true))
	for {
		m := h.Next()
		if m == nil || m.GetImmediateResponse() != nil {
			t.Fatalf("the call was refused: %s", m.GetImmediateResponse().GetBody())
		}
		piece := m.GetRequestBody().GetResponse().GetBodyMutation().GetStreamedResponse()
		if sent += int64(len(piece.GetBody())); piece.GetEndOfStream() {
			return h, sent
		}
	}
}

// failedToConnect is how Envoy says that no connection came about.
const failedToConnect = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}"

// nowhere is a way out that is not there.
func nowhere(t *testing.T) *egress.Client {
	return egress.New(egress.Options{Network: "unix", Address: filepath.Join(t.TempDir(), "none")})
}

// What is kept for connections that may fail keeps nobody out: a key whose calls all wait for their
// upstream goes on having room for others, though it is the only one.
func TestWhatIsKeptKeepsNobodyOut(t *testing.T) {
	const room = 1 << 20
	c := server(t, "", func(p *extproc.Parts) {
		p.Snapshots, p.Config.MaxBufferedBytes, p.Egress = twoKeys(t, nil), room, nowhere(t)
	})
	picture := base64.StdEncoding.EncodeToString(append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 60<<10)...)) // no text, which stays in any case
	body := `{"model":"amazon.nova-pro-v1:0","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + picture + `"}}]}]}`
	kept := int64(0)
	for range 20 {
		h, _ := c.goneOn(t, body)
		defer h.leave()
		_, bytes := c.Load()
		kept = max(kept, bytes)
	}
	if kept < room/8 || kept > room/2 {
		t.Errorf("up to %d bytes of %d were held", kept, room)
	}
}

// Of a call that waits for its upstream no more is kept than the body that went there, and after
// the head of the answer not that; nothing where Envoy makes connections anew itself.
func TestWhatIsKeptForAConnection(t *testing.T) {
	const said = "What is this?"
	body := `{"model":"amazon.nova-pro-v1:0","messages":[{"role":"user","content":"` + said + `"}]` + strings.Repeat(" ", 100<<10) + `}`
	for _, envoy := range []bool{false, true} {
		c := server(t, "", func(p *extproc.Parts) {
			p.Snapshots, p.Config.EnvoyReconnects, p.Egress = twoKeys(t, nil), envoy, nowhere(t)
		})
		h, sent := c.goneOn(t, body)
		if envoy {
			c.waitFor(1, headerBytes+int64(len(said)))
		} else {
			c.waitFor(1, headerBytes+sent+int64(len(said)))
		}
		h.Put(exchangetest.Attribute(exchangetest.ResponseHeaders(false, ":status", "200", "content-type", "application/json"), "response.code_details", "via_upstream"))
		c.waitFor(1, headerBytes+int64(len(said)))
		h.leave()
		c.idle()
	}
}

// What the second connection comes to is told, as of any try; where there is no way to make it,
// what the first one said. It is one try, with one signature.
func TestAConnectionIsMadeAnew(t *testing.T) {
	envoySays := func(status int, details string) heard {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Aisix-Details", details)
			w.WriteHeader(status)
			io.WriteString(w, "said by Envoy")
		}
	}
	for name, test := range map[string]struct {
		says   heard // nil: nobody listens
		status int
		reason string
	}{
		"it is there":         {speaks(t, false), 200, "served"},
		"it fails again":      {envoySays(503, "upstream_reset_before_response_started{connection_timeout}"), 502, "transport"},
		"it breaks":           {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 502, "transport"},
		"it is silent":        {silent, 504, "timeout"},
		"the secret is wrong": {envoySays(404, "direct_response"), 502, "transport"},
		"nobody listens":      {nil, 502, "transport"},
		"the upstream refuses": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amzn-Errortype", "ThrottlingException")
			w.WriteHeader(http.StatusTooManyRequests)
		}, 429, "throttled"},
	} {
		t.Run(name, func(t *testing.T) {
			side := openSideDoor(t, func(_ []byte, w http.ResponseWriter, r *http.Request) { test.says(w, r) })
			c := modelled(t, `{"display_name":"m","model_name":"amazon.nova-pro-v1:0","provider_key_id":"`+providerKeyID+`","timeout":2000}`, func(p *extproc.Parts) {
				if p.Egress = side.client; test.says == nil {
					p.Egress = nowhere(t)
				}
			})
			c.upstream = exchangetest.Reply{Status: 503, Body: []byte("no"), Details: failedToConnect}
			a := c.ask(http.MethodPost, "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`)
			if a.Status != test.status || a.Header.Get("x-aisix-attempts") != "1" {
				t.Errorf("%d %s %v", a.Status, a.Body, a.Header)
			}
			if f := c.one(t); len(f.Tries) != 1 || f.Tries[0].Reason != test.reason {
				t.Errorf("recorded %+v", f.Tries)
			}
			want := 1
			if test.says == nil {
				want = 0
			}
			got := side.requests()
			if len(got) != want {
				t.Fatalf("%d requests went by the egress listener, want %d", len(got), want)
			}
			for _, r := range got {
				if string(r.Body) != string(a.Forwarded.Body) || r.Header.Get("Authorization") != a.Forwarded.Header.Get("Authorization") {
					t.Errorf("%s %v; at first %s %v", r.Body, r.Header, a.Forwarded.Body, a.Forwarded.Header)
				}
			}
			c.idle()
		})
	}
}

// What may have reached somebody is not sent again: not where a connection came about and broke, nor
// where another's filter of the same Envoy failed, whatever its own upstream's failure was.
func TestWhatWasSentIsNotSentAgain(t *testing.T) {
	for _, details := range []string{
		"upstream_reset_before_response_started{connection_termination}",
		"upstream_reset_before_response_started{connection_termination|remote_connection_failure}",
		"upstream_reset_before_response_started{remote_reset}",
		"upstream_reset_before_response_started{remote_reset|remote_refused_stream_reset}",
		"upstream_reset_after_response_started{remote_refused_stream_reset}",
		"upstream_reset_before_response_started{protocol_error}",
		"upstream_reset_before_response_started{overflow}",
		"upstream_reset_after_response_started{remote_connection_failure}",
		"upstream_per_try_timeout",
		"upstream_response_timeout",
		"ext_proc_error_gRPC_error_14{upstream_connect_error_or_disconnect/reset_before_headers._reset_reason:_connection_timeout}",
		"dns_resolution_failure{remote_connection_failure}",
		"connection_timeout",
	} {
		side := openSideDoor(t, func(_ []byte, w http.ResponseWriter, r *http.Request) { speaks(t, false)(w, r) })
		c := server(t, "", func(p *extproc.Parts) { p.Egress = side.client })
		c.upstream = exchangetest.Reply{Status: 503, Body: []byte("no"), Details: details}
		if a := c.chat(); a.Status != 502 && a.Status != 504 {
			t.Errorf("%s: %d %s", details, a.Status, a.Body)
		}
		if n := len(side.requests()); n != 0 {
			t.Errorf("%s: sent again", details)
		}
	}
}

// A stream of a connection that others share is refused before anything is done with it: it is sent
// again, and no more than four times in all.
func TestARefusedStreamIsSentAgain(t *testing.T) {
	const refused = "upstream_reset_before_response_started{remote_refused_stream_reset}"
	for refusals, status := range map[int]int{1: 200, 2: 200, 3: 200, 4: 502, 5: 502} {
		var came atomic.Int32
		side := openSideDoor(t, func(_ []byte, w http.ResponseWriter, r *http.Request) {
			if int(came.Add(1)) >= refusals {
				speaks(t, false)(w, r)
				return
			}
			w.Header().Set("X-Aisix-Details", refused)
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		c := server(t, "", func(p *extproc.Parts) { p.Egress = side.client })
		c.upstream = exchangetest.Reply{Status: 503, Body: []byte("no"), Details: refused}
		if a := c.chat(); a.Status != status || a.Header.Get("x-aisix-attempts") != "1" {
			t.Errorf("refused %d times: %d %s %v", refusals, a.Status, a.Body, a.Header)
		}
		if n := len(side.requests()); n != min(refusals, 3) {
			t.Errorf("refused %d times: sent again %d times", refusals, n)
		}
	}
}

// Where Envoy makes the connections of callers' own requests anew, extproc makes those alone that it
// asked for by the egress listener: two in any case.
func TestWhoMakesConnectionsAnew(t *testing.T) {
	for _, test := range []struct {
		routing string
		envoy   bool
		want    int // requests by the egress listener
	}{
		{`{}`, false, 1}, {`{}`, true, 0}, {`{"first_byte_timeout":5000}`, false, 2}, {`{"first_byte_timeout":5000}`, true, 2},
	} {
		side := openSideDoor(t, func(_ []byte, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Aisix-Details", failedToConnect)
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		c := modelled(t, `{"display_name":"m","model_name":"amazon.nova-pro-v1:0","provider_key_id":"`+providerKeyID+`","routing":`+test.routing+`}`, func(p *extproc.Parts) {
			p.Egress, p.Config.EnvoyReconnects = side.client, test.envoy
		})
		c.upstream = exchangetest.Reply{Status: 503, Body: []byte("no"), Details: failedToConnect}
		a := c.ask(http.MethodPost, "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`)
		if n := len(side.requests()); a.Status != 502 || a.Header.Get("x-aisix-attempts") != "1" || n != test.want {
			t.Errorf("%+v: %d %s %v, %d requests", test, a.Status, a.Body, a.Header, n)
		}
		c.idle()
	}
}
