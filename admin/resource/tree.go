package resource

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep JSON may nest.
const maxDepth = 64

// Invalid is a body that does not describe a resource. Neither part holds a value
// of the body: it may be a secret.
type Invalid struct {
	Pointer string // JSON pointer of the member at fault, "" for the whole
	Message string
}

func (e *Invalid) Error() string {
	if e.Pointer == "" {
		return e.Message
	}
	return e.Pointer + ": " + e.Message
}

// node is one JSON value with its members in the order in which they were written.
type node struct {
	kind    byte // { [ " 0 (a number) b (true, false) n (null)
	raw     json.RawMessage
	text    string // of a string
	members []member
	items   []*node
}

type member struct {
	name  string
	value *node
}

// parse reads one JSON value and nothing else: valid UTF-8, no member twice, not
// too deep.
func parse(body []byte) (*node, *Invalid) {
	if !utf8.Valid(body) {
		return nil, &Invalid{Message: "body is not valid UTF-8"}
	}
	if !json.Valid(body) {
		return nil, &Invalid{Message: "body is not valid JSON"}
	}
	p := parser{body: body, tokens: json.NewDecoder(bytes.NewReader(body))}
	p.tokens.UseNumber()
	return p.value("", 0)
}

type parser struct {
	body   []byte
	tokens *json.Decoder
}

func (p *parser) value(pointer string, depth int) (*node, *Invalid) {
	if depth > maxDepth {
		return nil, &Invalid{Message: "body nests too deep"}
	}
	start := p.tokens.InputOffset()
	token, err := p.tokens.Token()
	if err != nil {
		return nil, &Invalid{Message: "body is not valid JSON"}
	}
	n := &node{}
	switch t := token.(type) {
	case json.Delim:
		n.kind = byte(t)
		for p.tokens.More() {
			if invalid := p.child(n, pointer, depth); invalid != nil {
				return nil, invalid
			}
		}
		if _, err := p.tokens.Token(); err != nil {
			return nil, &Invalid{Message: "body is not valid JSON"}
		}
	case string:
		n.kind, n.text = '"', t
	case json.Number:
		n.kind = '0'
	case bool:
		n.kind = 'b'
	default:
		n.kind = 'n'
	}
	n.raw = bytes.TrimLeft(p.body[start:p.tokens.InputOffset()], " \t\r\n,:")
	return n, nil
}

func (p *parser) child(n *node, pointer string, depth int) *Invalid {
	if n.kind == '[' {
		item, invalid := p.value(at(pointer, len(n.items)), depth+1)
		n.items = append(n.items, item)
		return invalid
	}
	token, err := p.tokens.Token()
	name, ok := token.(string)
	if err != nil || !ok {
		return &Invalid{Message: "body is not valid JSON"}
	}
	pointer = below(pointer, name)
	if n.member(name) != nil {
		return &Invalid{Pointer: pointer, Message: "member stands twice"}
	}
	value, invalid := p.value(pointer, depth+1)
	n.members = append(n.members, member{name, value})
	return invalid
}

// member is nil if there is none.
func (n *node) member(name string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// set replaces a member, or adds it behind the others; nil removes it.
func (n *node) set(name string, value *node) {
	for i, m := range n.members {
		if m.name != name {
			continue
		}
		if value == nil {
			n.members = append(n.members[:i:i], n.members[i+1:]...)
		} else {
			n.members[i].value = value
		}
		return
	}
	if value != nil {
		n.members = append(n.members, member{name, value})
	}
}

// merge is RFC 7396's MergePatch; target may be nil, and is changed.
func merge(target, patch *node) *node {
	if patch.kind != '{' {
		return patch
	}
	if target == nil || target.kind != '{' {
		target = &node{kind: '{'}
	}
	for _, m := range patch.members {
		if m.value.kind == 'n' {
			target.set(m.name, nil)
		} else {
			target.set(m.name, merge(target.member(m.name), m.value))
		}
	}
	target.raw = target.join()
	return target
}

// join writes an object again from its members.
func (n *node) join() json.RawMessage {
	out := []byte{'{'}
	for i, m := range n.members {
		if i > 0 {
			out = append(out, ',')
		}
		name, _ := json.Marshal(m.name) // a string: it can't fail
		out = append(append(append(out, name...), ':'), m.value.raw...)
	}
	return append(out, '}')
}

// below is the pointer of a member. Names are the body's own: a long one is cut.
func below(pointer, name string) string {
	const most = 128
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return pointer + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
