package bedrock

import (
	"bytes"
	"slices"
	"strings"

	"aisix/extproc/chat"
)

// An answer that must be a JSON object, of no schema in particular (json_object): a
// tool without a schema, which the model is made to call, would be obeyed with {}. So
// the model is told, in the prompt, and what models write around the object all the
// same is taken away.

// objectInstruction is what the model is told.
const objectInstruction = "Answer with a single JSON object only: the text of the answer begins with { and ends with }, without Markdown fences and without any text before or after it."

// answerObject asks for a JSON object by an instruction. It stands last in the system
// prompt, behind the caller's cache points: the cached prefix stays what it is. Where the
// family has no system prompt it is the user's last word.
func (p *prepared) answerObject(f *chat.Format) {
	r := p.req
	text := objectInstruction
	if f.Description != "" {
		text += " " + f.Description
	}
	if bytes.Contains(f.Schema, []byte(`"description"`)) || bytes.Contains(f.Schema, []byte(`"title"`)) {
		text += " It is of this JSON Schema: " + string(f.Schema)
	}
	p.object = !p.begun()
	if !denies(p.family.Capabilities.System) {
		r.System = append(slices.Clip(r.System), chat.Text{Text: text})
		return
	}
	for i := len(r.Messages) - 1; i >= 0; i-- {
		if m := &r.Messages[i]; m.Role == chat.User {
			m.Blocks = append(slices.Clip(m.Blocks), chat.Text{Text: text})
			return
		}
	}
}

// begun reports whether the caller began the answer: then it is no whole object.
func (p *prepared) begun() bool {
	n := len(p.req.Messages)
	return n > 0 && p.req.Messages[n-1].Role == chat.Assistant
}

// objectText finds the JSON object in an answer's text, as the text comes: what it
// gives of fragments is what it gives of the whole. Text before the object is held
// back until one begins; what comes behind it is dropped. Text in which no object
// begins is given back as it is, by rest. So is a list: to take its first object for
// the answer would lose the others.
type objectText struct {
	state   objectState
	held    []byte // before the object
	at      int    // of held: how far it has been looked through; there may be an object's {
	depth   int
	text    bool // in a string
	escaped bool
}

type objectState int

const (
	beforeObject objectState = iota
	inObject
	behindObject
	noObject // everything goes through
)

// write appends what is there of the object once fragment has come.
func (o *objectText) write(dst []byte, fragment string) []byte {
	switch o.state {
	case noObject:
		return append(dst, fragment...)
	case behindObject:
		return dst
	case inObject:
		return o.inside(dst, fragment)
	}
	o.held = append(o.held, fragment...)
	if o.isList() {
		return o.rest(dst)
	}
	for ; o.at < len(o.held); o.at++ {
		if o.held[o.at] != '{' {
			continue
		}
		// A brace in prose is not followed by a name, nor closed at once.
		i := o.at + 1
		for i < len(o.held) && isSpace(o.held[i]) {
			i++
		}
		if i == len(o.held) {
			return dst // more must come
		}
		if o.held[i] != '"' && o.held[i] != '}' {
			continue
		}
		object := string(o.held[o.at:])
		o.held, o.state = nil, inObject
		return o.inside(dst, object)
	}
	return dst
}

// inside appends what belongs to the object.
func (o *objectText) inside(dst []byte, fragment string) []byte {
	for i := range len(fragment) {
		switch c := fragment[i]; {
		case o.escaped:
			o.escaped = false
		case o.text && c == '\\':
			o.escaped = true
		case c == '"':
			o.text = !o.text
		case o.text:
		case c == '{', c == '[':
			o.depth++
		case c == '}', c == ']':
			if o.depth--; o.depth == 0 {
				o.state = behindObject
				return append(dst, fragment[:i+1]...)
			}
		}
	}
	return append(dst, fragment...)
}

// isList reports whether the text begins with a list, perhaps in a fence.
func (o *objectText) isList() bool {
	text := strings.TrimLeft(string(o.held[:min(len(o.held), 64)]), " \t\r\n")
	if rest, ok := strings.CutPrefix(text, "```"); ok {
		text = strings.TrimLeft(strings.TrimLeftFunc(rest, alphanumeric), " \t\r\n")
	}
	return strings.HasPrefix(text, "[")
}

// rest appends what is held back where no object has begun; from then on nothing is.
func (o *objectText) rest(dst []byte) []byte {
	if o.state == beforeObject {
		dst = append(dst, o.held...)
		o.held, o.state = nil, noObject
	}
	return dst
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
