package bedrock

import (
	"encoding/base64"
	"encoding/json"

	"aisix/extproc/chat"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
)

// converseReply decodes a whole Converse reply into the events that a stream
// would have brought.
func converseReply(body []byte) ([]chat.Event, error) {
	if events, ok := plainReply(body); ok {
		return events, nil
	}
	return anyReply(body)
}

// anyReply decodes any whole Converse reply.
func anyReply(body []byte) ([]chat.Event, error) {
	var out bedrockruntime.ConverseOutput
	if err := deserialize(converseSchema, body, &out); err != nil {
		return nil, undecodable(err)
	}
	message, ok := out.Output.(*types.ConverseOutputMemberMessage)
	if !ok {
		return nil, incomplete("message")
	}
	if out.StopReason == "" {
		return nil, incomplete("stop reason")
	}
	usage := tokenUsage(out.Usage)
	if !usage.Known() {
		return nil, incomplete("usage")
	}
	events := []chat.Event{chat.Start{}}
	inputs := toolInputs(body)
	var before types.ContentBlock
	for i, b := range message.Value.Content {
		// The codec delivers a block that it doesn't know as the block before it.
		if b == nil || b == before {
			continue
		}
		before = b
		var input json.RawMessage
		if i < len(inputs) {
			input = inputs[i]
		}
		events = append(events, wholeBlock(i, b, input)...)
	}
	events = append(events, servedTier(out.ServiceTier)...)
	return append(events, chat.Stop{Reason: chat.StopReason(out.StopReason)}, chat.UsageSnapshot{Usage: usage}), nil
}

// wholeBlock is one content block of a whole reply as events. Blocks that no
// caller can be shown (images, server tools' results) give none.
func wholeBlock(i int, b types.ContentBlock, input json.RawMessage) []chat.Event {
	switch b := b.(type) {
	case *types.ContentBlockMemberText:
		return []chat.Event{chat.TextDelta{Index: i, Text: b.Value}, chat.BlockStop{Index: i}}
	case *types.ContentBlockMemberCitationsContent:
		var events []chat.Event
		for _, c := range b.Value.Content {
			if t, ok := c.(*types.CitationGeneratedContentMemberText); ok {
				events = append(events, chat.TextDelta{Index: i, Text: t.Value})
			}
		}
		return append(events, chat.BlockStop{Index: i})
	case *types.ContentBlockMemberToolUse:
		if isNull(input) {
			input = json.RawMessage("{}")
		}
		return []chat.Event{
			toolStart(i, b.Value.ToolUseId, b.Value.Name, b.Value.Type),
			chat.ToolDelta{Index: i, JSON: string(input)},
			chat.BlockStop{Index: i},
		}
	case *types.ContentBlockMemberReasoningContent:
		switch r := b.Value.(type) {
		case *types.ReasoningContentBlockMemberReasoningText:
			return []chat.Event{
				chat.ThinkingDelta{Index: i, Text: deref(r.Value.Text), Signature: deref(r.Value.Signature)},
				chat.BlockStop{Index: i},
			}
		case *types.ReasoningContentBlockMemberRedactedContent:
			return []chat.Event{chat.RedactedDelta{Index: i, Data: base64.StdEncoding.EncodeToString(r.Value)}, chat.BlockStop{Index: i}}
		}
	}
	return nil
}

// converseStream turns the typed events of one ConverseStream into chat's. The
// zero value is ready.
//
// Redacted reasoning comes as bytes in any number of deltas. Base64 of each would
// not be base64 of all, so they are kept until their block is over.
type converseStream struct {
	redacted []byte
	index    int  // the block that redacted is of
	open     bool // there is one

	events []chat.Event // what plain gave last
}

func (s *converseStream) decode(e any) ([]chat.Event, error) {
	if i, data, ok := redactedDelta(e); ok {
		var events []chat.Event
		if s.index != i {
			events = s.flush()
		}
		s.index, s.open, s.redacted = i, true, append(s.redacted, data...)
		return events, nil
	}
	events, err := converseEvent(e)
	if err != nil || len(events) == 0 || !s.open || !s.over(events[0]) {
		return events, err
	}
	return append(s.flush(), events...), nil
}

