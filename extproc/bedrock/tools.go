package bedrock

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"aisix/extproc/bedrock/schema"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// looseSchema is the schema of a tool that came without one.
var looseSchema = json.RawMessage(`{"type":"object","properties":{}}`)

// tools settles definitions and choice: the subset that may be called, none,
// and definitions for a history whose tools are gone.
func (p *prepared) tools(ctx context.Context) error {
	r, c := p.req, &p.family.Capabilities
	used := usedTools(r.Messages)
	if len(r.Tools) > 0 && denies(c.Tools) {
		return fault.Invalid("tools", "this model does not support tools")
	}
	if !p.family.AllowedTools {
		p.onlyAllowed()
	}
	tools := slices.Clone(r.Tools)
	if r.ToolChoice.Mode == chat.ToolChoiceTool && !slices.ContainsFunc(tools, func(t chat.Tool) bool { return t.Name == r.ToolChoice.Name }) {
		return fault.Invalid("tool_choice", "tool_choice must name a tool in tools")
	}
	if len(tools) == 0 && (r.ToolChoice.Mode == chat.ToolChoiceAny || r.ToolChoice.Mode == chat.ToolChoiceTool) {
		return fault.Invalid("tool_choice", "tool_choice is only allowed when tools are specified")
	}
	if r.ToolChoice.Mode == chat.ToolChoiceNone && len(used) == 0 && p.api == apiConverse {
		tools = nil // Converse has no word for none
	}
	if len(tools) == 0 && len(used) > 0 {
		for _, name := range used {
			tools = append(tools, chat.Tool{Name: name})
		}
		r.ToolChoice = chat.ToolChoice{Mode: chat.ToolChoiceNone} // the caller offers none: nobody would run a call
	}
	for i := range tools {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		t := &tools[i]
		t.Strict = t.Strict && has(c.StrictTools)
		if isNull(t.Schema) {
			t.Schema = looseSchema
			continue
		}
		in, err := schema.Tool(t.Schema, propertyAliases)
		if err != nil {
			return schemaFault(*t, err)
		}
		t.Schema = in.Schema
		if in.Note != "" {
			t.Description = strings.TrimPrefix(t.Description+"\n\n"+in.Note, "\n\n")
		}
		if len(in.Names) > 0 {
			if p.properties == nil {
				p.properties = map[string]map[string]string{}
			}
			p.properties[t.Name] = in.Names
		}
	}
	if r.ToolChoice.Mode == chat.ToolChoiceTool && !p.canChoose(chat.ToolChoiceTool) && p.canChoose(chat.ToolChoiceAny) {
		// Any of one is that one.
		tools = slices.DeleteFunc(tools, func(t chat.Tool) bool { return t.Name != r.ToolChoice.Name })
		r.ToolChoice = chat.ToolChoice{Mode: chat.ToolChoiceAny}
	}
	mode := r.ToolChoice.Mode
	if (mode == chat.ToolChoiceAny || mode == chat.ToolChoiceTool) && !p.canChoose(mode) {
		return fault.Invalid("tool_choice", "this model can't be forced to call a tool: tool_choice must be auto or none")
	}
	r.Tools = tools
	return nil
}

// onlyAllowed leaves out the tools that may not be called, where the choice is not to say so. Those
// of the history need no definition, as long as there is one.
func (p *prepared) onlyAllowed() {
	r := p.req
	if len(r.ToolChoice.Only) == 0 {
		return
	}
	only := make(map[string]bool, len(r.ToolChoice.Only))
	for _, name := range r.ToolChoice.Only {
		only[name] = true
	}
	r.Tools = slices.DeleteFunc(slices.Clone(r.Tools), func(t chat.Tool) bool { return !only[t.Name] })
	r.ToolChoice.Only = nil
}

// plainSchemas writes the tools' schemas as a family wants them that takes plain
// ones only. Ours for structured output is the last one.
func (p *prepared) plainSchemas(ctx context.Context, limit int64) error {
	if p.family.Capabilities.ToolSchema != "plain" || len(p.req.Tools) == 0 {
		return nil
	}
	budget := schema.NewBudget(min(limit, chat.MaxExpansion))
	for i, t := range p.req.Tools {
		if bytes.Equal(t.Schema, looseSchema) { // ours, where the caller gave none
			continue
		}
		plain, err := schema.Plain(ctx, t.Schema, budget)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && p.output != "" && i == len(p.req.Tools)-1:
			return formatFault(t.Param, err)
		case err != nil:
			return schemaFault(t, err)
		}
		p.req.Tools[i].Schema = plain
	}
	return nil
}

// schemaFault says what is wrong with a tool's schema.
func schemaFault(t chat.Tool, err error) error {
	return fault.Invalid(or(t.Param, "tools"), "the schema of the tool %s %s", quote(t.Name), err)
}

// formatFault says what is wrong with the schema of structured output.
func formatFault(param string, err error) error {
	return fault.Invalid(or(param, "response_format"), "the schema %s", err)
}

// canChoose reports whether the family takes a tool choice; not said is yes.
func (p *prepared) canChoose(mode chat.ToolChoiceMode) bool {
	c := p.family.Capabilities.ToolChoice
	return c == nil || slices.Contains(c, string(mode))
}

// usedTools are the names in the history, in order, once each.
func usedTools(messages []chat.Message) []string {
	var names []string
	seen := map[string]bool{}
	for _, m := range messages {
		for _, b := range m.Blocks {
			if u, ok := b.(chat.ToolUse); ok && !seen[u.Name] {
				seen[u.Name] = true
				names = append(names, u.Name)
			}
		}
	}
	return names
}

// rename gives tools and calls names and ids that Bedrock takes, the same in
// definitions, choice and history.
func (p *prepared) rename() error {
	r := p.req
	callers := r.Tools
	if p.output != "" { // ours is the last definition
		callers = r.Tools[:len(r.Tools)-1]
	}
	names := usedTools(r.Messages)
	for _, t := range callers {
		names = append(names, t.Name)
	}
	a := newAliases(names)
	p.names = a.origin
	for i := range callers {
		callers[i].Name = a.wire(callers[i].Name)
	}
	if len(p.properties) > 0 {
		p.fields = make(map[string]map[string]string, len(p.properties))
	}
	for name, properties := range p.properties {
		p.fields[a.wire(name)] = inverse(properties)
	}
	r.ToolChoice.Name = a.wire(r.ToolChoice.Name)
	r.ToolChoice.Only = slices.Clone(r.ToolChoice.Only) // the caller's
	for i, name := range r.ToolChoice.Only {
		r.ToolChoice.Only[i] = a.wire(name)
	}
	if p.output != "" {
		p.output = a.reserve(outputTool)
		r.Tools[len(r.Tools)-1].Name = p.output
		if r.ToolChoice.Mode == chat.ToolChoiceTool {
			r.ToolChoice.Name = p.output
		}
	}
	ids := wireIDs{c: &p.family.Capabilities}
	for _, m := range r.Messages {
		for i, b := range m.Blocks {
			switch b := b.(type) {
			case chat.ToolUse:
				id, name, renamed := ids.use(b.ID), a.wire(b.Name), p.properties[b.Name]
				if id == b.ID && name == b.Name && renamed == nil {
					continue // it is as it goes out
				}
				b.Input = renameKeys(b.Input, renamed)
				b.ID, b.Name = id, name
				m.Blocks[i] = b
			case chat.ToolResult:
				if id := ids.result(b.ID); id != b.ID {
					b.ID = id
					m.Blocks[i] = b
				}
			}
		}
	}
	return nil
}
