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
)

const maxSchemaDepth = 64

// member is one member of a JSON object. The order of a schema's properties is
// the order in which a model writes them, so it is kept.
type member struct {
	name  string
	value json.RawMessage
}

type members []member

func parseMembers(raw json.RawMessage) (members, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errNoObject
	}
	var out members
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, errNoObject
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, errNoObject
		}
		name, _ := key.(string) // keys of objects are strings
		out = append(out, member{name, v})
	}
	return out, nil
}

func (m members) get(name string) json.RawMessage {
	for _, x := range m {
		if x.name == name {
			return x.value
		}
	}
	return nil
}

func (m members) set(name string, value json.RawMessage) members {
	for i := range m {
		if m[i].name == name {
			m[i].value = value
			return m
		}
	}
	return append(m, member{name, value})
}

func (m members) json() json.RawMessage {
	var buf bytes.Buffer
	buf.WriteByte('{')
	for i, x := range m {
		if i > 0 {
			buf.WriteByte(',')
		}
		buf.Write(text(x.name))
		buf.WriteByte(':')
		buf.Write(x.value)
	}
	buf.WriteByte('}')
	return buf.Bytes()
}

// text is s as JSON, without HTML escapes.
func text(s string) json.RawMessage {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimSpace(buf.Bytes())
}

// toolSchema is the caller's schema as the input schema of a tool: Bedrock wants
// type object at its root, and nothing but that word.
func toolSchema(raw json.RawMessage) (json.RawMessage, error) {
	m, err := parseMembers(raw)
	if err != nil {
		return nil, err
	}
	var kind any
	_ = json.Unmarshal(m.get("type"), &kind) // absent is nil
	switch k := kind.(type) {
	case string:
		if k == "object" {
			return raw, nil
		}
	case nil:
		if m.get("type") == nil {
			return append(members{{"type", json.RawMessage(`"object"`)}}, m...).json(), nil
		}
	case []any: // an object or nothing, say
		if slices.Contains(k, any("object")) {
			return m.set("type", json.RawMessage(`"object"`)).json(), nil
		}
	}
	return nil, errNoRoot
}

// nativeSchema is the caller's schema as native structured output takes it:
// objects are closed where the caller said nothing, and keywords that the
// constrained decoder does not know are told in the description instead.
func nativeSchema(raw json.RawMessage) (json.RawMessage, error) { return native(raw, 0) }

func native(raw json.RawMessage, depth int) (json.RawMessage, error) {
	if depth > maxSchemaDepth {
		return nil, errTooDeep
	}
	if depth > 0 && (len(bytes.TrimSpace(raw)) == 0 || bytes.TrimSpace(raw)[0] != '{') {
		return raw, nil // true, false, or what Bedrock will refuse
	}
	in, err := parseMembers(raw)
	if err != nil {
		return nil, err
	}
	var out members
	var moved members
	for _, x := range in {
		switch {
		case unsupported(x):
			moved = append(moved, x)
			continue
		case x.name == "oneOf":
			x.name = "anyOf"
			fallthrough
		case slices.Contains(listsOfSchemas, x.name):
			x.value, err = nativeList(x.value, depth)
		case slices.Contains(mapsOfSchemas, x.name):
			x.value, err = nativeMap(x.value, depth)
		case slices.Contains(oneSchema, x.name):
			x.value, err = native(x.value, depth+1)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	if isObject(out) && out.get("additionalProperties") == nil {
		out = append(out, member{"additionalProperties", json.RawMessage("false")})
	}
	if len(moved) > 0 {
		out = out.set("description", describe(out.get("description"), moved))
	}
	return out.json(), nil
}

// Keywords that hold schemas.
var (
	oneSchema      = []string{"items", "additionalProperties"}
	listsOfSchemas = []string{"anyOf", "allOf"}
	mapsOfSchemas  = []string{"properties", "$defs", "definitions"}
)

func nativeList(raw json.RawMessage, depth int) (json.RawMessage, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return raw, nil
	}
	var buf bytes.Buffer
	buf.WriteByte('[')
	for i, x := range list {
		x, err := native(x, depth+1)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			buf.WriteByte(',')
		}
		buf.Write(x)
	}
	buf.WriteByte(']')
	return buf.Bytes(), nil
}

func nativeMap(raw json.RawMessage, depth int) (json.RawMessage, error) {
	m, err := parseMembers(raw)
	if err != nil {
		return raw, nil
	}
	for i := range m {
		if m[i].value, err = native(m[i].value, depth+1); err != nil {
			return nil, err
		}
	}
	return m.json(), nil
}

func isObject(m members) bool {
	var kind any
	_ = json.Unmarshal(m.get("type"), &kind) // absent is nil
	switch k := kind.(type) {
	case string:
		return k == "object"
	case []any:
		return slices.Contains(k, any("object"))
	}
	return m.get("properties") != nil
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
		v := strings.TrimSpace(string(x.value))
		return v != "0" && v != "1"
	case "format":
		var f string
		return json.Unmarshal(x.value, &f) == nil && !slices.Contains(nativeFormats, f)
	}
	return slices.Contains(notNative, x.name)
}

// describe adds what was moved to a description.
func describe(description json.RawMessage, moved members) json.RawMessage {
	var s string
	_ = json.Unmarshal(description, &s) // absent is empty
	var hints []string
	for _, x := range moved {
		hints = append(hints, x.name+": "+string(x.value))
	}
	return text(strings.TrimSpace(s + " (" + strings.Join(hints, ", ") + ")"))
}
