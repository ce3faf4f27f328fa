package bedrock

import "aisix/extproc/bedrock/schema"

// filter rewrites a text as it comes: what it gives of fragments is what it gives of
// the whole. write appends what is there once fragment has come, rest what was held
// back, at the end.
type filter interface {
	write(dst []byte, fragment string) []byte
	rest(dst []byte) []byte
}

// filters are done one after the other.
type filters []filter

func (f filters) write(dst []byte, fragment string) []byte {
	if len(f) == 1 {
		return f[0].write(dst, fragment)
	}
	return f[1:].write(dst, string(f[0].write(nil, fragment)))
}

func (f filters) rest(dst []byte) []byte {
	if len(f) > 1 {
		dst = f[1:].write(dst, string(f[0].rest(nil)))
		return f[1:].rest(dst)
	}
	return f[0].rest(dst)
}

// structured undoes in the text of structured output what was done to its schema.
func structured(in schema.Input) filters {
	var f filters
	if in.Inside != "" {
		f = append(f, &unwrap{name: in.Inside})
	}
	if len(in.Names) > 0 {
		f = append(f, newKeys(inverse(in.Names)))
	}
	return f
}

// unwrap gives what an object's one member holds. A text that is no such object goes
// through as it is: the model took the schema for the one inside.
type unwrap struct {
	name    string
	state   unwrapState
	held    []byte // before the value
	depth   int
	text    bool // in a string
	escaped bool
}

type unwrapState int

const (
	beforeValue unwrapState = iota
	inValue
	behindValue
	noValue // everything goes through
)

func (v *unwrap) write(dst []byte, fragment string) []byte {
	switch v.state {
	case noValue:
		return append(dst, fragment...)
	case behindValue:
		return dst
	case inValue:
		return v.value(dst, fragment)
	}
	v.held = append(v.held, fragment...)
	i, ok := v.begin()
	switch {
	case !ok:
		return v.rest(dst)
	case i == len(v.held):
		return dst // more must come
	}
	value := string(v.held[i:])
	v.held, v.state = nil, inValue
	return v.value(dst, value)
}

// begin is where the value begins, or the end of what there is so far, if that may be
// its beginning.
func (v *unwrap) begin() (int, bool) {
	i := 0
	for _, token := range []string{"{", `"` + v.name + `"`, ":"} {
		i = v.space(i)
		n := min(len(token), len(v.held)-i)
		if string(v.held[i:i+n]) != token[:n] {
			return 0, false
		}
		if i += n; n < len(token) {
			return len(v.held), true
		}
	}
	return v.space(i), true
}

func (v *unwrap) space(i int) int {
	for i < len(v.held) && isSpace(v.held[i]) {
		i++
	}
	return i
}

// value appends what belongs to the value.
func (v *unwrap) value(dst []byte, fragment string) []byte {
	for i := range len(fragment) {
		switch c := fragment[i]; {
		case v.escaped:
			v.escaped = false
		case v.text && c == '\\':
			v.escaped = true
		case c == '"':
			v.text = !v.text
		case v.text:
		case c == '{', c == '[':
			v.depth++
		case c == ',' && v.depth == 0, (c == '}' || c == ']') && v.depth == 0:
			v.state = behindValue
			return append(dst, fragment[:i]...)
		case c == '}', c == ']':
			v.depth--
		}
	}
	return append(dst, fragment...)
}

func (v *unwrap) rest(dst []byte) []byte {
	if v.state == beforeValue {
		dst = append(dst, v.held...)
		v.held, v.state = nil, noValue
	}
	return dst
}
