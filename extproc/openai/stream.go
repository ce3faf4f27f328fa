package openai

import (
	"strconv"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/jsonappend"
	"aisix/extproc/sse"
)

// stream writes one answer as chunks. It keeps what has to wait: the stop reason and
// the counts until the end, and so have reasoning's blocks, whose text alone goes out
// as it comes.
type stream struct {
	asked   *asked
	heading chat.Heading

	head, tail []byte         // of every chunk: before and after the delta
	tier       string         // the service tier that served; "" if nobody told
	tool       toolStream     // the call that grows, or the last one
	thought    *thoughtStream // the reasoning that grows, nil is none
	thoughts   int            // thinking blocks that ended
	blocks     []byte         // these, as JSON
	said       place          // text, and the calls that began
	stop       chat.StopReason
	counts     chat.Usage
	passing    passing // the upstream's own chunks
}

// toolStream is a tool call in the making.
type toolStream struct {
	index   int // dense over tool calls
	open    bool
	started bool // arguments were written
}

// thoughtStream is a reasoning block in the making.
type thoughtStream struct {
	after     place
	redacted  bool
	text      strings.Builder // or redacted data
	signature strings.Builder
	publisher string
}

// Stream begins a stream of chunks. With stream_options.include_usage the last chunk
// has the token counts.
func (a *asked) Stream(h chat.Heading) chat.Writer {
	return &stream{asked: a, heading: h}
}

// Append appends what e means as server-sent events to dst: none, one or more.
// Nothing is promised before the first event: that one brings the role.
func (s *stream) Append(dst []byte, e chat.Event) ([]byte, error) {
	if raw, ok := e.(*chat.Raw); ok {
		return s.pass(dst, raw), nil
	}
	if s.passing.on {
		switch e := e.(type) {
		case chat.Stop:
			s.stop = e.Reason
		case chat.UsageSnapshot:
			s.counts = s.counts.Update(e.Usage)
		}
		return dst, nil
	}
	switch e := e.(type) {
	case chat.Start:
		return s.begin(dst, e.ID), nil
	case chat.ServedTier:
		s.served(e.Name)
		return dst, nil
	}
	dst = s.begin(dst, "")
	switch e := e.(type) {
	case chat.TextDelta:
		s.said.text(e.Text)
		if e.Text != "" {
			dst = s.open(dst)
			dst = append(dst, `"content":`...)
			dst = s.close(jsonappend.String(dst, e.Text))
		}
	case chat.ToolStart:
		dst = s.beginTool(dst, e)
	case chat.ToolDelta:
		dst = s.arguments(dst, e.JSON)
	case chat.ThinkingDelta:
		s.think(false)
		s.thought.text.WriteString(e.Text)
		s.thought.signature.WriteString(e.Signature)
		s.thought.by(e.Publisher)
		if e.Text != "" {
			dst = s.open(dst)
			dst = append(dst, `"reasoning_content":`...)
			dst = s.close(jsonappend.String(dst, e.Text))
		}
	case chat.RedactedDelta:
		s.think(true)
		// Nothing is written before its block ends: half of it is of no use to anybody.
		s.thought.text.WriteString(e.Data)
		s.thought.by(e.Publisher)
	case chat.BlockStop:
		s.endThought()
		dst = s.endTool(dst)
	// Both wait for Finish: counts come after the reason, and nothing may follow the last chunk.
	case chat.Stop:
		s.stop = e.Reason
	case chat.UsageSnapshot:
		s.counts = s.counts.Update(e.Usage)
	default: // an event of a later version says nothing to this dialect
	}
	return dst, nil
}

// Idle appends a comment, which clients do not see.
func (*stream) Idle(dst []byte) []byte { return sse.Comment(dst, "waiting") }

// Finish appends the finish reason, the counts if they were asked for, and [DONE].
func (s *stream) Finish(dst []byte) ([]byte, error) {
	switch {
	case s.stop == "":
		return dst, chat.ErrNoStop
	case !s.counts.Known():
		return dst, chat.ErrNoUsage
	case s.passing.on:
		return sse.Data(dst, []byte("[DONE]")), nil
	}
	dst = s.begin(dst, "")
	// All in one: of members that it does not know, openai-node keeps the last delta's.
	if s.thoughts > 0 {
		dst = append(s.open(dst), `"thinking_blocks":[`...)
		dst = s.close(append(append(dst, s.blocks...), ']'))
	}
	dst = append(sse.Open(dst), s.head...)
	dst = append(dst, `"choices":[{"index":0,"delta":{},"finish_reason":"`...)
	dst = append(dst, finishReason(s.stop, s.said.ToolCalls)...)
	dst = append(dst, `"}]`...)
	dst = sse.Close(append(dst, s.tail...))
	// With no choices, as OpenAI has it: clients that look at choices[0] must test for it.
	if s.asked.usage {
		counts := newUsage(s.counts)
		dst = append(sse.Open(dst), s.head...)
		dst = counts.append(append(dst, `"choices":[],"usage":`...))
		dst = sse.Close(append(dst, '}'))
	}
	return sse.Data(dst, []byte("[DONE]")), nil
}

