package e2e

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	usagev1 "aisix/proto/aisix/v1"
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

// An upstream of any API that breaks off in mid-answer, at each door, whole and streamed: the caller
// learns of it and takes nothing for the end, and the call is not sent again, although it might be.
func TestBrokenOffInMidAnswer(t *testing.T) {
	t.Parallel()
	brokenOff(t, shared(t), regionsThatLie(t, 1))
}

// brokenOff asks each region, by each door, for each answer that breaks off.
func brokenOff(t *testing.T, g *gateway, all []*liar) {
	t.Helper()
	of := unique("broken-off")
	key := &tenant{gateway: g, key: "sk-" + of, alias: of + "-e"}
	key.keyID = g.create(t, "apikeys", map[string]any{"key_hash": hex.EncodeToString(sum(key.key)), "allowed_models": []string{of + "-*"}})
	for _, l := range all {
		g.create(t, "models", map[string]any{"display_name": of + "-" + l.name, "model_name": l.model, "api": l.api, "host": l.host,
			"provider_key_id": l.providerKey(t, g, of), "routing": map[string]any{"retries": 2}})
	}
	key.inForce(t)
	var cells []*cell
	for name, d := range deeds {
		for _, l := range all {
			for i := range 2 * len(doors) {
				if stream := i%2 == 0; d.class == breaks && d.of.has(l, stream) {
					c := &cell{called: called{id: fmt.Sprintf("call-%d-", 20_000+len(cells)), door: doors[i/2], stream: stream}, deed: name, first: l, alias: of + "-" + l.name}
					if l.does[c.id] = name; c.began() {
						l.read[c.id] = make(chan struct{})
					}
					cells = append(cells, c)
				}
			}
		}
	}
	each(cells, func(c *cell) {
		at := *key
		at.alias = c.alias
		c.ask(t, &at, c.first.read[c.id])
	})
	records := key.recordsByID(t, len(cells))
	believed(t, all)
	for _, c := range cells {
		c.judgeBroken(t, all, records[c.id])
	}
	t.Logf("%d cells", len(cells))
}

// began reports whether the first target begins to answer, so that there are words in it.
func (c *cell) began() bool { return strings.HasPrefix(c.deed, "half, ") }

// judgeBroken fails unless the caller was told that the answer broke off, after one upstream call.
func (c *cell) judgeBroken(t *testing.T, all []*liar, r *usagev1.Record) {
	t.Helper()
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s by %s, at %s, stream %v: %s\n\t%d %s %v\n\t%v", c.deed, c.first.api, c.door.path, c.stream, fmt.Sprintf(format, args...), c.answer.status, c.answer.body, c.err, r)
	}
	if _, at := trace(c.id, all); len(at) != 1 || len(r.Tries) != 1 || r.Attempts != 1 {
		wrong("%d upstream calls", len(at))
	}
	switch ok := c.answer.status == http.StatusOK; {
	case c.began() != ok:
		wrong("the status")
	case !ok:
		c.wantError(wrong)
	case strings.Contains(c.answer.body, "[DONE]"), c.door.end != "" && strings.Contains(c.answer.body, c.door.end), c.door.end == "" && c.whole():
		wrong("a good end")
	case c.err == nil && !strings.Contains(c.answer.body, c.door.fault):
		wrong("not told so")
	case c.err != nil && !strings.Contains(c.deed, "RST") && !strings.Contains(c.deed, "FIN"):
		wrong("broken off where it could be told")
	}
	if got := c.answer.header.Get("X-Aisix-Request-Id"); got != c.id {
		wrong("answered as %q", got)
	}
	if r.Outcome == usagev1.Outcome_OUTCOME_SUCCEEDED || c.began() && (!r.Partial || r.GetPromptTokens() == 0) {
		wrong("recorded so")
	}
}
