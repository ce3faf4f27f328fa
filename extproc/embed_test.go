package extproc_test

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"aisix/extproc"
	"aisix/extproc/egress"
	"aisix/extproc/usage"
)

const titan = "amazon.titan-embed-text-v2:0"

// A batch whose calls go beside the exchange fails as a call does that is the caller's own request
// going on: by what Envoy says, by silence, by breaking off.
func TestBatchFails(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	door := openSideDoor(t, func(body []byte, w http.ResponseWriter, r *http.Request) {
		says := func(status int, details string) {
			w.Header().Set("X-Aisix-Details", details)
			w.WriteHeader(status)
		}
		switch {
		case strings.Contains(string(body), "unreached"):
			says(503, "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}")
		case strings.Contains(string(body), "slow to connect"):
			says(503, "upstream_reset_before_response_started{connection_timeout}")
		case strings.Contains(string(body), "late"):
			says(504, "upstream_response_timeout")
		case strings.Contains(string(body), "no route"):
			says(404, "direct_response")
		case strings.Contains(string(body), "half"):
			w.Header().Set("Content-Length", "99")
			io.WriteString(w, `{"embedding":[1,`)
			panic(http.ErrAbortHandler)
		case strings.Contains(string(body), "silent"):
			select {
			case <-r.Context().Done():
			case <-hang:
			}
		case strings.Contains(string(body), "endless"):
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"embedding":[1`)
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-hang:
			}
		default:
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"embedding":[1,2],"inputTextTokenCount":3}`)
		}
	})
	const model = `{"display_name":"here","model_name":"` + titan + `","timeout":400}`
	for _, test := range []struct {
		says   string
		status int
		kind   string
	}{
		{"unreached", 502, "transport_error"}, {"slow to connect", 502, "transport_error"}, {"late", 504, "timeout"}, {"no route", 502, "transport_error"},
		{"half", 502, "transport_error"}, {"silent", 504, "timeout"}, {"endless", 504, "timeout"}, {"nothing of the kind", 200, ""},
	} {
		c := server(t, model, func(p *extproc.Parts) { p.Egress = door.client })
		a := c.ask("POST", "/v1/embeddings", `{"model":"here","input":["good","`+test.says+`"]}`)
		var body struct{ Error struct{ Type string } }
		if err := json.Unmarshal(a.Body, &body); err != nil || a.Status != test.status || body.Error.Type != test.kind || a.Forwarded != nil {
			t.Errorf("%s: %d %s", test.says, a.Status, a.Body)
		}
		f := c.one(t)
		if good := test.status == 200; len(f.Tries) != 2 || (f.Outcome == usage.Succeeded) != good || good && (f.Usage.Prompt() != 6 || f.Partial) || f.Panicked {
			t.Errorf("%s: %+v", test.says, f)
		}
	}
	nobody := server(t, model, func(p *extproc.Parts) {
		p.Egress = egress.New(egress.Options{Network: "unix", Address: filepath.Join(t.TempDir(), "none")})
	})
	if a := nobody.ask("POST", "/v1/embeddings", `{"model":"here","input":["a","b"]}`); a.Status != 502 || !strings.Contains(string(a.Body), "transport_error") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if f := nobody.one(t); f.Err == nil || !strings.Contains(f.Err.Error(), "egress listener cannot be reached") {
		t.Errorf("the log says %v", f.Err)
	}
}

// Who may not, and what is not there, comes before what is wrong with the request; limits come after.
func TestOrderOfEmbeddings(t *testing.T) {
	const model = `{"display_name":"here","model_name":"` + titan + `"}`
	c := server(t, model, nil)
	for _, test := range []struct {
		key, body string
		status    int
	}{
		{"", `{"model":"here","input":[]}`, 401},
		{"sk-golden", `{"model":"here","input":[],"input":[]}`, 400},
		{"sk-golden", `{"model":"there","input":[],"x":1}`, 404},
		{"sk-narrow", `{"model":"here","input":[]}`, 403},
		{"sk-golden", `{"model":"here","input":[]}`, 400},
	} {
		key := "Bearer " + test.key
		if test.key == "" {
			key = ""
		}
		if a := c.ask("POST", "/v1/embeddings", test.body, "authorization", key); a.Status != test.status || !strings.HasPrefix(string(a.Body), `{"error":{"message":`) {
			t.Errorf("%s by %q: %d %s", test.body, test.key, a.Status, a.Body)
		}
	}
	if a := c.ask("GET", "/v1/embeddings", ""); a.Status != 405 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
