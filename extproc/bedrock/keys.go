package bedrock

import (
	"bytes"
	"encoding/json"
)

// keys renames members of JSON objects, at every depth, as the text comes: what it
// gives of fragments is what it gives of the whole. Everything else stays as the
// model wrote it, white space, digits and escapes included, and what is no JSON goes
// through. Nothing is held back but a member's name that has not ended.
//
// It does not look where in a schema a member stands: the names that it renames
// carry a digest of the ones that they stand for, so that nobody else has them.
type keys struct {
	names map[string]string
	most  int // how long a name's text may be that is to be renamed

	objects []bool // open objects (true) and lists
	name    []byte // the text of a name so far, its quote included; nil is none
	text    bool   // in a string that is a value
	escaped bool   // behind a backslash
	expects bool   // a name may come next
}

func newKeys(names map[string]string) *keys {
	k := &keys{names: names}
	for name := range names {
		k.most = max(k.most, 6*len(name)+2) // every byte escaped, at worst
	}
	return k
}

// write appends what is there of the text once fragment has come.
func (k *keys) write(dst []byte, fragment string) []byte {
	for i := range len(fragment) {
		c := fragment[i]
		switch {
		case k.name != nil:
			k.name = append(k.name, c)
			switch {
			case k.escaped:
				k.escaped = false
			case c == '\\':
				k.escaped = true
			case c == '"':
				dst = k.end(dst)
				continue
			}
			if len(k.name) > k.most { // none of ours
				dst = append(dst, k.name...)
				k.name, k.text = nil, true
			}
			continue
		case k.text:
			switch {
			case k.escaped:
				k.escaped = false
			case c == '\\':
				k.escaped = true
			case c == '"':
				k.text = false
			}
		default:
			switch c {
			case '"':
				if k.expects {
					k.name, k.expects = append(make([]byte, 0, 64), c), false
					continue
				}
				k.text = true
			case '{', '[':
				k.objects = append(k.objects, c == '{')
				k.expects = c == '{'
			case '}', ']':
				if n := len(k.objects); n > 0 {
					k.objects = k.objects[:n-1]
				}
				k.expects = false
			case ',':
				n := len(k.objects)
				k.expects = n > 0 && k.objects[n-1]
			}
		}
		dst = append(dst, c)
	}
	return dst
}

// end writes the name that has ended.
func (k *keys) end(dst []byte) []byte {
	name := k.name
	k.name = nil
	var text string
	if json.Unmarshal(name, &text) == nil {
		if other, ok := k.names[text]; ok {
			return append(dst, marshal(other)...)
		}
	}
	return append(dst, name...)
}

// rest appends what is held back: a name that never ended.
func (k *keys) rest(dst []byte) []byte {
	dst = append(dst, k.name...)
	k.name = nil
	return dst
}

// renameKeys renames in a whole text.
func renameKeys(raw json.RawMessage, names map[string]string) json.RawMessage {
	if len(names) == 0 || bytes.IndexByte(raw, '{') < 0 {
		return raw
	}
	k := newKeys(names)
	return k.rest(k.write(make([]byte, 0, len(raw)+len(raw)/8), string(raw)))
}

// inverse is names the other way round: no two have one alias.
func inverse(names map[string]string) map[string]string {
	out := make(map[string]string, len(names))
	for name, alias := range names {
		out[alias] = name
	}
	return out
}
