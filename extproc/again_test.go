package extproc_test

import (
	"io"
	"net/http"
	"path/filepath"
	"testing"

	"aisix/extproc"
	"aisix/extproc/egress"
	"aisix/extproc/exchange/exchangetest"
)

// failedToConnect is how Envoy says that no connection came about.
const failedToConnect = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}"

// nowhere is a way out that is not there.
func nowhere(t *testing.T) *egress.Client {
	return egress.New(egress.Options{Network: "unix", Address: filepath.Join(t.TempDir(), "none")})
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

// What may have reached somebody is not sent again: not where a connection came about and broke, nor
// where another's filter of the same Envoy failed, whatever its own upstream's failure was.
func TestWhatWasSentIsNotSentAgain(t *testing.T) {
	for _, details := range []string{
		"upstream_reset_before_response_started{connection_termination}",
		"upstream_reset_before_response_started{connection_termination|remote_connection_failure}",
		"upstream_reset_before_response_started{remote_reset}",
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
