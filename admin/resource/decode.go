package resource

import (
	"encoding/json"
	"errors"
	"reflect"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
)

// Decode reads a whole resource. old is what a replacement replaces (nil for a new
// one): a secret or key hash that the body leaves out stays as it is there. A resource
// whose kind Issues secrets may lack one. Errors are *strict.Error.
func Decode(kind Kind, text []byte, old Resource) (Resource, error) {
	in := kind.Row().body()
	if err := read(text, in); err != nil {
		return nil, err
	}
	r, err := in.resource(old)
	if err != nil {
		return nil, err.Of(text)
	}
	return r, nil
}

// Patch applies a JSON merge patch (RFC 7396) to what Show gives of old. Errors are
// *strict.Error.
func Patch(old Resource, text []byte) (Resource, error) {
	shape := old.Kind().Row().body()
	if err := strict.Unmarshal(text, shape, ofPatch); err != nil { // a null of an unknown member would go unnoticed
		return nil, err
	}
	patch, err := anyJSON(text)
	if err != nil {
		return nil, err
	}
	for _, f := range fieldsOf(reflect.TypeOf(shape).Elem()) {
		if value, given := patch.(map[string]any)[f.name]; f.kept && given && value == nil {
			return nil, strict.Errorf(below("", f.name), "can be replaced, not removed").Of(text)
		}
	}
	shown, err := Show(old)
	if err != nil {
		return nil, err
	}
	target, err := anyJSON(shown)
	if err != nil {
		return nil, err
	}
	merged, err := jsonv2.Marshal(merge(target, patch), jsonv2.Deterministic(true))
	if err != nil {
		return nil, err
	}
	return Decode(old.Kind(), merged, old)
}

// anyJSON reads JSON with its numbers as they were written.
func anyJSON(text []byte) (v any, err error) {
	return v, jsonv2.Unmarshal(text, &v, numbersAsWritten)
}

var numbersAsWritten = jsonv2.WithUnmarshalers(jsonv2.UnmarshalFromFunc(func(dec *jsontext.Decoder, v *any) error {
	if dec.PeekKind() != '0' {
		return errors.ErrUnsupported // the default
	}
	n, err := dec.ReadValue()
	*v = n.Clone()
	return err
}))

// merge is RFC 7396's MergePatch.
func merge(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	merged, ok := target.(map[string]any)
	if !ok {
		merged = map[string]any{}
	}
	for name, change := range changes {
		if change == nil {
			delete(merged, name)
		} else {
			merged[name] = merge(merged[name], change)
		}
	}
	return merged
}

// Show is what a read gives of a resource: never its secret.
func Show(r Resource) ([]byte, error) {
	value, err := json.Marshal(r)
	sealed := r.Kind().Row().Secret
	if err != nil || sealed == nil {
		return value, err
	}
	info, err := json.Marshal(sealed.info(r))
	if err != nil {
		return nil, err
	}
	return append(append(append(value[:len(value)-1], `,"secret_info":`...), info...), '}'), nil
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
