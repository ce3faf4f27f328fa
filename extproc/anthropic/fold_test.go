package anthropic

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// seen is an answer as a client sees it: a whole one, or a stream's events added up.
type seen struct {
	ID, Model  string
	Content    []seenBlock
	StopReason string `json:"stop_reason"`
	Sequence   *string
	Usage      map[string]any
}

type seenBlock struct {
	Type, Text, Thinking, Signature, Data, ID, Name string
	Input                                           string // as written
}

// seenWhole reads a message.
func seenWhole(t *testing.T, body []byte) seen {
	t.Helper()
	var m struct {
		ID, Type, Role, Model string
		Content               []struct {
			Type, Text, Thinking, Signature, Data, ID, Name string
			Input                                           json.RawMessage
		}
		StopReason string  `json:"stop_reason"`
		Sequence   *string `json:"stop_sequence"`
		Usage      map[string]any
	}
	if err := json.Unmarshal(body, &m); err != nil || m.Type != "message" || m.Role != "assistant" {
		t.Fatalf("no message: %v %s", err, body)
	}
	s := seen{ID: m.ID, Model: m.Model, StopReason: m.StopReason, Sequence: m.Sequence, Usage: m.Usage}
	for _, b := range m.Content {
		s.Content = append(s.Content, seenBlock{b.Type, b.Text, b.Thinking, b.Signature, b.Data, b.ID, b.Name, string(b.Input)})
	}
	return s
}

