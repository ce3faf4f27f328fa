package resource

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"aisix/admin/strict"
)

// A field is one of a struct that JSON is read into, with what its tags say is legal.
// Both the check of a write and openapi.json come from it:
//
//	json:"name"
//	is:"required kept writeonly rule"   any of the first three, and a rule's name
//	of:"one two"                        the words that it, or each of its items, may be
//	min:"0" max:"9"                     of a number; max also of how many items
//
// required: it can't be left out. kept: left out, it stays as it was, so it can't be
// taken away either. An empty text is the same as leaving the member out, unless the
// member is one of these two.
type field struct {
	name      string
	path      string // as Schemas.Describe takes it
	index     []int
	kind      reflect.Type // without pointers
	required  bool
	kept      bool
	writeOnly bool
	rule      *rule
	words     []string
	min, max  string
	omitted   bool // where it is empty
}

var shapes sync.Map // reflect.Type -> []field

// fieldsOf are the fields of a struct that have a name in JSON, those of embedded
// structs among them.
func fieldsOf(t reflect.Type) []field {
	if known, ok := shapes.Load(t); ok {
		return known.([]field)
	}
	var all []field
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		within := t
		if up := len(f.Index) - 1; up > 0 {
			within = t.FieldByIndex(f.Index[:up]).Type
		}
		m := field{name: name, path: typePath(within) + "." + f.Name, index: f.Index, kind: f.Type, omitted: options != "", words: strings.Fields(f.Tag.Get("of")), min: f.Tag.Get("min"), max: f.Tag.Get("max")}
		for m.kind.Kind() == reflect.Pointer {
			m.kind = m.kind.Elem()
		}
		for word := range strings.FieldsSeq(f.Tag.Get("is")) {
			switch word {
			case "required":
				m.required = true
			case "kept":
				m.kept = true
			case "writeonly":
				m.writeOnly = true
			default:
				if m.rule = rules[word]; m.rule == nil {
					panic("resource: " + t.String() + "." + f.Name + ": there is no rule " + word)
				}
			}
		}
		all = append(all, m)
	}
	shapes.Store(t, all)
	return all
}

// fieldNamed is nil if there is none.
func fieldNamed(t reflect.Type, name string) *field {
	all := fieldsOf(t)
	if i := slices.IndexFunc(all, func(f field) bool { return f.name == name }); i >= 0 {
		return &all[i]
	}
	return nil
}

// missing is what is said of a required member that is not there.
func (f *field) missing() string {
	switch {
	case f.kind.Kind() == reflect.String && f.rule != nil && f.rule.missing != "":
		return f.rule.missing
	case len(f.words) > 0:
		return "is required: one of " + strings.Join(f.words, ", ")
	}
	return "is required"
}

// check says what is wrong with the member's value, and where below pointer.
func (f *field) check(v reflect.Value, pointer string) *strict.Error {
	problem := ""
	switch value := v.Interface().(type) {
	case string:
		problem = f.checkOne(value)
	case Secret:
		problem = f.checkOne(value.Reveal())
	case []string:
		if most, err := strconv.Atoi(f.max); err == nil && len(value) > most {
			problem = fmt.Sprintf("must have at most %d names", most)
			break
		}
		for i, text := range value {
			if problem := f.checkText(text); problem != "" {
				return strict.Errorf(below(pointer, strconv.Itoa(i)), "%s", problem)
			}
		}
	case []Target:
		if most, err := strconv.Atoi(f.max); err == nil && len(value) > most {
			problem = fmt.Sprintf("must have 1 to %d targets", most)
			break
		}
		for i := range value {
			if err := check(v.Index(i), below(pointer, strconv.Itoa(i))); err != nil {
				return err
			}
		}
	case json.Number, json.RawMessage, map[string]string:
		if f.rule != nil {
			problem = f.rule.value(value)
		}
	case int, int64:
		problem = f.checkInteger(v.Int())
	}
	if problem != "" {
		return strict.Errorf(pointer, "%s", problem)
	}
	return nil
}

// checkOne is of a text that may be empty.
func (f *field) checkOne(text string) string {
	switch {
	case text != "" || f.kept:
		return f.checkText(text)
	case f.required:
		return f.missing()
	}
	return ""
}

func (f *field) checkText(text string) string {
	switch {
	case len(f.words) > 0 && !slices.Contains(f.words, text):
		return "must be " + oneOf(f.words)
	case f.rule != nil && f.rule.text != nil:
		return f.rule.text(text)
	}
	return ""
}

func (f *field) checkInteger(n int64) string {
	least, tooLow := strconv.ParseInt(f.min, 10, 64)
	most, tooHigh := strconv.ParseInt(f.max, 10, 64)
	if tooLow == nil && n < least || tooHigh == nil && n > most {
		unit := ""
		if f.rule != nil {
			unit = f.rule.unit
		}
		return "must be " + unit + f.min + " to " + f.max
	}
	return ""
}

func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return "one of " + strings.Join(words, ", ")
}
