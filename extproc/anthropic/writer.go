package anthropic

import (
	"strconv"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
	js "aisix/extproc/jsonappend"
	"aisix/extproc/sse"
)

// writer writes one answer as Anthropic's events: a block starts, grows and stops before the
// next one starts.
type writer struct {
	asked   *asked
	heading chat.Heading

	alias []byte // the model's name, as JSON
	raw   bool   // the upstream's own words pass: all else is only looked at
	begun bool   // message_start is written
	next  int    // index of the next block

	block blockOut // the block that grows

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

// blockOut is a block in the making.
type blockOut struct {
	kind    blockKind
	begun   bool // content_block_start is written
	written bool // and some of a tool's input

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
		return w.begin(dst, e.ID)
	case chat.TextDelta:
		dst = w.begin(dst, "")
		if e.Text == "" {
			return dst
		}
		dst = w.start(dst, textBlock, `{"type":"text","text":""}`)
		return w.delta(dst, `{"type":"text_delta","text":`, e.Text)
	case chat.ToolStart:
		start := js.String([]byte(`{"type":"tool_use","id":`), callID(e.ID))
		start = js.String(append(start, `,"name":`...), e.Name)
		return w.start(w.begin(dst, ""), toolBlock, string(append(start, `,"input":{}}`...)))
	case chat.ToolDelta:
		fragment := e.JSON
		if !w.block.written { // white space before the object would hide that nothing came
			fragment = strings.TrimLeft(fragment, " \t\r\n")
		}
		if fragment == "" {
			return dst
		}
		w.block.written = true
		return w.delta(dst, `{"type":"input_json_delta","partial_json":`, fragment)
	case chat.ThinkingDelta:
		dst = w.begin(dst, "")
		w.block.by(e.Publisher)
		if e.Text == "" && e.Signature == "" {
			return dst
		}
		dst = w.start(dst, thinkingBlock, `{"type":"thinking","thinking":"","signature":""}`)
		w.block.signature.WriteString(e.Signature)
		if e.Text == "" {
			return dst
		}
		return w.delta(dst, `{"type":"thinking_delta","thinking":`, e.Text)
	case chat.RedactedDelta: // half of it is of no use to anybody: it is written at its end
		w.block.kind = redactedBlock
		w.block.signature.WriteString(e.Data)
		w.block.by(e.Publisher)
		return w.begin(dst, "")
	case chat.BlockStop:
		return w.end(dst)
	}
	return dst // an event of a later version says nothing to this dialect
}

func (b *blockOut) by(publisher string) {
	if publisher != "" {
		b.publisher = publisher
	}
}

// start writes the start of the block that grows, once.
func (w *writer) start(dst []byte, kind blockKind, content string) []byte {
	if w.block.begun {
		return dst
	}
	w.block.kind, w.block.begun = kind, true
	dst = append(w.event(dst, "content_block_start"), `,"content_block":`...)
	return sse.Close(append(append(dst, content...), '}'))
}

// delta writes a fragment, behind the name of its member.
func (w *writer) delta(dst []byte, member, fragment string) []byte {
	dst = append(w.event(dst, "content_block_delta"), `,"delta":`...)
	dst = js.String(append(dst, member...), fragment)
	return sse.Close(append(dst, `}}`...))
}

// end writes the end of the block that grows, if there was anything in it.
func (w *writer) end(dst []byte) []byte {
	b := &w.block
	switch {
	case b.kind == redactedBlock && b.signature.Len() > 0:
		start := js.String([]byte(`{"type":"redacted_thinking","data":`), sealed(b.publisher, b.signature.String()))
		dst = w.start(dst, redactedBlock, string(append(start, '}')))
	case b.kind == thinkingBlock && b.begun:
		dst = w.delta(dst, `{"type":"signature_delta","signature":`, sealed(b.publisher, b.signature.String()))
	}
	if b.begun {
		dst = sse.Close(append(w.event(dst, "content_block_stop"), '}'))
		w.next++
	}
	w.block = blockOut{}
	return dst
}

// event begins an event of the block that grows.
func (w *writer) event(dst []byte, name string) []byte {
	dst = append(sse.Named(dst, name), `{"type":"`...)
	dst = append(append(dst, name...), `","index":`...)
	return strconv.AppendInt(dst, int64(w.next), 10)
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
	dst = w.begin(dst, "")
	dst = append(sse.Named(dst, "message_delta"), `{"type":"message_delta","delta":{`...)
	dst = appendStop(dst, w.stop, w.sequence)
	dst = appendUsage(append(dst, `},"usage":`...), w.counts, "") // Anthropic tells the tier in message_start alone
	dst = sse.Close(append(dst, '}'))
	return sse.Close(append(sse.Named(dst, "message_stop"), `{"type":"message_stop"}`...)), nil
}

// Fault appends an error event, the last one of a broken stream.
func (w *writer) Fault(dst []byte, f *fault.Error) []byte {
	return sse.Close(errorBody(sse.Named(dst, "error"), f, w.heading.RequestID))
}
