// Package strict reads JSON that comes from outside, and says what is wrong with it.
//
// It knows how a text becomes a tagged struct (json/v2, which refuses duplicate
// members, invalid UTF-8 and unpaired surrogates), how much of it there may be, what
// of it counts as absent, and where in it a value stands. It knows no resource and
// no dialect: a body is a struct of its package, with a Check for what its tags
// can't say, and the words for its errors are chosen by who answers.
//
// Callers: admin/resource, extproc/openai, extproc/fault.
package strict

import (
	"bytes"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// What a text may hold, far above what an honest one needs: together this bounds the
// memory that the largest one can take.
const (
	MaxDepth  = 256
	MaxValues = 1 << 18 // values and member names
	MaxName   = 1 << 18 // bytes of a member's name
	MaxItems  = 1 << 16 // of one List
)

// Checker is a struct that says what is wrong with the values that it was given,
// nil if nothing is. The error's pointer starts at the struct.
type Checker interface{ Check() *Error }

// Unmarshal reads one JSON text, which is not null, into a struct, and checks it if it
// is a Checker. A member without a field is refused, a null is the same as nothing.
// Options are json/v2's. The error is an *Error.
func Unmarshal(body []byte, v any, options ...json.Options) error {
	return unmarshal(body, v, append(options, json.RejectUnknownMembers(true))...)
}

// Peek is Unmarshal of a part: it reads the whole text, but passes over members
// without a field.
func Peek(body []byte, v any) error { return unmarshal(body, v) }

func unmarshal(body []byte, v any, options ...json.Options) error {
	if err := bounded(body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, v, options...); err != nil {
		return explain(body, err)
	}
	if jsontext.Value(body).Kind() == 'n' {
		return mismatch("an object", 'n')
	}
	if c, ok := v.(Checker); ok {
		if err := c.Check(); err != nil {
			return err.in(body, "")
		}
	}
	return nil
}

// bounded counts levels, values and names, and measures names. It judges nothing
// else: up to the first place where a text is no JSON it counts right, and there the
// decoder stops.
func bounded(body []byte) *Error {
	if len(body) <= min(MaxValues, MaxName) && bytes.Count(body, []byte("{"))+bytes.Count(body, []byte("[")) <= MaxDepth {
		return nil // most are short
	}
	depth, values, length := 0, 0, 0
	for i := 0; i < len(body); i++ {
		switch c := body[i]; c {
		case ' ', '\t', '\r', '\n', ',':
			continue
		case ':':
			if length > MaxName {
				return Errorf("", "has a member name of more than %d bytes", MaxName)
			}
			continue
		case '}', ']':
			depth--
			continue
		}
		if values++; values > MaxValues {
			return at(body, i, Errorf("", "the body holds more than %d values and member names", MaxValues))
		}
		switch start := i; body[i] {
		case '{', '[':
			if depth++; depth > MaxDepth {
				return Errorf("", "nests deeper than %d levels", MaxDepth)
			}
		case '"':
			i = endOfString(body, i+1)
			length = i - start - 1
		default: // a number, true, false or null
			for i+1 < len(body) && !delimiter[body[i+1]] {
				i++
			}
		}
	}
	return nil
}

// delimiter are the bytes that end a number, true, false or null.
var delimiter = [256]bool{' ': true, '\t': true, '\r': true, '\n': true, ',': true, ':': true, '{': true, '}': true, '[': true, ']': true, '"': true}

// endOfString is where the quote stands that ends a string, which starts at from.
func endOfString(body []byte, from int) int {
	end := bytes.IndexByte(body[from:], '"')
	if end < 0 {
		return len(body)
	}
	escape := bytes.IndexByte(body[from:from+end], '\\')
	if escape < 0 {
		return from + end
	}
	for i := from + escape; i < len(body); i++ {
		switch body[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(body)
}
