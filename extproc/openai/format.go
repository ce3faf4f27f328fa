package openai

import (
	"encoding/json"

	"aisix/extproc/chat"
)

func (d *decoder) responseFormat(v value) {
	var schema value
	var format string
	d.each(v, func(name string, m value) bool {
		switch name {
		case "type":
			format = d.word(m, "text", "json_object", "json_schema")
		case "json_schema":
			schema = m
		default:
			return false
		}
		return true
	})
	if d.err != nil {
		return
	}
	switch format {
	case "":
		d.missing(v, "type")
	case "json_object":
		d.request.Format = &chat.Format{}
	case "json_schema":
		if !schema.present() {
			d.missing(v, "json_schema")
			return
		}
		d.request.Format = d.schema(schema)
	}
}

func (d *decoder) schema(v value) *chat.Format {
	f := &chat.Format{Param: "response_format.json_schema.schema"}
	d.each(v, func(name string, m value) bool {
		switch name {
		case "name":
			f.Name = d.text(m)
		case "description":
			f.Description = d.text(m)
		case "schema":
			f.Schema = d.object(m)
		case "strict":
			f.Strict = d.boolean(m)
		default:
			return false
		}
		return true
	})
	if d.err == nil && f.Name == "" {
		d.missing(v, "name")
	}
	if d.err == nil && f.Schema == nil {
		f.Schema = json.RawMessage(`{"type":"object"}`) // OpenAI's "any object"
	}
	return f
}
