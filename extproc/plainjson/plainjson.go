// Package plainjson reads JSON in place and in one pass, as long as it is plain: what
// upstreams send, event after event. It is half of a decoder. Whatever is unusual (a
// member twice, a lone surrogate, a number that is no small count, deep nesting, an
// error) it does not read, and reports only that: the caller then has a library read
// the same bytes, which knows what they mean or what is wrong with them. So what is read
// here has to mean the same to every library, which the callers' tests and fuzz targets
// hold it to.
//
// It knows no format but JSON, and keeps nothing of what it has read.
package plainjson

import (
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"
)

const (
	maxDepth   = 32
	maxMembers = 24 // of one object
	maxDigits  = 9  // of a count
)

// Reader reads one JSON text. After the first thing that is not plain it reads nothing
// any more, and End says so.
type Reader struct {
	b     []byte
	at    int
	depth int
	bad   bool
}

// New reads b, which must not change meanwhile.
func New(b []byte) Reader { return Reader{b: b} }

// Fail says that what was read is not plain for a reason of the caller's.
func (r *Reader) Fail() { r.bad = true }

// End reports whether all was plain, and read to its end.
func (r *Reader) End() bool {
	r.space()
	return !r.bad && r.at == len(r.b)
}

// Object reads an object. member is called with each name, which has no escapes, and has
// to read the value.
func (r *Reader) Object(member func(name []byte)) {
	if !r.open('{') {
		return
	}
	if r.is('}') {
		r.depth--
		return
	}
	var seen [maxMembers]struct{ from, to int32 } // names
	for n := 0; ; n++ {
		name := r.Bytes()
		if n == maxMembers || r.at > math.MaxInt32 {
			r.bad = true
		}
		if r.bad {
			return
		}
		for _, s := range seen[:n] {
			if string(r.b[s.from:s.to]) == string(name) {
				r.bad = true
				return
			}
		}
		seen[n].from, seen[n].to = int32(r.at-1-len(name)), int32(r.at-1)
		if !r.is(':') {
			r.bad = true
			return
		}
		if member(name); r.bad || !r.next('}') {
			return
		}
	}
}

// Array reads an array. element is called for each value, which it has to read.
func (r *Reader) Array(element func()) {
	if !r.open('[') {
		return
	}
	if r.is(']') {
		r.depth--
		return
	}
	for {
		if element(); r.bad || !r.next(']') {
			return
		}
	}
}

func (r *Reader) open(c byte) bool {
	if r.depth++; r.depth > maxDepth || !r.is(c) {
		r.bad = true
	}
	return !r.bad
}

// next reports whether another value follows, or else reads what ends them all.
func (r *Reader) next(end byte) bool {
	switch {
	case r.is(','):
		return true
	case r.is(end):
		r.depth--
	default:
		r.bad = true
	}
	return false
}

// is reads c, if that is next.
func (r *Reader) is(c byte) bool {
	r.space()
	if r.bad || r.at == len(r.b) || r.b[r.at] != c {
		return false
	}
	r.at++
	return true
}

func (r *Reader) space() {
	for r.at < len(r.b) {
		switch r.b[r.at] {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return
		}
	}
}

// Null reads null, if that is next.
func (r *Reader) Null() bool {
	r.space()
	return r.word("null")
}

func (r *Reader) word(w string) bool {
	if r.bad || len(r.b)-r.at < len(w) || string(r.b[r.at:r.at+len(w)]) != w {
		return false
	}
	r.at += len(w)
	return true
}

// Bytes reads a string without escapes. It shares the input's bytes.
func (r *Reader) Bytes() []byte {
	raw, escapes := r.quoted()
	if escapes > 0 {
		r.bad = true
	}
	if r.bad {
		return nil
	}
	return raw
}

// Text reads a string.
func (r *Reader) Text() string {
	raw, escapes := r.quoted()
	switch {
	case r.bad:
		return ""
	case escapes == 0:
		return string(raw)
	}
	var out strings.Builder
	out.Grow(len(raw) - escapes)
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			from := i
			for i < len(raw) && raw[i] != '\\' {
				i++
			}
			out.Write(raw[from:i])
			continue
		}
		c, size := unescape(raw[i:])
		out.WriteRune(c)
		i += size
	}
	return out.String()
}

