package completions

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"

	"aisix/extproc/chat"
)

// Error is OpenAI's error object, as a body or an event of a stream carries it. Its message
// is the upstream's: bedrock redacts it before a caller may see it.
type Error struct {
	Message string
	Type    string // invalid_request_error, …
	Code    string // context_length_exceeded, …; "" is none
	Param   string // the member at fault, "" is none
}

func (e *Error) Error() string { return "openai: " + cmp.Or(e.Code, e.Type) + ": " + e.Message }

// DecodeError gives the error object of a body, nil where it is none.
func DecodeError(body []byte) *Error {
	var b struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &b) != nil || len(b.Error) == 0 || string(b.Error) == "null" {
		return nil
	}
	return ErrorOf(b.Error)
}

// ErrorOf is an error object, nil where raw is none.
func ErrorOf(raw json.RawMessage) *Error {
	var text string
	if json.Unmarshal(raw, &text) == nil { // some services send no object
		return &Error{Message: text}
	}
	var o struct {
		Message string          `json:"message"`
		Type    json.RawMessage `json:"type"`
		Code    json.RawMessage `json:"code"` // a number with some services
		Param   json.RawMessage `json:"param"`
	}
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	word := func(raw json.RawMessage) (s string) { _ = json.Unmarshal(raw, &s); return s }
	return &Error{Message: o.Message, Type: word(o.Type), Code: word(o.Code), Param: word(o.Param)}
}

// reply is a whole answer of an upstream's, or a chunk of a stream.
type reply struct {
	ID      string          `json:"id"`
	Choices []option        `json:"choices"`
	Usage   *usage          `json:"usage"`
	Tier    string          `json:"service_tier"`
	Error   json.RawMessage `json:"error"`
}

type option struct {
	Message *delta  `json:"message"`
	Delta   *delta  `json:"delta"`
	Finish  *string `json:"finish_reason"`
}

// delta is a message, or what a chunk adds to it. Reasoning has two names among the
// services that have any.
type delta struct {
	Content          content     `json:"content"`
	Refusal          *string     `json:"refusal"`
	Reasoning        *string     `json:"reasoning"`
	ReasoningContent *string     `json:"reasoning_content"`
	ToolCalls        []callDelta `json:"tool_calls"`
}

