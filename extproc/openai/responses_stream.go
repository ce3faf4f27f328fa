package openai

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/jsonedit"
	"aisix/extproc/sse"
)

// responseStream writes one answer as the events of this format, in OpenAI's order: each
// item is added, grows and is done before the next one begins. All that was said is in the
// last event once more, so it is kept.
type responseStream struct {
	answering
	started  bool
	verbatim bool // the upstream's own events pass
	sequence int  // of the next event

	items     [][]byte  // by output index; nil is one that grows
	said      *saidItem // the message or reasoning that grows, nil is none
	tool      *callItem // the call that grows, nil is none
	publisher string    // of the reasoning that grows, in any of its deltas
	stop      chat.StopReason
	counts    chat.Usage
}

// saidItem is a message, or reasoning, in the making.
type saidItem struct {
	index     int // ours
	thinking  bool
	redacted  bool
	shown     bool // a part was added
	text      strings.Builder
	signature strings.Builder
}

// callItem is a call in the making.
type callItem struct {
	index int
	start chat.ToolStart
	tool  toolName
	input strings.Builder
}

// Stream begins a stream of events.
func (a *askedResponse) Stream(h chat.Heading) chat.Writer {
	return &responseStream{answering: a.answering(h, "")}
}

// Append appends what e means as server-sent events to dst: none, one or more.
func (s *responseStream) Append(dst []byte, e chat.Event) ([]byte, error) {
	if raw, ok := e.(*chat.Raw); ok {
		return s.pass(dst, raw), nil
	}
	switch e := e.(type) {
	case chat.Stop:
		s.stop = e.Reason
	case chat.UsageSnapshot:
		s.counts = s.counts.Update(e.Usage)
	case chat.ServedTier:
		s.tier = e.Name
	}
	if s.verbatim {
		return dst, nil
	}
	switch e := e.(type) {
	case chat.Start:
		if !s.started && strings.HasPrefix(e.ID, "resp_") {
			s.id = e.ID
		}
		return s.begin(dst), nil
	case chat.ServedTier:
		return dst, nil
	}
	dst = s.begin(dst)
	switch e := e.(type) {
	case chat.TextDelta:
		if e.Text == "" {
			return dst, nil
		}
		dst = s.grow(dst, false, false)
		s.said.text.WriteString(e.Text)
		dst = s.open(dst, "response.output_text.delta")
		dst = s.inPart(dst)
		return s.close(appendMember(dst, `,"logprobs":[],"delta":`, e.Text)), nil
	case chat.ThinkingDelta:
		s.publisher = cmp.Or(e.Publisher, s.publisher)
		if e.Text == "" && e.Signature == "" {
			return dst, nil
		}
		dst = s.grow(dst, true, false)
		s.said.signature.WriteString(e.Signature)
		return s.think(dst, e.Text), nil
	case chat.RedactedDelta:
		s.publisher = cmp.Or(e.Publisher, s.publisher)
		if e.Data == "" {
			return dst, nil
		}
		dst = s.grow(dst, true, true)
		s.said.text.WriteString(e.Data)
	case chat.ToolStart:
		dst = s.beginCall(s.endSaid(dst), e)
	case chat.ToolDelta:
		dst = s.growCall(dst, e.JSON)
	case chat.BlockStop:
		if s.said != nil && s.said.thinking { // a message goes on in a text that follows
			dst = s.endSaid(dst)
		}
		dst = s.endCall(dst)
		s.publisher = ""
	default: // an event of a later version says nothing to this dialect
	}
	return dst, nil
}

// Idle appends a comment, which clients do not see.
func (*responseStream) Idle(dst []byte) []byte { return sse.Comment(dst, "waiting") }

// Finish appends the end of the last item, and of the response. The upstream's own events have
// theirs.
func (s *responseStream) Finish(dst []byte) ([]byte, error) {
	switch {
	case s.stop == "":
		return dst, chat.ErrNoStop
	case !s.counts.Known():
		return dst, chat.ErrNoUsage
	case s.verbatim:
		return dst, nil
	}
	dst = s.endSaid(s.begin(dst))
	status, ended := ending(s.stop)
	dst = s.open(dst, "response."+status)
	dst = s.appendResponse(append(dst, `,"response":`...), status, s.output(), &s.counts, ended)
	return s.close(dst), nil
}

// Fault appends response.failed, the last event of a broken stream.
func (s *responseStream) Fault(dst []byte, f *fault.Error) []byte {
	if !s.verbatim {
		dst = s.begin(dst)
	}
	message := f.Message
	if n, err := strconv.Atoi(f.RetryAfter); err == nil {
		message += ". Please try again in " + strconv.Itoa(n) + "s." // clients read it there
	}
	says := appendMember([]byte(nil), `"error":{"code":`, failureCode(f))
	says = append(appendMember(says, `,"message":`, message), `},"incomplete_details":null`...)
	dst = s.open(dst, "response.failed")
	dst = s.appendResponse(append(dst, `,"response":`...), "failed", s.output(), nil, string(says))
	return s.close(dst)
}

