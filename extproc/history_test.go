package extproc_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc"
	"aisix/extproc/exchange/exchangetest"
)

type object = map[string]any

// families are one model of each, and whether it takes tools at all.
var families = map[string]bool{
	"anthropic.claude-3-5-sonnet-20241022-v2:0": true, "anthropic.claude-sonnet-4-5-20250929-v1:0": true, "anthropic.claude-opus-4-6-v1": true, "us.anthropic.claude-sonnet-5-5": true,
	"ab12cd34ef56":         true,
	"amazon.nova-pro-v1:0": true, "us.amazon.nova-2-lite-v1:0": true, "amazon.titan-text-premier-v1:0": false, "meta.llama3-3-70b-instruct-v1:0": true,
	"mistral.mistral-large-2407-v1:0": true, "cohere.command-r-plus-v1:0": true, "ai21.jamba-1-5-large-v1:0": true, "deepseek.r1-v1:0": false, "deepseek.v3-v1:0": true,
	"openai.gpt-oss-120b-1:0": true, "us.openai.gpt-6.1": true, "qwen.qwen3-32b-v1:0": true, "moonshotai.kimi-k2-thinking": true, "minimax.minimax-m2": true, "zai.glm-4.7": true,
	"acme.model-1": true,
}

// gateway is a server with every model, whose upstream answers what answer says.
type gateway struct {
	*extproc.Server
	answer exchangetest.Reply
}

func newGateway(t *testing.T, model string) *gateway {
	return &gateway{Server: extproc.New(extproc.Parts{
		Config:    extproc.Config{MaxBodyBytes: 10 << 20, Timeout: time.Minute, StreamTimeout: time.Minute},
		Snapshots: snapshotOf(t, model),
		Limiter:   noLimits{t},
		Recorder:  &recorded{},
		NewID:     func() string { return "00000000-0000-4000-8000-000000000000" },
	})}
}

func (g *gateway) ask(t *testing.T, body object) *exchangetest.Answer {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return exchangetest.Envoy{
		Path:     "/v1/chat/completions",
		Header:   http.Header{"Authorization": {"Bearer " + plaintext}, "Content-Type": {"application/json"}},
		Body:     raw,
		Upstream: func(exchangetest.Forwarded) exchangetest.Reply { return g.answer },
	}.Run(t.Context(), t, g.Process)
}

// block is one of an answer.
type block struct{ kind, text, signature, id, name string }

// answerBlocks are what models have answered with, nothing included.
var answerBlocks = []block{
	{kind: "text"}, {kind: "text", text: " \n"}, {kind: "text", text: "well"}, {kind: "thinking", text: "hm"}, {kind: "thinking", text: "hm", signature: "c2ln"}, {kind: "thinking", signature: "c2ln"},
	{kind: "thinking"}, {kind: "redacted", text: "AAEC"}, {kind: "redacted"}, {kind: "call", name: "f"}, {kind: "call", id: "a", name: "f", text: `{"a":1}`}, {kind: "call", id: "a", name: "made up", text: "{}"},
	{kind: "call", id: "functions.f:0", name: "f", text: `{"b": [1.0]}`},
}

