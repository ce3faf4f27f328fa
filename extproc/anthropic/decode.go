package anthropic

import (
	"encoding/json"
	"errors"
	"fmt"

	"aisix/extproc/chat"
	"aisix/extproc/plainjson"
)

// DecodeResponse gives the events of a whole answer, in the order in which a
// stream would have sent them. An error object in place of an answer is an
// *Error; an answer without stop reason or usage lacks that event, which
// bedrock refuses.
func DecodeResponse(body []byte) ([]chat.Event, error) {
	var r reply
	p := plainjson.New(body)
	if plainReply(&p, &r); !p.End() {
		r = reply{}
		if err := json.Unmarshal(body, &r); err != nil {
			return nil, fmt.Errorf("anthropic: decode response: %w", err)
		}
	}
	return r.events()
}

// events are a whole answer's.
func (r *reply) events() ([]chat.Event, error) {
	if r.Type == "error" && r.Error != nil {
		return nil, r.Error
	}
	if r.Type != "message" {
		return nil, errors.New("anthropic: decode response: not a message")
	}
	events := make([]chat.Event, 0, 3+3*len(r.Content))
	events = append(events, chat.Start{ID: r.ID})
	for i, b := range r.Content {
		started, known := startBlock(events, i, b)
		if !known {
			continue
		}
		events = started
		if isTool(b.Type) {
			events = append(events, chat.ToolDelta{Index: i, JSON: inputOf(b)})
		}
		events = append(events, chat.BlockStop{Index: i})
	}
	if r.StopReason != nil {
		events = append(events, stop(*r.StopReason, r.StopSequence, r.Guardrail))
	}
	if u := r.Metrics.counts().Update(r.Usage.counts()); u.Known() {
		events = append(events, chat.UsageSnapshot{Usage: u})
	}
	return events, nil
}

// startBlock opens a block and appends what it already holds, its tool input left
// out. Blocks of a kind that we do not carry (results of tools that the model
// ran itself, and what is yet to come) are not known, and are not shown.
func startBlock(events []chat.Event, i int, b replyBlock) (_ []chat.Event, known bool) {
	switch b.Type {
	case "text":
		if b.Text != "" {
			events = append(events, chat.TextDelta{Index: i, Text: b.Text})
		}
	case "thinking":
		if b.Thinking != "" || b.Signature != "" {
			events = append(events, chat.ThinkingDelta{Index: i, Text: b.Thinking, Signature: b.Signature})
		}
	case "redacted_thinking":
		events = append(events, chat.RedactedDelta{Index: i, Data: b.Data})
	case "tool_use":
		events = append(events, chat.ToolStart{Index: i, ID: b.ID, Name: b.Name})
	case "server_tool_use", "mcp_tool_use":
		events = append(events, chat.ToolStart{Index: i, ID: b.ID, Name: b.Name, Server: true})
	default:
		return events, false
	}
	return events, true
}

func isTool(kind string) bool {
	return kind == "tool_use" || kind == "server_tool_use" || kind == "mcp_tool_use"
}

// inputOf is a tool's whole input, {} if there is none.
func inputOf(b replyBlock) string {
	if len(b.Input) == 0 || string(b.Input) == "null" {
		return "{}"
	}
	return string(b.Input)
}

// stop maps Claude's words to chat's. They are the same but for a guardrail,
// which Bedrock reports beside the reason. An unknown reason passes as it is, for
// bedrock to settle.
func stop(reason string, sequence *string, guardrail string) chat.Stop {
	s := chat.Stop{Reason: chat.StopReason(reason)}
	if sequence != nil {
		s.Sequence = *sequence
	}
	if guardrail == "INTERVENED" {
		s.Reason = chat.Guardrail
	}
	return s
}

// counts are what u tells; what it does not, and what is no count, is nil.
func (u *usage) counts() (c chat.Usage) {
	if u == nil {
		return c
	}
	c.Input, c.Output, c.CacheRead, c.CacheWrite = count(u.Input), count(u.Output), count(u.CacheRead), count(u.CacheWrite)
	if u.CacheCreation != nil {
		c.CacheWrite1h = count(u.CacheCreation.OneHour)
	}
	if u.OutputDetails != nil {
		c.Reasoning = count(u.OutputDetails.Thinking)
	}
	if u.ServerTools != nil {
		n := int(*u.ServerTools)
		c.ServerTools = &n
	}
	return c
}

// counts are Bedrock's own: they stand where Claude gave none.
func (m *invokeMetrics) counts() (c chat.Usage) {
	if m == nil {
		return c
	}
	c.Input, c.Output, c.CacheRead, c.CacheWrite = count(m.Input), count(m.Output), count(m.CacheRead), count(m.CacheWrite)
	return c
}

func count(n *int) *int {
	if n == nil || *n < 0 {
		return nil
	}
	return n
}
