package anthropic

import (
	"encoding/json"
	"errors"
	"fmt"

	"aisix/extproc/chat"
)

// EventDecoder turns the payloads of one stream into chat events. The zero value
// is ready. Stop comes with message_stop, so that a stream without it has none;
// usage comes each time it is told, every snapshot complete.
type EventDecoder struct {
	id        string // of the message
	over      bool   // it is at its end
	usage     chat.Usage
	tools     map[int]*toolState // open tool blocks
	unknown   map[int]bool       // open blocks that are not shown
	reason    *string
	sequence  *string
	guardrail string
	events    []chat.Event // what Decode gave last
}

// toolState is what an open tool block has had so far.
type toolState struct {
	input string // from content_block_start; "" if it was empty
	seen  bool   // a fragment came
}

// Decode gives the events in one payload, none for a ping or a kind that we do
// not know; they are valid until the following call. An error event is an *Error; a
// payload that is not JSON is an error.
func (d *EventDecoder) Decode(payload []byte) (events []chat.Event, err error) {
	events, plain := d.plainEvent(d.events[:0], payload)
	if !plain {
		events, err = d.anyEvent(d.events[:0], payload)
	}
	d.events = events
	return events, err
}

// anyEvent is Decode for any payload.
func (d *EventDecoder) anyEvent(dst []chat.Event, payload []byte) ([]chat.Event, error) {
	var e streamEvent
	if err := json.Unmarshal(payload, &e); err != nil {
		if _, ok := chat.Untold(payload, toldEvents); ok {
			return dst, nil
		}
		return nil, fmt.Errorf("anthropic: decode event: %w", err)
	}
	if e.Guardrail != "" {
		d.guardrail = e.Guardrail
	}
	if e.Type == "content_block_delta" {
		return d.blockDelta(dst, e.Index, e.Delta), nil
	}
	return d.event(dst, e)
}

// event is what e means, which is no delta of a block.
func (d *EventDecoder) event(dst []chat.Event, e streamEvent) ([]chat.Event, error) {
	switch e.Type {
	case "message_start":
		if e.Message != nil && d.id != "" && e.Message.ID != d.id && !d.over {
			return nil, errors.New("anthropic: decode event: another message begins in the midst of one")
		}
		return append(dst, d.start(e)...), nil
	case "content_block_start":
		return append(dst, d.blockStart(e)...), nil
	case "content_block_stop":
		return append(dst, d.blockStop(e)...), nil
	case "message_delta":
		return append(dst, d.messageDelta(e)...), nil
	case "message_stop":
		return append(dst, d.messageStop(e)...), nil
	case "error":
		if e.Error == nil {
			return nil, &Error{Type: "api_error", Message: "an error event without an error"}
		}
		return nil, e.Error
	default: // ping, and what is yet to come
		return dst, nil
	}
}

func (d *EventDecoder) start(e streamEvent) []chat.Event {
	if e.Message == nil {
		return []chat.Event{chat.Start{}}
	}
	d.id = e.Message.ID
	return append([]chat.Event{chat.Start{ID: e.Message.ID}}, d.count(e.Message.Usage)...)
}

func (d *EventDecoder) blockStart(e streamEvent) []chat.Event {
	if e.ContentBlock == nil {
		return nil
	}
	b := *e.ContentBlock
	events, known := startBlock(nil, e.Index, b)
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

// blockDelta is most of a stream.
func (d *EventDecoder) blockDelta(dst []chat.Event, index int, x *delta) []chat.Event {
	if x == nil || d.unknown[index] {
		return dst
	}
	switch x.Type {
	case "text_delta":
		if x.Text != "" {
			return append(dst, chat.TextDelta{Index: index, Text: x.Text})
		}
	case "input_json_delta":
		t := d.tools[index]
		if t != nil && x.PartialJSON != "" {
			t.seen = true
			return append(dst, chat.ToolDelta{Index: index, JSON: x.PartialJSON})
		}
	case "thinking_delta":
		if x.Thinking != "" {
			return append(dst, chat.ThinkingDelta{Index: index, Text: x.Thinking})
		}
	case "signature_delta":
		if x.Signature != "" {
			return append(dst, chat.ThinkingDelta{Index: index, Signature: x.Signature})
		}
	}
	return dst // empty deltas, citations, and what is yet to come
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
	d.over = true
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