// failureCode is OpenAI's, which clients act on: what they may try again is server_error or
// rate_limit_exceeded.
func failureCode(f *fault.Error) string {
	switch {
	case f.Code != "" && f.Code != "overloaded" && f.Code != "model_not_ready" && f.Code != "stalled":
		return f.Code
	case f.Status == 429:
		return "rate_limit_exceeded"
	case f.Kind == fault.InvalidRequest || f.Status == 400:
		return "invalid_prompt"
	}
	return "server_error"
}

// pass passes one of the upstream's own events.
func (s *responseStream) pass(dst []byte, raw *chat.Raw) []byte {
	s.started, s.verbatim = true, true
	data := raw.Data
	if raw.Seen > 0 { // a delta names neither
		s.sequence++
		return sse.Close(append(sse.Named(dst, raw.Name), data...))
	}
	t := jsonedit.Text(data)
	if n, ok := t.Member(t.Root(), "sequence_number"); ok {
		if i, err := strconv.Atoi(string(t.At(n))); err == nil {
			s.sequence = i + 1
		}
	}
	if response, ok := t.Member(t.Root(), "response"); ok {
		if id, ok := t.Member(response, "id"); ok {
			s.id = cmp.Or(t.String(id), s.id)
		}
		data = renamed(data, s.asked.model, "response")
	}
	if raw.Name == "" {
		return sse.Data(dst, data)
	}
	return sse.Close(append(sse.Named(dst, raw.Name), data...))
}

// begin appends the events that every answer begins with, once.
func (s *responseStream) begin(dst []byte) []byte {
	if s.started {
		return dst
	}
	s.started = true
	for _, name := range []string{"response.created", "response.in_progress"} {
		dst = s.open(dst, name)
		dst = s.close(s.appendResponse(append(dst, `,"response":`...), "in_progress", nil, nil, ""))
	}
	return dst
}

// open begins an event, close ends it.
func (s *responseStream) open(dst []byte, name string) []byte {
	dst = sse.Named(dst, name)
	dst = appendMember(dst, `{"type":`, name)
	dst = strconv.AppendInt(append(dst, `,"sequence_number":`...), int64(s.sequence), 10)
	s.sequence++
	return dst
}

func (*responseStream) close(dst []byte) []byte { return sse.Close(append(dst, '}')) }

// inItem appends which item an event is of.
func inItem(dst []byte, id string, index int) []byte {
	dst = appendMember(dst, `,"item_id":`, id)
	return strconv.AppendInt(append(dst, `,"output_index":`...), int64(index), 10)
}

// inPart appends which part of the message that grows an event is of: there is one.
func (s *responseStream) inPart(dst []byte) []byte {
	dst = inItem(dst, s.itemID("msg_", s.said.index), s.said.index)
	return append(dst, `,"content_index":0`...)
}

func (i *saidItem) block(publisher string) chat.Block {
	if i.redacted {
		return chat.Redacted{Data: i.text.String(), Publisher: publisher}
	}
	return chat.Thinking{Text: i.text.String(), Signature: i.signature.String(), Publisher: publisher}
}

// item appends that an item was added, or is done.
func (s *responseStream) item(dst []byte, name string, index int, item []byte) []byte {
	dst = s.open(dst, name)
	dst = strconv.AppendInt(append(dst, `,"output_index":`...), int64(index), 10)
	dst = append(append(dst, `,"item":`...), item...)
	return s.close(dst)
}

// reserve gives the next output index.
func (s *responseStream) reserve() int {
	s.items = append(s.items, nil)
	return len(s.items) - 1
}

// grow makes the block the one that grows, a message or reasoning; another one ends before.
// Texts that follow each other are one message.
func (s *responseStream) grow(dst []byte, thinking, redacted bool) []byte {
	if i := s.said; i != nil && i.thinking == thinking {
		return dst
	}
	dst = s.endSaid(dst)
	s.said = &saidItem{index: s.reserve(), thinking: thinking, redacted: redacted}
	if thinking {
		return s.item(dst, "response.output_item.added", s.said.index, s.reasoning(s.said.index, chat.Thinking{}, true))
	}
	dst = s.item(dst, "response.output_item.added", s.said.index, s.message(s.said.index, "", "in_progress"))
	dst = s.open(dst, "response.content_part.added")
	dst = s.inPart(dst)
	return s.close(appendTextPart(append(dst, `,"part":`...), ""))
}

