package bedrock

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// plainRoot is all that a plain tool schema may hold at its root: anything else
// is refused there ("extraneous key [$defs] is not permitted").
var plainRoot = []string{"type", "properties", "required"}

// maxPlainSize bounds what references may add to all schemas of a request.
const maxPlainSize = 1 << 20

var errTooLarge = errors.New("is too large once its references are written out")

// plainSchema is a tool's schema for families that take no more than type,
// properties and required at its root: what references point at is written where
// they stand, and the root's other members are left out. They bind no model that
// is not held to a schema anyway. What is read is taken from left, in bytes.
func plainSchema(raw json.RawMessage, left *int) (json.RawMessage, error) {
	root, err := parseMembers(raw)
	if err != nil {
		return nil, err
	}
	in := inliner{root: root, left: left, found: map[string]members{}, objects: map[string]map[string]json.RawMessage{}}
	root, trail := in.resolve(root, nil)
	var out members
	for _, x := range root {
		if !slices.Contains(plainRoot, x.name) {
			continue
		}
		if x.value, err = in.keyword(x, trail, 0); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	if out.get("type") == nil {
		out = append(members{{"type", json.RawMessage(`"object"`)}}, out...)
	}
	return out.json(), nil
}

// inliner writes references out. trail are those that are being written: one that
// leads back to itself says nothing any more where it does.
type inliner struct {
	root    members
	left    *int                                  // bytes
	found   map[string]members                    // by reference
	objects map[string]map[string]json.RawMessage // by path
}

// schema is raw, a schema or what may stand in its place, without references.
func (in *inliner) schema(raw json.RawMessage, trail []string, depth int) (json.RawMessage, error) {
	raw = bytes.TrimSpace(raw)
	if *in.left -= len(raw); *in.left < 0 {
		return nil, errTooLarge
	}
	if depth > maxSchemaDepth {
		return nil, errTooDeep
	}
	if len(raw) == 0 || raw[0] != '{' {
		return raw, nil
	}
	m, err := parseMembers(raw)
	if err != nil {
		return nil, err
	}
	m, trail = in.resolve(m, trail)
	var out members
	for _, x := range m {
		if x.name == "$defs" || x.name == "definitions" {
			continue
		}
		if x.value, err = in.keyword(x, trail, depth); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out.json(), nil
}

// keyword is the value of one member of a schema.
func (in *inliner) keyword(x member, trail []string, depth int) (json.RawMessage, error) {
	switch {
	case slices.Contains(mapsOfSchemas, x.name), x.name == "patternProperties":
		m, err := parseMembers(x.value)
		if err != nil {
			return x.value, nil
		}
		for i := range m {
			if m[i].value, err = in.schema(m[i].value, trail, depth+1); err != nil {
				return nil, err
			}
		}
		return m.json(), nil
	case slices.Contains(listsOfSchemas, x.name), x.name == "oneOf", x.name == "prefixItems":
		var list []json.RawMessage
		if json.Unmarshal(x.value, &list) != nil {
			return x.value, nil
		}
		for i := range list {
			var err error
			if list[i], err = in.schema(list[i], trail, depth+1); err != nil {
				return nil, err
			}
		}
		return slices.Concat([]byte("["), bytes.Join(raws(list), []byte(",")), []byte("]")), nil
	case slices.Contains(oneSchema, x.name), x.name == "not":
		return in.schema(x.value, trail, depth+1)
	}
	return x.value, nil
}

func raws(list []json.RawMessage) [][]byte {
	out := make([][]byte, len(list))
	for i, raw := range list {
		out[i] = raw
	}
	return out
}

// resolve replaces a reference by the members that it points at, under those that
// stand beside it.
func (in *inliner) resolve(m members, trail []string) (members, []string) {
	for {
		var ref string
		if json.Unmarshal(m.get("$ref"), &ref) != nil {
			return m, trail
		}
		beside := slices.DeleteFunc(slices.Clone(m), func(x member) bool { return x.name == "$ref" })
		target, ok := in.at(ref)
		if !ok || slices.Contains(trail, ref) {
			return beside, trail
		}
		trail = append(slices.Clip(trail), ref)
		if m = slices.Clone(target); m.get("$ref") == nil && len(beside) == 0 {
			return m, trail
		}
		for _, x := range beside {
			m = m.set(x.name, x.value)
		}
	}
}

var pointerToken = strings.NewReplacer("~1", "/", "~0", "~")

// at is the schema that a reference within the document points at.
func (in *inliner) at(ref string) (members, bool) {
	if m, ok := in.found[ref]; ok {
		return m, m != nil
	}
	var m members
	if ref == "#" {
		m = in.root
	} else if slash := strings.LastIndexByte(ref, '/'); slash > 0 {
		m, _ = parseMembers(in.object(ref[:slash])[pointerToken.Replace(ref[slash+1:])]) // nil is nowhere
	}
	in.found[ref] = m
	return m, m != nil
}

// object is the object at a path, read once: there may be as many references as
// it has members.
func (in *inliner) object(path string) map[string]json.RawMessage {
	if o, ok := in.objects[path]; ok {
		return o
	}
	var o map[string]json.RawMessage
	if path == "#" {
		o = make(map[string]json.RawMessage, len(in.root))
		for _, x := range in.root {
			o[x.name] = x.value
		}
	} else if slash := strings.LastIndexByte(path, '/'); slash > 0 {
		_ = json.Unmarshal(in.object(path[:slash])[pointerToken.Replace(path[slash+1:])], &o) // nil is no object
	}
	in.objects[path] = o
	return o
}
