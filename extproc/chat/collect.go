package chat

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Why an answer is not whole. Both are io.ErrUnexpectedEOF.
var (
	ErrNoStop  = fmt.Errorf("the answer ended without a stop reason: %w", io.ErrUnexpectedEOF)
	ErrNoUsage = fmt.Errorf("the answer ended without token counts: %w", io.ErrUnexpectedEOF)
)

// Collect folds the events of one answer into the answer. Blocks are in the
// order in which they were opened, as Order has them. The input of a tool use is what the model
// wrote, which may be broken JSON where it was cut; without any it is {}.
// Blocks of tools that the model ran itself are left out, and so is reasoning
// without text, signature or data.
//
// The error is ErrNoStop or ErrNoUsage; the response then holds what it cost.
func Collect(events []Event) (*Response, error) {
	var f fold
	var o Order
	var room [4]Event
	told := room[:0]
	for _, e := range events {
		told = o.Append(told[:0], e)
		for _, e := range told {
			f.add(e)
		}
	}
	for i, p := range f.parts {
		if b := p.block(); b != nil {
			if f.response.Blocks == nil {
				f.response.Blocks = make([]Block, 0, len(f.parts)-i)
			}
			f.response.Blocks = append(f.response.Blocks, b)
		}
	}
	switch {
	case f.response.Stop == "":
		return &f.response, ErrNoStop
	case !f.response.Usage.Known():
		return &f.response, ErrNoUsage
	}
	return &f.response, nil
}

// Update gives u with what later tells: a later count replaces an earlier one,
// an absent one does not.
func (u Usage) Update(later Usage) Usage {
	for _, c := range []struct{ to, from **int }{
		{&u.Input, &later.Input}, {&u.Output, &later.Output}, {&u.CacheRead, &later.CacheRead},
		{&u.CacheWrite, &later.CacheWrite}, {&u.CacheWrite1h, &later.CacheWrite1h}, {&u.Reasoning, &later.Reasoning},
		{&u.ServerTools, &later.ServerTools},
	} {
		if *c.from != nil {
			*c.to = *c.from
		}
	}
	return u
}

// Plus adds up what two answers cost.
func (u Usage) Plus(more Usage) Usage {
	for _, c := range []struct{ to, from **int }{
		{&u.Input, &more.Input}, {&u.Output, &more.Output}, {&u.CacheRead, &more.CacheRead},
		{&u.CacheWrite, &more.CacheWrite}, {&u.CacheWrite1h, &more.CacheWrite1h}, {&u.Reasoning, &more.Reasoning},
		{&u.ServerTools, &more.ServerTools},
	} {
		if *c.from != nil {
			sum := count(*c.to) + **c.from
			*c.to = &sum
		}
	}
	return u
}

// UsageOf is what events tell of it.
func UsageOf(events []Event) (u Usage) {
	for _, e := range events {
		if e, ok := e.(UsageSnapshot); ok {
			u = u.Update(e.Usage)
		}
	}
	return u
}

// fold gathers the events of an answer, block after block.
type fold struct {
	response Response
	parts    []*part
	grows    *part // the last of them, nil where it is at its end
}

func (f *fold) add(e Event) {
	switch e := e.(type) {
	case *Raw:
		f.response.Raw = e.Data
	case Start:
		f.response.ID = e.ID
	case ToolStart:
		f.of(toolPart).start = e
	case TextDelta:
		f.of(textPart).text.add(e.Text)
	case ToolDelta:
		f.of(toolPart).text.add(e.JSON)
	case ThinkingDelta:
		p := f.of(thinkingPart)
		p.text.add(e.Text)
		p.signature.add(e.Signature)
		p.by(e.Publisher)
	case RedactedDelta:
		p := f.of(redactedPart)
		p.text.add(e.Data)
		p.by(e.Publisher)
	case BlockStop:
		f.grows = nil
	case Stop:
		f.response.Stop, f.response.Sequence = e.Reason, e.Sequence
	case UsageSnapshot:
		f.response.Usage = f.response.Usage.Update(e.Usage)
	case ServedTier:
		f.response.Tier = e.Name
	default: // an event of a later version adds nothing
	}
}

// of gives the block that grows, a new one where none does.
func (f *fold) of(kind partKind) *part {
	if f.grows == nil {
		f.grows = &part{kind: kind}
		f.parts = append(f.parts, f.grows)
	}
	return f.grows
}

func (p *part) block() Block {
	switch p.kind {
	case thinkingPart:
		if p.text.empty() && p.signature.empty() {
			return nil
		}
		return Thinking{Text: p.text.String(), Signature: p.signature.String(), Publisher: p.publisher}
	case redactedPart:
		if p.text.empty() {
			return nil
		}
		return Redacted{Data: p.text.String(), Publisher: p.publisher}
	case toolPart:
		input := strings.TrimLeft(p.text.String(), " \t\r\n")
		if input == "" {
			input = "{}"
		}
		return ToolUse{ID: p.start.ID, Name: p.start.Name, Input: json.RawMessage(input)}
	default:
		return Text{Text: p.text.String()}
	}
}
