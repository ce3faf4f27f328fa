package openai

import (
	"encoding/json"
	"slices"

	"aisix/extproc/chat"
)

// anyObject is the schema of a function that takes nothing in particular.
const anyObject = `{"type":"object","properties":{}}`

func (d *decoder) tools(v value) {
	d.list(v, func(item value) {
		t := d.tool(item)
		if d.err != nil {
			return
		}
		for _, other := range d.request.Tools {
			if other.Name == t.Name {
				d.fail(item.member("function").member("name"), "two tools have the name %q", clip(t.Name, 64))
				return
			}
		}
		d.request.Tools = append(d.request.Tools, t)
	})
}

func (d *decoder) tool(v value) chat.Tool {
	var t chat.Tool
	var function value
	d.each(v, func(name string, m value) bool {
		switch name {
		case "type":
			if kind := d.text(m); d.err == nil && kind != "function" {
				d.fail(m, "only tools of type function are possible")
			}
		case "function":
			function = m
		case "cache_control":
			t.Cache = d.cacheControl(m)
		default:
			return d.err != nil || !v.member("type").present() || d.otherTool(v)
		}
		return true
	})
	if d.err != nil {
		return t
	}
	if !v.member("type").present() {
		d.missing(v, "type")
		return t
	}
	if !function.present() {
		d.missing(v, "function")
		return t
	}
	t.Schema = json.RawMessage(anyObject)
	d.each(function, func(name string, m value) bool {
		switch name {
		case "name":
			t.Name = d.text(m)
		case "description":
			t.Description = d.text(m)
		case "parameters":
			t.Schema = d.object(m)
			if len(d.keys(m)) == 0 {
				t.Schema = json.RawMessage(anyObject)
			}
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

// otherTool fails for a tool that is no function before its members are called
// unknown: the type is what is wrong with it.
func (d *decoder) otherTool(v value) bool {
	if kind := d.text(v.member("type")); kind != "function" {
		d.fail(v.member("type"), "only tools of type function are possible")
		return true
	}
	return false
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
	var function value
	d.each(v, func(name string, m value) bool {
		switch name {
		case "type":
			d.word(m, "function")
		case "function":
			function = m
		default:
			return false
		}
		return true
	})
	if d.err != nil {
		return ""
	}
	if !function.present() {
		d.missing(v, "function")
		return ""
	}
	d.each(function, func(name string, _ value) bool { return name == "name" })
	if d.err != nil {
		return ""
	}
	name := d.required(function, "name")
	if d.err == nil && !slices.ContainsFunc(d.request.Tools, func(t chat.Tool) bool { return t.Name == name }) {
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
			d.list(m, func(item value) { c.Only = append(c.Only, d.namedTool(item)) })
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

// cacheControl reads Anthropic's {"type":"ephemeral","ttl":"5m"|"1h"}.
func (d *decoder) cacheControl(v value) *chat.CachePoint {
	p := &chat.CachePoint{}
	d.each(v, func(name string, m value) bool {
		switch name {
		case "type":
			d.word(m, "ephemeral")
		case "ttl":
			p.TTL = d.word(m, "5m", "1h")
		default:
			return false
		}
		return true
	})
	if d.err == nil && !v.member("type").present() {
		d.missing(v, "type")
	}
	return p
}

// cacheBreakpoint reads OpenAI's {"mode":"explicit","ttl":"30m"}: a cache point
// that must live at least so long, so 30 minutes are Bedrock's hour.
func (d *decoder) cacheBreakpoint(v value) *chat.CachePoint {
	p := &chat.CachePoint{}
	d.each(v, func(name string, m value) bool {
		switch name {
		case "mode":
			d.word(m, "explicit")
		case "ttl":
			d.word(m, "30m")
			p.TTL = "1h"
		default:
			return false
		}
		return true
	})
	if d.err == nil && !v.member("mode").present() {
		d.missing(v, "mode")
	}
	return p
}