// seenStream adds up events as a client does, and holds each to Anthropic's rules: one block after
// the other, their indexes dense, message_start first and message_stop last.
func seenStream(t *testing.T, stream []byte) seen {
	t.Helper()
	var s seen
	open, state := -1, "start"
	for _, event := range strings.Split(strings.TrimSuffix(string(stream), "\n\n"), "\n\n") {
		name, data, ok := strings.Cut(event, "\ndata: ")
		var e struct {
			Type    string
			Index   int
			Message *struct {
				ID, Model string
				Content   []any
			}
			ContentBlock *seenBlockRaw `json:"content_block"`
			Delta        struct {
				Type, Text, Thinking, Signature string
				PartialJSON                     string  `json:"partial_json"`
				StopReason                      string  `json:"stop_reason"`
				Sequence                        *string `json:"stop_sequence"`
			}
			Usage map[string]any
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil || !ok || name != "event: "+e.Type || strings.Contains(data, "\n") {
			t.Fatalf("no event: %v %q", err, event)
		}
		switch {
		case e.Type == "message_start" && state == "start" && e.Message != nil && len(e.Message.Content) == 0:
			s.ID, s.Model, state = e.Message.ID, e.Message.Model, "blocks"
		case e.Type == "content_block_start" && state == "blocks" && open < 0 && e.Index == len(s.Content):
			b := e.ContentBlock
			s.Content, open = append(s.Content, seenBlock{Type: b.Type, Data: b.Data, ID: b.ID, Name: b.Name}), e.Index
			if b.Text+b.Thinking+b.Signature != "" || b.Type == "tool_use" && string(b.Input) != "{}" {
				t.Fatalf("a block starts with content: %s", data)
			}
		case e.Type == "content_block_delta" && open == e.Index && state == "blocks":
			b := &s.Content[open]
			b.Text += e.Delta.Text
			b.Thinking += e.Delta.Thinking
			b.Signature += e.Delta.Signature
			b.Input += e.Delta.PartialJSON
			if want := map[string]string{"text": "text_delta", "tool_use": "input_json_delta"}[b.Type]; want != "" && want != e.Delta.Type {
				t.Fatalf("%s in a block of %s", data, b.Type)
			}
		case e.Type == "content_block_stop" && open == e.Index && state == "blocks":
			open = -1
		case e.Type == "message_delta" && open < 0 && state == "blocks":
			s.StopReason, s.Sequence, s.Usage, state = e.Delta.StopReason, e.Delta.Sequence, e.Usage, "delta"
		case e.Type == "message_stop" && state == "delta":
			state = "end"
		default:
			t.Fatalf("%s in state %s, block %d open:\n%s", data, state, open, stream)
		}
	}
	if state != "end" {
		t.Fatalf("the stream ends in state %s", state)
	}
	return s
}

type seenBlockRaw struct {
	Type, Text, Thinking, Signature, Data, ID, Name string
	Input                                           json.RawMessage
}

var fragments = []string{"", "a", "é😀", "\"\\\n\r\t\x00", "\u2028</script>", "\xff", "{}", `{"a":`, "1}", " ", " \n{", "null"}

// anyEvent makes one event, legal or not: indexes repeat, blocks open twice, deltas
// come without a start.
func anyEvent(next func(n int) int, ids int) chat.Event {
	i, s := next(4), fragments[next(len(fragments))]
	switch next(12) {
	case 0, 1, 2:
		return chat.TextDelta{Index: i, Text: s}
	case 3:
		return chat.ToolStart{Index: i, ID: []string{"c", "functions.f:"}[next(2)] + strconv.Itoa(ids), Name: "f" + s, Server: next(5) == 0}
	case 4, 5, 6:
		return chat.ToolDelta{Index: i, JSON: s}
	case 7:
		return chat.ThinkingDelta{Index: i, Text: s}
	case 8:
		return chat.ThinkingDelta{Index: i, Signature: s, Publisher: []string{"", "anthropic", "amazon"}[next(3)]}
	case 9:
		return chat.RedactedDelta{Index: i, Data: s, Publisher: []string{"", "anthropic", "openai"}[next(3)]}
	case 10:
		return chat.BlockStop{Index: i}
	default:
		n := next(100)
		u := chat.Usage{}
		for _, p := range []**int{&u.Input, &u.Output, &u.CacheRead, &u.CacheWrite, &u.CacheWrite1h, &u.Reasoning} {
			if next(2) == 0 {
				*p = &n
			}
		}
		return chat.UsageSnapshot{Usage: u}
	}
}

func anyAnswer(next func(n int) int, length int) []chat.Event {
	var events []chat.Event
	if next(2) == 0 {
		events = append(events, chat.Start{ID: []string{"", "msg_1", "other"}[next(3)]})
	}
	for n := range length {
		events = append(events, anyEvent(next, n))
	}
	reasons := []chat.StopReason{"", chat.EndTurn, chat.StopSequence, chat.MaxTokens, chat.ContextExceeded, chat.ToolUseStop, chat.ContentFiltered, chat.Guardrail, chat.Refusal, chat.PauseTurn, "unknown"}
	if reason := reasons[next(len(reasons))]; reason != "" {
		events = append(events, chat.Stop{Reason: reason, Sequence: []string{"", "END"}[next(2)]})
	}
	if n := next(9); n > 0 {
		events = append(events, chat.UsageSnapshot{Usage: chat.Usage{Input: &n, Output: &n}})
	}
	return events
}

// ordered are the events as a writer gets them.
func ordered(events []chat.Event) (told []chat.Event) {
	var o chat.Order
	for _, e := range events {
		told = o.Append(told, e)
	}
	return told
}

func compareAnswer(t *testing.T, events []chat.Event) {
	a, h := &asked{model: "m\"<"}, chat.Heading{ID: "0", Created: time.Unix(1, 0)}
	w := a.Stream(h)
	var out []byte
	for _, e := range ordered(events) {
		var err error
		if out, err = w.Append(out, e); err != nil {
			t.Fatal(err)
		}
	}
	response, missing := chat.Collect(events)
	out, err := w.Finish(out)
	if err != missing {
		t.Fatalf("the stream ends with %v, the whole with %v", err, missing)
	}
	if err != nil {
		return
	}
	body, err := a.Whole(h, response)
	if err != nil {
		t.Fatal(err)
	}
	whole, stream := seenWhole(t, body), seenStream(t, out)
	for i := range stream.Content {
		if b := &stream.Content[i]; b.Type == "tool_use" { // an object in a whole answer
			var object json.RawMessage = inputObject(json.RawMessage(b.Input))
			b.Input = string(object)
		}
	}
	for i := range whole.Content { // without white space between tokens
		if b := &whole.Content[i]; b.Type == "tool_use" && i < len(stream.Content) {
			var x, y any
			if json.Unmarshal([]byte(b.Input), &x) == nil && json.Unmarshal([]byte(stream.Content[i].Input), &y) == nil && cmp.Equal(x, y) {
				stream.Content[i].Input = b.Input
			}
		}
	}
	if diff := cmp.Diff(whole, stream); diff != "" {
		t.Errorf("%#v\n(-whole +stream):\n%s", events, diff)
	}
}

// What a client adds up out of our events is the whole answer, for any sequence of events.
func TestStreamIsWhole(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		events := anyAnswer(r.IntN, r.IntN(30))
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { compareAnswer(t, events) })
	}
}

