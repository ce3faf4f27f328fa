package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/chat"
)

// folded is an answer as a client sees it: the whole one, or its chunks added
// up.
type folded struct {
	ID, Model, Finish string
	Created           int64
	Content           string
	Reasoning         string
	Thoughts          []thinkingBlock
	Calls             []toolCall
	Usage             *usage
}

// foldWhole reads a chat.completion.
func foldWhole(t *testing.T, body []byte) folded {
	t.Helper()
	var c struct {
		ID, Object, Model string
		Created           int64
		Choices           []struct {
			Index   int
			Message struct {
				Role             string
				Content          *string
				ReasoningContent string          `json:"reasoning_content"`
				ThinkingBlocks   []thinkingBlock `json:"thinking_blocks"`
				ToolCalls        []toolCall      `json:"tool_calls"`
			}
			FinishReason string `json:"finish_reason"`
		}
		Usage *usage
	}
	strictly(t, body, &c)
	if c.Object != "chat.completion" || len(c.Choices) != 1 || c.Choices[0].Index != 0 || c.Choices[0].Message.Role != "assistant" {
		t.Fatalf("no chat.completion with one choice: %s", body)
	}
	m := c.Choices[0].Message
	f := folded{ID: c.ID, Model: c.Model, Created: c.Created, Finish: c.Choices[0].FinishReason, Usage: c.Usage,
		Reasoning: m.ReasoningContent, Thoughts: m.ThinkingBlocks, Calls: m.ToolCalls}
	if m.Content != nil {
		f.Content = *m.Content
	} else if len(m.ToolCalls) == 0 {
		t.Fatalf("no content and no calls: %s", body)
	}
	return f
}

// foldStream reads server-sent events as a client does that knows nothing of
// how they were made, and holds each chunk to OpenAI's rules.
func foldStream(t *testing.T, stream []byte, withUsage bool) folded {
	t.Helper()
	var f folded
	var ended, done bool
	events := strings.Split(string(stream), "\n\n")
	if last := events[len(events)-1]; last != "" {
		t.Fatalf("the stream does not end with a blank line: %q", last)
	}
	for n, event := range events[:len(events)-1] {
		data, ok := strings.CutPrefix(event, "data: ")
		switch {
		case !ok || strings.Contains(data, "\n"):
			t.Fatalf("no event of one data line: %q", event)
		case done:
			t.Fatalf("%q behind [DONE]", event)
		case data == "[DONE]":
			done = true
			continue
		}
		var c struct {
			ID, Object, Model string
			Created           int64
			Choices           []struct {
				Index int
				Delta struct {
					Role             *string
					Content          *string
					ReasoningContent *string         `json:"reasoning_content"`
					ThinkingBlocks   []thinkingBlock `json:"thinking_blocks"`
					ToolCalls        []struct {
						Index    *int
						ID, Type *string
						Function struct{ Name, Arguments *string }
					} `json:"tool_calls"`
				}
				FinishReason *string `json:"finish_reason"`
			}
			Usage json.RawMessage
		}
		strictly(t, []byte(data), &c)
		if n == 0 {
			f.ID, f.Model, f.Created = c.ID, c.Model, c.Created
		}
		if c.Object != "chat.completion.chunk" || c.ID != f.ID || c.Model != f.Model || c.Created != f.Created {
			t.Fatalf("chunk %d differs in its envelope: %s", n, data)
		}
		if len(c.Choices) == 0 { // the counts
			if !withUsage || !ended || f.Usage != nil {
				t.Fatalf("an unexpected chunk without choices: %s", data)
			}
			strictly(t, c.Usage, &f.Usage)
			continue
		}
		if withUsage != (string(c.Usage) == "null") {
			t.Fatalf("usage is %q where counts were asked for: %t", c.Usage, withUsage)
		}
		if len(c.Choices) != 1 || c.Choices[0].Index != 0 || ended {
			t.Fatalf("no chunk with one choice, or one behind the last: %s", data)
		}
		d := c.Choices[0].Delta
		if (n == 0) != (d.Role != nil) || d.Role != nil && *d.Role != "assistant" {
			t.Fatalf("the role stands in the first chunk, and there alone: %s", data)
		}
		if r := c.Choices[0].FinishReason; r != nil {
			f.Finish, ended = *r, true
		}
		if d.Content != nil {
			f.Content += *d.Content
		}
		if d.ReasoningContent != nil {
			f.Reasoning += *d.ReasoningContent
		}
		for _, b := range d.ThinkingBlocks {
			if b.Index == nil || *b.Index != len(f.Thoughts) {
				t.Fatalf("thinking blocks are counted from 0: %s", data)
			}
			b.Index = nil
			f.Thoughts = append(f.Thoughts, b)
		}
		for _, call := range d.ToolCalls {
			if call.Index == nil || *call.Index > len(f.Calls) || call.Function.Arguments == nil {
				t.Fatalf("tool calls are counted from 0 and each frame has arguments: %s", data)
			}
			if first := *call.Index == len(f.Calls); first {
				if call.ID == nil || call.Function.Name == nil || call.Type == nil || *call.Type != "function" || *call.Function.Arguments != "" {
					t.Fatalf("the first frame of a call has id, name and no arguments: %s", data)
				}
				f.Calls = append(f.Calls, toolCall{*call.ID, *call.Type, functionCall{Name: *call.Function.Name}})
			} else if call.ID != nil || call.Type != nil || call.Function.Name != nil || *call.Function.Arguments == "" {
				t.Fatalf("a later frame of a call is a bare fragment: %s", data)
			}
			f.Calls[*call.Index].Function.Arguments += *call.Function.Arguments
		}
	}
	if !done || !ended || withUsage != (f.Usage != nil) {
		t.Fatalf("not a whole stream: %s", stream)
	}
	return f
}

