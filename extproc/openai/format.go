package openai

import (
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
)

type responseFormat struct {
	Type       *string        `json:"type"`
	JSONSchema *jsonSchema    `json:"json_schema"`
	Unknown    strict.Unknown `json:",embed"`
}

func (f *responseFormat) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members responseFormat
	return strict.Object(dec, (*members)(f), f)
}

func (f *responseFormat) Check() *strict.Error {
	switch {
	case f.Type == nil:
		return strict.Required("/type")
	case *f.Type == "json_schema" && f.JSONSchema == nil:
		return strict.Required("/json_schema")
	case f.JSONSchema != nil && f.JSONSchema.Name == "":
		return strict.Required("/json_schema/name")
	}
	return strict.OneOf("/type", f.Type, "text", "json_object", "json_schema")
}

type jsonSchema struct {
	Name        string           `json:"name"`
	Description string           `json:"description"`
	Schema      strict.RawObject `json:"schema"`
	Strict      bool             `json:"strict"`
	Unknown     strict.Unknown   `json:",embed"`
}

// toChat is nil for text, which is no format, and a Format without a schema for json_object.
func (f *responseFormat) toChat() *chat.Format {
	switch {
	case f == nil || *f.Type == "text":
		return nil
	case *f.Type == "json_object":
		return &chat.Format{}
	}
	s := f.JSONSchema
	out := &chat.Format{Name: s.Name, Description: s.Description, Schema: json.RawMessage(s.Schema), Strict: s.Strict, Param: "response_format.json_schema.schema"}
	if s.Schema == nil {
		out.Schema = json.RawMessage(`{"type":"object"}`) // OpenAI's "any object"
	}
	return out
}
