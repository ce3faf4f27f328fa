package bedrock

import (
	"bytes"
	"encoding/json"
)

// tree is a JSON value that was read once: an object's members in their order
// (that in which a model writes them), a list's items, or any other value as it
// was written.
type tree struct {
	kind    byte // '{', '[', or 0
	members []member
	items   []tree
	raw     json.RawMessage
}

type member struct {
	name  string
	value tree
}

// parseTree reads JSON that a dialect has checked.
func parseTree(raw json.RawMessage) (tree, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return nextTree(dec)
}

func nextTree(dec *json.Decoder) (tree, error) {
	token, err := dec.Token()
	if err != nil {
		return tree{}, err
	}
	switch x := token.(type) {
	case json.Delim:
		t := tree{kind: byte(x)}
		for dec.More() {
			var name string
			if t.kind == '{' {
				key, err := dec.Token()
				if err != nil {
					return tree{}, err
				}
				name, _ = key.(string) // keys are strings
			}
			v, err := nextTree(dec)
			if err != nil {
				return tree{}, err
			}
			if t.kind == '{' {
				t.members = append(t.members, member{name, v})
			} else {
				t.items = append(t.items, v)
			}
		}
		_, err := dec.Token() // the end
		return t, err
	case json.Number:
		return tree{raw: json.RawMessage(x)}, nil
	case string:
		return textTree(x), nil
	default: // true, false, null
		return tree{raw: marshal(x)}, nil
	}
}

func textTree(s string) tree { return tree{raw: text(s)} }

// get is the member of that name, or nil.
func (t tree) get(name string) *tree {
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
	return s, json.Unmarshal(t.raw, &s) == nil
}

// with is t with a member replaced, or added.
func (t tree) with(name string, value tree) tree {
	t.members = append([]member(nil), t.members...)
	if at := t.get(name); at != nil {
		*at = value
	} else {
		t.members = append(t.members, member{name, value})
	}
	return t
}

func (t tree) json() json.RawMessage {
	var buf bytes.Buffer
	t.write(&buf)
	return buf.Bytes()
}

func (t tree) write(buf *bytes.Buffer) {
	switch t.kind {
	case '{':
		buf.WriteByte('{')
		for i, x := range t.members {
			if i > 0 {
				buf.WriteByte(',')
			}
			buf.Write(text(x.name))
			buf.WriteByte(':')
			x.value.write(buf)
		}
		buf.WriteByte('}')
	case '[':
		buf.WriteByte('[')
		for i, x := range t.items {
			if i > 0 {
				buf.WriteByte(',')
			}
			x.write(buf)
		}
		buf.WriteByte(']')
	default:
		buf.Write(t.raw)
	}
}

// text is s as JSON, without HTML escapes.
func text(s string) json.RawMessage {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimSpace(buf.Bytes())
}