func strictly(t *testing.T, data []byte, v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}

// ordered are the events as a writer gets them.
func ordered(events []chat.Event) (told []chat.Event) {
	var o chat.Order
	for _, e := range events {
		told = o.Append(told, e)
	}
	return told
}

// compare writes one answer both ways and fails unless a client reads the same.
func compare(t *testing.T, events []chat.Event, withUsage bool) {
	t.Helper()
	a := &asked{model: "a<b>\u2028\"model\"", usage: withUsage}
	h := chat.Heading{ID: "1", Created: time.Unix(7, 0)}
	answer, collectErr := chat.Collect(events)
	s := a.Stream(h)
	var stream []byte
	for _, e := range ordered(events) {
		var err error
		if stream, err = s.Append(stream, e); err != nil {
			t.Fatal(err)
		}
	}
	before := len(stream)
	stream, err := s.Finish(stream)
	if err != collectErr {
		t.Fatalf("Finish = %v, Collect = %v", err, collectErr)
	}
	if err != nil {
		if len(stream) != before || bytes.Contains(stream, []byte("finish_reason\":\"")) {
			t.Fatalf("a broken stream has an end: %s", stream)
		}
		return
	}
	body, err := a.Whole(h, answer)
	if err != nil {
		t.Fatal(err)
	}
	want := foldWhole(t, body)
	got := foldStream(t, stream, withUsage)
	if !withUsage {
		want.Usage = nil
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the stream is not the whole answer (-whole +stream):\n%s\n%#v", diff, events)
	}
}

// source gives small numbers: out of a seed, or out of a fuzzer's bytes.
type source interface{ next(n int) int }

type randomly struct{ *rand.Rand }

func (r randomly) next(n int) int { return r.IntN(n) }

type bytewise struct{ data []byte }

func (b *bytewise) next(n int) int {
	if len(b.data) == 0 {
		return 0
	}
	c := int(b.data[0])
	b.data = b.data[1:]
	return c % n
}

var fragments = []string{"", "a", "é😀", "\"\\\n\r\t\x00", "\u2028</script>", "\xff", "{}", `{"a":`, "1}", " ", " \n{", "null"}

// eventOf makes one event, legal or not: indexes repeat, blocks open twice, deltas
// come without a start.
func eventOf(r source, ids int) chat.Event {
	i, s := r.next(4), fragments[r.next(len(fragments))]
	switch r.next(12) {
	case 0, 1, 2:
		return chat.TextDelta{Index: i, Text: s}
	case 3:
		return chat.ToolStart{Index: i, ID: "c" + strconv.Itoa(ids), Name: "f" + s, Server: r.next(5) == 0}
	case 4, 5, 6:
		return chat.ToolDelta{Index: i, JSON: s}
	case 7:
		return chat.ThinkingDelta{Index: i, Text: s}
	case 8:
		return chat.ThinkingDelta{Index: i, Signature: s, Publisher: []string{"", "anthropic", "amazon"}[r.next(3)]}
	case 9:
		return chat.RedactedDelta{Index: i, Data: s, Publisher: []string{"", "anthropic"}[r.next(2)]}
	case 10:
		return chat.BlockStop{Index: i}
	default:
		n := r.next(100)
		u := chat.Usage{}
		for _, p := range []**int{&u.Input, &u.Output, &u.CacheRead, &u.CacheWrite, &u.Reasoning} {
			if r.next(2) == 0 {
				*p = &n
			}
		}
		return chat.UsageSnapshot{Usage: u}
	}
}

