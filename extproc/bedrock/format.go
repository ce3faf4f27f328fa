package bedrock

import (
	"encoding/json"
	"errors"
	"slices"

	"aisix/extproc/bedrock/schema"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// outputTool is the name of the tool that stands in for structured output.
const outputTool = "json_output"

var anyObject = json.RawMessage(`{"type":"object","additionalProperties":true}`)

// structuredOutput asks for the caller's format natively, or by a tool that the
// model is made to call. A format without a schema has no native form.
func (p *prepared) structuredOutput() error {
	r, c := p.req, &p.family.Capabilities
	f := r.Format
	if f == nil || p.model.ignores("response_format") {
		r.Format = nil
		return nil
	}
	r.Format = nil
	native := c.StructuredOutput == "native" || (c.StructuredOutput == "" && denies(c.Tools))
	if native && !isNull(f.Schema) {
		closed, err := schema.Native(f.Schema)
		switch {
		case err == nil:
			p.format = &chat.Format{Name: f.Name, Description: f.Description, Schema: closed, Strict: f.Strict}
			return nil
		case !errors.Is(err, schema.ErrOpen) || denies(c.Tools):
			return formatFault(f.Param, err)
		}
	}
	if r.ToolChoice.Mode == chat.ToolChoiceTool || r.ToolChoice.Mode == chat.ToolChoiceAny {
		return nil // the caller's own tool is the answer: there will be no text to shape
	}
	if denies(c.Tools) {
		return fault.Invalid("response_format", "this model does not support response_format")
	}
	return p.outputTool(f)
}

// outputTool asks for the format by a tool that the model is made to call.
func (p *prepared) outputTool(f *chat.Format) error {
	r := p.req
	shape, description := f.Schema, "Give the answer by calling this tool, once, with the whole answer as its input."
	if isNull(shape) {
		shape = anyObject
	}
	if f.Description != "" {
		description += " " + f.Description
	}
	shape, err := schema.Tool(shape)
	if err != nil {
		return formatFault(f.Param, err)
	}
	if r.ToolChoice.Mode == chat.ToolChoiceNone && len(usedTools(r.Messages)) == 0 {
		r.Tools = nil // only ours may be called
	}
	others := len(r.Tools) > 0 && r.ToolChoice.Mode != chat.ToolChoiceNone
	t := chat.Tool{Name: outputTool, Description: description, Schema: shape, Param: f.Param}
	if f.Strict && has(p.family.Capabilities.StrictTools) {
		if closed, err := schema.Native(shape); err == nil {
			t.Schema, t.Strict = closed, true
		}
	}
	r.Tools = append(slices.Clip(r.Tools), t)
	r.ToolChoice = p.outputChoice(others)
	p.output = outputTool
	return nil
}

// outputChoice forces the output tool as far as the family lets us. Thinking and
// a forced tool exclude each other: then the tool is only offered.
func (p *prepared) outputChoice(others bool) chat.ToolChoice {
	switch {
	case p.thinks():
		return chat.ToolChoice{Mode: chat.ToolChoiceAuto}
	case !others && p.canChoose(chat.ToolChoiceTool):
		return chat.ToolChoice{Mode: chat.ToolChoiceTool, Name: outputTool}
	case p.canChoose(chat.ToolChoiceAny):
		return chat.ToolChoice{Mode: chat.ToolChoiceAny}
	default:
		return chat.ToolChoice{Mode: chat.ToolChoiceAuto}
	}
}
