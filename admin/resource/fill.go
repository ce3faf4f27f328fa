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
	case rawType:
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
		for _, m := range n.members {
			field := fieldNamed(v, m.name)
			if !field.IsValid() {
				return &Invalid{Pointer: below(pointer, m.name), Message: "unknown member"}
			}
			if invalid := fill(field, m.value, below(pointer, m.name)); invalid != nil {
				return invalid
			}
		}
	default:
		panic("resource: no way to fill a " + v.Type().String())
	}
	return nil
}

// unknown finds a member that a struct of type t has no field for, nulls included.
func unknown(t reflect.Type, n *node, pointer string) *Invalid {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	v := reflect.New(t).Elem()
	for _, m := range n.members {
		field := fieldNamed(v, m.name)
		if !field.IsValid() {
			return &Invalid{Pointer: below(pointer, m.name), Message: "unknown member"}
		}
		if invalid := unknown(field.Type(), m.value, below(pointer, m.name)); invalid != nil {
			return invalid
		}
	}
	return nil
}

// fieldNamed is the field of a struct whose json tag has the name, in embedded
// structs too; the zero Value if there is none.
func fieldNamed(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && tag == "" {
			if found := fieldNamed(v.Field(i), name); found.IsValid() {
				return found
			}
		} else if tag == name && tag != "-" {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

func at(pointer string, i int) string { return pointer + "/" + strconv.Itoa(i) }
