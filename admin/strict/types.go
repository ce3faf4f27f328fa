package strict

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Unknown takes in the members that a struct has no field for: they may be null,
// since clients send what they leave unset. A struct has it as
//
//	Unknown strict.Unknown `json:",embed"`
type Unknown map[string]unknown

type unknown struct{}

func (*unknown) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if given, err := skip(dec); err != nil || !given {
		return err
	}
	return Errorf("", "unknown member")
}

// Others takes in the members that a struct has no field for, and whose fate is decided
// by what else is in it: true where one is more than null. A struct has it as Unknown.
type Others map[string]Ignored

// Names are those of the members that are more than null, in order.
func (o Others) Names() []string {
	var names []string
	for name, given := range o {
		if given {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Refuse is the Error of such a member where none may be, nil where there is none.
func (o Others) Refuse() *Error {
	for _, name := range o.Names() {
		return Errorf("/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(name), "unknown member")
	}
	return nil
}

// Ignored is a member of any value that nobody reads; true where it is given.
type Ignored bool

func (i *Ignored) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	given, err := skip(dec)
	*i = Ignored(given)
	return err
}

// skip reads any value, and reports whether it is more than null.
func skip(dec *jsontext.Decoder) (given bool, err error) {
	given = dec.PeekKind() != 'n'
	return given, dec.SkipValue()
}

// Raw is any value as it was written, nil where there is none.
type Raw []byte

func (r *Raw) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	if *r = nil; v.Kind() != 'n' {
		*r = Raw(v.Clone())
	}
	return err
}

// RawObject is an object as it was written, nil where there is none.
type RawObject []byte

func (o *RawObject) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if k := dec.PeekKind(); k != '{' && k != 'n' {
		return Mismatch(dec, "an object")
	}
	return (*Raw)(o).UnmarshalJSONFrom(dec)
}

// Number is a number as it was written, "" where there is none.
type Number string

func (n *Number) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	switch v.Kind() {
	case 'n':
		*n = ""
	case '0':
		*n = Number(v)
	default:
		return mismatch("a number", v.Kind())
	}
	return nil
}

// Float is the number's value; it is not ok beyond float64, or where there is none.
func (n Number) Float() (f float64, ok bool) {
	if n == "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(n), 64)
	return f, err == nil
}

// Int is the number's value where that is an integer, however it is written: 5.0 and
// 1e2 are, as in JSON Schema.
func (n Number) Int() (i int64, ok bool) {
	if n == "" {
		return 0, false
	}
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
		return i, true
	}
	f, ok := n.Float()
	return int64(f), ok && f == math.Trunc(f) && math.Abs(f) <= 1<<53
}

// beyond reports whether the number is larger than Int knows integers, either way.
func (n Number) beyond() bool {
	f, err := strconv.ParseFloat(string(n), 64)
	return math.Abs(f) > 1<<53 || err != nil
}

func (n Number) above(most int64) bool {
	f, _ := strconv.ParseFloat(string(n), 64) // infinite where it is too large for one
	return f > float64(most)
}

// Within is the Error of a number out of bounds, nil where there is none.
func (n Number) Within(pointer string, least, most float64) *Error {
	if f, ok := n.Float(); n == "" || ok && f >= least && f <= most {
		return nil
	}
	return Errorf(pointer, "must be between %g and %g", least, most)
}

// IntWithin is the Error of a number that is no integer or out of bounds, nil where
// there is none.
func (n Number) IntWithin(pointer string, least, most int64) *Error {
	i, ok := n.Int()
	switch {
	case n == "" || ok && i >= least && i <= most:
		return nil
	case !ok && !n.beyond(): // of which Int can't tell
		return Errorf(pointer, "must be an integer")
	case most >= math.MaxInt32 && n.above(most):
		return Errorf(pointer, "must be at most %d", most)
	case most >= math.MaxInt32: // as good as none
		return Errorf(pointer, "must be at least %d", least)
	}
	return Errorf(pointer, "must be between %d and %d", least, most)
}

// OneOf is the Error of a string that is none of words, nil where there is none.
func OneOf(pointer string, s *string, words ...string) *Error {
	if s == nil || slices.Contains(words, *s) {
		return nil
	}
	return Errorf(pointer, "must be one of %s", strings.Join(words, ", "))
}

// Text reads a string without copying it where it has no escapes: it is good until
// the next read.
func Text(dec *jsontext.Decoder) ([]byte, error) {
	v, err := dec.ReadValue()
	switch {
	case err != nil:
		return nil, err
	case v.Kind() != '"':
		return nil, mismatch("a string", v.Kind())
	case bytes.IndexByte(v, '\\') < 0:
		return v[1 : len(v)-1], nil
	}
	return jsontext.AppendUnquote(nil, v)
}