type callDelta struct {
	Index    place  `json:"index"` // of chunks only, and not with every service
	ID       string `json:"id"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

type usage struct {
	Prompt        *int `json:"prompt_tokens"`
	Completion    *int `json:"completion_tokens"`
	PromptDetails *struct {
		Cached     *int `json:"cached_tokens"`
		CacheWrite *int `json:"cache_write_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails *struct {
		Reasoning *int `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

// counts are chat's, which has what was cached beside what was read.
func (u *usage) counts() chat.Usage {
	out := chat.Usage{Input: u.Prompt, Output: u.Completion}
	if d := u.PromptDetails; d != nil {
		out.CacheRead = d.Cached
		out.Input, out.CacheWrite = Shares(u.Prompt, d.Cached, d.CacheWrite)
	}
	if d := u.CompletionDetails; d != nil {
		out.Reasoning = d.Reasoning
	}
	return out
}

// Shares are those of a prompt's count that the cache has no part in and that were written to it,
// beside what was read from it; nil where they are not known. What was written is no more than was
// not read: some services count what they read as written too.
func Shares(prompt, read, written *int) (uncached, asWritten *int) {
	if prompt == nil {
		return nil, written
	}
	left := *prompt
	if read != nil {
		left -= *read
	}
	left = max(left, 0)
	if written != nil {
		n := max(min(*written, left), 0)
		left, asWritten = left-n, &n
	}
	return &left, asWritten
}

// DecodeCompletion decodes a whole answer into the events that a stream would have brought.
// The error is an *Error, or that of a body which is no answer.
func DecodeCompletion(body []byte) ([]chat.Event, error) {
	var d EventDecoder
	return d.Decode(body)
}

// EventDecoder decodes the chunks of one stream. Not for concurrent use.
type EventDecoder struct {
	started  bool
	open     int    // index of the block that grows, of text or reasoning; -1 is none
	kind     string // its kind: "text", "reasoning"
	next     int    // index of the next block
	calls    calls
	finished bool
	passes   bool // the chunks go to the caller as they came
	events   []chat.Event
}

// Decode gives what a chunk says, or a whole answer. The events are valid until the
// following call.
func (d *EventDecoder) Decode(chunk []byte) ([]chat.Event, error) {
	var a reply
	if err := json.Unmarshal(chunk, &a); err != nil {
		return nil, fmt.Errorf("openai: a chunk that is no JSON object of its kind: %w", err)
	}
	if len(a.Error) > 0 && !bytes.Equal(a.Error, []byte("null")) {
		if e := ErrorOf(a.Error); e != nil {
			return nil, e
		}
	}
	d.events = d.events[:0]
	if a.Tier != "" && a.Tier != "auto" {
		d.add(chat.ServedTier{Name: a.Tier}) // ahead of the start: some formats tell it there
	}
	if !d.started {
		d.started, d.open = true, -1
		d.add(chat.Start{ID: a.ID})
	}
	if len(a.Choices) > 0 { // there is one
		c := a.Choices[0]
		if c.Message != nil {
			for i := range c.Message.ToolCalls {
				c.Message.ToolCalls[i].Index = place{at: i, given: true}
			}
			if err := d.delta(c.Message); err != nil && !d.passes {
				return nil, err
			}
		}
		if c.Delta != nil {
			if err := d.delta(c.Delta); err != nil && !d.passes {
				return nil, err
			}
		}
		if c.Finish != nil && *c.Finish != "" && !d.finished {
			d.finished = true
			d.close()
			if err := d.endCalls(); err != nil && !d.passes {
				return nil, err
			}
			d.add(chat.Stop{Reason: stopReason(*c.Finish)})
		}
	}
	if a.Usage != nil {
		d.add(chat.UsageSnapshot{Usage: a.Usage.counts()})
	}
	return d.events, nil
}

func (d *EventDecoder) add(e chat.Event) { d.events = append(d.events, e) }

func (d *EventDecoder) delta(m *delta) error {
	for _, reasoning := range []*string{m.Reasoning, m.ReasoningContent} {
		if reasoning != nil && *reasoning != "" {
			d.add(chat.ThinkingDelta{Index: d.block("reasoning"), Text: *reasoning})
			break
		}
	}
	for _, s := range m.Content {
		switch {
		case s.text == "":
		case s.kind == "reasoning":
			d.add(chat.ThinkingDelta{Index: d.block(s.kind), Text: s.text})
		default:
			d.add(chat.TextDelta{Index: d.block(s.kind), Text: s.text})
		}
	}
	if m.Refusal != nil && *m.Refusal != "" {
		d.add(chat.TextDelta{Index: d.block("text"), Text: *m.Refusal})
	}
	for i := range m.ToolCalls {
		if err := d.call(&m.ToolCalls[i]); err != nil {
			return err
		}
	}
	return nil
}

// block is the index of the block of a kind that grows; another one ends before, and so do
// calls that are complete.
func (d *EventDecoder) block(kind string) int {
	if d.open < 0 || d.kind != kind {
		d.close()
		d.settle(1)
		d.open, d.kind = d.next, kind
		d.next++
	}
	return d.open
}

func (d *EventDecoder) close() {
	if d.open >= 0 {
		d.add(chat.BlockStop{Index: d.open})
		d.open = -1
	}
}

// stopReason is Bedrock's word; an unknown one is passed on, to be noted.
func stopReason(finish string) chat.StopReason {
	switch finish {
	case "stop":
		return chat.EndTurn
	case "length":
		return chat.MaxTokens
	case "tool_calls", "function_call":
		return chat.ToolUseStop
	case "content_filter":
		return chat.ContentFiltered
	}
	return chat.StopReason(finish)
}
