package bedrock

import (
	"errors"
	"slices"

	"aisix/extproc/bedrock/schema"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// outputTool is the name of the tool that stands in for structured output.
const outputTool = "json_output"

// structuredOutput asks for the caller's format natively, or by a tool that the
// model is made to call. A format that says no more than that there is an object has
// neither form: the model is told in words.
func (p *prepared) structuredOutput() error {
	r, c := p.req, &p.family.Capabilities
	f := r.Format
	r.Format = nil
	if f == nil || p.model.ignores("response_format") {
		return nil
	}
	forced := r.ToolChoice.Mode == chat.ToolChoiceTool || r.ToolChoice.Mode == chat.ToolChoiceAny
	if isNull(f.Schema) || schema.Empty(f.Schema) {
		if !forced {
			p.answerObject(f)
		}
		return nil
	}
	strict := has(c.StrictTools)
	if c.StructuredOutput == "native" {
		err := p.native(f)
		switch {
		case err == nil:
			return nil
		case errors.As(err, new(errBeyond)) && !denies(c.Tools):
			strict = false
			p.notes = append(p.notes, "structured output is asked for by a tool: "+err.Error())
		case !errors.Is(err, schema.ErrNotNative) || denies(c.Tools):
			return formatFault(f.Param, err)
		}
	}
	if forced {
		return nil // the caller's own tool is the answer: there will be no text to shape
	}
	if denies(c.Tools) {
		return fault.Invalid("response_format", "this model does not support response_format")
	}
	return p.outputTool(f, strict && f.Strict)
}

// native asks for the format natively. The error is what is wrong with its schema, or
// why it has no native form, and then nothing was asked for.
func (p *prepared) native(f *chat.Format) error {
	if len(f.Schema) > chat.MaxStrictSchema { // not worth a look
		_, err := schema.Native(f.Schema)
		return err
	}
	in, err := schema.Output(f.Schema, propertyAliases)
	if errors.Is(err, schema.ErrNoObject) { // of a list, say: Bedrock decides
		in, err = schema.Input{Schema: f.Schema}, nil
	}
	if err != nil {
		return err
	}
	c, err := schema.Native(in.Schema)
	if err != nil {
		return err
	}
	if why, beyond := p.strictLimits().beyond(0, c); beyond {
		return errBeyond("the schema has " + why)
	}
	p.format = &chat.Format{Name: f.Name, Description: f.Description, Schema: c.Schema, Strict: f.Strict}
	p.closed, p.answer = c, in
	return nil
}

// outputTool asks for the format by a tool that the model is made to call.
func (p *prepared) outputTool(f *chat.Format, strict bool) error {
	r := p.req
	description := "Give the answer by calling this tool, once, with the whole answer as its input."
	if f.Description != "" {
		description += " " + f.Description
	}
	in, err := schema.Output(f.Schema, propertyAliases)
	if err != nil {
		return formatFault(f.Param, err)
	}
	if r.ToolChoice.Mode == chat.ToolChoiceNone && len(usedTools(r.Messages)) == 0 {
		r.Tools = nil // only ours may be called
	}
	p.onlyAllowed() // or ours is not among them
	others := len(r.Tools) > 0 && r.ToolChoice.Mode != chat.ToolChoiceNone
	t := chat.Tool{Name: outputTool, Description: description, Schema: in.Schema, Strict: strict, Param: f.Param}
	r.Tools = append(slices.Clip(r.Tools), t)
	r.ToolChoice = p.outputChoice(others)
	p.output, p.answer, p.object = outputTool, in, !p.begun() && !others
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
