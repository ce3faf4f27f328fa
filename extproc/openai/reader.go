package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"aisix/extproc/fault"
)

// reader reads typed values out of a document. The first thing wrong is kept in
// err; what is read after it does not count.
type reader struct {
	err *fault.Error
}

func (r *reader) fail(v value, format string, args ...any) {
	if r.err == nil {
		path := v.path()
		what := fmt.Sprintf(format, args...)
		r.err = fault.Invalid(path, "%s: %s", path, what)
		if path == "" {
			r.err = fault.Invalid("", "the body %s", what)
		}
	}
}

// missing fails for a member that v must have.
func (r *reader) missing(v value, name string) {
	if r.err == nil {
		path := name
		if p := v.path(); p != "" {
			path = p + "." + name
		}
		r.err = fault.Invalid(path, "%s is required", path)
	}
}

func (r *reader) is(v value, k kind) bool {
	if r.err != nil {
		return false
	}
	if v.kind() != k {
		r.fail(v, "must be %s, not %s", k, v.kind())
		return false
	}
	return true
}

func (r *reader) text(v value) string {
	if !r.is(v, stringKind) {
		return ""
	}
	return string(v.bytes())
}

// word is one of a few strings.
func (r *reader) word(v value, words ...string) string {
	s := r.text(v)
	for _, w := range words {
		if s == w {
			return w
		}
	}
	r.fail(v, "must be one of %s", strings.Join(words, ", "))
	return ""
}

func (r *reader) boolean(v value) bool {
	return r.is(v, boolKind) && v.raw()[0] == 't'
}

func (r *reader) number(v value, least, most float64) *float64 {
	if !r.is(v, numberKind) {
		return nil
	}
	f, err := strconv.ParseFloat(string(v.raw()), 64)
	if err != nil || f < least || f > most {
		r.fail(v, "must be between %g and %g", least, most)
		return nil
	}
	return &f
}

// integer takes 5.0 for 5, as JSON Schema does.
func (r *reader) integer(v value, least, most int64) int64 {
	if !r.is(v, numberKind) {
		return 0
	}
	n, err := strconv.ParseInt(string(v.raw()), 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(string(v.raw()), 64)
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			r.fail(v, "must be an integer")
			return 0
		}
		n = int64(f)
	}
	if n < least || n > most {
		if most == math.MaxInt32 || most == math.MaxInt64 {
			r.fail(v, "must be at least %d", least)
		} else {
			r.fail(v, "must be between %d and %d", least, most)
		}
	}
	return n
}

// each calls f for the members of an object that are not null, until something
// is wrong; f says whether it knows the name.
func (r *reader) each(v value, f func(name string, m value) bool) {
	if !r.is(v, objectKind) {
		return
	}
	for name, m := range v.members() {
		if m.kind() == nullKind {
			continue
		}
		if !f(string(name), m) {
			r.fail(m, "unknown member")
		}
		if r.err != nil {
			return
		}
	}
}

// list calls f for the items of an array, until something is wrong.
func (r *reader) list(v value, f func(item value)) {
	if !r.is(v, arrayKind) {
		return
	}
	for item := range v.items() {
		if f(item); r.err != nil {
			return
		}
	}
}

// some is list with a bound: count goes on over all lists that it is given for.
func (r *reader) some(v value, count *int, most int, what string, f func(item value)) {
	r.list(v, func(item value) {
		if *count++; *count > most {
			r.fail(v, "a request may hold at most %d %s", most, what)
			return
		}
		f(item)
	})
}

// empty tells whether an object has no member that is not null.
func (r *reader) empty(v value) bool {
	empty := true
	if r.is(v, objectKind) {
		for _, m := range v.members() {
			if m.kind() != nullKind {
				empty = false
				break
			}
		}
	}
	return empty
}

// object gives an object's JSON as the caller wrote it.
func (r *reader) object(v value) json.RawMessage {
	if !r.is(v, objectKind) {
		return nil
	}
	return bytes.Clone(v.raw()) // else it would keep the whole body
}

// required reads a string that must be there and not be empty.
func (r *reader) required(v value, name string) string {
	m := v.member(name)
	if !m.present() {
		r.missing(v, name)
		return ""
	}
	s := r.text(m)
	if s == "" {
		r.fail(m, "must not be empty")
	}
	return s
}
