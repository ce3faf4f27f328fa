package extproc_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/exchange/exchangetest"
)

// askResponses asks in the format of OpenAI's Responses, as an agent that keeps what is thought.
func (g *gateway) askResponses(t *testing.T, model string, input []any, stream bool) *exchangetest.Answer {
	t.Helper()
	raw, err := json.Marshal(object{
		"model": model, "input": input, "stream": stream, "store": false,
		"include": []any{"reasoning.encrypted_content"}, "reasoning": object{"summary": "auto"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return exchangetest.Envoy{
		Path:     "/v1/responses",
		Header:   http.Header{"Authorization": {"Bearer " + plaintext}, "Content-Type": {"application/json"}},
		Body:     raw,
		Upstream: func(exchangetest.Forwarded) exchangetest.Reply { return g.answer },
	}.Run(t.Context(), t, g.Process)
}

// items are those of an answer, as clients give them back: of a stream those that are done, which
// must be those of the last event, and grown from what was added to them.
func items(t *testing.T, answer *exchangetest.Answer, stream bool) []object {
	t.Helper()
	var last struct {
		Status string
		Output []object
	}
	if !stream {
		if err := json.Unmarshal(answer.Body, &last); err != nil {
			t.Fatalf("%v in %s", err, answer.Body)
		}
		return last.Output
	}
	var done []object
	grown := map[int]string{}
	n := 0
	for event := range strings.SplitSeq(string(answer.Body), "\n\n") {
		_, data, ok := strings.Cut(event, "\ndata: ")
		if !ok {
			continue
		}
		var e struct {
			Type     string
			Sequence int `json:"sequence_number"`
			Index    int `json:"output_index"`
			Delta    string
			Item     object
			Response json.RawMessage
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatalf("%v in %s", err, event)
		}
		if e.Sequence != n {
			t.Errorf("event %d has the number %d: %s", n, e.Sequence, data)
		}
		n++
		switch e.Type {
		case "response.output_text.delta", "response.function_call_arguments.delta":
			grown[e.Index] += e.Delta
		case "response.output_item.done":
			for len(done) <= e.Index {
				done = append(done, nil)
			}
			done[e.Index] = e.Item
			text := grown[e.Index]
			switch e.Item["type"] {
			case "function_call":
				if text != e.Item["arguments"] && (text != "" || e.Item["arguments"] != "{}") {
					t.Errorf("%q grew to %v", text, e.Item)
				}
			case "message":
				if content := e.Item["content"].([]any)[0].(object); text != content["text"] {
					t.Errorf("%q grew to %v", text, e.Item)
				}
			}
		case "response.completed", "response.incomplete":
			if err := json.Unmarshal(e.Response, &last); err != nil {
				t.Fatal(err)
			}
		case "response.failed":
			t.Fatalf("failed: %s", data)
		}
	}
	if diff := cmp.Diff(last.Output, done); diff != "" && len(done)+len(last.Output) > 0 {
		t.Errorf("the last event has other items than were done (-last +done):\n%s", diff)
	}
	return last.Output
}

// unnamed are items with their calls' ids by their order, since one that the model did not give
// is made up, and without white space in arguments.
func unnamed(in []object) []object {
	out := make([]object, len(in))
	for i, item := range in {
		out[i] = maps.Clone(item)
		if item["call_id"] != nil {
			out[i]["call_id"] = i
		}
		if text, ok := item["arguments"].(string); ok { // the test's own whole replies are compact
			var line bytes.Buffer
			if json.Compact(&line, []byte(text)) == nil {
				out[i]["arguments"] = line.String()
			}
		}
	}
	return out
}

// TestWhatWasAnsweredInResponsesIsTakenBack: any answer of any family is the same whole and streamed, and
// may stand in the history of the next request, to the same model and to one of another family;
// and no model is shown what another one thought.
func TestWhatWasAnsweredInResponsesIsTakenBack(t *testing.T) {
	g := newGateway(t, "")
	invokes := func(model string) bool { return strings.Contains(model, "anthropic.") }
	ok := []block{{kind: "text", text: "ok"}}
	good := map[bool]exchangetest.Reply{true: replyOf(t, ok, true, false), false: replyOf(t, ok, false, false)}
	random := rand.New(rand.NewPCG(5, 6))
	models := slices.Sorted(maps.Keys(families))
	sealed := 0
	for _, model := range models {
		var answers [][]block
		for _, b := range answerBlocks {
			answers = append(answers, []block{b})
		}
		for range 6 {
			var some []block
			for range 2 + random.IntN(4) {
				some = append(some, answerBlocks[random.IntN(len(answerBlocks))])
			}
			answers = append(answers, some)
		}
		for _, blocks := range answers {
			if !families[model] {
				blocks = slices.DeleteFunc(slices.Clone(blocks), func(b block) bool { return b.kind == "call" })
			}
			hi := object{"type": "message", "role": "user", "content": "hi"}
			var said [2][]object
			for i, stream := range []bool{false, true} {
				g.answer = replyOf(t, blocks, invokes(model), stream)
				answer := g.askResponses(t, model, []any{hi}, stream)
				if answer.Status != 200 {
					t.Fatalf("%s answered %v: %d %s", model, blocks, answer.Status, answer.Body)
				}
				said[i] = items(t, answer, stream)
			}
			if diff := cmp.Diff(unnamed(said[0]), unnamed(said[1])); diff != "" {
				t.Errorf("%s answered %v (-whole +streamed):\n%s", model, blocks, diff)
			}
			history := []any{hi}
			var results []any
			for _, item := range said[random.IntN(2)] {
				history = append(history, item)
				if item["type"] == "function_call" {
					results = append([]any{object{"type": "function_call_output", "call_id": item["call_id"], "output": ""}}, results...)
				}
			}
			history = append(append(history, results...), object{"type": "message", "role": "user", "content": "go on"})
			other := models[random.IntN(len(models))]
			if !families[other] && len(results) > 0 {
				other = "acme.model-1"
			}
			raw, _ := json.Marshal(history)
			if bytes.Contains(raw, []byte("aisix1.")) {
				sealed++
			}
			for _, next := range []string{model, other, "anthropic.claude-opus-4-6-v1"} {
				g.answer = good[invokes(next)]
				a := g.askResponses(t, next, history, false)
				if a.Status != 200 || a.Forwarded == nil {
					t.Errorf("%s, after %s answered %v: %d %s\n%s", next, model, blocks, a.Status, a.Body, raw)
					continue
				}
				if bytes.Contains(a.Forwarded.Body, []byte("aisix1.")) {
					t.Errorf("%s was shown a seal of ours: %s", next, a.Forwarded.Body)
				}
			}
		}
	}
	if sealed == 0 {
		t.Error("no reasoning was sealed")
	}
}
