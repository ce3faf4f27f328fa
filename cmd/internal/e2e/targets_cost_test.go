package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// What a target's tokens cost is kept and shown as it was written, and refused where it is no price.
func TestWhatATargetCosts(t *testing.T) {
	t.Parallel()
	g := shared(t)
	east, west := newRegion(t, "east", says(500, "InternalServerException")), newRegion(t, "west", good("west"))
	cost := map[string]any{"input_per_1k": json.Number("0.0008"), "output_per_1k": json.Number("3.2e-3"), "cache_read_per_1k": json.Number("0"), "cache_write_per_1k": json.Number("0.00100")}
	west.settings = map[string]any{"cost": cost}
	c := g.over(t, map[string]any{"cost": map[string]any{"input_per_1k": 1}}, east, west)
	shown := func(a answer, err error) (of []map[string]json.Number) {
		t.Helper()
		var entry struct {
			Value struct {
				Cost    map[string]json.Number
				Targets []struct{ Cost map[string]json.Number }
			}
		}
		if err == nil {
			err = json.Unmarshal([]byte(a.body), &entry)
		}
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("%d %s %v", a.status, a.body, err)
		}
		of = append(of, entry.Value.Cost)
		for _, target := range entry.Value.Targets {
			of = append(of, target.Cost)
		}
		return of
	}
	path := "/admin/v1/models/" + c.modelID
	for _, write := range []any{nil, map[string]any{"timeout": 60000}} { // a PATCH of something else keeps it
		a, err := g.manage(t.Context(), http.MethodGet, path, nil)
		if write != nil {
			a, err = g.manage(t.Context(), http.MethodPatch, path, write)
		}
		got := shown(a, err)
		if len(got) != 3 || fmt.Sprint(got[0]) != "map[input_per_1k:1]" || got[1] != nil || fmt.Sprint(got[2]) != fmt.Sprint(cost) {
			t.Errorf("shown as %v", got)
		}
	}
	for bad, pointer := range map[string]string{
		`{"input_per_1k":-1}`: "/targets/0/cost/input_per_1k", `{"input_per_1k":"1"}`: "/targets/0/cost/input_per_1k", `{"input_per_1k":1000001}`: "/targets/0/cost/input_per_1k",
		`{"per_token":1}`: "/targets/0/cost/per_token", `[]`: "/targets/0/cost",
	} {
		a, err := do(t.Context(), http.MethodPatch, g.admin+path, adminKey, `{"targets":[{"name":"a","provider_key_id":"`+c.modelID+`","model_name":"m","cost":`+bad+`}]}`)
		var e struct{ Pointer string }
		if json.Unmarshal([]byte(a.body), &e); err != nil || a.status != http.StatusBadRequest || e.Pointer != pointer {
			t.Errorf("%s: %d %s %v", bad, a.status, a.body, err)
		}
	}
	// A record names the target whose price holds, and its tokens.
	c.askAt(t, t.Context(), false, nil).is(t, false, "west", 2)
	if r := c.recorded(t, 1)[0]; r.Tries[len(r.Tries)-1].Target != "west" || r.Tries[len(r.Tries)-1].Reason != "served" || r.GetPromptTokens() != 3 || r.GetCompletionTokens() != 2 {
		t.Errorf("recorded %v", r)
	}
}

// A try whose answer is none, and says what it cost, is paid for beside the one that served.
func TestATryThatCostsIsPaidFor(t *testing.T) {
	t.Parallel()
	g := shared(t)
	malformed := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"output":{"message":{"role":"assistant","content":[{"text":"?"}]}},"stopReason":"malformed_model_output","usage":{"inputTokens":100,"outputTokens":50,"totalTokens":150}}`)
	}
	c := g.over(t, nil, newRegion(t, "east", malformed), newRegion(t, "middle", malformed), newRegion(t, "west", good("west")))
	a := c.askAt(t, t.Context(), false, nil)
	a.is(t, false, "west", 3)
	if !strings.Contains(a.body, `"prompt_tokens":3,"completion_tokens":2,`) { // what the caller reads is what it has got
		t.Error(a.body)
	}
	if r := c.recorded(t, 1)[0]; r.GetPromptTokens() != 203 || r.GetCompletionTokens() != 102 || r.Partial {
		t.Errorf("recorded %v", r)
	}
}