func answerOf(r source, length int) []chat.Event {
	var events []chat.Event
	if r.next(2) == 0 {
		events = append(events, chat.Start{ID: []string{"", "msg_1"}[r.next(2)]})
	}
	for n := range length {
		events = append(events, eventOf(r, n))
	}
	reasons := []chat.StopReason{"", chat.EndTurn, chat.StopSequence, chat.MaxTokens, chat.ContextExceeded, chat.ToolUseStop, chat.ContentFiltered, chat.Guardrail, chat.Refusal, chat.PauseTurn, "unknown"}
	if reason := reasons[r.next(len(reasons))]; reason != "" {
		events = append(events, chat.Stop{Reason: reason})
	}
	if n := r.next(9); n > 0 {
		events = append(events, chat.UsageSnapshot{Usage: chat.Usage{Input: &n, Output: &n}})
	}
	return events
}

// TestStreamIsWhole: what a client adds up out of our chunks is the whole answer,
// for any sequence of events.
func TestStreamIsWhole(t *testing.T) {
	for seed := range uint64(1000) {
		r := randomly{rand.New(rand.NewPCG(seed, 1))}
		events := answerOf(r, r.next(30))
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { compare(t, events, seed%2 == 0) })
	}
}

// FuzzStream is TestStreamIsWhole over sequences that a fuzzer finds.
func FuzzStream(f *testing.F) {
	fuzzAnswers(f, 8, func(t *testing.T, data []byte, events []chat.Event) { compare(t, events, len(data)%2 == 0) })
}

// fuzzAnswers has a fuzzer find sequences of events: from two calls at once, and so many seeds.
func fuzzAnswers(f *testing.F, seeds uint64, check func(t *testing.T, data []byte, events []chat.Event)) {
	f.Add(twoCalls)
	for seed := range seeds {
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
		check(t, data, answerOf(&bytewise{data}, len(data)/4))
	})
}

// twoCalls are two calls at once, and text behind them, as answerOf reads it.
var twoCalls = []byte{1, 0, 0, 3, 1, 1, 0, 3, 1, 0, 7, 4, 1, 7, 4, 2, 1, 0, 0, 8, 4, 0, 0, 10, 5, 3, 0, 0}

// TestStreamOrder pins what the fold does not see: text that follows a tool call
// stands behind it, all blocks of reasoning in one delta behind the rest, and the counts
// come last.
func TestStreamOrder(t *testing.T) {
	one := 1
	s := (&asked{model: "m", usage: true}).Stream(chat.Heading{ID: "x"})
	var out []byte
	for _, e := range ordered([]chat.Event{
		chat.ThinkingDelta{Index: 0, Text: "h"}, chat.ThinkingDelta{Index: 0, Signature: "s"}, chat.BlockStop{Index: 0}, chat.RedactedDelta{Index: 9, Data: "r"},
		chat.TextDelta{Index: 1, Text: "a"}, chat.ToolStart{Index: 2, ID: "c", Name: "f"}, chat.ToolDelta{Index: 2, JSON: "{}"}, chat.BlockStop{Index: 2},
		chat.TextDelta{Index: 3, Text: "b"}, chat.UsageSnapshot{Usage: chat.Usage{Input: &one, Output: &one}}, chat.Stop{Reason: chat.EndTurn},
	}) {
		out, _ = s.Append(out, e)
	}
	out, err := s.Finish(out)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, event := range strings.Split(strings.TrimSpace(string(out)), "\n\n") {
		for _, k := range []string{`"role"`, `"reasoning_content"`, `"thinking_blocks"`, `"content":"a"`, `"name"`, `"arguments":"{}"`, `"content":"b"`, `"finish_reason":"stop"`, `"prompt_tokens"`, "[DONE]"} {
			if strings.Contains(event, k) {
				kinds = append(kinds, k)
			}
		}
	}
	want := []string{`"role"`, `"reasoning_content"`, `"content":"a"`, `"name"`, `"arguments":"{}"`, `"content":"b"`, `"thinking_blocks"`, `"finish_reason":"stop"`, `"prompt_tokens"`, "[DONE]"}
	if !slices.Equal(kinds, want) {
		t.Errorf("order %v, want %v", kinds, want)
	}
}

// TestNothingIsPromisedTooEarly: no event, no byte; and a fault behind some text is
// the last event, without finish reason and [DONE].
func TestNothingIsPromisedTooEarly(t *testing.T) {
	s := (&asked{model: "m", usage: true}).Stream(chat.Heading{ID: "x"})
	if out, err := s.Finish(nil); len(out) != 0 || err != chat.ErrNoStop {
		t.Errorf("Finish = %q, %v", out, err)
	}
	out, _ := s.Append(nil, chat.TextDelta{Text: "a"})
	out = s.Fault(out, refusalOf("x"))
	if text := string(out); strings.Contains(text, "[DONE]") || strings.Contains(text, `"finish_reason":"`) || !strings.HasSuffix(text, "\n\n") ||
		!strings.Contains(text, fmt.Sprintf("data: %s\n\n", errorBody(refusalOf("x")))) {
		t.Errorf("%s", text)
	}
}
