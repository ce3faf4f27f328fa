package anthropic

import (
	"encoding/json"
	"errors"
	"fmt"

	"aisix/extproc/chat"
)

// DecodeResponse gives the events of a whole answer, in the order in which a
// stream would have sent them. An error object in place of an answer is an
// *Error; an answer without stop reason or usage lacks that event, which
// chat.Collect refuses.
func DecodeResponse(body []byte) ([]chat.Event, error) {
	var r reply
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("anthropic: decode response: %w", err)
	}
	if r.Type == "error" && r.Error != nil {
		return nil, r.Error
	}
	if r.Type != "message" {
		return nil, errors.New("anthropic: decode response: not a message")
	}
	events := []chat.Event{chat.Start{ID: r.ID}}
	for i, b := range r.Content {
		start, known := startBlock(i, b)
		if !known {
			continue
		}
		events = append(events, start...)
		if isTool(b.Type) {
			events = append(events, chat.ToolDelta{Index: i, JSON: inputOf(b)})
		}
		events = append(events, chat.BlockStop{Index: i})
	}
	if r.StopReason != nil {
		events = append(events, stop(*r.StopReason, r.StopSequence, r.Guardrail))
	}
	var u chat.Usage
	overlay(&u, r.Usage)
	fill(&u, r.Metrics)
	if u.Known() {
		events = append(events, chat.UsageSnapshot{Usage: u})
	}
	return events, nil
}

// startBlock opens a block and gives what it already holds, its tool input left
// out. Blocks of a kind that we do not carry (results of tools that the model
// ran itself, and what is yet to come) are not known, and are not shown.
func startBlock(i int, b replyBlock) (events []chat.Event, known bool) {
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
		events = append(events, chat.RedactedDelta{Index: i, Data: decodeRedacted(b.Data)})
	case "tool_use":
		events = append(events, chat.ToolStart{Index: i, ID: b.ID, Name: b.Name})
	case "server_tool_use", "mcp_tool_use":
		events = append(events, chat.ToolStart{Index: i, ID: b.ID, Name: b.Name, Server: true})
	default:
		return nil, false
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
// extproc to log; dialects treat it as EndTurn.
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

// overlay takes over every count that src has: counts are snapshots, and one that
// is absent leaves the last one standing.
func overlay(dst *chat.Usage, src *usage) {
	if src == nil {
		return
	}
	set(&dst.Input, src.Input)
	set(&dst.Output, src.Output)
	set(&dst.CacheRead, src.CacheRead)
	set(&dst.CacheWrite, src.CacheWrite)
	if src.CacheCreation != nil {
		set(&dst.CacheWrite1h, src.CacheCreation.OneHour)
	}
	if src.OutputDetails != nil {
		set(&dst.Reasoning, src.OutputDetails.Thinking)
	}
}

// fill takes Bedrock's own counts where Claude gave none.
func fill(dst *chat.Usage, m *invokeMetrics) {
	if m == nil {
		return
	}
	for _, c := range []struct {
		dst **int
		src *int
	}{{&dst.Input, m.Input}, {&dst.Output, m.Output}, {&dst.CacheRead, m.CacheRead}, {&dst.CacheWrite, m.CacheWrite}} {
		if *c.dst == nil {
			set(c.dst, c.src)
		}
	}
}

func set(dst **int, src *int) {
	if src != nil && *src >= 0 {
		*dst = src
	}
}
