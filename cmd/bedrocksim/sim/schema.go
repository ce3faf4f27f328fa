package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// schema checks a JSON Schema whose type is object.
func schema(path string, v any) *fault {
	o, ok := v.(object)
	if !ok {
		return at(path, "Input should be an object")
	}
	if o["type"] != "object" {
		return at(join(path, "type"), "The value must be one of the following: object.")
	}
	// No validator: these are what gateways get wrong.
	if p, ok := o["properties"]; ok {
		if _, ok := p.(object); !ok {
			return at(join(path, "properties"), "JSON schema is invalid. It must match JSON Schema draft 2020-12.")
		}
	}
	if r, ok := o["required"]; ok {
		if f := list(0, 1000, anyText)(join(path, "required"), r); f != nil {
			return at(join(path, "required"), "JSON schema is invalid. It must match JSON Schema draft 2020-12.")
		}
	}
	return nil
}

// jsonSchemaText: Converse carries the schema of structured output as JSON in a string.
func jsonSchemaText(path string, v any) *fault {
	s, ok := v.(string)
	if !ok {
		return at(path, "Input should be a string of JSON")
	}
	o, err := parse([]byte(s))
	if err != nil {
		return at(path, "The schema is not valid JSON.")
	}
	return structured(path, o)
}

// structured checks a schema of structured output: its objects must be closed.
func structured(path string, v any) *fault {
	if f := schema(path, v); f != nil {
		return f
	}
	return closed(path, v)
}

// closed holds every object in a schema to additionalProperties false, and refuses keywords that
// constrained decoding has no grammar for. Values under enum, const, default and examples are data,
// not schemas; under properties, names are no keywords.
func closed(path string, v any) *fault {
	switch v := v.(type) {
	case object:
		if f := closedObject(path, v); f != nil {
			return f
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if schemaData[name] {
				continue
			}
			if named, ok := v[name].(object); ok && (name == "properties" || name == "$defs" || name == "definitions") {
				for _, n := range slices.Sorted(maps.Keys(named)) {
					if f := closed(join(join(path, name), n), named[n]); f != nil {
						return f
					}
				}
				continue
			}
			if f := closed(join(path, name), v[name]); f != nil {
				return f
			}
		}
	case []any:
		for i, e := range v {
			if f := closed(fmt.Sprintf("%s.%d", path, i), e); f != nil {
				return f
			}
		}
	}
	return nil
}

// unsupported are keywords without a grammar, by the type that Bedrock names in its refusal.
var unsupported = map[string][]string{
	"number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
	"string": {"minLength", "maxLength"},
	"array":  {"maxItems", "uniqueItems"},
}

func closedObject(path string, v object) *fault {
	types := items(v, "type")
	if v["type"] == "object" || slices.Contains(types, any("object")) {
		if v["additionalProperties"] != false {
			return at(path, "For 'object' type, 'additionalProperties' must be explicitly set to false")
		}
	}
	if _, ok := v["oneOf"]; ok {
		return at(path, "Schema type 'oneOf' is not supported")
	}
	for _, kind := range []string{"array", "number", "string"} {
		for _, word := range unsupported[kind] {
			if _, ok := v[word]; ok {
				named := kind
				if s, ok := v["type"].(string); ok {
					named = s
				}
				return at(path, "For '%s' type, property '%s' is not supported", named, word)
			}
		}
	}
	// An array may be asked to be empty or not to be; no more.
	if n, ok := v["minItems"].(json.Number); ok && n != "0" && n != "1" {
		return at(path, "For 'array' type, 'minItems' values other than 0 or 1 are not supported")
	}
	return nil
}
