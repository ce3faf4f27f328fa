package anthropic

import (
	"strconv"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
	js "aisix/extproc/jsonappend"
	"aisix/extproc/sse"
)

// writer writes one answer as Anthropic's events. There is one block on the wire at a time:
// what comes of another one meanwhile waits.
type writer struct {
	asked   *asked
	heading chat.Heading

	alias []byte // the model's name, as JSON
	raw   bool   // the upstream's own words pass: all else is only looked at
	begun bool   // message_start is written
	next  int    // index of the next block

	blocks  []*blockOut // that are not at their end yet; the first one is on the wire
	text    *blockOut   // the text that grows, nil is none
	thought *blockOut   // the reasoning that grows, nil is none
	tools   map[int]*blockOut

	stop     chat.StopReason
	sequence string
	counts   chat.Usage
	tier     string
}

type blockKind int

const (
	textBlock blockKind = iota
	thinkingBlock
	redactedBlock
	toolBlock
)

// block is a block in the making.
type blockOut struct {
	kind    blockKind
	index   int // the upstream's
	at      int // ours
	begun   bool
	ended   bool
	waits   strings.Builder // text, or JSON, that is not written yet
	written bool            // some of it was
	start   chat.ToolStart

	signature strings.Builder // or redacted data
	publisher string
}

// Stream begins a stream of events.
func (a *asked) Stream(h chat.Heading) chat.Writer {
	return &writer{asked: a, heading: h, alias: js.String(nil, a.model)}
}

// Append appends what e means as server-sent events to dst: none, one or more.
func (w *writer) Append(dst []byte, e chat.Event) ([]byte, error) {
	switch e := e.(type) {
	case *chat.Raw:
		w.raw = true
		return w.pass(dst, e), nil
	case chat.Stop:
		w.stop, w.sequence = e.Reason, e.Sequence
	case chat.UsageSnapshot:
		w.counts = w.counts.Update(e.Usage)
	case chat.ServedTier:
		w.tier = e.Name
	default:
		if !w.raw {
			return w.translate(dst, e), nil
		}
	}
	return dst, nil
}

// pass writes the upstream's own event. The first one names the model, which callers know by
// another name.
func (w *writer) pass(dst []byte, e *chat.Raw) []byte {
	data := e.Data
	if e.Name == "message_start" {
		data = renamed(data, w.alias, "message")
	}
	return sse.Close(append(sse.Named(dst, e.Name), data...))
}

func (w *writer) translate(dst []byte, e chat.Event) []byte {
	switch e := e.(type) {
	case chat.Start:
		dst = w.begin(dst, e.ID)
	case chat.TextDelta:
		dst = w.endThought(w.begin(dst, ""))
		if w.text == nil || w.text.index != e.Index {
			dst = w.endText(dst)
			dst = w.endTool(dst, e.Index) // a new block with an old index ends that one: some services send no stop
			w.text = w.open(textBlock, e.Index)
		}
		w.text.waits.WriteString(e.Text)
	case chat.ToolStart:
		dst = w.endTool(w.endText(w.endThought(w.begin(dst, ""))), e.Index)
		if e.Server { // the model ran it itself: nobody is shown it
			return w.advance(dst)
		}
		b := w.open(toolBlock, e.Index)
		b.start = e
		if w.tools == nil {
			w.tools = map[int]*blockOut{}
		}
		w.tools[e.Index] = b
	case chat.ToolDelta:
		b := w.tools[e.Index]
		if b == nil {
			return dst
		}
		fragment := e.JSON
		if !b.written && b.waits.Len() == 0 { // white space before the object would hide that nothing came
			fragment = strings.TrimLeft(fragment, " \t\r\n")
		}
		b.waits.WriteString(fragment)
	case chat.ThinkingDelta:
		dst = w.think(w.begin(dst, ""), e.Index, thinkingBlock)
		w.thought.waits.WriteString(e.Text)
		w.thought.signature.WriteString(e.Signature)
		w.thought.by(e.Publisher)
	case chat.RedactedDelta:
		dst = w.think(w.begin(dst, ""), e.Index, redactedBlock)
		w.thought.signature.WriteString(e.Data)
		w.thought.by(e.Publisher)
	case chat.BlockStop:
		if w.thought != nil && w.thought.index == e.Index {
			dst = w.endThought(dst)
		}
		if w.text != nil && w.text.index == e.Index {
			dst = w.endText(dst)
		}
		dst = w.endTool(dst, e.Index)
	default: // an event of a later version says nothing to this dialect
		return dst
	}
	return w.advance(dst)
}

func (b *blockOut) by(publisher string) {
	if publisher != "" {
		b.publisher = publisher
	}
}

func (w *writer) open(kind blockKind, index int) *blockOut {
	b := &blockOut{kind: kind, index: index}
	w.blocks = append(w.blocks, b)
	return b
}

// think makes the block of an index the reasoning that grows. Text behind it is another block.
func (w *writer) think(dst []byte, index int, kind blockKind) []byte {
	if t := w.thought; t != nil && t.index == index && t.kind == kind {
		return dst
	}
	dst = w.endTool(w.endText(w.endThought(dst)), index)
	w.thought = w.open(kind, index)
	return dst
}

func (w *writer) endThought(dst []byte) []byte {
	if w.thought != nil {
		w.thought.ended, w.thought = true, nil
	}
	return dst
}

