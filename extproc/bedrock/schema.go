package bedrock

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// What is wrong with a schema, behind "the schema".
var (
	errNoObject = errors.New("must be a JSON object")
	errNoRoot   = errors.New("must describe an object")
	errTooDeep  = errors.New("is nested too deeply")
	errOpen     = errors.New("has an object of any members, which this model can't be held to")
)

const maxSchemaDepth = 64

// toolSchema is the caller's schema as the input schema of a tool: Bedrock wants
// type object at its root, and nothing but that word.
func toolSchema(raw json.RawMessage) (json.RawMessage, error) {
	var root map[string]json.RawMessage
	if json.Unmarshal(raw, &root) != nil || root == nil {
		return nil, errNoObject
	}
	kind, said := root["type"]
	if !said {
		rest := bytes.TrimSpace(bytes.TrimSpace(raw)[1:])
		if rest[0] == '}' {
			return json.RawMessage(`{"type":"object"}`), nil
		}
		return append(json.RawMessage(`{"type":"object",`), rest...), nil
	}
	var one string
	if json.Unmarshal(kind, &one) == nil && one == "object" {
		return raw, nil
	}
	var several []string // an object or nothing, say
	if json.Unmarshal(kind, &several) != nil || !slices.Contains(several, "object") {
		return nil, errNoRoot
	}
	t, err := parseTree(raw)
	if err != nil {
		return nil, errNoObject
	}
	return t.with("type", textTree("object")).json(), nil
}

// nativeSchema is the caller's schema as constrained decoding takes it: objects
// are closed where the caller said nothing, and keywords that it does not know are
// told in the description instead. An object that the caller left open has no
// native form (errOpen): closed, it would mean something else.
func nativeSchema(raw json.RawMessage) (json.RawMessage, error) {
	t, err := parseTree(raw)
	if err != nil || t.kind != '{' {
		return nil, errNoObject
	}
	if t, err = native(t, 0); err != nil {
		return nil, err
	}
	return t.json(), nil
}

func native(t tree, depth int) (tree, error) {
	if depth > maxSchemaDepth {
		return tree{}, errTooDeep
	}
	if t.kind != '{' { // true, false, or what Bedrock will refuse
		return t, nil
	}
	out := tree{kind: '{'}
	var moved []member
	for _, x := range t.members {
		if x.name == "additionalProperties" && string(x.value.raw) != "false" {
			return tree{}, errOpen
		}
		if unsupported(x) {
			moved = append(moved, x)
			continue
		}
		if x.name == "oneOf" {
			x.name = "anyOf"
		}
		var err error
		if x.value, err = schemasIn(x, func(s tree) (tree, error) { return native(s, depth+1) }); err != nil {
			return tree{}, err
		}
		out.members = append(out.members, x)
	}
	if isObject(out) && out.get("additionalProperties") == nil {
		out = out.with("additionalProperties", tree{raw: json.RawMessage("false")})
	}
	if len(moved) > 0 {
		out = out.with("description", describe(out.get("description"), moved))
	}
	return out, nil
}

// Keywords that hold schemas: one, a list, or a map of them.
var (
	oneSchema      = []string{"items", "additionalProperties", "not"}
	listsOfSchemas = []string{"anyOf", "oneOf", "allOf", "prefixItems"}
	mapsOfSchemas  = []string{"properties", "patternProperties", "$defs", "definitions"}
)

// schemasIn is the value of a keyword with f applied to the schemas that it holds.
func schemasIn(x member, f func(tree) (tree, error)) (tree, error) {
	v := x.value
	var err error
	switch {
	case v.kind == '{' && slices.Contains(mapsOfSchemas, x.name):
		v.members = slices.Clone(v.members)
		for i := range v.members {
			if v.members[i].value, err = f(v.members[i].value); err != nil {
				return tree{}, err
			}
		}
	case v.kind == '[' && slices.Contains(listsOfSchemas, x.name):
		v.items = slices.Clone(v.items)
		for i := range v.items {
			if v.items[i], err = f(v.items[i]); err != nil {
				return tree{}, err
			}
		}
	case slices.Contains(oneSchema, x.name):
		return f(v)
	}
	return v, nil
}

func isObject(t tree) bool {
	kind := t.get("type")
	if kind == nil {
		return t.get("properties") != nil
	}
	if s, ok := kind.text(); ok {
		return s == "object"
	}
	return slices.ContainsFunc(kind.items, func(x tree) bool { s, _ := x.text(); return s == "object" })
}

// notNative are keywords that constrained decoding does not take.
var notNative = []string{
	"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
	"maxItems", "uniqueItems", "contains", "minContains", "maxContains", "prefixItems", "unevaluatedItems",
	"minProperties", "maxProperties", "patternProperties", "propertyNames", "unevaluatedProperties",
	"dependentRequired", "dependentSchemas", "dependencies", "if", "then", "else", "not",
}

// nativeFormats are the string formats that it does take.
var nativeFormats = []string{"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}

func unsupported(x member) bool {
	switch x.name {
	case "minItems":
		return string(x.value.raw) != "0" && string(x.value.raw) != "1"
	case "format":
		f, ok := x.value.text()
		return ok && !slices.Contains(nativeFormats, f)
	}
	return slices.Contains(notNative, x.name)
}

// describe adds what was moved to a description.
func describe(description *tree, moved []member) tree {
	s, _ := description.text() // absent is empty
	var hints []string
	for _, x := range moved {
		hints = append(hints, x.name+": "+string(x.value.json()))
	}
	return textTree(strings.TrimSpace(s + " (" + strings.Join(hints, ", ") + ")"))
}
