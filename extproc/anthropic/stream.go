package anthropic

import (
	"encoding/json"
	"fmt"

	"aisix/extproc/chat"
)

// EventDecoder turns the payloads of one stream into chat events. The zero value
// is ready. Stop comes with message_stop, so that a stream without it has none;
// usage comes each time it is told, every snapshot complete.
type EventDecoder struct {
	usage     chat.Usage
	tools     map[int]*toolState // open tool blocks
	unknown   map[int]bool       // open blocks that are not shown
	reason    *string
	sequence  *string
	guardrail string
}

// toolState is what an open tool block has had so far.
type toolState struct {
	input string // from content_block_start; "" if it was empty
	seen  bool   // a fragment came
}

// Decode gives the events in one payload, none for a ping or a kind that we do
// not know. An error event is an *Error; a payload that is not JSON is an error.
func (d *EventDecoder) Decode(payload []byte) ([]chat.Event, error) {
	var e streamEvent
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, fmt.Errorf("anthropic: decode event: %w", err)
	}
	if e.Guardrail != "" {
		d.guardrail = e.Guardrail
	}
	switch e.Type {
	case "message_start":
		return d.start(e), nil
	case "content_block_start":
		return d.blockStart(e), nil
	case "content_block_delta":
		return d.blockDelta(e), nil
	case "content_block_stop":
		return d.blockStop(e), nil
	case "message_delta":
		return d.messageDelta(e), nil
	case "message_stop":
		return d.messageStop(e), nil
	case "error":
		if e.Error == nil {
			return nil, &Error{Type: "api_error", Message: "an error event without an error"}
		}
		return nil, e.Error
	default: // ping, and what is yet to come
		return nil, nil
	}
}

func (d *EventDecoder) start(e streamEvent) []chat.Event {
	if e.Message == nil {
		return []chat.Event{chat.Start{}}
	}
	return append([]chat.Event{chat.Start{ID: e.Message.ID}}, d.count(e.Message.Usage)...)
}

func (d *EventDecoder) blockStart(e streamEvent) []chat.Event {
	if e.ContentBlock == nil {
		return nil
	}
	b := *e.ContentBlock
	events, known := startBlock(e.Index, b)
	switch {
	case !known:
		if d.unknown == nil {
			d.unknown = make(map[int]bool)
		}
		d.unknown[e.Index] = true
	case isTool(b.Type):
		if d.tools == nil {
			d.tools = make(map[int]*toolState)
		}
		t := &toolState{input: inputOf(b)}
		if t.input == "{}" {
			t.input = ""
		}
		d.tools[e.Index] = t
	}
	return events
}

func (d *EventDecoder) blockDelta(e streamEvent) []chat.Event {
	if e.Delta == nil || d.unknown[e.Index] {
		return nil
	}
	switch x := e.Delta; x.Type {
	case "text_delta":
		if x.Text != "" {
			return []chat.Event{chat.TextDelta{Index: e.Index, Text: x.Text}}
		}
	case "input_json_delta":
		t := d.tools[e.Index]
		if t != nil && x.PartialJSON != "" {
			t.seen = true
			return []chat.Event{chat.ToolDelta{Index: e.Index, JSON: x.PartialJSON}}
		}
	case "thinking_delta":
		if x.Thinking != "" {
			return []chat.Event{chat.ThinkingDelta{Index: e.Index, Text: x.Thinking}}
		}
	case "signature_delta":
		if x.Signature != "" {
			return []chat.Event{chat.ThinkingDelta{Index: e.Index, Signature: x.Signature}}
		}
	}
	return nil // empty deltas, citations, and what is yet to come
}

func (d *EventDecoder) blockStop(e streamEvent) []chat.Event {
	if d.unknown[e.Index] {
		delete(d.unknown, e.Index)
		return nil
	}
	var events []chat.Event
	if t := d.tools[e.Index]; t != nil {
		if !t.seen && t.input != "" { // the input came whole, with the start
			events = append(events, chat.ToolDelta{Index: e.Index, JSON: t.input})
		}
		delete(d.tools, e.Index)
	}
	return append(events, chat.BlockStop{Index: e.Index})
}

func (d *EventDecoder) messageDelta(e streamEvent) []chat.Event {
	if e.Delta != nil && e.Delta.StopReason != nil {
		d.reason, d.sequence = e.Delta.StopReason, e.Delta.StopSequence
	}
	return d.count(e.Usage)
}

func (d *EventDecoder) messageStop(e streamEvent) []chat.Event {
	var events []chat.Event
	if d.reason != nil {
		events = append(events, stop(*d.reason, d.sequence, d.guardrail))
	}
	d.usage = e.Metrics.counts().Update(d.usage)
	if d.usage.Known() {
		events = append(events, chat.UsageSnapshot{Usage: d.usage})
	}
	return events
}

func (d *EventDecoder) count(u *usage) []chat.Event {
	if u == nil {
		return nil
	}
	d.usage = d.usage.Update(u.counts())
	return []chat.Event{chat.UsageSnapshot{Usage: d.usage}}
}
