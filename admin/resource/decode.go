package resource

import (
	"encoding/json"
	"reflect"
)

// Decode reads a whole resource. old is what a replacement replaces (nil for a new
// one): a secret or key hash that the body leaves out stays as it is there. A resource
// whose kind Issues secrets may lack one. Errors are *Invalid.
func Decode(kind Kind, body []byte, old Resource) (Resource, error) {
	n, invalid := object(body)
	if invalid != nil {
		return nil, invalid
	}
	return decode(kind, n, old)
}

// Patch applies a JSON merge patch (RFC 7396) to what Show gives of old. Errors are
// *Invalid.
func Patch(old Resource, body []byte) (Resource, error) {
	patch, invalid := object(body)
	if invalid != nil {
		return nil, invalid
	}
	shape := reflect.TypeOf(old.Kind().Row().body()).Elem()
	for _, f := range fieldsOf(shape) {
		if given := patch.member(f.name); f.kept && given != nil && given.kind == 'n' {
			return nil, &Invalid{Pointer: below("", f.name), Message: "can be replaced, not removed"}
		}
	}
	if invalid := unknown(shape, patch, ""); invalid != nil { // a null of it would go unnoticed
		return nil, invalid
	}
	shown, err := Show(old)
	if err != nil {
		return nil, err
	}
	target, invalid := parse(shown)
	if invalid != nil {
		return nil, invalid
	}
	return decode(old.Kind(), merge(target, patch), old)
}

func object(body []byte) (*node, *Invalid) {
	n, invalid := parse(body)
	if invalid == nil && n.kind != '{' {
		invalid = &Invalid{Message: "body must be a JSON object"}
	}
	return n, invalid
}

func decode(kind Kind, n *node, old Resource) (Resource, error) {
	in := kind.Row().body()
	if invalid := fill(reflect.ValueOf(in).Elem(), n, ""); invalid != nil {
		return nil, invalid
	}
	r, invalid := in.resource(old)
	if invalid != nil {
		return nil, invalid
	}
	return r, nil
}

// shown is a member that Show adds and writes ignore: what may be told of a secret.
type shown json.RawMessage

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
