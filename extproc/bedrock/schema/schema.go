package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"aisix/extproc/chat"
)

// ErrOpen says that a schema has no native form.
var ErrOpen = errors.New("has an object that allows any members, which this model does not support")

// What is wrong with a schema, after "the schema".
var (
	errNoObject = errors.New("must be a JSON object")
	errNoRoot   = errors.New("must have type object")
	errTooMany  = fmt.Errorf("has more than %d values and member names, too many to rewrite for this model", chat.MaxSchemaValues)
	errTooDeep  = fmt.Errorf("nests deeper than %d levels", chat.MaxSchemaDepth)

	errStrictSize  = fmt.Errorf("is larger than %d bytes, the limit for strict schemas", chat.MaxStrictSchema)
	errStrictCount = fmt.Errorf("has more than %d properties, items, alternatives and definitions, the limit for strict schemas", chat.MaxSubschemas)
)

// Tool is the caller's schema as the input schema of a tool: Bedrock wants
// type object at its root, and nothing but that word.
func Tool(raw json.RawMessage) (json.RawMessage, error) {
	kind, err := rootType(raw)
	if err != nil {
		return nil, errNoObject
	}
	if kind == nil {
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
	t, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	t = t.with("type", textTree("object"))
	return t.json(), nil
}

// rootType is the member type of an object, nil if it has none. It reads no
// further than that.
func rootType(raw json.RawMessage) (json.RawMessage, error) {
	tokens := json.NewDecoder(bytes.NewReader(raw))
	if open, err := tokens.Token(); err != nil || open != json.Delim('{') {
		return nil, errNoObject
	}
	var value json.RawMessage
	for tokens.More() {
		name, err := tokens.Token()
		if err != nil {
			return nil, err
		}
		if err := tokens.Decode(&value); err != nil {
			return nil, err
		}
		if name == "type" {
			return value, nil
		}
	}
	_, err := tokens.Token()
	return nil, err
}

func parseObject(raw json.RawMessage) (tree, error) {
	t, err := parseTree(raw)
	switch {
	case errors.Is(err, errTooMany), errors.Is(err, errTooDeep):
		return tree{}, err
	case err != nil, t.kind != '{':
		return tree{}, errNoObject
	}
	return t, nil
}

// Native is the caller's schema as constrained decoding takes it: objects
// are closed where the caller said nothing, and keywords that it does not know are
// told in the description instead. An object that the caller left open has no
// native form (ErrOpen): closed, it would mean something else.
func Native(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) > chat.MaxStrictSchema {
		return nil, errStrictSize
	}
	t, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	left := chat.MaxSubschemas
	if t, err = native(t, 0, &left); err != nil {
		return nil, err
	}
	return t.json(), nil
}

// native is Native of one schema; left is how many may still come.
func native(t tree, depth int, left *int) (tree, error) {
	if *left--; *left < 0 {
		return tree{}, errStrictCount
	}
	if depth > chat.MaxSchemaDepth {
		return tree{}, errTooDeep
	}
	if t.kind != '{' { // true, false, or what Bedrock will refuse
		return t, nil
	}
	out := tree{kind: '{', members: make([]member, 0, len(t.members)+1)}
	var moved []member
	for _, x := range t.members {
		if x.name == "additionalProperties" && string(x.value.raw) != "false" {
			return tree{}, ErrOpen
		}
		if unsupported(x) {
			moved = append(moved, x)
			continue
		}
		value, err := nativeValue(x, depth, left)
		if err != nil {
			return tree{}, err
		}
		if x.name == "oneOf" {
			x.name = "anyOf"
		}
		out.members = append(out.members, member{x.name, value})
	}
	if isObject(&out) && out.get("additionalProperties") == nil {
		out.members = append(out.members, member{"additionalProperties", tree{raw: json.RawMessage("false")}})
	}
	if len(moved) > 0 {
		out = out.with("description", describe(out.get("description"), moved))
	}
	return out, nil
}

// nativeValue is the value of a keyword, its subschemas made native.
func nativeValue(x member, depth int, left *int) (v tree, err error) {
	v = x.value
	switch holds(x) {
	case oneSchema:
		return native(v, depth+1, left)
	case severalSchemas:
		v.raw, v.members = nil, slices.Clone(v.members)
		for i := range v.members {
			if v.members[i].value, err = native(v.members[i].value, depth+1, left); err != nil {
				return tree{}, err
			}
		}
	}
	return v, nil
}

// subschemas says what of a keyword's value is a schema: nothing, all of it, or
// each member or item.
type subschemas int

const (
	noSchema subschemas = iota
	oneSchema
	severalSchemas
)

func holds(x member) subschemas {
	switch x.name {
	case "items", "additionalProperties", "not":
		return oneSchema
	case "anyOf", "oneOf", "allOf", "prefixItems":
		if x.value.kind == '[' {
			return severalSchemas
		}
	case "properties", "patternProperties", "$defs", "definitions":
		if x.value.kind == '{' {
			return severalSchemas
		}
	}
	return noSchema
}

func isObject(t *tree) bool {
	kind := t.get("type")
	if kind == nil {
		return t.get("properties") != nil
	}
	if s, ok := kind.text(); ok {
		return s == "object"
	}
	return kind.kind == '[' && slices.ContainsFunc(kind.members, func(x member) bool { s, _ := x.value.text(); return s == "object" })
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
