package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
)

// An upstream that breaks off while nothing has gone to the caller yet: the answer is then Envoy's own, in
// the shape of the door by which the call came, under the call's id. By then the request that Envoy has in
// hand is the upstream's.
func TestBrokenOffBeforeTheAnswerBegan(t *testing.T) {
	t.Parallel()
	g := shared(t)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "500")
		fmt.Fprint(w, `{"output":`)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	for id, api := range map[string]string{nova: "", claude: "", "us.openai.gpt-5.6-sol": "responses"} {
		members := map[string]any{}
		if api != "" {
			members["api"] = api
		}
		c := g.tenant(t, u.URL, settings{id: id, model: members})
		for _, d := range doors {
			for _, given := range []string{"", "the-callers-own"} {
				body, err := json.Marshal(d.body(c.alias, "Hello", false))
				if err != nil {
					t.Fatal(err)
				}
				a, err := do(t.Context(), http.MethodPost, c.proxy+d.path, c.key, string(body), "x-aisix-request-id", given)
				if err != nil {
					t.Fatal(err)
				}
				var e struct {
					Type      string
					RequestID string `json:"request_id"`
					Error     struct{ Type, Message string }
				}
				if err := json.Unmarshal([]byte(a.body), &e); err != nil {
					t.Fatal(err, a.body)
				}
				rid := a.header.Get("X-Aisix-Request-Id")
				if given != "" && rid != given || rid == "" {
					t.Errorf("%s at %s: answered as %q, want %q", id, d.path, rid, given)
				}
				if given == "" {
					logged(t, g.Extproc.Log, rid)
				}
				if d.dialect == "messages" {
					if a.status != 500 || e.Type != "error" || e.Error.Type != "api_error" || e.RequestID != rid || a.header.Get("Request-Id") != rid {
						t.Errorf("%s at %s: %d %s %v", id, d.path, a.status, a.body, a.header)
					}
				} else if a.status != 502 || e.Type != "" || e.Error.Type != "transport_error" {
					t.Errorf("%s at %s: %d %s", id, d.path, a.status, a.body)
				}
			}
		}
	}
}
