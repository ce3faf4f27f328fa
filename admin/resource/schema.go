package resource

import (
	"bytes"
	"encoding/json"
	"maps"
	"path"
	"reflect"
	"strconv"
	"strings"
)

// Schema is a JSON Schema, as OpenAPI 3.1 has it.
type Schema map[string]any

// Properties are an object's, in their order.
type Properties []Property

// Property is one member of an object.
type Property struct {
	Name   string
	Schema Schema
}

// MarshalJSON writes an object.
func (p Properties) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, property := range p {
		if i > 0 {
			out.WriteByte(',')
		}
		name, err := json.Marshal(property.Name)
		if err != nil {
			return nil, err
		}
		schema, err := json.Marshal(property.Schema)
		if err != nil {
			return nil, err
		}
		out.Write(append(append(name, ':'), schema...))
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// Schemas describes structs out of their types and tags, each once, for a document
// that has them by name.
type Schemas struct {
	// Describe is what a type ("resource.Model") or a field of it
	// ("resource.Model.ModelName") is, for people.
	Describe func(name string) string
	Named    map[string]Schema
}

// Kind is what a write of a kind may hold and a read shows.
func (s *Schemas) Kind(row *Row) Schema {
	return s.object(row.Title(), "resource."+row.Title(), reflect.TypeOf(row.body()).Elem(), row)
}

// Body is what a body may hold that is no resource.
func (s *Schemas) Body(t reflect.Type) Schema {
	return s.object(schemaName(t), typePath(t), t, nil)
}

// Answer is a struct that is only written: a member that is never left out is required,
// and none is null.
func (s *Schemas) Answer(t reflect.Type) Schema {
	return s.add(schemaName(t), typePath(t), t, func(f field) (Schema, bool) { return s.value(f, s.Answer, nil), !f.omitted })
}

// object is a struct that is read: a member that need not be there may be null.
func (s *Schemas) object(name, path string, t reflect.Type, row *Row) Schema {
	return s.add(name, path, t, func(f field) (Schema, bool) {
		schema := s.value(f, s.Body, row)
		if !f.required {
			schema = f.optional(schema)
		}
		return schema, f.required
	})
}

func (s *Schemas) add(name, path string, t reflect.Type, member func(field) (schema Schema, required bool)) Schema {
	if _, known := s.Named[name]; !known {
		properties, required := Properties{}, []string{}
		for _, f := range fieldsOf(t) {
			schema, must := member(f)
			if must {
				required = append(required, f.name)
			}
			properties = append(properties, Property{f.name, s.described(schema, f.path)})
		}
		schema := Schema{"type": "object", "properties": properties, "additionalProperties": false}
		if len(required) > 0 {
			schema["required"] = required
		}
		s.Named[name] = s.described(schema, path)
	}
	return Ref(name)
}

func (s *Schemas) described(schema Schema, path string) Schema {
	if text := s.Describe(path); text != "" {
		schema["description"] = text
	}
	return schema
}

// Ref is a reference to a schema by its name.
func Ref(name string) Schema { return Schema{"$ref": "#/components/schemas/" + name} }

// value is what a field holds where it is there; below is for structs in it.
func (s *Schemas) value(f field, below func(reflect.Type) Schema, row *Row) Schema {
	schema := Schema{}
	if f.rule != nil {
		maps.Copy(schema, f.rule.schema)
	}
	if f.writeOnly {
		schema["writeOnly"] = true
	}
	switch f.kind {
	case ignoredType:
		return Schema{"anyOf": []any{s.Answer(row.Secret.shows), true}, "readOnly": true}
	case timeType:
		schema["type"], schema["format"] = "string", "date-time"
		return schema
	case numberType:
		schema["type"] = "number"
		f.bound(schema)
		return schema
	case rawType: // its rule says what it may be
		return schema
	}
	switch f.kind.Kind() {
	case reflect.String:
		f.text(schema)
		if f.required && len(f.words) == 0 {
			schema["minLength"] = 1
		}
	case reflect.Slice:
		if item := f.kind.Elem(); item.Kind() == reflect.Struct {
			schema = Schema{"type": "array", "items": below(item), "minItems": 1}
			if most, err := strconv.ParseInt(f.max, 10, 64); err == nil {
				schema["maxItems"] = most
			}
			return schema
		}
		f.text(schema)
		if len(f.words) == 0 {
			schema["minLength"] = 1
		}
		schema = Schema{"type": "array", "items": schema}
		if most, err := strconv.ParseInt(f.max, 10, 64); err == nil {
			schema["maxItems"] = most
		}
	case reflect.Bool:
		schema["type"] = "boolean"
		if len(f.words) == 1 {
			schema["const"] = f.words[0] == "true"
		}
	case reflect.Int, reflect.Int64:
		schema["type"] = "integer"
		f.bound(schema)
	case reflect.Map:
		schema["type"] = "object"
	case reflect.Struct:
		return below(f.kind)
	default:
		panic("resource: no schema of a " + f.kind.String())
	}
	return schema
}

func (f *field) text(schema Schema) {
	schema["type"] = "string"
	if len(f.words) > 0 {
		schema["enum"] = f.words
	}
}

func (f *field) bound(schema Schema) {
	for name, text := range map[string]string{"minimum": f.min, "maximum": f.max} {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			schema[name] = n
		}
	}
}

// optional is schema, or a null, or an empty text if the member is not kept.
func (f *field) optional(schema Schema) Schema {
	if schema["$ref"] != nil {
		return Schema{"anyOf": []any{schema, Schema{"type": "null"}}}
	}
	if kind, ok := schema["type"].(string); ok {
		schema["type"] = []string{kind, "null"}
	}
	if words, ok := schema["enum"].([]string); ok {
		all := []any{}
		for _, word := range words {
			all = append(all, word)
		}
		schema["enum"] = append(all, "", nil)
	}
	if pattern, ok := schema["pattern"].(string); ok && !f.kept {
		schema["pattern"] = whole("(" + strings.TrimSuffix(strings.TrimPrefix(pattern, "^"), "$") + ")?")
	}
	return schema
}

// schemaName is the name of a struct's schema: Go's, but where Bedrock's differs.
func schemaName(t reflect.Type) string {
	if t == reflect.TypeFor[Performance]() {
		return "PerformanceConfig"
	}
	return strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
}

// typePath is a type's name as Schemas.Describe takes it.
func typePath(t reflect.Type) string { return path.Base(t.PkgPath()) + "." + t.Name() }