// FuzzStream is TestStreamIsWhole over sequences that a fuzzer finds.
func FuzzStream(f *testing.F) {
	// Two calls at once, and text behind them.
	f.Add([]byte{1, 0, 0, 3, 0, 1, 1, 0, 3, 0, 1, 0, 7, 4, 1, 7, 4, 2, 1, 0, 0, 8, 4, 0, 0, 10, 5, 0, 3})
	for seed := range uint64(8) {
		data := make([]byte, 64)
		r := rand.New(rand.NewPCG(seed, 2))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<12 {
			return
		}
		at := 0
		compareAnswer(t, anyAnswer(func(n int) int {
			if at == len(data) {
				return 0
			}
			at++
			return int(data[at-1]) % n
		}, len(data)/4))
	})
}

// What was sealed comes back, and nothing else looks so.
func FuzzSeal(f *testing.F) {
	f.Add("openai", "c2ln")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, publisher, signature string) {
		if strings.Contains(publisher, ".") {
			return
		}
		p, s := whose(sealed(publisher, signature))
		if strings.HasPrefix(signature, seal) {
			return
		}
		if want := publisher; s != signature || p != want && !(want == "" && p == "anthropic") {
			t.Errorf("%q by %q came back as %q by %q", signature, publisher, s, p)
		}
	})
}

// A ping is no event of the answer, an error its last one, and nothing comes before the first
// event.
func TestPingAndFault(t *testing.T) {
	w := (&asked{model: "m"}).Stream(chat.Heading{ID: "0", RequestID: "req"})
	out, _ := w.Append(nil, chat.Start{})
	out, _ = w.Append(out[:0], chat.TextDelta{Text: "So"})
	out = w.Fault(w.Idle(out), &fault.Error{Kind: fault.Upstream, Status: 503, Message: "no <room>"})
	if want := "event: ping\ndata: {\"type\": \"ping\"}\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"no <room>\"},\"request_id\":\"req\"}\n\n"; !strings.HasSuffix(string(out), want) {
		t.Errorf("%s", out)
	}
}

type noHeader struct{}

func (noHeader) Values(string) []string { return nil }

