package chat

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Why an answer is not whole. Both are io.ErrUnexpectedEOF.
var (
	ErrNoStop  = fmt.Errorf("the answer ended without a stop reason: %w", io.ErrUnexpectedEOF)
	ErrNoUsage = fmt.Errorf("the answer ended without token counts: %w", io.ErrUnexpectedEOF)
)

// Collect folds the events of one answer into the answer. Blocks are in the
// order in which they were opened. The input of a tool use is what the model
// wrote, which may be broken JSON where it was cut; without any it is {}.
// Blocks of tools that the model ran itself are left out, and so is reasoning
// without text, signature or data.
//
// The error is ErrNoStop or ErrNoUsage; the response then holds what came.
func Collect(events []Event) (*Response, error) {
	f := fold{thought: -1}
	for _, e := range events {
		f.add(e)
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

type fold struct {
	response Response
	parts    []*part
	open     []*part // of these, the blocks that grow: one as a rule
	thought  int     // index of the reasoning block that grows, or -1: there is one at a time
	text     *part   // the text block that grows
}

type partKind int

const (
	textPart partKind = iota
	thinkingPart
	redactedPart
	toolPart
)

// part is a block that grows.
type part struct {
	kind      partKind
	index     int
	start     ToolStart
	text      pieces // text, reasoning, redacted data, a tool's input
	signature pieces
	publisher string
}

// pieces are a text that grows. One that came whole is not copied.
type pieces struct {
	first string
	all   []byte // nil where there is only the first
}

func (p *pieces) add(s string) {
	switch {
	case s == "":
	case p.all != nil:
		p.all = append(p.all, s...)
	case p.first == "":
		p.first = s
	default:
		p.all = append(append(p.all, p.first...), s...)
	}
}

func (p *pieces) empty() bool { return p.first == "" }

func (p *pieces) String() string {
	if p.all != nil {
		return string(p.all)
	}
	return p.first
}

func (f *fold) add(e Event) {
	switch e := e.(type) {
	case *Raw:
		f.response.Raw = e.Data
	case Start:
		f.response.ID = e.ID
	case ToolStart:
		f.endThought()
		f.text = nil // what is said after a call began is another block
		f.begin(e.Index, toolPart).start = e
	case TextDelta:
		f.endThought()
		f.write(e.Index).text.add(e.Text)
	case ToolDelta:
		// A fragment without its start belongs to no call that could be answered.
		if p := f.at(e.Index); p != nil && p.kind == toolPart {
			p.text.add(e.JSON)
		}
	case ThinkingDelta:
		p := f.think(e.Index, thinkingPart)
		p.text.add(e.Text)
		p.signature.add(e.Signature)
		p.by(e.Publisher)
	case RedactedDelta:
		p := f.think(e.Index, redactedPart)
		p.text.add(e.Data)
		p.by(e.Publisher)
	case Stop:
		f.response.Stop, f.response.Sequence = e.Reason, e.Sequence
	case UsageSnapshot:
		f.response.Usage = f.response.Usage.Update(e.Usage)
	case ServedTier:
		f.response.Tier = e.Name
	case BlockStop:
		f.close(e.Index)
	default: // an event of a later version adds nothing
	}
}

// write is at for text. Text is read in the order in which it came, as a stream
// shows it: a block that another one's text has interrupted goes on as a new one.
func (f *fold) write(index int) *part {
	if p := f.at(index); p != nil && p.kind == textPart && p == f.text {
		return p
	}
	f.text = f.begin(index, textPart)
	return f.text
}

// think is at for reasoning: a new block ends the one before, and text that comes
// after it is behind it.
func (f *fold) think(index int, kind partKind) *part {
	f.text = nil
	if f.thought != index {
		f.endThought()
	}
	f.thought = index
	return f.of(index, kind)
}

func (f *fold) endThought() {
	if p := f.at(f.thought); p != nil && (p.kind == thinkingPart || p.kind == redactedPart) {
		f.close(f.thought)
	}
	f.thought = -1
}

// of gives the block that a delta belongs to; one of another kind, or of a new
// index, opens a block.
func (f *fold) of(index int, kind partKind) *part {
	if p := f.at(index); p != nil && p.kind == kind {
		return p
	}
	return f.begin(index, kind)
}

func (f *fold) begin(index int, kind partKind) *part {
	p := &part{kind: kind, index: index}
	f.parts = append(f.parts, p)
	f.close(index)
	f.open = append(f.open, p)
	return p
}

// at is the open block of an index, nil where there is none.
func (f *fold) at(index int) *part {
	for _, p := range f.open {
		if p.index == index {
			return p
		}
	}
	return nil
}

func (f *fold) close(index int) {
	f.open = slices.DeleteFunc(f.open, func(p *part) bool { return p.index == index })
}

func (p *part) by(publisher string) {
	if publisher != "" {
		p.publisher = publisher
	}
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
		if p.start.Server {
			return nil
		}
		input := strings.TrimLeft(p.text.String(), " \t\r\n")
		if input == "" {
			input = "{}"
		}
		return ToolUse{ID: p.start.ID, Name: p.start.Name, Input: json.RawMessage(input)}
	default:
		return Text{Text: p.text.String()}
	}
}
