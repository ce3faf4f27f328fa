package openai

import (
	"iter"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

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
	escaped    bool  // a string with escapes
	start, end int32 // in src; a string's without its quotes
	next       int32 // the node behind the subtree; 0 while it is being read
}

// value is one value of a document. The zero value is "absent".
type value struct {
	doc *document
	at  int
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
		end := int(v.node().next)
		if end == 0 {
			end = len(v.doc.nodes)
		}
		for i := v.at + 1; i < end; i = int(v.doc.nodes[i+1].next) {
			if !yield(value{v.doc, i}.bytes(), value{v.doc, i + 1}) {
				return
			}
		}
	}
}

// items walks an array.
func (v value) items() iter.Seq[value] {
	return func(yield func(value) bool) {
		for i := v.at + 1; i < int(v.node().next); i = int(v.doc.nodes[i].next) {
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
	inside := func(i int) bool { return i <= v.at && (nodes[i].next == 0 || v.at < int(nodes[i].next)) }
	for at := 0; at != v.at; {
		child := at + 1
		if nodes[at].kind == objectKind {
			for !inside(child+1) && child != v.at {
				child = int(nodes[child+1].next)
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
			child = int(nodes[child].next)
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
