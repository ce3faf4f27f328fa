package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Error is why a text was refused. But for Detail it holds names of members, never a
// value.
type Error struct {
	Pointer string // JSON pointer (RFC 6901) of the value at fault; "" is the whole text
	Path    string // the same as a caller writes it: messages[1].content[0].text
	Message string // what is wrong with it: "must be a string, not a number"
	Detail  string // of what is no JSON: the character or escape that is wrong
	kind    kind
}

type kind byte

const (
	wrong   kind = iota
	missing      // what is wrong is that there is nothing
	variant      // it says to be what is not supported: the rest of it does not matter
)

func (e *Error) Error() string {
	if e.Pointer == "" {
		return "the body " + e.Message
	}
	return e.Pointer + ": " + e.Message
}

// Missing reports whether the place is that of a member that is required.
func (e *Error) Missing() bool { return e.kind == missing }

// Errorf is an Error of the value at pointer ("" is the one that is being read).
func Errorf(pointer, format string, args ...any) *Error {
	return &Error{Pointer: pointer, Message: fmt.Sprintf(format, args...)}
}

// Required is the Error of a member that is not there.
func Required(pointer string) *Error {
	return &Error{Pointer: pointer, Message: "is required", kind: missing}
}

// Variant is the Error of an object that says to be of a kind that is not supported.
// It outranks what else does not fit: {"type":"custom","custom":{}} is of a type that
// is not possible, rather than one with an unknown member.
func Variant(pointer, format string, args ...any) *Error {
	e := Errorf(pointer, format, args...)
	e.kind = variant
	return e
}

// Mismatch reads the next value, which is none of what is wanted ("a string or an
// object"), and says so.
func Mismatch(dec *jsontext.Decoder, want string) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	return mismatch(want, token.Kind())
}

func mismatch(want string, got jsontext.Kind) *Error {
	return Errorf("", "must be %s, not %s", want, noun(got))
}

// Of places an Error of a whole text.
func (e *Error) Of(body []byte) *Error { return e.in(body, "") }

// in places an Error of the value at a pointer of a text.
func (e *Error) in(body []byte, pointer string) *Error {
	placed := *e
	placed.Pointer, placed.Path = place(body, jsontext.Pointer(pointer+e.Pointer))
	return &placed
}

// explain turns an error of the decoder into an *Error. Its words are ours where
// they are about a value: the library's change from run to run.
func explain(body []byte, err error) *Error {
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		switch {
		case errors.Is(err, jsontext.ErrDuplicateName):
			return Errorf("", "duplicate member").in(body, string(syntactic.JSONPointer))
		case errors.Is(err, io.ErrUnexpectedEOF):
			return Errorf("", "is not valid JSON: it ends too soon")
		}
		if r, n := utf8.DecodeRune(body[syntactic.ByteOffset:]); r == utf8.RuneError && n == 1 {
			return Errorf("", "is not valid UTF-8 at byte %d", syntactic.ByteOffset)
		}
		e := Errorf("", "is not valid JSON at byte %d", syntactic.ByteOffset)
		e.Detail = syntactic.Err.Error()
		return e
	}
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return Errorf("", "can't be read: %v", err)
	}
	var own *Error
	switch {
	case errors.As(semantic.Err, &own):
	case errors.Is(semantic.Err, json.ErrUnknownName):
		own = Errorf("", "unknown member")
	case semantic.Err == nil:
		own = mismatch(wants(semantic.GoType), semantic.JSONKind)
	default: // of the right type, but no integer, or no time
		own = Errorf("", "must be %s", wants(semantic.GoType))
	}
	return own.in(body, string(semantic.JSONPointer))
}

func noun(k jsontext.Kind) string {
	switch k {
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '[', ']':
		return "an array"
	case '{', '}':
		return "an object"
	}
	return "null"
}

// wants is what a field takes.
func wants(t reflect.Type) string {
	if t == reflect.TypeFor[time.Time]() {
		return "a time as RFC 3339 has it"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wants(t.Elem())
	case reflect.Bool:
		return "a boolean"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "an integer"
}

// place gives a pointer cut to a length fit for an answer, and the same as a path.
// A pointer does not tell an item from a member of that name: the text does.
func place(body []byte, pointer jsontext.Pointer) (short, path string) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	var pointers, paths strings.Builder
	for name := range pointer.Tokens() {
		item := enter(dec, name)
		name = Clip(name, 64)
		pointers.WriteByte('/')
		pointers.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
		if name == "" {
			name = `""`
		}
		switch {
		case item:
			name = "[" + name + "]"
		case paths.Len() > 0:
			name = "." + name
		}
		paths.WriteString(name)
	}
	return Clip(pointers.String(), 512), Clip(paths.String(), 512)
}

// at places an Error of the value that begins at an offset of a text.
func at(body []byte, offset int, e *Error) *Error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true))
	for dec.InputOffset() <= int64(offset) {
		if _, err := dec.ReadToken(); err != nil {
			return explain(body, err)
		}
	}
	return e.in(body, string(dec.StackPointer()))
}

// enter reads up to the item or member of that name, and reports whether it is an
// item.
func enter(dec *jsontext.Decoder, name string) (item bool) {
	token, err := dec.ReadToken()
	if err != nil {
		return false
	}
	if token.Kind() == '[' {
		n, err := strconv.Atoi(name)
		for ; n > 0 && err == nil; n-- {
			err = dec.SkipValue()
		}
		return true
	}
	for token.Kind() == '{' && dec.PeekKind() == '"' {
		if member, err := dec.ReadToken(); err != nil || member.String() == name || dec.SkipValue() != nil {
			break
		}
	}
	return false
}

// Clip cuts what a caller wrote to a length fit for an answer.
func Clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}
