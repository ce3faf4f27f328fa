package openai

import (
	"bytes"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"aisix/extproc/fault"
)

// maxDepth is how deep a body may nest.
const maxDepth = 256

type kind byte

const (
	nullKind kind = iota
	boolKind
	numberKind
	stringKind
	arrayKind
	objectKind
)

func (k kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// document is a parsed body: its values in the order of the text, each knowing
// where its subtree ends. A member of an object is two nodes, name and value.
// Paths for errors are found from the tree when one is needed, so that a good
// request pays nothing for them.
type document struct {
	src   []byte
	nodes []node
}

type node struct {
	kind       kind
	escaped    bool // a string with escapes
	start, end int  // in src; a string's without its quotes
	next       int  // the node behind the subtree; 0 while it is being read
}

// value is one value of a document. The zero value is "absent".
type value struct {
	doc *document
	at  int
}

// parse reads one strict JSON text: valid UTF-8, no member twice, no unpaired
// surrogate, nothing behind it, at most maxDepth levels. The error is a
// *fault.Error of status 400.
func parse(src []byte) (value, error) {
	if !utf8.Valid(src) {
		return value{}, fault.Invalid("", "the body is not valid UTF-8")
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
	case (c == '{' || c == '[') && depth >= maxDepth:
		return fault.Invalid("", "the body nests deeper than %d levels", maxDepth)
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
	p.nodes = append(p.nodes, node{kind: k, start: p.pos})
	return len(p.nodes) - 1
}

func (p *parser) close(at int) {
	p.nodes[at].end = p.pos
	p.nodes[at].next = len(p.nodes)
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

func (p *parser) string() error {
	at := p.open(stringKind)
	p.pos++
	p.nodes[at].start = p.pos
	for {
		for p.pos < len(p.src) && !special[p.src[p.pos]] {
			p.pos++
		}
		if p.pos >= len(p.src) {
			return p.errorf("a string that does not end")
		}
		switch p.src[p.pos] {
		case '"':
			p.close(at)
			p.pos++
			return nil
		case '\\':
			p.nodes[at].escaped = true
			if err := p.escape(); err != nil {
				return err
			}
		default:
			return p.errorf("control character in a string")
		}
	}
}

// special are the bytes that a string can't hold as they are.
var special = func() (t [256]bool) {
	for c := range ' ' {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

func (p *parser) escape() error {
	p.pos++
	switch p.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		p.pos++
		return nil
	case 'u':
		r, ok := hex4(p.src[p.pos+1:])
		if !ok {
			return p.errorf("malformed escape")
		}
		if utf16.IsSurrogate(r) {
			var low rune
			if rest := p.src[p.pos+5:]; len(rest) > 2 && rest[0] == '\\' && rest[1] == 'u' {
				low, _ = hex4(rest[2:])
			}
			if utf16.DecodeRune(r, low) == utf8.RuneError {
				return p.errorf("unpaired surrogate")
			}
			p.pos += 6
		}
		p.pos += 5
		return nil
	}
	return p.errorf("malformed escape")
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func (p *parser) array(depth int) error {
	at := p.open(arrayKind)
	p.pos++
	if p.space(); p.peek() != ']' {
		for {
			p.space()
			if err := p.value(depth + 1); err != nil {
				return err
			}
			if p.space(); p.peek() != ',' {
				break
			}
			p.pos++
		}
	}
	if p.peek() != ']' {
		return p.errorf("expected , or ] in an array")
	}
	p.pos++
	p.close(at)
	return nil
}

func (p *parser) object(depth int) error {
	at := p.open(objectKind)
	p.pos++
	if p.space(); p.peek() != '}' {
		for {
			if p.space(); p.peek() != '"' {
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
			if err := p.value(depth + 1); err != nil {
				return err
			}
			if p.space(); p.peek() != ',' {
				break
			}
			p.pos++
		}
	}
	if p.peek() != '}' {
		return p.errorf("expected , or } in an object")
	}
	p.pos++
	p.close(at)
	return p.unique(at)
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

func (v value) present() bool { return v.doc != nil }

func (v value) node() *node { return &v.doc.nodes[v.at] }

func (v value) kind() kind { return v.node().kind }

// raw is the value's text, a string's quotes included.
func (v value) raw() []byte {
	n := v.node()
	if n.kind == stringKind {
		return v.doc.src[n.start-1 : n.end+1]
	}
	return v.doc.src[n.start:n.end]
}

// bytes is a string's content, shared with the body where it has no escapes.
func (v value) bytes() []byte {
	n := v.node()
	s := v.doc.src[n.start:n.end]
	if !n.escaped {
		return s
	}
	return unescape(s)
}

// unescape resolves the escapes of a string that the parser accepted.
func unescape(s []byte) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(s[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				low, _ := hex4(s[i+3:])
				r = utf16.DecodeRune(r, low)
				i += 6
			}
			out = utf8.AppendRune(out, r)
		default: // quote, backslash, slash
			out = append(out, s[i])
		}
	}
	return out
}

// members walks an object: names without escapes, and values.
func (v value) members() iter.Seq2[[]byte, value] {
	return func(yield func([]byte, value) bool) {
		end := v.node().next
		if end == 0 {
			end = len(v.doc.nodes)
		}
		for i := v.at + 1; i < end; i = v.doc.nodes[i+1].next {
			if !yield(value{v.doc, i}.bytes(), value{v.doc, i + 1}) {
				return
			}
		}
	}
}

// items walks an array.
func (v value) items() iter.Seq[value] {
	return func(yield func(value) bool) {
		for i := v.at + 1; i < v.node().next; i = v.doc.nodes[i].next {
			if !yield(value{v.doc, i}) {
				return
			}
		}
	}
}

// member is the named member of an object, or the absent value; null is absent.
func (v value) member(name string) value {
	for n, m := range v.members() {
		if string(n) == name {
			if m.kind() == nullKind {
				return value{}
			}
			return m
		}
	}
	return value{}
}

// has tells whether an object has the member, be it null.
func (v value) has(name string) bool {
	for n := range v.members() {
		if string(n) == name {
			return true
		}
	}
	return false
}

// path is where the value stands, as a caller would write it:
// messages[2].content[0].text. The root is "".
func (v value) path() string {
	var out strings.Builder
	nodes := v.doc.nodes
	inside := func(i int) bool { return i <= v.at && (nodes[i].next == 0 || v.at < nodes[i].next) }
	for at := 0; at != v.at; {
		child := at + 1
		if nodes[at].kind == objectKind {
			for !inside(child+1) && child != v.at {
				child = nodes[child+1].next
			}
			if out.Len() > 0 {
				out.WriteByte('.')
			}
			out.WriteString(clip(string(value{v.doc, child}.bytes()), 64))
			if child == v.at { // a member's name
				break
			}
			at = child + 1
			continue
		}
		n := 0
		for ; !inside(child); n++ {
			child = nodes[child].next
		}
		out.WriteString("[" + strconv.Itoa(n) + "]")
		at = child
	}
	return clip(out.String(), 512)
}

// clip cuts what a caller wrote to a length fit for an error message.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}
