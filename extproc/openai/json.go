package openai

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// parse reads one strict JSON text: valid UTF-8, no member twice, no unpaired
// surrogate, nothing behind it, at most chat.MaxDepth levels. The error is a
// *fault.Error of status 400.
func parse(src []byte) (value, error) {
	switch {
	case len(src) > math.MaxInt32: // the limit on bodies is far below
		return value{}, fault.Invalid("", "the body is too large")
	case !utf8.Valid(src):
		return value{}, fault.Invalid("", "the body is not valid UTF-8")
	case bytes.HasPrefix(src, []byte("\ufeff")):
		return value{}, fault.Invalid("", "the body is not valid JSON: it begins with a byte order mark")
	}
	p := parser{document: &document{src: src, nodes: make([]node, 0, 64)}}
	p.space()
	err := p.value(0)
	if err == nil {
		if p.space(); p.pos < len(src) {
			err = p.errorf("data behind the JSON value")
		}
	}
	if err != nil {
		return value{}, err
	}
	return value{p.document, 0}, nil
}

type parser struct {
	*document
	pos int
}

func (p *parser) errorf(format string, args ...any) error {
	return fault.Invalid("", "the body is not valid JSON: %s at byte %d", fmt.Sprintf(format, args...), p.pos)
}

func (p *parser) space() {
	for p.pos < len(p.src) {
		switch p.src[p.pos] {
		case ' ', '\t', '\r', '\n':
			p.pos++
		default:
			return
		}
	}
}

// peek is the next byte, 0 at the end (a literal 0 is no JSON either).
func (p *parser) peek() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

func (p *parser) value(depth int) error {
	switch c := p.peek(); {
	case (c == '{' || c == '[') && depth >= chat.MaxDepth:
		return fault.Invalid("", "the body nests deeper than %d levels", chat.MaxDepth)
	case len(p.nodes) >= chat.MaxValues:
		where := value{p.document, len(p.nodes) - 1}.path()
		return fault.Invalid(where, "%s: the body holds more than %d values and member names", where, chat.MaxValues)
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		return p.string()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	case c == 't':
		return p.literal("true", boolKind)
	case c == 'f':
		return p.literal("false", boolKind)
	case c == 'n':
		return p.literal("null", nullKind)
	case p.pos >= len(p.src):
		return p.errorf("it ends too soon")
	}
	return p.errorf("unexpected character")
}

func (p *parser) open(k kind) int {
	if len(p.nodes) == cap(p.nodes) { // append alone would copy a long list five times
		p.nodes = slices.Grow(p.nodes, len(p.nodes))
	}
	p.nodes = append(p.nodes, node{kind: k, start: int32(p.pos)})
	return len(p.nodes) - 1
}

func (p *parser) close(at int) {
	p.nodes[at].end = int32(p.pos)
	p.nodes[at].next = int32(len(p.nodes))
}

func (p *parser) literal(word string, k kind) error {
	if !bytes.HasPrefix(p.src[p.pos:], []byte(word)) {
		return p.errorf("unexpected character")
	}
	at := p.open(k)
	p.pos += len(word)
	p.close(at)
	return nil
}

func (p *parser) number() error {
	at := p.open(numberKind)
	if p.peek() == '-' {
		p.pos++
	}
	if p.peek() == '0' {
		p.pos++
	} else if !p.digits() {
		return p.errorf("malformed number")
	}
	if p.peek() == '.' {
		p.pos++
		if !p.digits() {
			return p.errorf("malformed number")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.pos++
		if c := p.peek(); c == '+' || c == '-' {
			p.pos++
		}
		if !p.digits() {
			return p.errorf("malformed number")
		}
	}
	p.close(at)
	return nil
}

func (p *parser) digits() bool {
	from := p.pos
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		p.pos++
	}
	return p.pos > from
}

func (p *parser) array(depth int) error {
	at := p.open(arrayKind)
	if err := p.list(']', func() error { return p.value(depth + 1) }); err != nil {
		return err
	}
	p.close(at)
	return nil
}

func (p *parser) object(depth int) error {
	at := p.open(objectKind)
	if err := p.list('}', func() error { return p.member(depth) }); err != nil {
		return err
	}
	p.close(at)
	return p.unique(at)
}

// list reads an array or an object from its first character to the one that ends
// it: what item reads, with commas between.
func (p *parser) list(end byte, item func() error) error {
	p.pos++
	if p.space(); p.peek() != end {
		for {
			p.space()
			if err := item(); err != nil {
				return err
			}
			if p.space(); p.peek() != ',' {
				break
			}
			p.pos++
		}
	}
	if p.peek() != end {
		if end == ']' {
			return p.errorf("expected , or ] in an array")
		}
		return p.errorf("expected , or } in an object")
	}
	p.pos++
	return nil
}

func (p *parser) member(depth int) error {
	if p.peek() != '"' {
		return p.errorf("expected a member name")
	}
	if err := p.string(); err != nil {
		return err
	}
	if p.space(); p.peek() != ':' {
		return p.errorf("expected : behind a member name")
	}
	p.pos++
	p.space()
	return p.value(depth + 1)
}

// unique refuses an object that has a member twice: two readers of one body
// could disagree on which of them counts.
func (p *parser) unique(at int) error {
	v := value{p.document, at}
	const few = 12
	var names [few][]byte
	n := 0
	var many map[string]bool
	for name, m := range v.members() {
		if n < few {
			for _, other := range names[:n] {
				if bytes.Equal(other, name) {
					return v.twice(m, name)
				}
			}
			names[n] = name
			n++
			continue
		}
		if many == nil {
			many = make(map[string]bool)
			for _, other := range names {
				many[string(other)] = true
			}
		}
		if many[string(name)] {
			return v.twice(m, name)
		}
		many[string(name)] = true
	}
	return nil
}

func (v value) twice(m value, name []byte) error {
	return fault.Invalid(m.path(), "the member %q is there twice", clip(string(name), 64))
}
