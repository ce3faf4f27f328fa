package anthropic

import (
	"slices"

	"aisix/extproc/jsonedit"
)

// WithoutSystemTurns puts system messages that stand inside the conversation elsewhere, for models
// that take none there: before the assistant's first word they join the system prompt, which
// changes no cache; later ones become part of the user's turn beside them, behind the results of
// calls.
func WithoutSystemTurns(body []byte) []byte {
	s := keptOf(body)
	t := s.t
	var hoisted []byte
	spoke := false
	for m := range t.Items(s.messages) {
		role, content := s.read(m)
		switch {
		case role == "system" && !spoke:
			hoisted = appendContent(hoisted, t, content)
			s.leave()
		case role == "system":
			s.say(content)
		default:
			s.add(m)
			spoke = spoke || role == "assistant"
		}
	}
	if !s.changed {
		return body
	}
	var e jsonedit.Edits
	e.Replace(s.messages, s.list())
	if len(hoisted) > 0 {
		system, ok := t.Member(t.Root(), "system")
		blocks := appendContent(nil, t, system)
		if len(blocks) > 0 {
			blocks = append(blocks, ',')
		}
		blocks = append(append(append([]byte{'['}, blocks...), hoisted...), ']')
		if ok {
			e.Replace(system, blocks)
		} else {
			e.Object(t, t.Root(), append([]byte(`"system":`), blocks...), func(jsonedit.Member) bool { return true })
		}
	}
	return e.Apply(t)
}

// kept writes the messages of a body anew, without some of them. Turns of the user's that one
// kept apart become one: roles must alternate. Those that the caller left side by side stay so.
type kept struct {
	t        jsonedit.Text
	messages jsonedit.Span
	out      []keptTurn
	waiting  []byte // blocks of the user's, until the results of calls have come
	apart    bool   // a message stood behind the last of out that is left out
	changed  bool
}

func keptOf(body []byte) *kept {
	s := &kept{t: jsonedit.Text(body)}
	s.messages, _ = s.t.Member(s.t.Root(), "messages")
	return s
}

func (s *kept) read(m jsonedit.Span) (role string, content jsonedit.Span) {
	at, _ := s.t.Member(m, "role")
	content, _ = s.t.Member(m, "content")
	return s.t.String(at), content
}

// behindUser is the last turn, where it is the user's and takes blocks; else nil.
func (s *kept) behindUser() *keptTurn {
	if n := len(s.out); n > 0 && s.out[n-1].role == "user" && s.out[n-1].hasBlocks(s.t) {
		return &s.out[n-1]
	}
	return nil
}

// leave leaves a message out.
func (s *kept) leave() { s.apart, s.changed = true, true }

// say leaves a message out whose content becomes the user's.
func (s *kept) say(content jsonedit.Span) {
	to := &s.waiting
	if last := s.behindUser(); last != nil {
		to = &last.added
	}
	*to = appendContent(*to, s.t, content)
	s.leave()
}

// add keeps a message.
func (s *kept) add(m jsonedit.Span) {
	next := keptTurn{at: m}
	next.role, next.content = s.read(m)
	last := s.behindUser()
	switch {
	case next.role != "user" || !next.hasBlocks(s.t):
		s.flush()
		s.out = append(s.out, next)
	case s.apart && last != nil:
		last.added = appendContent(last.added, s.t, next.content)
	default:
		next.added, s.waiting = s.waiting, nil
		s.out = append(s.out, next)
	}
	s.apart = false
}

// flush gives blocks that wait a turn of their own.
func (s *kept) flush() {
	if len(s.waiting) > 0 {
		s.out, s.waiting = append(s.out, keptTurn{role: "user", added: s.waiting}), nil
	}
}

// list is the array of messages.
func (s *kept) list() []byte {
	s.flush()
	list := []byte{'['}
	for i := range s.out {
		if i > 0 {
			list = append(list, ',')
		}
		list = s.out[i].append(list, s.t)
	}
	return append(list, ']')
}

// keptTurn is a message, and blocks that were added to it.
type keptTurn struct {
	role    string
	at      jsonedit.Span // none where it is all added
	content jsonedit.Span
	added   []byte
}

// hasBlocks reports whether blocks can be added.
func (m *keptTurn) hasBlocks(t jsonedit.Text) bool {
	if m.at == (jsonedit.Span{}) {
		return true
	}
	kind := t.Kind(m.content)
	return kind == '[' || kind == '"'
}

// append appends the message: as it came where nothing was added. Results come first, as Claude
// wants them.
func (m *keptTurn) append(dst []byte, t jsonedit.Text) []byte {
	if len(m.added) == 0 {
		return append(dst, t.At(m.at)...)
	}
	head, tail := []byte(`{"role":"user","content":`), []byte("}")
	var blocks []byte
	if m.at != (jsonedit.Span{}) {
		head, tail = t[m.at.From:m.content.From], t[m.content.To:m.at.To]
		blocks = appendContent(nil, t, m.content)
	}
	if len(blocks) > 0 {
		blocks = append(blocks, ',')
	}
	all := jsonedit.Text(slices.Concat([]byte("["), blocks, m.added, []byte("]")))
	var results, others []byte
	for block := range all.Items(all.Root()) {
		kind, _ := all.Member(block, "type")
		to := &others
		if all.String(kind) == "tool_result" {
			to = &results
		}
		*to = append(append(*to, ','), all.At(block)...)
	}
	list := append(results, others...)
	return append(append(append(append(append(dst, head...), '['), list[1:]...), ']'), tail...)
}

// appendContent appends content as blocks, without brackets: a string is a text.
func appendContent(dst []byte, t jsonedit.Text, content jsonedit.Span) []byte {
	next := func() {
		if len(dst) > 0 {
			dst = append(dst, ',')
		}
	}
	switch t.Kind(content) {
	case '"':
		if t.String(content) == "" {
			return dst
		}
		next()
		dst = append(append(append(dst, `{"type":"text","text":`...), t.At(content)...), '}')
	case '[':
		for block := range t.Items(content) {
			next()
			dst = append(dst, t.At(block)...)
		}
	}
	return dst
}