func (w *writer) endText(dst []byte) []byte {
	if w.text != nil {
		w.text.ended, w.text = true, nil
	}
	return dst
}

func (w *writer) endTool(dst []byte, index int) []byte {
	if b := w.tools[index]; b != nil {
		b.ended = true
		delete(w.tools, index)
	}
	return dst
}

// advance writes what may go out now: the first block's, and once that is at its end, the next
// one's.
func (w *writer) advance(dst []byte) []byte {
	for len(w.blocks) > 0 {
		b := w.blocks[0]
		dst = w.write(dst, b)
		if !b.ended {
			break
		}
		if b.begun {
			dst = w.event(dst, "content_block_stop", b)
			dst = sse.Close(append(dst, '}'))
		}
		w.blocks[0] = nil
		w.blocks = w.blocks[1:]
	}
	return dst
}

// write writes what there is of the block on the wire.
func (w *writer) write(dst []byte, b *blockOut) []byte {
	switch b.kind {
	case textBlock:
		if b.waits.Len() > 0 {
			dst = w.start(dst, b, `{"type":"text","text":""}`)
		}
		return w.delta(dst, b, `{"type":"text_delta","text":`)
	case thinkingBlock:
		if b.waits.Len() > 0 || b.signature.Len() > 0 {
			dst = w.start(dst, b, `{"type":"thinking","thinking":"","signature":""}`)
			dst = w.delta(dst, b, `{"type":"thinking_delta","thinking":`)
		}
		if b.ended && b.begun {
			dst = w.event(dst, "content_block_delta", b)
			dst = append(dst, `,"delta":{"type":"signature_delta","signature":`...)
			dst = js.String(dst, sealed(b.publisher, b.signature.String()))
			dst = sse.Close(append(dst, `}}`...))
		}
	case redactedBlock: // half of it is of no use to anybody
		if b.ended && b.signature.Len() > 0 {
			start := js.String([]byte(`{"type":"redacted_thinking","data":`), sealed(b.publisher, b.signature.String()))
			dst = w.start(dst, b, string(append(start, '}')))
		}
	case toolBlock:
		if !b.begun {
			start := js.String([]byte(`{"type":"tool_use","id":`), callID(b.start.ID))
			start = js.String(append(start, `,"name":`...), b.start.Name)
			dst = w.start(dst, b, string(append(start, `,"input":{}}`...)))
		}
		return w.delta(dst, b, `{"type":"input_json_delta","partial_json":`)
	}
	return dst
}

// event begins an event of a block.
func (w *writer) event(dst []byte, name string, b *blockOut) []byte {
	dst = append(sse.Named(dst, name), `{"type":"`...)
	dst = append(append(dst, name...), `","index":`...)
	return strconv.AppendInt(dst, int64(b.at), 10)
}

func (w *writer) start(dst []byte, b *blockOut, content string) []byte {
	if b.begun {
		return dst
	}
	b.begun, b.at = true, w.next
	w.next++
	dst = append(w.event(dst, "content_block_start", b), `,"content_block":`...)
	return sse.Close(append(append(dst, content...), '}'))
}

// delta writes what waits, behind the name of its member.
func (w *writer) delta(dst []byte, b *blockOut, member string) []byte {
	if b.waits.Len() == 0 {
		return dst
	}
	dst = append(w.event(dst, "content_block_delta", b), `,"delta":`...)
	dst = js.String(append(dst, member...), b.waits.String())
	b.waits.Reset()
	b.written = true
	return sse.Close(append(dst, `}}`...))
}

// begin writes message_start, once. Converse counts at the end: until then there is nothing.
func (w *writer) begin(dst []byte, id string) []byte {
	if w.begun {
		return dst
	}
	w.begun = true
	dst = append(sse.Named(dst, "message_start"), `{"type":"message_start","message":`...)
	dst = w.asked.head(dst, w.heading, id)
	dst = append(dst, `,"content":[],"stop_reason":null,"stop_sequence":null,"usage":`...)
	dst = appendUsage(dst, w.counts, w.tier)
	return sse.Close(append(dst, `}}`...))
}

// Idle appends a ping, which keeps clients from giving the stream up.
func (*writer) Idle(dst []byte) []byte {
	return sse.Close(append(sse.Named(dst, "ping"), `{"type": "ping"}`...))
}

// Finish appends the stop reason and the counts, and the last event.
func (w *writer) Finish(dst []byte) ([]byte, error) {
	switch {
	case w.stop == "":
		return dst, chat.ErrNoStop
	case !w.counts.Known():
		return dst, chat.ErrNoUsage
	case w.raw:
		return dst, nil
	}
	dst = w.endText(w.endThought(w.begin(dst, "")))
	for _, b := range w.blocks {
		b.ended = true
	}
	dst = w.advance(dst)
	dst = append(sse.Named(dst, "message_delta"), `{"type":"message_delta","delta":{`...)
	dst = appendStop(dst, w.stop, w.sequence)
	dst = appendUsage(append(dst, `},"usage":`...), w.counts, w.tier)
	dst = sse.Close(append(dst, '}'))
	return sse.Close(append(sse.Named(dst, "message_stop"), `{"type":"message_stop"}`...)), nil
}

// Fault appends an error event, the last one of a broken stream.
func (w *writer) Fault(dst []byte, f *fault.Error) []byte {
	return sse.Close(errorBody(sse.Named(dst, "error"), f, w.heading.RequestID))
}
