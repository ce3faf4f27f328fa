package openai

import (
	"bytes"

	"aisix/extproc/chat"
	"aisix/extproc/jsonappend"
	"aisix/extproc/jsonedit"
	"aisix/extproc/sse"
)

// passing is what a stream knows of the upstream's own chunks, which pass.
type passing struct {
	on   bool
	head []byte // what they begin with, up to the model's name as the upstream has it
	ours []byte // that with the name that the caller knows
}

// pass passes one of the upstream's own chunks: with the model's name as the caller knows it,
// and without counts that nobody asked for.
func (s *stream) pass(dst []byte, raw *chat.Raw) []byte {
	p := &s.passing
	p.on = true
	data := raw.Data
	if raw.Seen == 0 && !s.asked.usage {
		var some bool
		if data, some = uncounted(data); !some {
			return dst
		}
	}
	if p.head == nil || !bytes.HasPrefix(data, p.head) {
		p.learn(data, s.asked.model)
	}
	if p.head == nil { // it names no model
		return sse.Data(dst, data)
	}
	dst = append(sse.Open(dst), p.ours...)
	return sse.Close(append(dst, data[len(p.head):]...))
}

// learn takes note of how a chunk begins: up to the model's name all of an answer's are the
// same, so that the next ones need not be looked through.
func (p *passing) learn(data []byte, alias string) {
	p.head, p.ours = nil, nil
	t := jsonedit.Text(data)
	at, ok := t.Member(t.Root(), "model")
	if !ok || t.Kind(at) != '"' {
		return
	}
	p.head = bytes.Clone(data[:at.To])
	p.ours = jsonappend.String(bytes.Clone(data[:at.From]), alias)
}

// uncounted is a chunk without its counts; some is false where there was nothing else in it.
func uncounted(data []byte) (_ []byte, some bool) {
	t := jsonedit.Text(data)
	usage, ok := t.Member(t.Root(), "usage")
	if !ok || t.Kind(usage) != '{' {
		return data, true
	}
	choices, _ := t.Member(t.Root(), "choices")
	for range t.Items(choices) {
		some = true
	}
	if !some {
		return nil, false
	}
	var e jsonedit.Edits
	e.Object(t, t.Root(), nil, func(m jsonedit.Member) bool { return m.Name != "usage" })
	return e.Apply(t), true
}
