// Package jsonedit changes a JSON text here and there, and leaves every other byte as it
// is: the order of members, white space, how numbers and strings are written, and what
// nobody here has a name for.
//
// It knows the grammar's brackets and no shape of anybody's. What it is given has been
// read by a parser before: it finds its way through valid JSON, and judges none. A text
// that is not valid is no danger to it, but what it finds there means nothing. Callers:
// anthropic and bedrock, where both ends speak one format.
package jsonedit

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
)

// Span is a value's place in a text.
type Span struct{ From, To int }

// Member is a member of an object: its name, and where it and its value stand.
type Member struct {
	Name  string
	At    Span // from the name to the value's end
	Value Span
}

// Text is a JSON text.
type Text []byte

// Root is the text's value.
func (t Text) Root() Span {
	from := t.space(0)
	return Span{from, t.end(from)}
}

// At is a value as it is written.
func (t Text) At(s Span) []byte { return t[s.From:s.To] }

// Kind is a value's first byte, 0 where there is none.
func (t Text) Kind(s Span) byte {
	if s.From >= s.To {
		return 0
	}
	return t[s.From]
}

// Members are those of an object; of another value there are none.
func (t Text) Members(object Span) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		if t.Kind(object) != '{' {
			return
		}
		for at := t.space(object.From + 1); at < object.To && t[at] == '"'; {
			name := Span{at, t.end(at)}
			at = t.space(name.To)
			if at >= object.To || t[at] != ':' {
				return
			}
			at = t.space(at + 1)
			value := Span{at, t.end(at)}
			if !yield(Member{t.name(name), Span{name.From, value.To}, value}) {
				return
			}
			if at = t.space(value.To); at >= object.To || t[at] != ',' {
				return
			}
			at = t.space(at + 1)
		}
	}
}

// Items are those of an array; of another value there are none.
func (t Text) Items(array Span) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		if t.Kind(array) != '[' {
			return
		}
		for at := t.space(array.From + 1); at < array.To && t[at] != ']'; {
			item := Span{at, t.end(at)}
			if item.To <= item.From || !yield(item) {
				return
			}
			if at = t.space(item.To); at >= array.To || t[at] != ',' {
				return
			}
			at = t.space(at + 1)
		}
	}
}

// Member finds an object's member by its name.
func (t Text) Member(object Span, name string) (Span, bool) {
	for m := range t.Members(object) {
		if m.Name == name {
			return m.Value, true
		}
	}
	return Span{}, false
}

// String is the value of a string, "" of another value.
func (t Text) String(s Span) string {
	if t.Kind(s) != '"' {
		return ""
	}
	return t.name(s)
}

func (t Text) name(s Span) string {
	if s.To-s.From < 2 {
		return ""
	}
	if raw := t[s.From+1 : s.To-1]; bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	var name string
	_ = json.Unmarshal(t[s.From:s.To], &name)
	return name
}

func (t Text) space(at int) int {
	for at < len(t) && (t[at] == ' ' || t[at] == '\n' || t[at] == '\r' || t[at] == '\t') {
		at++
	}
	return at
}

// end is where the value ends that begins at a place.
func (t Text) end(at int) int {
	if at >= len(t) {
		return len(t)
	}
	switch t[at] {
	case '"':
		return t.quote(at + 1)
	case '{', '[':
		for depth := 0; at < len(t); at++ {
			switch t[at] {
			case '"':
				at = t.quote(at+1) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return at + 1
				}
			}
		}
		return len(t)
	}
	for at < len(t) {
		switch t[at] {
		case ',', '}', ']', ' ', '\n', '\r', '\t':
			return at
		}
		at++
	}
	return at
}

// quote is behind the quote that ends a string, which goes on at a place.
func (t Text) quote(at int) int {
	for {
		n := bytes.IndexByte(t[at:], '"')
		if n < 0 {
			return len(t)
		}
		from := at
		at += n
		escapes := 0
		for i := at - 1; i >= from && t[i] == '\\'; i-- {
			escapes++
		}
		at++
		if escapes%2 == 0 {
			return at
		}
	}
}

// Edits are changes to one text, which stays as it is. The zero value changes nothing.
type Edits struct{ cuts []cut }

type cut struct {
	Span
	with []byte
}

// Any reports whether there is a change.
func (e *Edits) Any() bool { return len(e.cuts) > 0 }

// Replace puts other text where a value stands.
func (e *Edits) Replace(s Span, with []byte) { e.cuts = append(e.cuts, cut{s, with}) }

// Object goes through an object's members: those that keep says no to are taken out. Others may
// be replaced by it. With first, members (`"a":1`) are put before all others.
func (e *Edits) Object(t Text, object Span, first []byte, keep func(Member) bool) {
	if t.Kind(object) != '{' {
		return
	}
	x := remover{e: e, end: object.From + 1}
	for m := range t.Members(object) {
		x.next(m.At, keep(m))
	}
	x.close(object.To - 1)
	if len(first) == 0 {
		return
	}
	if x.kept {
		first = append(slices.Clip(first), ',')
	}
	e.cuts = append(e.cuts, cut{Span{object.From + 1, object.From + 1}, first})
}

// Array goes through an array's items: those that keep says no to are taken out.
func (e *Edits) Array(t Text, array Span, keep func(Span) bool) {
	if t.Kind(array) != '[' {
		return
	}
	x := remover{e: e, end: array.From + 1}
	for item := range t.Items(array) {
		x.next(item, keep(item))
	}
	x.close(array.To - 1)
}

// remover takes parts of a list out, and the commas that are too many with them.
type remover struct {
	e    *Edits
	end  int  // of the part before
	kept bool // one was
	out  int  // where the run began that is to be taken out ahead of all that is kept; 0 is none
}

func (x *remover) next(s Span, keep bool) {
	switch {
	case keep && x.out > 0:
		x.e.cuts = append(x.e.cuts, cut{Span{x.out, s.From}, nil})
		x.out, x.kept = 0, true
	case keep:
		x.kept = true
	case x.kept:
		x.e.cuts = append(x.e.cuts, cut{Span{x.end, s.To}, nil})
	case x.out == 0:
		x.out = s.From
	}
	x.end = s.To
}

func (x *remover) close(end int) {
	if x.out > 0 {
		x.e.cuts = append(x.e.cuts, cut{Span{x.out, end}, nil})
	}
}

// Apply is the text with the changes. Of one inside another the outer one counts.
func (e *Edits) Apply(t Text) []byte {
	if len(e.cuts) == 0 {
		return t
	}
	slices.SortStableFunc(e.cuts, func(a, b cut) int {
		if a.From != b.From {
			return a.From - b.From
		}
		return (a.To - a.From) - (b.To - b.From) // what is put in goes ahead of what is cut
	})
	room := len(t)
	for _, c := range e.cuts {
		room += len(c.with)
	}
	return e.append(make([]byte, 0, room), t)
}

// append appends the text with the changes.
func (e *Edits) append(dst []byte, t Text) []byte {
	at := 0
	for _, c := range e.cuts {
		if c.From < at {
			continue
		}
		dst = append(append(dst, t[at:c.From]...), c.with...)
		at = c.To
	}
	return append(dst, t[at:]...)
}
