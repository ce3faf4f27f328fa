package resource

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
)

// read reads a body into a struct, and holds every member to what its tags say. The
// error is a *strict.Error.
func read(body []byte, into any) error {
	if err := strict.Unmarshal(body, into, ofResource); err != nil {
		return err
	}
	if err := check(reflect.ValueOf(into).Elem(), ""); err != nil {
		return err.Of(body)
	}
	return nil
}

// How a resource is read, and how a merge patch of one.
var (
	ofResource = asWritten(labels)
	ofPatch    = asWritten()
)

// asWritten is how Go's own types are read: integers as JSON Schema has them (1.0 is
// one), other numbers and raw JSON as they were written, and no null in a list.
func asWritten(more ...*jsonv2.Unmarshalers) jsonv2.Options {
	return jsonv2.WithUnmarshalers(jsonv2.JoinUnmarshalers(append(more,
		jsonv2.UnmarshalFromFunc(readInteger[int]),
		jsonv2.UnmarshalFromFunc(readInteger[int64]),
		jsonv2.UnmarshalFromFunc(func(dec *jsontext.Decoder, n *json.Number) error {
			return (*strict.Number)(n).UnmarshalJSONFrom(dec)
		}),
		jsonv2.UnmarshalFromFunc(func(dec *jsontext.Decoder, raw *json.RawMessage) error {
			return (*strict.Raw)(raw).UnmarshalJSONFrom(dec)
		}),
		jsonv2.UnmarshalFromFunc(func(dec *jsontext.Decoder, list *[]string) error {
			return (*strict.List[string])(list).UnmarshalJSONFrom(dec)
		}),
		jsonv2.UnmarshalFromFunc(func(dec *jsontext.Decoder, list *[]Target) error {
			return (*strict.List[Target])(list).UnmarshalJSONFrom(dec)
		}),
	)...))
}

// labels are not null either, but in a merge patch.
var labels = jsonv2.UnmarshalFromFunc(func(dec *jsontext.Decoder, all *map[string]string) error {
	var given map[string]*string
	if err := jsonv2.UnmarshalDecode(dec, &given); err != nil || given == nil {
		return err
	}
	*all = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if given[name] == nil {
			return strict.Errorf(below("", name), "must not be null")
		}
		(*all)[name] = *given[name]
	}
	return nil
})

func readInteger[T int | int64](dec *jsontext.Decoder, into *T) error {
	if k := dec.PeekKind(); k != '0' && k != 'n' {
		return strict.Mismatch(dec, "an integer")
	}
	var n strict.Number
	if err := n.UnmarshalJSONFrom(dec); err != nil {
		return err
	}
	i, ok := n.Int()
	if !ok && n != "" {
		return strict.Errorf("", "must be an integer")
	}
	*into = T(i)
	return nil
}

// check holds a struct's members to their tags: those that are there, then those that
// must be. An empty text is not there, nor is a number that is 0 but where 0 may be
// told from none (a pointer).
func check(v reflect.Value, pointer string) *strict.Error {
	fields := fieldsOf(v.Type())
	for _, f := range fields {
		value := v.FieldByIndex(f.index)
		if value.IsZero() {
			continue
		}
		for value.Kind() == reflect.Pointer {
			value = value.Elem()
		}
		holds := f.check
		if value.Kind() == reflect.Struct && f.kind != timeType {
			holds = check
		}
		if err := holds(value, below(pointer, f.name)); err != nil {
			return err
		}
	}
	for _, f := range fields {
		if value := v.FieldByIndex(f.index); f.required && value.IsZero() {
			return strict.Errorf(below(pointer, f.name), "%s", f.missing())
		}
	}
	return nil
}

// below is the pointer of a member.
func below(pointer, name string) string {
	return string(jsontext.Pointer(pointer).AppendToken(name))
}

var (
	rawType     = reflect.TypeFor[json.RawMessage]()
	ignoredType = reflect.TypeFor[strict.Ignored]()
	numberType  = reflect.TypeFor[json.Number]()
	timeType    = reflect.TypeFor[time.Time]()
)
