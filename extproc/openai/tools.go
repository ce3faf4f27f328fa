package openai

import (
	"encoding/json"
	"fmt"

	"aisix/extproc/chat"
)

// anyObject is the schema of a function that takes nothing in particular.
const anyObject = `{"type":"object","properties":{}}`

func (d *decoder) tools(v value) {
	d.toolNames = map[string]bool{}
	n := 0
	d.some(v, &n, chat.MaxTools, "tools", func(item value) {
		t := d.tool(item, n-1)
		if d.err == nil && d.toolNames[t.Name] {
			d.fail(item.member("function").member("name"), "two tools have the name %q", clip(t.Name, 64))
		}
		d.toolNames[t.Name] = true
		d.request.Tools = append(d.request.Tools, t)
	})
}

// tool decodes the nth tool.
func (d *decoder) tool(v value, n int) chat.Tool {
	var t chat.Tool
	function := d.variant(v, "tools", func(name string, m value) bool {
		if name == "cache_control" {
			t.Cache = d.cacheControl(m)
		}
		return name == "cache_control"
	})
	if d.err != nil {
		return t
	}
	t.Schema = json.RawMessage(anyObject)
	d.each(function, func(name string, m value) bool {
		switch name {
		case "name":
			t.Name = d.toolName(m)
		case "description":
			t.Description = d.text(m)
		case "parameters":
			t.Schema, t.Param = d.parameterSchema(m), fmt.Sprintf("tools[%d].function.parameters", n)
		case "strict":
			t.Strict = d.boolean(m)
		case "cache_control":
			t.Cache = d.cacheControl(m)
		default:
			return false
		}
		return true
	})
	if d.err == nil && t.Name == "" {
		d.missing(function, "name")
	}
	return t
}

// parameterSchema is a schema of type object, as OpenAI wants it; {} is a
// function that takes nothing.
func (d *decoder) parameterSchema(v value) json.RawMessage {
	schema := d.object(v)
	if d.err != nil {
		return nil
	}
	if d.empty(v) {
		return json.RawMessage(anyObject)
	}
	if kind := v.member("type"); !kind.present() || kind.kind() != stringKind || string(kind.bytes()) != "object" {
		d.fail(v, "must be a JSON Schema whose type is object")
	}
	return schema
}

// toolName is the name of a tool, as the caller chose it.
func (d *decoder) toolName(v value) string {
	name := d.text(v)
	if len(name) > chat.MaxToolName {
		d.fail(v, "must be at most %d bytes long", chat.MaxToolName)
	}
	return name
}

// variant reads {"type":"function","function":{…}}, the one kind of tool and of
// call that there is (what names them in the error), and gives the function.
// Other members are extra's to know.
func (d *decoder) variant(v value, what string, extra func(name string, m value) bool) value {
	if !d.is(v, objectKind) {
		return value{}
	}
	kind := v.member("type")
	if !kind.present() {
		d.missing(v, "type")
		return value{}
	}
	if d.text(kind) != "function" {
		d.fail(kind, "only %s of type function are possible", what)
		return value{}
	}
	var function value
	d.each(v, func(name string, m value) bool {
		if name == "function" {
			function = m
		}
		return name == "type" || name == "function" || extra != nil && extra(name, m)
	})
	if d.err == nil && !function.present() {
		d.missing(v, "function")
	}
	return function
}

// choice decodes tool_choice, once the tools are known.
func (d *decoder) choice(v value) {
	c := &d.request.ToolChoice
	switch v.kind() {
	case stringKind:
		switch d.word(v, "none", "auto", "required") {
		case "none":
			c.Mode = chat.ToolChoiceNone
		case "auto":
			c.Mode = chat.ToolChoiceAuto
		case "required":
			c.Mode = chat.ToolChoiceAny
		}
	case objectKind:
		d.choiceObject(v)
	default:
		d.fail(v, "must be a string or an object")
	}
	if d.err == nil && len(d.request.Tools) == 0 && (c.Mode == chat.ToolChoiceAny || c.Mode == chat.ToolChoiceTool || len(c.Only) > 0) {
		d.fail(v, "a tool can be asked for only where tools are given")
	}
}

func (d *decoder) choiceObject(v value) {
	kind := v.member("type")
	if !kind.present() {
		d.missing(v, "type")
		return
	}
	switch d.text(kind) {
	case "function":
		d.request.ToolChoice = chat.ToolChoice{Mode: chat.ToolChoiceTool, Name: d.namedTool(v)}
	case "allowed_tools":
		d.allowedTools(v)
	default:
		d.fail(kind, "must be one of function, allowed_tools")
	}
}

// namedTool reads {"type":"function","function":{"name":…}}: a tool of the request.
func (d *decoder) namedTool(v value) string {
	function := d.variant(v, "tools", nil)
	if d.err != nil {
		return ""
	}
	d.each(function, func(name string, _ value) bool { return name == "name" })
	if d.err != nil {
		return ""
	}
	name := d.required(function, "name")
	if d.err == nil && !d.toolNames[name] {
		d.fail(function.member("name"), "there is no tool %q in tools", clip(name, 64))
	}
	return name
}

func (d *decoder) allowedTools(v value) {
	c := &d.request.ToolChoice
	var allowed value
	d.each(v, func(name string, m value) bool {
		if name == "allowed_tools" {
			allowed = m
		}
		return name == "type" || name == "allowed_tools"
	})
	if d.err != nil {
		return
	}
	if !allowed.present() {
		d.missing(v, "allowed_tools")
		return
	}
	d.each(allowed, func(name string, m value) bool {
		switch name {
		case "mode":
			c.Mode = chat.ToolChoiceAuto
			if d.word(m, "auto", "required") == "required" {
				c.Mode = chat.ToolChoiceAny
			}
		case "tools":
			n := 0
			d.some(m, &n, chat.MaxTools, "tools", func(item value) { c.Only = append(c.Only, d.namedTool(item)) })
			if d.err == nil && len(c.Only) == 0 {
				d.fail(m, "must not be empty")
			}
		default:
			return false
		}
		return true
	})
	if d.err == nil && c.Mode == chat.ToolChoiceUnset {
		d.missing(allowed, "mode")
	}
	if d.err == nil && len(c.Only) == 0 {
		d.missing(allowed, "tools")
	}
}
