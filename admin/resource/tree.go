package resource

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"
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
	kind    byte            // { [ " 0 (a number) b (true, false) n (null)
	raw     json.RawMessage // as written; nil of a merge's result
	text    string          // of a string
	members []member
	places  map[string]int // of members, by name
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
	if halfCharacter(body) {
		return nil, &Invalid{Message: "body holds half of a surrogate pair, which is no character"}
	}
	p := parser{body: body, tokens: json.NewDecoder(bytes.NewReader(body))}
	p.tokens.UseNumber()
	return p.value(0)
}

type parser struct {
	body   []byte
	tokens *json.Decoder
	path   []step // to what is being read
}

// step is one level of a path: a member's name, or the list whose next item it is.
type step struct {
	name string
	list *node
}

// pointer is where the parser stands. It is made for errors only: a pointer for
// each value would weigh a thousand times what a deep body does.
func (p *parser) pointer() string {
	pointer := ""
	for _, s := range p.path {
		if s.list != nil {
			pointer = at(pointer, len(s.list.items))
		} else {
			pointer = below(pointer, s.name)
		}
	}
	return pointer
}

// below reads the value one step further down.
func (p *parser) below(s step, depth int) (*node, *Invalid) {
	p.path = append(p.path, s)
	n, invalid := p.value(depth + 1)
	p.path = p.path[:len(p.path)-1]
	return n, invalid
}

func (p *parser) value(depth int) (*node, *Invalid) {
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
			if invalid := p.child(n, depth); invalid != nil {
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

func (p *parser) child(n *node, depth int) *Invalid {
	if n.kind == '[' {
		item, invalid := p.below(step{list: n}, depth)
		n.items = append(n.items, item)
		return invalid
	}
	token, err := p.tokens.Token()
	name, ok := token.(string)
	if err != nil || !ok {
		return &Invalid{Message: "body is not valid JSON"}
	}
	if n.member(name) != nil {
		return &Invalid{Pointer: below(p.pointer(), name), Message: "member stands twice"}
	}
	value, invalid := p.below(step{name: name}, depth)
	n.add(name, value)
	return invalid
}

// halfCharacter tells whether a string of valid JSON escapes one surrogate without
// its other half: decoding would silently put another character there.
func halfCharacter(body []byte) bool {
	unit := func(at int) rune { // of the escape that starts there, 0 if none does
		if at+6 > len(body) || body[at] != '\\' || body[at+1] != 'u' {
			return 0
		}
		n, _ := strconv.ParseUint(string(body[at+2:at+6]), 16, 16)
		return rune(n)
	}
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		if first := unit(i); utf16.IsSurrogate(first) {
			if utf16.DecodeRune(first, unit(i+6)) == utf8.RuneError {
				return true
			}
			i += 6
		}
		i++ // past the character that the backslash escapes
	}
	return false
}

// member is nil if there is none.
func (n *node) member(name string) *node {
	if i, ok := n.places[name]; ok {
		return n.members[i].value
	}
	return nil
}

func (n *node) add(name string, value *node) {
	if n.places == nil {
		n.places = map[string]int{}
	}
	n.places[name] = len(n.members)
	n.members = append(n.members, member{name, value})
}

// without is an object but for one member.
func (n *node) without(name string) *node {
	rest := &node{kind: n.kind}
	for _, m := range n.members {
		if m.name != name {
			rest.add(m.name, m.value)
		}
	}
	return rest
}

// merge is RFC 7396's MergePatch; target may be nil.
func merge(target, patch *node) *node {
	if patch.kind != '{' {
		return patch
	}
	if target == nil || target.kind != '{' {
		target = &node{}
	}
	merged := &node{kind: '{'}
	for _, m := range target.members {
		change := patch.member(m.name)
		switch {
		case change == nil:
			merged.add(m.name, m.value)
		case change.kind != 'n':
			merged.add(m.name, merge(m.value, change))
		}
	}
	for _, m := range patch.members {
		if m.value.kind != 'n' && target.member(m.name) == nil {
			merged.add(m.name, merge(nil, m.value))
		}
	}
	return merged
}

// json is the value as it was written, or of an object that a merge made, its
// members.
func (n *node) json() json.RawMessage { return n.append(nil) }

func (n *node) append(out []byte) []byte {
	if n.raw != nil {
		return append(out, n.raw...)
	}
	out = append(out, '{')
	for i, m := range n.members {
		if i > 0 {
			out = append(out, ',')
		}
		name, _ := json.Marshal(m.name) // a string: it can't fail
		out = m.value.append(append(append(out, name...), ':'))
	}
	return append(out, '}')
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

// below is the pointer of a member. Names are the body's own: a long one is cut.
func below(pointer, name string) string {
	const most = 128
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return pointer + "/" + escape.Replace(name)
}