func redactedDelta(e any) (i int, data []byte, ok bool) {
	d, ok := e.(*types.ContentBlockDeltaEvent)
	if !ok {
		return 0, nil, false
	}
	r, ok := d.Delta.(*types.ContentBlockDeltaMemberReasoningContent)
	if !ok {
		return 0, nil, false
	}
	bytes, ok := r.Value.(*types.ReasoningContentBlockDeltaMemberRedactedContent)
	if !ok {
		return 0, nil, false
	}
	return index(d.ContentBlockIndex), bytes.Value, true
}

// over reports whether no more of the redacted block comes after e: all but a
// tool's input, and the end of another block, which may come in between.
func (s *converseStream) over(e chat.Event) bool {
	switch e := e.(type) {
	case chat.ToolDelta:
		return false
	case chat.BlockStop:
		return e.Index == s.index
	default:
		return true
	}
}

// flush gives the redacted block that was kept, if there is one.
func (s *converseStream) flush() []chat.Event {
	if !s.open {
		return nil
	}
	e := chat.RedactedDelta{Index: s.index, Data: base64.StdEncoding.EncodeToString(s.redacted)}
	s.redacted, s.open = nil, false
	return []chat.Event{e}
}

// converseEvent turns a typed event of ConverseStream into chat's: none for
// events and deltas that nobody can be shown, or that a newer service made up.
func converseEvent(e any) ([]chat.Event, error) {
	switch e := e.(type) {
	case *types.MessageStartEvent:
		return []chat.Event{chat.Start{}}, nil
	case *types.ContentBlockStartEvent:
		start, ok := e.Start.(*types.ContentBlockStartMemberToolUse)
		if !ok {
			return nil, nil
		}
		return []chat.Event{toolStart(index(e.ContentBlockIndex), start.Value.ToolUseId, start.Value.Name, start.Value.Type)}, nil
	case *types.ContentBlockDeltaEvent:
		return delta(index(e.ContentBlockIndex), e.Delta), nil
	case *types.ContentBlockStopEvent:
		return []chat.Event{chat.BlockStop{Index: index(e.ContentBlockIndex)}}, nil
	case *types.MessageStopEvent:
		if e.StopReason == "" {
			return nil, incomplete("stop reason")
		}
		return []chat.Event{chat.Stop{Reason: chat.StopReason(e.StopReason)}}, nil
	case *types.ConverseStreamMetadataEvent:
		events := servedTier(e.ServiceTier)
		if e.Usage != nil {
			events = append(events, chat.UsageSnapshot{Usage: tokenUsage(e.Usage)})
		}
		return events, nil
	default:
		return nil, nil
	}
}

func toolStart(i int, id, name *string, kind types.ToolUseType) chat.ToolStart {
	return chat.ToolStart{Index: i, ID: deref(id), Name: deref(name), Server: kind == types.ToolUseTypeServerToolUse}
}

func delta(i int, d types.ContentBlockDelta) []chat.Event {
	switch d := d.(type) {
	case *types.ContentBlockDeltaMemberText:
		return []chat.Event{chat.TextDelta{Index: i, Text: d.Value}}
	case *types.ContentBlockDeltaMemberToolUse:
		return []chat.Event{chat.ToolDelta{Index: i, JSON: deref(d.Value.Input)}}
	case *types.ContentBlockDeltaMemberReasoningContent:
		switch r := d.Value.(type) {
		case *types.ReasoningContentBlockDeltaMemberText:
			return []chat.Event{chat.ThinkingDelta{Index: i, Text: r.Value}}
		case *types.ReasoningContentBlockDeltaMemberSignature:
			return []chat.Event{chat.ThinkingDelta{Index: i, Signature: r.Value}}
		}
	}
	return nil
}

func index(i *int32) int {
	if i == nil {
		return 0
	}
	return int(*i)
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
