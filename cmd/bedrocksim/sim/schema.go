package sim

import "fmt"

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
// not schemas.
func closed(path string, v any) *fault {
	switch v := v.(type) {
	case object:
		if v["type"] == "object" && v["additionalProperties"] != false {
			return at(path, "For 'object' type, 'additionalProperties' must be explicitly set to false")
		}
		for _, word := range []string{"minimum", "maximum", "multipleOf", "minLength", "maxLength"} {
			if _, ok := v[word]; ok && v["type"] != nil {
				return at(path, "For '%v' type, property '%s' is not supported", v["type"], word)
			}
		}
		for name, e := range v {
			if name == "enum" || name == "const" || name == "default" || name == "examples" {
				continue
			}
			if f := closed(join(path, name), e); f != nil {
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
