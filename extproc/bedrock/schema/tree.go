package schema

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
)

// tree is a JSON value that was read once: an object's members in their order
// (that in which a model writes them), a list's items, or any other value. raw is
// its text as it was written, of objects and lists too; nil of one that we made.
type tree struct {
	kind    byte // '{', '[', or 0
	raw     json.RawMessage
	members []member // of a list without names
}

type member struct {
	name  string
	value tree
}

// parseTree reads a schema, JSON that a dialect has checked, and shares its bytes.
// The errors say what is wrong with it, after "the schema".
func parseTree(raw json.RawMessage) (tree, error) {
	r := treeReader{raw: raw, dec: jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true))}
	return r.next(0)
}

type treeReader struct {
	raw    json.RawMessage
	dec    *jsontext.Decoder
	values int // and member names, so far
}

func (r *treeReader) next(depth int) (tree, error) {
	if r.values++; r.values > chat.MaxSchemaValues {
		return tree{}, errTooMany
	}
	if depth > strict.MaxDepth {
		return tree{}, errTooDeep
	}
	from := r.dec.InputOffset()
	open, err := r.dec.ReadToken()
	if err != nil {
		return tree{}, err
	}
	var t tree
	if k := open.Kind(); k == '{' || k == '[' {
		t.kind = byte(k)
		for r.dec.PeekKind() != k+2 { // ] and } stand two behind [ and {
			var x member
			if k == '{' {
				name, err := r.dec.ReadToken()
				if err != nil {
					return tree{}, err
				}
				x.name = name.String()
				r.values++
			}
			if x.value, err = r.next(depth + 1); err != nil {
				return tree{}, err
			}
			if len(t.members) == cap(t.members) { // append alone would copy a long list five times
				t.members = slices.Grow(t.members, max(4, len(t.members)))
			}
			t.members = append(t.members, x)
		}
		if _, err := r.dec.ReadToken(); err != nil { // the end
			return tree{}, err
		}
	}
	t.raw = bytes.TrimLeft(r.raw[from:r.dec.InputOffset()], " \t\r\n,:")
	return t, nil
}

func textTree(s string) tree { return tree{raw: appendText(nil, s)} }

// get is the member of that name, or nil.
func (t *tree) get(name string) *tree {
	if t.kind != '{' {
		return nil
	}
	for i := range t.members {
		if t.members[i].name == name {
			return &t.members[i].value
		}
	}
	return nil
}

// text is the string that t is; ok is false for anything else, and for nil.
func (t *tree) text() (s string, ok bool) {
	if t == nil || t.kind != 0 || len(t.raw) == 0 || t.raw[0] != '"' {
		return "", false
	}
	out, err := jsontext.AppendUnquote(nil, t.raw)
	return string(out), err == nil
}

// with is t with a member replaced, or added.
func (t tree) with(name string, value tree) tree {
	t.raw, t.members = nil, append([]member(nil), t.members...)
	if at := t.get(name); at != nil {
		*at = value
	} else {
		t.members = append(t.members, member{name, value})
	}
	return t
}

func (t *tree) json() json.RawMessage { return t.append(nil) }

func (t *tree) append(dst []byte) []byte {
	if t.raw != nil {
		return append(dst, t.raw...)
	}
	dst = append(dst, t.kind)
	for i := range t.members {
		if i > 0 {
			dst = append(dst, ',')
		}
		if t.kind == '{' {
			dst = append(appendText(dst, t.members[i].name), ':')
		}
		dst = t.members[i].value.append(dst)
	}
	return append(dst, t.kind+2) // ] and } stand two after [ and {
}

// appendText appends s as JSON.
func appendText(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // s is UTF-8: a dialect has checked it
	return dst
}
