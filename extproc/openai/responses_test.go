package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/sse"
)

// askResponse reads a body, as far as to what an answer needs.
func askResponse(t testing.TB, body string) *askedResponse {
	t.Helper()
	asked, err := Responses{}.Parse(nil, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := asked.Request(nil); err != nil {
		t.Fatal(err)
	}
	return asked.(*askedResponse)
}

const offering = `{"model":"m","input":"q","stream":true,"reasoning":{"summary":"auto"},"include":["reasoning.encrypted_content"],"tools":[
	{"type":"function","name":"f","parameters":{"type":"object"}},{"type":"custom","name":"c"},{"type":"local_shell"},
	{"type":"namespace","name":"n","tools":[{"type":"function","name":"f"},{"type":"custom","name":"c"}]}]}`

// answerEvents are the events of an answer of a few blocks.
func answerEvents(r *rand.Rand) (out []chat.Event) {
	out = append(out, chat.Start{ID: "up"})
	text := func() string { return []string{"a", "é\n", `"q"`, "   ", "x\u2028y"}[r.IntN(5)] }
	for i := range 1 + r.IntN(5) {
		switch r.IntN(4) {
		case 0:
			for range 1 + r.IntN(3) {
				out = append(out, chat.TextDelta{Index: i, Text: text()})
			}
		case 1:
			out = append(out, chat.ThinkingDelta{Index: i, Text: text()}, chat.ThinkingDelta{Index: i, Text: text()})
			if r.IntN(3) > 0 {
				out = append(out, chat.ThinkingDelta{Index: i, Signature: "sig", Publisher: []string{"", "openai"}[r.IntN(2)]})
			}
		case 2:
			out = append(out, chat.RedactedDelta{Index: i, Data: "AAAA", Publisher: "anthropic"})
		default:
			name := []string{"f", "c", "local_shell", "n__f", "n__c", "unknown"}[r.IntN(6)]
			input := map[string]string{"c": `{"input":"p\nq"}`, "n__c": `{"input":""}`, "local_shell": `{"command":["ls","-l"],"timeout_ms":5}`}[name]
			if input == "" {
				input = `{"x":[1,"\u00e9"]}`
			}
			cut := r.IntN(len(input))
			out = append(out, chat.ToolStart{Index: i, ID: fmt.Sprint("call_", i), Name: name}, chat.ToolDelta{Index: i, JSON: input[:cut]}, chat.ToolDelta{Index: i, JSON: input[cut:]})
		}
		out = append(out, chat.BlockStop{Index: i})
	}
	n := 7
	return append(out, chat.Stop{Reason: []chat.StopReason{chat.EndTurn, chat.ToolUseStop, chat.MaxTokens, chat.Refusal}[r.IntN(4)]}, chat.UsageSnapshot{Usage: chat.Usage{Input: &n, Output: &n, CacheRead: &n}})
}

// The last event of a stream is the whole answer; its events are numbered without a gap, each
// item is added once, in order, and done as it stands there; the fragments add up to it; and
// the next turn takes all of it back.
func TestResponsesStream(t *testing.T) {
	for seed := range uint64(600) {
		r := rand.New(rand.NewPCG(seed, 1))
		events := answerEvents(r)
		if seed%3 == 0 {
			events = interleaved(r, events)
		}
		whole, got := compareResponse(t, events)
		takenBack(t, seed, whole, got)
	}
}

// compareResponse writes one answer both ways and fails unless a client reads the same. It is
// nil where the answer is not whole.
func compareResponse(t *testing.T, events []chat.Event) (whole *chat.Response, response map[string]any) {
	t.Helper()
	h := chat.Heading{ID: "1", Created: time.Unix(7, 0)}
	whole, missing := chat.Collect(events)
	s := askResponse(t, offering).Stream(h)
	var stream []byte
	for _, e := range ordered(events) {
		var err error
		if stream, err = s.Append(stream, e); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := s.Finish(stream)
	if err != missing {
		t.Fatalf("the stream ends with %v, the whole with %v", err, missing)
	}
	if err != nil {
		return nil, nil
	}
	body, err := askResponse(t, offering).Whole(h, whole)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(body, &want); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	response = readResponseStream(t, stream)
	if diff := cmp.Diff(want, response); diff != "" {
		t.Fatalf("%#v\n(-whole +stream):\n%s\n%s", events, diff, stream)
	}
	return whole, response
}

// FuzzResponsesStream: whatever the events, the stream is the whole answer, in order.
func FuzzResponsesStream(f *testing.F) {
	fuzzAnswers(f, 200, func(t *testing.T, _ []byte, events []chat.Event) { compareResponse(t, events) })
}

// interleaved are events whose calls grow beside each other, and beside what is said. The order
// of what is said stays, and that of one call's.
func interleaved(r *rand.Rand, events []chat.Event) (out []chat.Event) {
	end := len(events) - 2 // the stop reason, the counts
	lines := [][]chat.Event{nil}
	call := map[int]int{} // a call's index → its line
	for _, e := range events[:end] {
		line := 0
		switch x := e.(type) {
		case chat.ToolStart:
			line = len(lines)
			call[x.Index] = line
			lines = append(lines, nil)
		case chat.ToolDelta:
			line = call[x.Index]
		case chat.BlockStop:
			line = call[x.Index]
			if line > 0 && r.IntN(2) == 0 {
				continue // some services send none
			}
		}
		lines[line] = append(lines[line], e)
	}
	for len(lines) > 0 {
		i := r.IntN(len(lines))
		if len(lines[i]) == 0 {
			lines = slices.Delete(lines, i, i+1)
			continue
		}
		out, lines[i] = append(out, lines[i][0]), lines[i][1:]
	}
	return append(out, events[end:]...)
}

// readResponseStream holds the events of a stream to OpenAI's order, in which an item is done
// before the next one is added, and gives the response of the last one.
func readResponseStream(t *testing.T, stream []byte) map[string]any {
	t.Helper()
	done := map[float64]any{}
	deltas := map[float64]string{}
	open := -1.0
	for next := 0; ; next++ {
		if !bytes.HasPrefix(stream, []byte("event: response.")) {
			t.Fatalf("an event without its name: %.80s", stream)
		}
		data, n := sse.Cut(stream)
		stream = stream[n:]
		var e map[string]any
		if err := json.Unmarshal(data, &e); err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		if e["sequence_number"] != float64(next) {
			t.Fatalf("event %d has number %v", next, e["sequence_number"])
		}
		at, ofItem := e["output_index"].(float64)
		kind := e["type"].(string)
		if added := kind == "response.output_item.added"; ofItem && (added != (open < 0) || !added && at != open) {
			t.Fatalf("%s of item %v while item %v grows", kind, at, open)
		}
		switch kind {
		case "response.output_item.added":
			if int(at) != len(done) {
				t.Errorf("item %v is added after %d others", at, len(done))
			}
			open, done[at] = at, nil
		case "response.output_item.done":
			open = -1
			item := e["item"].(map[string]any)
			done[at] = item
			for _, text := range []string{"arguments", "input"} {
				if said, ok := item[text]; ok && said != deltas[at] {
					t.Errorf("%v in deltas, %v in the item", deltas[at], said)
				}
			}
		case "response.output_text.delta", "response.function_call_arguments.delta", "response.custom_tool_call_input.delta":
			deltas[at] += e["delta"].(string)
		case "response.completed", "response.incomplete":
			response := e["response"].(map[string]any)
			output := response["output"].([]any)
			if len(output) != len(done) || len(stream) > 0 || open >= 0 {
				t.Errorf("%d items done, %d in the answer, %d bytes behind it", len(done), len(output), len(stream))
			}
			for i, item := range output {
				if !cmp.Equal(item, done[float64(i)]) {
					t.Errorf("item %d: %v done, %v in the answer", i, done[float64(i)], item)
				}
			}
			return response
		}
	}
}

// takenBack sends an answer's items back, with results, and looks for what was said.
func takenBack(t *testing.T, seed uint64, answer *chat.Response, response map[string]any) {
	t.Helper()
	items := append([]any{map[string]any{"role": "user", "content": "q"}}, response["output"].([]any)...)
	for _, x := range response["output"].([]any) {
		item := x.(map[string]any)
		switch item["type"] {
		case "function_call", "custom_tool_call", "local_shell_call":
			items = append(items, map[string]any{"type": item["type"].(string) + "_output", "call_id": item["call_id"], "output": "ok"})
		}
	}
	items = append(items, map[string]any{"role": "user", "content": "and?"})
	input, _ := json.Marshal(items)
	asked, err := Responses{}.Parse(nil, []byte(strings.Replace(offering, `"input":"q"`, `"input":`+string(input), 1)))
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	r, err := asked.Request(nil)
	if err != nil {
		t.Fatalf("seed %d: %v in %s", seed, err, input)
	}
	if err := chat.Check(r); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	var back []chat.Block
	for _, m := range r.Messages {
		if m.Role == chat.Assistant {
			back = append(back, m.Blocks...)
		}
	}
	// Reasoning without a signature can't come back; texts that follow each other are one.
	joined := func(blocks []chat.Block) (out []chat.Block) {
		for _, b := range blocks {
			switch x := b.(type) {
			case chat.Thinking:
				if x.Signature == "" {
					continue
				}
			case chat.Text:
				if n := len(out); n > 0 {
					if before, ok := out[n-1].(chat.Text); ok {
						out[n-1] = chat.Text{Text: before.Text + x.Text}
						continue
					}
				}
			}
			out = append(out, b)
		}
		return out
	}
	if diff := cmp.Diff(joined(answer.Blocks), joined(back)); diff != "" {
		t.Fatalf("seed %d (-said +back):\n%s", seed, diff)
	}
}

// A stream that breaks off ends with response.failed, whose code clients act on.
// How much a model is to think is a wish: Codex sends it to every model, by the name of the alias.
func TestResponsesEffortIsAWish(t *testing.T) {
	asked, err := Responses{}.Parse(nil, []byte(`{"model":"m","input":"q","reasoning":{"effort":"low","context":"all_turns"}}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := asked.Request(nil)
	if err != nil || got.Reasoning == nil || !got.Reasoning.Wish || got.Reasoning.Effort != "low" {
		t.Errorf("reasoning %+v, %v", got, err)
	}
}

func TestResponsesFailed(t *testing.T) {
	for _, test := range []struct {
		fault fault.Error
		code  string
		says  string
	}{
		{fault.Error{Kind: fault.Upstream, Status: 429, Code: "rate_limit_exceeded", Message: "slow", RetryAfter: "7"}, "rate_limit_exceeded", "slow. Please try again in 7s."},
		{fault.Error{Kind: fault.Upstream, Status: 429, Code: "insufficient_quota", Message: "m"}, "insufficient_quota", "m"},
		{fault.Error{Kind: fault.Upstream, Status: 400, Code: "context_length_exceeded", Message: "m", Param: "messages"}, "context_length_exceeded", "m"},
		{fault.Error{Kind: fault.Upstream, Status: 503, Code: "overloaded", Message: "m"}, "server_error", "m"},
		{fault.Error{Kind: fault.Timeout, Status: 504, Message: "m"}, "server_error", "m"},
		{fault.Error{Kind: fault.Upstream, Status: 400, Message: "m"}, "invalid_prompt", "m"},
	} {
		s := askResponse(t, offering).Stream(chat.Heading{ID: "1"})
		out, err := s.Append(nil, chat.TextDelta{Text: "x"})
		if err != nil {
			t.Fatal(err)
		}
		out = s.Fault(out, &test.fault)
		last := out[bytes.LastIndex(out, []byte("data: "))+6:]
		var e struct {
			Type     string
			Response struct {
				Status string
				Error  struct{ Code, Message string }
			}
		}
		if err := json.Unmarshal(last, &e); err != nil || e.Type != "response.failed" || e.Response.Status != "failed" {
			t.Fatalf("%v, %s", err, last)
		}
		if e.Response.Error.Code != test.code || e.Response.Error.Message != test.says {
			t.Errorf("%+v: %+v", test.fault, e.Response.Error)
		}
	}
}

// Whatever comes is a request, or a fault of status 400: never a panic, nor one without words.
func FuzzResponses(f *testing.F) {
	f.Add([]byte(offering))
	f.Add([]byte(`{"model":"m","input":[{"type":"additional_tools","role":"developer","tools":[{"type":"custom","name":"x"}]},{"type":"custom_tool_call","call_id":"a","name":"x","input":"p"},{"type":"custom_tool_call_output","call_id":"a","output":[{"type":"input_text","text":"t"}]},{"type":"reasoning","id":"r","summary":[{"text":"s"}],"encrypted_content":"aisix1.e30"}],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"custom","name":"x"}]}}`))
	f.Add([]byte(`{"model":"m","input":[{"type":"local_shell_call","call_id":"a","action":{"command":["x"],"timeout_ms":1}},{"role":"developer","content":[{"type":"text","text":"t"}]}],"text":{"format":{"type":"json_schema","name":"n","schema":{}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		asked, err := Responses{}.Parse(nil, body)
		if err == nil {
			if v := asked.Verbatim(chat.Responses); v == nil || v.Prompt < 1 {
				t.Error("not as it came")
			}
			_, err = asked.Request(nil)
		}
		if err != nil {
			if x := fault.From(err); x.Status != 400 || x.Message == "" {
				t.Errorf("%+v", x)
			}
			return
		}
		if out, err := asked.Whole(chat.Heading{}, &chat.Response{}); err != nil || !json.Valid(out) {
			t.Errorf("%v: %s", err, out)
		}
	})
}