// think appends a fragment of what the model thinks, where that is asked for.
func (s *responseStream) think(dst []byte, text string) []byte {
	if text == "" {
		return dst
	}
	i := s.said
	i.text.WriteString(text)
	if !s.asked.wants.summary {
		return dst
	}
	if !i.shown {
		i.shown = true
		dst = s.open(dst, "response.reasoning_summary_part.added")
		dst = s.inSummary(dst)
		dst = s.close(append(dst, `,"part":{"type":"summary_text","text":""}`...))
	}
	dst = s.inSummary(s.open(dst, "response.reasoning_summary_text.delta"))
	return s.close(appendMember(dst, `,"delta":`, text))
}

// inSummary is inPart of reasoning, whose id may not be known before its end: clients know it
// by its place.
func (s *responseStream) inSummary(dst []byte) []byte {
	dst = inItem(dst, s.itemID("rs_", s.said.index), s.said.index)
	return append(dst, `,"summary_index":0`...)
}

// endSaid ends the message or reasoning that grows.
func (s *responseStream) endSaid(dst []byte) []byte {
	i := s.said
	if i == nil {
		return dst
	}
	text := i.text.String()
	var item []byte
	switch {
	case i.thinking:
		if i.shown {
			dst = s.inSummary(s.open(dst, "response.reasoning_summary_text.done"))
			dst = s.close(appendMember(dst, `,"text":`, text))
			dst = s.inSummary(s.open(dst, "response.reasoning_summary_part.done"))
			dst = s.close(append(appendMember(dst, `,"part":{"type":"summary_text","text":`, text), '}'))
		}
		item = s.reasoning(i.index, i.block(s.publisher), false)
	default:
		dst = s.inPart(s.open(dst, "response.output_text.done"))
		dst = s.close(appendMember(dst, `,"logprobs":[],"text":`, text))
		dst = s.inPart(s.open(dst, "response.content_part.done"))
		dst = s.close(appendTextPart(append(dst, `,"part":`...), text))
		item = s.message(i.index, text, "completed")
	}
	s.items[i.index], s.said = item, nil
	return s.item(dst, "response.output_item.done", i.index, item)
}

func (s *responseStream) beginCall(dst []byte, e chat.ToolStart) []byte {
	c := &callItem{index: s.reserve(), start: e, tool: s.asked.tools.of(e.Name)}
	s.tool = c
	if c.tool.kind == localShell { // nothing of it can be said before all is known
		return dst
	}
	return s.item(dst, "response.output_item.added", c.index, s.call(c.index, chat.ToolUse{ID: e.ID, Name: e.Name}, "in_progress"))
}

func (s *responseStream) growCall(dst []byte, fragment string) []byte {
	c := s.tool
	if c.input.Len() == 0 { // white space before the object would hide that nothing came
		fragment = strings.TrimLeft(fragment, " \t\r\n")
	}
	if fragment == "" {
		return dst
	}
	c.input.WriteString(fragment)
	if c.tool.kind != functionTool { // its text is inside the JSON
		return dst
	}
	dst = inItem(s.open(dst, "response.function_call_arguments.delta"), s.itemID("fc_", c.index), c.index)
	return s.close(appendMember(dst, `,"delta":`, fragment))
}

// endCall ends the call that grows; arguments that never came are {}.
func (s *responseStream) endCall(dst []byte) []byte {
	c := s.tool
	if c == nil {
		return dst
	}
	if c.input.Len() == 0 {
		dst = s.growCall(dst, "{}") // clients add up the fragments
	}
	s.tool = nil
	input := json.RawMessage(c.input.String())
	use := chat.ToolUse{ID: c.start.ID, Name: c.start.Name, Input: input}
	item := s.call(c.index, use, "completed")
	switch c.tool.kind {
	case localShell:
		dst = s.item(dst, "response.output_item.added", c.index, s.call(c.index, use, "in_progress"))
	case customTool:
		text := customText(input)
		id := s.itemID("ctc_", c.index)
		dst = inItem(s.open(dst, "response.custom_tool_call_input.delta"), id, c.index)
		dst = s.close(appendMember(dst, `,"delta":`, text))
		dst = inItem(s.open(dst, "response.custom_tool_call_input.done"), id, c.index)
		dst = s.close(appendMember(dst, `,"input":`, text))
	default:
		dst = inItem(s.open(dst, "response.function_call_arguments.done"), s.itemID("fc_", c.index), c.index)
		dst = appendMember(dst, `,"name":`, c.tool.name)
		dst = s.close(appendMember(dst, `,"arguments":`, string(input)))
	}
	s.items[c.index] = item
	return s.item(dst, "response.output_item.done", c.index, item)
}

// output are the items that are done, joined.
func (s *responseStream) output() []byte {
	var dst []byte
	for _, item := range s.items {
		if item == nil {
			continue
		}
		if len(dst) > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, item...)
	}
	return dst
}