// FuzzMessages: no body makes us panic; what is refused is a 400 that says why; what is accepted
// is a conversation as every family wants it; and what passes as it is stays JSON.
func FuzzMessages(f *testing.F) {
	for _, s := range []string{
		`{"model":"m","messages":[{"role":"user","content":"a"}]}`,
		`{"model":"m","system":[{"type":"text","text":"x-anthropic-billing-header: a"},{"type":"text","text":"b","cache_control":{"type":"ephemeral","ttl":"1h"}}],"messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]},{"role":"system","content":"s"},{"role":"assistant","content":[{"type":"thinking","thinking":"h","signature":"aisix1.openai.YQ"},{"type":"redacted_thinking","data":"aisix1.x"},{"type":"tool_use","id":"t","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"r"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}}],"is_error":true}]}],"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"any","disable_parallel_tool_use":true},"thinking":{"type":"enabled","budget_tokens":2000},"output_config":{"effort":"high","format":{"type":"json_schema","schema":{}}},"metadata":{"user_id":"u"},"stop_sequences":["a"]}`,
		`{"model":"m","messages":[{"role":"user","content":[{"type":"document","title":"a","source":{"type":"content","content":[{"type":"text","text":"x"}]},"citations":{"enabled":false}},{"type":"document","source":{"type":"text","media_type":"text/plain","data":"x"}},{"type":"image","source":{"type":"url","url":"https://a/b"}}]}]}`,
		`{"model":"amazon.nova-pro-v1:0","max_tokens":1000,"safeguards":[{"type":"dangerous_tool_use","classifier_context":{"v":1}}],"fallbacks":"default","thinking":{"type":"adaptive","display":"updates"},"output_config":{"effort":"high","timing":{"budget_ms":1}},"tools":[{"name":"ToolSearch","input_schema":{"type":"object","properties":{}}},{"name":"WebFetch","defer_loading":true,"input_schema":{"type":"object","properties":{"url":{"type":"string"}}}},{"name":"Cron","defer_loading":true,"input_schema":{"type":"object","properties":{}}},{"name":"DeferredToolPlaceholder","defer_loading":true,"input_schema":{"type":"object","properties":{}}},{"name":"Later","defer_loading":true,"input_schema":{"type":"object","properties":{}}},{"name":"Gone","input_schema":{"type":"object","properties":{}}},{"name":"Changed","input_schema":{"type":"object","properties":{"old":{"type":"string"}}}}],"messages":[{"role":"user","content":"Fetch a page."},{"role":"system","content":[{"type":"text","text":"Rules."}],"output_config":{"effort":"low"}},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"ToolSearch","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"tool_reference","tool_name":"WebFetch"},{"type":"tool_reference","tool_name":"Cron"}]}]},{"role":"system","content":[{"type":"text","text":"Of this turn only."}],"clear_at":"next_user_message"},{"role":"assistant","content":"Loaded."},{"role":"user","content":"Go on."},{"role":"system","content":[{"type":"text","text":"An MCP server came."},{"type":"tool_addition","tool":{"type":"tool_reference","name":"Later"}},{"type":"tool_addition","tool":{"type":"tool_definition","definition":{"name":"New","input_schema":{"type":"object","properties":{}}}}},{"type":"tool_addition","tool":{"type":"tool_definition","definition":{"name":"Changed","input_schema":{"type":"object","properties":{"new":{"type":"string"}}}}}},{"type":"tool_removal","tool":{"type":"tool_reference","name":"Gone"},"cache_control":{"type":"ephemeral"}}]},{"role":"system","content":[],"output_config":{"effort":"low"}},{"role":"system","content":"Still this turn.","clear_at":"next_user_message"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		want400 := func(err error) {
			if e := fault.From(err); e.Status != 400 || e.Message == "" {
				t.Errorf("%q: %v", body, err)
			}
		}
		asked, err := Messages{}.Parse(noHeader{}, body)
		if err != nil {
			want400(err)
			return
		}
		if v := asked.Verbatim(chat.Messages); v != nil && (!json.Valid(v.Body) || v.Prompt <= 0) {
			t.Errorf("%q became %q, %d tokens", body, v.Body, v.Prompt)
		}
		r, err := asked.Request(nil)
		if err == nil {
			err = chat.Check(r)
		}
		if err == nil {
			_, err = chat.Tidy(r)
		}
		if err != nil {
			want400(err)
		}
	})
}

// FuzzPassing: an event that passes is one line of JSON, of the same type.
func FuzzPassing(f *testing.F) {
	for _, s := range []string{`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\nb"}}`, "{\"type\":\"ping\",\n\"amazon-bedrock-trace\":{}}", `{"type":"message_start","message":{"model":"x","usage":{}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		raw, _, err := new(EventDecoder).Raw(payload)
		if err != nil {
			return
		}
		w := (&asked{model: "m"}).Stream(chat.Heading{})
		out, err := w.Append(nil, &raw)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(out), "\n")
		data := strings.TrimPrefix(lines[1], "data: ")
		if len(lines) != 4 || lines[0] != "event: "+raw.Name || !json.Valid([]byte(data)) || strings.ContainsAny(data, "\r") || raw.Seen < 0 {
			t.Errorf("%q became %q", payload, out)
		}
	})
}

// A delta passes without being taken apart.
func TestPassingAllocates(t *testing.T) {
	var d EventDecoder
	w := (&asked{model: "m"}).Stream(chat.Heading{})
	payload := []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" weather\n\"é\""}}`)
	out := make([]byte, 0, 1024)
	var events []chat.Event
	var raw chat.Raw
	if n := testing.AllocsPerRun(100, func() {
		var more []chat.Event
		var err error
		raw, more, err = d.Raw(payload)
		events = append(append(events[:0], &raw), more...)
		if out, _ = w.Append(out[:0], events[0]); err != nil || len(out) == 0 || raw.Seen == 0 {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("%.0f allocations", n)
	}
}

func BenchmarkPassing(b *testing.B) {
	var d EventDecoder
	w := (&asked{model: "m"}).Stream(chat.Heading{})
	payload := []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" weather in Oslo"}}`)
	out := make([]byte, 0, 1024)
	var raw chat.Raw
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if raw, _, err = d.Raw(payload); err != nil {
			b.Fatal(err)
		}
		out, _ = w.Append(out[:0], &raw)
	}
}
