package extproc_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"aisix/extproc/exchange/exchangetest"
)

// askMessages asks in Anthropic's format, as an agent that thinks where it may.
func (g *gateway) askMessages(t *testing.T, body object) *exchangetest.Answer {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return exchangetest.Envoy{
		Path:     "/v1/messages?beta=true",
		Header:   http.Header{"X-Api-Key": {plaintext}, "Content-Type": {"application/json"}},
		Body:     raw,
		Upstream: func(exchangetest.Forwarded) exchangetest.Reply { return g.answer },
	}.Run(t.Context(), t, g.Process)
}

// spoken are the blocks of an answer as Anthropic's clients give them back, byte for byte: a
// stream's events added up.
func spoken(t *testing.T, answer *exchangetest.Answer, stream bool) []object {
	t.Helper()
	if !stream {
		var m struct{ Content []object }
		if err := json.Unmarshal(answer.Body, &m); err != nil {
			t.Fatalf("%v in %s", err, answer.Body)
		}
		return m.Content
	}
	var blocks []object
	inputs := map[int]string{}
	for event := range strings.SplitSeq(string(answer.Body), "\n\n") {
		_, data, ok := strings.Cut(event, "\ndata: ")
		if !ok {
			continue
		}
		var e struct {
			Type         string
			Index        int
			ContentBlock object `json:"content_block"`
			Delta        map[string]any
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatalf("%v in %s", err, event)
		}
		switch e.Type {
		case "content_block_start":
			blocks = append(blocks, e.ContentBlock)
		case "content_block_delta":
			for _, name := range []string{"text", "thinking", "signature"} {
				if s, ok := e.Delta[name].(string); ok {
					before, _ := blocks[e.Index][name].(string)
					blocks[e.Index][name] = before + s
				}
			}
			if s, ok := e.Delta["partial_json"].(string); ok {
				inputs[e.Index] += s
			}
		case "error":
			t.Fatalf("an error in the stream: %s", data)
		}
	}
	for i, text := range inputs {
		if text != "" {
			blocks[i]["input"] = json.RawMessage(text)
		}
	}
	return blocks
}

// TestWhatWasAnsweredInMessagesIsTakenBack: any answer of any family, whole and streamed, may stand
// in the history of the next request, to the same model and to one of another family; and
// Claude is never shown what another one thought.
func TestWhatWasAnsweredInMessagesIsTakenBack(t *testing.T) {
	g := newGateway(t, "")
	invokes := func(model string) bool { return strings.Contains(model, "anthropic.") }
	good := map[bool]exchangetest.Reply{true: replyOf(t, []block{{kind: "text", text: "ok"}}, true, false), false: replyOf(t, []block{{kind: "text", text: "ok"}}, false, false)}
	random := rand.New(rand.NewPCG(9, 8))
	models := slices.Sorted(maps.Keys(families))
	sealed := 0
	for _, model := range models {
		var answers [][]block
		for _, b := range answerBlocks {
			answers = append(answers, []block{b})
		}
		for range 8 {
			var some []block
			for range 2 + random.IntN(4) {
				some = append(some, answerBlocks[random.IntN(len(answerBlocks))])
			}
			answers = append(answers, some)
		}
		for i, blocks := range answers {
			// A call without an id, or with one that is taken, is Claude's to mend where it passes as it came.
			taken := map[string]bool{}
			blocks = slices.DeleteFunc(slices.Clone(blocks), func(b block) bool {
				bad := b.kind == "call" && (!families[model] || invokes(model) && (b.id == "" || taken[b.id]))
				taken[b.id] = true
				return bad
			})
			stream := i%2 == random.IntN(2)
			g.answer = replyOf(t, blocks, invokes(model), stream)
			hi := object{"role": "user", "content": "hi"}
			answer := g.askMessages(t, object{"model": model, "max_tokens": 100, "stream": stream, "messages": []any{hi}})
			if answer.Status != 200 {
				t.Errorf("%s answered %v: %d %s", model, blocks, answer.Status, answer.Body)
				continue
			}
			said := spoken(t, answer, stream)
			results := []any{}
			for _, b := range said {
				if b["type"] == "tool_use" {
					results = append([]any{object{"type": "tool_result", "tool_use_id": b["id"]}}, results...)
				}
			}
			results = append(results, object{"type": "text", "text": "go on"})
			history := []any{hi, object{"role": "assistant", "content": said}, object{"role": "user", "content": results}}
			other := models[random.IntN(len(models))]
			if !families[other] && len(results) > 1 {
				other = "acme.model-1"
			}
			for _, next := range []string{model, other, "anthropic.claude-opus-4-6-v1"} {
				g.answer = good[invokes(next)]
				a := g.askMessages(t, object{"model": next, "max_tokens": 100, "messages": history})
				raw, _ := json.Marshal(history)
				if a.Status != 200 || a.Forwarded == nil {
					t.Errorf("%s, after %s answered %v (streamed %t): %d %s\n%s", next, model, blocks, stream, a.Status, a.Body, raw)
					continue
				}
				if strings.Contains(string(raw), "aisix1.") {
					sealed++
				}
				if strings.Contains(string(a.Forwarded.Body), "aisix1.") {
					t.Errorf("%s was shown what %s thought: %s", next, model, a.Forwarded.Body)
				}
			}
		}
	}
	if sealed == 0 {
		t.Error("no reasoning was sealed")
	}
}