// Fault appends an error event, the last one of a broken stream: there is no
// finish reason and no [DONE].
func (s *stream) Fault(dst []byte, f *fault.Error) []byte {
	return sse.Data(dst, errorBody(f))
}

// begin renders the envelope, once, and the chunk with the role.
func (s *stream) begin(dst []byte, id string) []byte {
	if s.head != nil {
		return dst
	}
	s.head = append(s.head, `{"id":`...)
	s.head = jsonappend.String(s.head, answerID(s.heading, id))
	s.head = append(s.head, `,"object":"chat.completion.chunk","created":`...)
	s.head = strconv.AppendInt(s.head, s.heading.Created.Unix(), 10)
	s.head = append(s.head, `,"model":`...)
	s.head = jsonappend.String(s.head, s.asked.model)
	s.head = append(s.head, ',')
	s.head = s.appendTier(s.head)
	// With include_usage every chunk has the member, null but in the last.
	s.tail = append(s.tail, '}')
	if s.asked.usage {
		s.tail = append(s.tail[:0], `,"usage":null}`...)
	}
	dst = s.open(dst)
	return s.close(append(dst, `"role":"assistant","content":""`...))
}

// served takes note of the tier. Told ahead of the answer it is in every chunk, else in
// those that are left.
func (s *stream) served(tier string) {
	late := s.head != nil && s.tier == ""
	s.tier = tier
	if late {
		s.head = s.appendTier(s.head)
	}
}

func (s *stream) appendTier(dst []byte) []byte {
	if s.tier == "" {
		return dst
	}
	dst = jsonappend.String(append(dst, `"service_tier":`...), s.tier)
	return append(dst, ',')
}

// open begins a chunk with a delta, close ends it.
func (s *stream) open(dst []byte) []byte {
	dst = append(sse.Open(dst), s.head...)
	return append(dst, `"choices":[{"index":0,"delta":{`...)
}

func (s *stream) close(dst []byte) []byte {
	dst = append(dst, `},"finish_reason":null}]`...)
	return sse.Close(append(dst, s.tail...))
}

// beginTool writes the frame that has id and name, with empty arguments.
func (s *stream) beginTool(dst []byte, e chat.ToolStart) []byte {
	s.tool = toolStream{index: s.said.ToolCalls, open: true}
	s.said.ToolCalls++
	dst = s.openTool(dst)
	dst = append(dst, `"id":`...)
	dst = jsonappend.String(dst, e.ID)
	dst = append(dst, `,"type":"function","function":{"name":`...)
	dst = jsonappend.String(dst, e.Name)
	return s.closeTool(append(dst, `,"arguments":""`...))
}

// arguments writes a fragment bare: clients join them, and know the call by its index.
func (s *stream) arguments(dst []byte, fragment string) []byte {
	if !s.tool.started { // white space before the object would hide that nothing came
		fragment = strings.TrimLeft(fragment, " \t\r\n")
	}
	if fragment == "" {
		return dst
	}
	s.tool.started = true
	dst = append(s.openTool(dst), `"function":{"arguments":`...)
	return s.closeTool(jsonappend.String(dst, fragment))
}

// endTool ends the call that grows; arguments that never came are {}.
func (s *stream) endTool(dst []byte) []byte {
	if !s.tool.open {
		return dst
	}
	s.tool.open = false
	if s.tool.started {
		return dst
	}
	dst = append(s.openTool(dst), `"function":{"arguments":"{}"`...)
	return s.closeTool(dst)
}

func (s *stream) openTool(dst []byte) []byte {
	dst = append(s.open(dst), `"tool_calls":[{"index":`...)
	return append(strconv.AppendInt(dst, int64(s.tool.index), 10), ',')
}

// closeTool closes function, the call and the list.
func (s *stream) closeTool(dst []byte) []byte { return s.close(append(dst, `}}]`...)) }

// think begins a reasoning block, where none grows.
func (s *stream) think(redacted bool) {
	if s.thought == nil {
		s.thought = &thoughtStream{redacted: redacted, after: s.said}
	}
}

func (t *thoughtStream) by(publisher string) {
	if publisher != "" {
		t.publisher = publisher
	}
}

// endThought keeps the current reasoning block whole, as it must be sent back.
// Its index lets clients that add up deltas keep the blocks apart.
func (s *stream) endThought() {
	t := s.thought
	if t == nil {
		return
	}
	s.thought = nil
	if t.text.Len() == 0 && t.signature.Len() == 0 {
		return // nothing that could be sent back
	}
	block := redacted(chat.Redacted{Data: t.text.String(), Publisher: t.publisher}, t.after)
	if !t.redacted {
		block = thinking(chat.Thinking{Text: t.text.String(), Signature: t.signature.String(), Publisher: t.publisher}, t.after)
	}
	n := s.thoughts
	block.Index = &n
	body, err := marshal(block)
	if err != nil { // strings and numbers always marshal
		return
	}
	if s.thoughts++; n > 0 {
		s.blocks = append(s.blocks, ',')
	}
	s.blocks = append(s.blocks, body...)
}