// replyOf is an upstream's whole answer or its stream, by InvokeModel or Converse.
func replyOf(t *testing.T, blocks []block, invoke, stream bool) exchangetest.Reply {
	t.Helper()
	var content []any
	var events strings.Builder
	event := func(kind string, payload object) {
		raw, err := json.Marshal(object{"type": kind, "payload": payload})
		if err != nil {
			t.Fatal(err)
		}
		events.Write(append(raw, '\n'))
	}
	chunk := func(kind string, more object) {
		payload := object{"type": kind}
		maps.Copy(payload, more)
		event("chunk", payload)
	}
	input := func(b block) any {
		if b.text == "" {
			return object{}
		}
		return json.RawMessage(b.text)
	}
	stop := "end_turn"
	usage := object{"input_tokens": 1, "output_tokens": 1}
	chunk("message_start", object{"message": object{"id": "m", "type": "message", "role": "assistant", "content": []any{}, "usage": usage}})
	for i, b := range blocks {
		var whole object
		var deltas []object
		switch b.kind {
		case "text":
			whole, deltas = object{"type": "text", "text": b.text}, []object{{"type": "text_delta", "text": b.text}}
		case "thinking":
			whole, deltas = object{"type": "thinking", "thinking": b.text, "signature": b.signature}, []object{{"type": "thinking_delta", "thinking": b.text}, {"type": "signature_delta", "signature": b.signature}}
		case "redacted":
			whole = object{"type": "redacted_thinking", "data": b.text}
		case "call":
			stop = "tool_use"
			whole, deltas = object{"type": "tool_use", "id": b.id, "name": b.name, "input": input(b)}, []object{{"type": "input_json_delta", "partial_json": b.text}}
		}
		start := maps.Clone(whole)
		for _, member := range []string{"text", "thinking", "signature"} {
			if start[member] != nil {
				start[member] = ""
			}
		}
		if b.kind == "call" {
			start["input"] = object{}
		}
		content = append(content, whole)
		chunk("content_block_start", object{"index": i, "content_block": start})
		for _, d := range deltas {
			chunk("content_block_delta", object{"index": i, "delta": d})
		}
		chunk("content_block_stop", object{"index": i})
	}
	chunk("message_delta", object{"delta": object{"stop_reason": stop}, "usage": usage})
	chunk("message_stop", nil)
	answer := object{"id": "m", "type": "message", "role": "assistant", "content": append([]any{}, content...), "stop_reason": stop, "usage": usage}
	if !invoke {
		events.Reset()
		content = []any{}
		usage := object{"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
		event("messageStart", object{"role": "assistant"})
		for i, b := range blocks {
			delta := func(d object) { event("contentBlockDelta", object{"contentBlockIndex": i, "delta": d}) }
			switch b.kind {
			case "text":
				content = append(content, object{"text": b.text})
				delta(object{"text": b.text})
			case "thinking":
				content = append(content, object{"reasoningContent": object{"reasoningText": object{"text": b.text, "signature": b.signature}}})
				delta(object{"reasoningContent": object{"text": b.text}})
				delta(object{"reasoningContent": object{"signature": b.signature}})
			case "redacted":
				content = append(content, object{"reasoningContent": object{"redactedContent": b.text}})
				delta(object{"reasoningContent": object{"redactedContent": b.text}})
			case "call":
				content = append(content, object{"toolUse": object{"toolUseId": b.id, "name": b.name, "input": input(b)}})
				event("contentBlockStart", object{"contentBlockIndex": i, "start": object{"toolUse": object{"toolUseId": b.id, "name": b.name}}})
				delta(object{"toolUse": object{"input": b.text}})
			}
			event("contentBlockStop", object{"contentBlockIndex": i})
		}
		event("messageStop", object{"stopReason": stop})
		event("metadata", object{"usage": usage})
		answer = object{"output": object{"message": object{"role": "assistant", "content": content}}, "stopReason": stop, "usage": usage}
	}
	if stream {
		return exchangetest.Reply{Header: http.Header{"Content-Type": {"application/vnd.amazon.eventstream"}}, Body: frames(t, events.String())}
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	return exchangetest.Reply{Header: http.Header{"Content-Type": {"application/json"}}, Body: raw}
}

// echo is an answer's message as openai-python gives it back: a stream's deltas added up,
// and what the message does not have as null.
func echo(t *testing.T, answer *exchangetest.Answer, stream bool) object {
	t.Helper()
	type message struct {
		Content   *string  `json:"content"`
		Reasoning string   `json:"reasoning_content"`
		Thinking  []object `json:"thinking_blocks"`
		Calls     []object `json:"tool_calls"`
	}
	var all message
	bodies := [][]byte{answer.Body}
	if stream {
		bodies = nil
		for line := range bytes.Lines(answer.Body) {
			if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok && !bytes.HasPrefix(data, []byte("[DONE]")) {
				bodies = append(bodies, data)
			}
		}
	}
	for _, body := range bodies {
		var part struct {
			Choices []struct{ Message, Delta message }
		}
		if err := json.Unmarshal(body, &part); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		for _, c := range part.Choices {
			for _, m := range []message{c.Message, c.Delta} {
				if m.Content != nil {
					said := *m.Content
					if all.Content != nil {
						said = *all.Content + said
					}
					all.Content = &said
				}
				all.Reasoning += m.Reasoning
				all.Thinking = append(all.Thinking, m.Thinking...)
				for _, call := range m.Calls {
					n := len(all.Calls)
					if stream && call["id"] == nil {
						f := all.Calls[n-1]["function"].(object)
						f["arguments"] = f["arguments"].(string) + call["function"].(object)["arguments"].(string)
						continue
					}
					all.Calls = append(all.Calls, call)
				}
			}
		}
	}
	out := object{"role": "assistant", "content": all.Content, "refusal": nil, "annotations": nil, "audio": nil, "function_call": nil, "tool_calls": nil}
	if all.Calls != nil {
		out["tool_calls"] = all.Calls
	}
	if all.Reasoning != "" {
		out["reasoning_content"] = all.Reasoning
	}
	if all.Thinking != nil {
		out["thinking_blocks"] = all.Thinking
	}
	return out
}

// TestWhatWasAnsweredIsTakenBack: any answer of any family, whole and streamed, may stand
// in the history of the next request, in front, in the middle, and once more by another
// family.
func TestWhatWasAnsweredIsTakenBack(t *testing.T) {
	g := newGateway(t, "")
	good := map[bool]exchangetest.Reply{true: replyOf(t, []block{{kind: "text", text: "ok"}}, true, false), false: replyOf(t, []block{{kind: "text", text: "ok"}}, false, false)}
	invokes := func(model string) bool { return strings.Contains(model, "anthropic.") }
	random := rand.New(rand.NewPCG(7, 8))
	models := slices.Sorted(maps.Keys(families))
	for _, model := range models {
		var answers [][]block
		for _, b := range append([]block{{}}, answerBlocks...) {
			if b.kind != "" {
				answers = append(answers, []block{b})
			} else {
				answers = append(answers, nil)
			}
		}
		for range 12 {
			var some []block
			for range 2 + random.IntN(4) {
				some = append(some, answerBlocks[random.IntN(len(answerBlocks))])
			}
			answers = append(answers, some)
		}
		for i, blocks := range answers {
			if !families[model] {
				blocks = slices.DeleteFunc(slices.Clone(blocks), func(b block) bool { return b.kind == "call" })
			}
			stream := i%2 == random.IntN(2)
			g.answer = replyOf(t, blocks, invokes(model), stream)
			hi := object{"role": "user", "content": "hi"}
			answer := g.ask(t, object{"model": model, "stream": stream, "messages": []any{hi}})
			if answer.Status != 200 {
				t.Errorf("%s answered %v: %d %s", model, blocks, answer.Status, answer.Body)
				continue
			}
			again := echo(t, answer, stream)
			history := []any{hi, again}
			calls, _ := again["tool_calls"].([]object)
			for _, call := range calls {
				history = append(history, object{"role": "tool", "tool_call_id": call["id"], "content": ""})
			}
			history = append(history, object{"role": "user", "content": "go on"})
			other := models[random.IntN(len(models))]
			if !families[other] && calls != nil {
				other = "acme.model-1"
			}
			for _, next := range []struct {
				model    string
				messages []any
			}{{model, history}, {model, append(slices.Clone(history), object{"role": "assistant", "content": "x"}, object{"role": "user", "content": "y"})}, {other, history}} {
				g.answer = good[invokes(next.model)]
				if a := g.ask(t, object{"model": next.model, "messages": next.messages}); a.Status != 200 || a.Forwarded == nil {
					raw, _ := json.Marshal(next.messages)
					t.Errorf("%s, after %s answered %v (streamed %t): %d %s\n%s", next.model, model, blocks, stream, a.Status, a.Body, raw)
				}
			}
		}
	}
}

// TestTheBeginningStays: while a conversation grows, with system messages and turns that
// say nothing anywhere in it, what went upstream is the beginning of what goes next. A
// prompt's cache lives on that.
func TestTheBeginningStays(t *testing.T) {
	for name, model := range map[string]string{
		"claude":                `{"display_name":"m","model_name":"anthropic.claude-opus-4-6-v1"}`,
		"claude, system turns":  `{"display_name":"m","model_name":"anthropic.claude-opus-4-8","capabilities":{"system_turns":true}}`,
		"nova":                  `{"display_name":"m","model_name":"amazon.nova-pro-v1:0"}`,
		"gpt-oss":               `{"display_name":"m","model_name":"openai.gpt-oss-120b-1:0"}`,
		"unknown, system turns": `{"display_name":"m","model_name":"acme.model-1","capabilities":{"system_turns":true}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, model)
			g.answer = replyOf(t, []block{{kind: "text", text: "ok"}}, strings.HasPrefix(name, "claude"), false)
			for seed := range uint64(25) {
				random := rand.New(rand.NewPCG(seed, 3))
				var system string
				var before []string
				for stage, messages := range growing(random) {
					a := g.ask(t, object{"model": "m", "messages": messages})
					if a.Status != 200 || a.Forwarded == nil {
						raw, _ := json.Marshal(messages)
						t.Fatalf("seed %d: %d %s\n%s", seed, a.Status, a.Body, raw)
					}
					first, blocks := sent(t, a.Forwarded.Body)
					if stage > 0 && first != system {
						t.Errorf("seed %d, stage %d: system was %s and is %s", seed, stage, system, first)
					}
					if len(blocks) < len(before) || !slices.Equal(before, blocks[:len(before)]) {
						raw, _ := json.Marshal(messages)
						t.Errorf("seed %d, stage %d: what was sent before is not its beginning:\n%s\n%s", seed, stage, cmp.Diff(before, blocks), raw)
					}
					system, before = first, blocks
				}
			}
		})
	}
}

// growing is a conversation at each of its user's turns.
func growing(random *rand.Rand) [][]any {
	n := 0
	word := func(who string) string { n++; return who + strconv.Itoa(n) }
	maybe := func(m object) []any {
		if random.IntN(3) == 0 {
			return []any{m}
		}
		return nil
	}
	system := func() []any {
		return maybe(object{"role": []string{"system", "developer"}[random.IntN(2)], "content": word("system "), "cache_control": object{"type": "ephemeral"}})
	}
	blank := func(role string) []any { return maybe(object{"role": role, "content": " "}) }
	user := func() any { return object{"role": "user", "content": word("user ")} }

	messages := append(slices.Concat(system(), system(), []any{user()}), system()...)
	stages := [][]any{slices.Clone(messages)}
	for range 5 {
		if silent := blank("assistant"); len(stages) > 1 || silent != nil { // before the assistant's first turn it is hoisted
			messages = slices.Concat(messages, silent, system())
		}
		said := object{"role": "assistant", "content": []any{nil, "", word("assistant "), []any{}}[random.IntN(4)]}
		var calls, results []any
		for range random.IntN(3) {
			id := word("call")
			calls = append(calls, object{"id": id, "type": "function", "function": object{"name": "f", "arguments": "{}"}})
			results = append(results, object{"role": "tool", "tool_call_id": id, "content": word("result ")})
		}
		if calls != nil {
			said["tool_calls"] = calls
		}
		messages = slices.Concat(messages, []any{said}, system(), blank("user"), blank("assistant"))
		random.Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
		for _, r := range results {
			messages = slices.Concat(messages, []any{r}, system(), maybe(object{"role": "user", "content": word("user ")}), blank("user"))
		}
		if results == nil || random.IntN(2) == 0 {
			messages = append(messages, user())
		} else {
			messages = append(messages, object{"role": "developer", "content": word("system ")})
		}
		messages = append(messages, system()...)
		stages = append(stages, slices.Clone(messages))
	}
	return stages
}

// sent is a body's system and its blocks with their roles, without cache marks: of more
// than four the last go out, so that they move on as the conversation grows.
func sent(t *testing.T, body []byte) (system string, blocks []string) {
	t.Helper()
	var b struct {
		System   []object
		Messages []struct {
			Role    string
			Content []object
		}
	}
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	unmarked := func(role string, content []object) (out []string) {
		for _, block := range content {
			delete(block, "cache_control")
			if block["cachePoint"] != nil {
				continue
			}
			raw, err := json.Marshal(block)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, role+" "+string(raw))
		}
		return out
	}
	for _, m := range b.Messages {
		blocks = append(blocks, unmarked(m.Role, m.Content)...)
	}
	return strings.Join(unmarked("system", b.System), "\n"), blocks
}