// quoted reads a string, of which raw is what stands between the quotes. All its escapes
// are known, and it is UTF-8.
func (r *Reader) quoted() (raw []byte, escapes int) {
	if !r.is('"') {
		r.bad = true
		return nil, 0
	}
	from, ascii := r.at, true
	for r.at < len(r.b) {
		r.at += plain(r.b[r.at:])
		if r.at == len(r.b) {
			break
		}
		switch c := r.b[r.at]; {
		case c == '"':
			raw = r.b[from:r.at]
			r.at++
			r.bad = !ascii && !utf8.Valid(raw)
			return raw, escapes
		case c == '\\':
			_, size := unescape(r.b[r.at:])
			if size == 0 {
				r.bad = true
				return nil, 0
			}
			r.at += size
			escapes++
			continue
		case c < ' ':
			r.bad = true
			return nil, 0
		case c >= utf8.RuneSelf:
			ascii = false
		}
		r.at++
	}
	r.bad = true
	return nil, 0
}

// plain is how many bytes at the start of b are ASCII that stands for itself in a string,
// rounded down to eights, as which they are seen.
func plain(b []byte) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		control := w - ones*' ' // borrows where a byte is under a space
		if (w|control|(quote-ones)|(slash-ones))&tops != 0 {
			break
		}
	}
	return i
}

// unescape is the character that b begins with an escape of, and the escape's length, 0
// where it is none. A pair of surrogates is one escape.
func unescape(b []byte) (c rune, size int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		first, ok := hex(b)
		if !ok || first >= 0xdc00 && first < 0xe000 {
			return 0, 0
		}
		if first < 0xd800 || first >= 0xe000 {
			return first, 6
		}
		second, ok := hex(b[6:])
		if !ok || second < 0xdc00 || second >= 0xe000 {
			return 0, 0
		}
		return 0x10000 + (first-0xd800)<<10 + (second - 0xdc00), 12
	}
	return 0, 0
}

// hex is the number that b begins with as \u and four digits.
func hex(b []byte) (n rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
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
		n = n<<4 | rune(c)
	}
	return n, true
}

// Count reads a whole number that is not negative, nor large.
func (r *Reader) Count() int {
	r.space()
	n, from := 0, r.at
	for r.at < len(r.b) && r.b[r.at] >= '0' && r.b[r.at] <= '9' {
		n = n*10 + int(r.b[r.at]-'0')
		if r.at++; r.at-from > maxDigits {
			break
		}
	}
	size := r.at - from
	if size == 0 || size > maxDigits || size > 1 && r.b[from] == '0' || r.at < len(r.b) && (r.b[r.at] == '.' || r.b[r.at]|0x20 == 'e') {
		r.bad = true
	}
	if r.bad {
		return 0
	}
	return n
}

// Raw reads any value, as it is written. It shares the input's bytes.
func (r *Reader) Raw() []byte {
	r.space()
	from := r.at
	r.Skip()
	if r.bad {
		return nil
	}
	return r.b[from:r.at]
}

// Skip reads any value.
func (r *Reader) Skip() {
	r.space()
	if r.bad || r.at == len(r.b) {
		r.bad = true
		return
	}
	switch r.b[r.at] {
	case '{':
		r.Object(func([]byte) { r.Skip() })
	case '[':
		r.Array(r.Skip)
	case '"':
		r.quoted()
	case 't':
		r.bad = !r.word("true")
	case 'f':
		r.bad = !r.word("false")
	case 'n':
		r.bad = !r.word("null")
	default:
		r.number()
	}
}

// number reads a number of few digits: more would not mean the same to everybody.
func (r *Reader) number() {
	from := r.at
	if r.b[r.at] == '-' {
		r.at++
	}
	whole := r.at
	r.digits()
	if r.at > whole+1 && r.b[whole] == '0' {
		r.bad = true
	}
	if r.at < len(r.b) && r.b[r.at] == '.' {
		r.at++
		r.digits()
	}
	if r.at-from > 2*maxDigits || r.at < len(r.b) && r.b[r.at]|0x20 == 'e' {
		r.bad = true
	}
}

func (r *Reader) digits() {
	from := r.at
	for r.at < len(r.b) && r.b[r.at] >= '0' && r.b[r.at] <= '9' {
		r.at++
	}
	if r.at == from {
		r.bad = true
	}
}
