package resource

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"
)

var (
	rawType    = reflect.TypeFor[json.RawMessage]()
	shownType  = reflect.TypeFor[shown]()
	numberType = reflect.TypeFor[json.Number]()
	timeType   = reflect.TypeFor[time.Time]()
)

// fill sets v from n as encoding/json would, but strictly: names count by case, an
// unknown member and a wrong type are errors with their place, and a null is the
// same as nothing.
func fill(v reflect.Value, n *node, pointer string) *Invalid {
	if n.kind == 'n' {
		return nil
	}
	wrong := func(want string) *Invalid { return &Invalid{Pointer: pointer, Message: "must be " + want} }
	switch v.Type() {
	case rawType, shownType:
		v.SetBytes(n.json())
		return nil
	case numberType:
		if n.kind != '0' {
			return wrong("a number")
		}
		v.SetString(string(n.raw))
		return nil
	case timeType:
		var t time.Time
		if n.kind != '"' || t.UnmarshalText([]byte(n.text)) != nil { // stricter than time.Parse
			return wrong("a time as RFC 3339 has it")
		}
		v.Set(reflect.ValueOf(t))
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return fill(v.Elem(), n, pointer)
	case reflect.String:
		if n.kind != '"' {
			return wrong("a string")
		}
		v.SetString(n.text)
	case reflect.Bool:
		if n.kind != 'b' {
			return wrong("true or false")
		}
		v.SetBool(n.raw[0] == 't')
	case reflect.Int, reflect.Int64:
		whole, fraction, _ := strings.Cut(string(n.raw), ".") // 1.0 is an integer, as JSON Schema has it
		i, err := strconv.ParseInt(whole, 10, 64)
		if strings.Trim(fraction, "0") != "" {
			err = strconv.ErrSyntax
		}
		if n.kind != '0' || err != nil {
			return wrong("an integer")
		}
		v.SetInt(i)
	case reflect.Slice:
		if n.kind != '[' {
			return wrong("an array")
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
		for i, item := range n.items {
			if item.kind == 'n' {
				return &Invalid{Pointer: at(pointer, i), Message: "must not be null"}
			}
			if invalid := fill(v.Index(i), item, at(pointer, i)); invalid != nil {
				return invalid
			}
		}
	case reflect.Map:
		if n.kind != '{' {
			return wrong("an object")
		}
		v.Set(reflect.MakeMap(v.Type()))
		for _, m := range n.members {
			value := reflect.New(v.Type().Elem()).Elem()
			if m.value.kind == 'n' {
				return &Invalid{Pointer: below(pointer, m.name), Message: "must not be null"}
			}
			if invalid := fill(value, m.value, below(pointer, m.name)); invalid != nil {
				return invalid
			}
			v.SetMapIndex(reflect.ValueOf(m.name), value)
		}
	case reflect.Struct:
		if n.kind != '{' {
			return wrong("an object")
		}
		return fillMembers(v, n, pointer)
	default:
		panic("resource: no way to fill a " + v.Type().String())
	}
	return nil
}

// fillMembers fills a struct, and holds every member to what its tags say.
func fillMembers(v reflect.Value, n *node, pointer string) *Invalid {
	for _, given := range n.members {
		f, pointer := fieldNamed(v.Type(), given.name), below(pointer, given.name)
		if f == nil {
			return &Invalid{Pointer: pointer, Message: "unknown member"}
		}
		if given.value.kind == 'n' {
			continue
		}
		if f.rule == rules["secret"] && given.value.kind == '{' {
			return &Invalid{Pointer: pointer, Message: "must be a string with the JSON object's text, not the object itself"}
		}
		into := v.FieldByIndex(f.index)
		if invalid := fill(into, given.value, pointer); invalid != nil {
			return invalid
		}
		if invalid := f.check(into, pointer); invalid != nil {
			return invalid
		}
	}
	for _, f := range fieldsOf(v.Type()) {
		if given := n.member(f.name); f.required && (given == nil || given.kind == 'n') {
			return &Invalid{Pointer: below(pointer, f.name), Message: f.missing()}
		}
	}
	return nil
}

// unknown finds a member that a struct of type t has no field for, nulls included.
func unknown(t reflect.Type, n *node, pointer string) *Invalid {
	if t.Kind() != reflect.Struct {
		return nil
	}
	for _, given := range n.members {
		f, pointer := fieldNamed(t, given.name), below(pointer, given.name)
		if f == nil {
			return &Invalid{Pointer: pointer, Message: "unknown member"}
		}
		if invalid := unknown(f.kind, given.value, pointer); invalid != nil {
			return invalid
		}
	}
	return nil
}

func at(pointer string, i int) string { return pointer + "/" + strconv.Itoa(i) }
