package openai

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
)

// anyObject is the schema of a function that takes nothing in particular.
const anyObject = `{"type":"object","properties":{}}`

// typed is the type of a tool, a call or a choice. There is one kind, functions;
// OpenAI has custom ones as well.
type typed struct {
	Type   string         `json:"type"`
	Custom strict.Ignored `json:"custom"`
}

// check is what is wrong with it, or with the function that it has, nil where it
// has none.
func (t *typed) check(what string, name *string) *strict.Error {
	switch {
	case t.Type == "":
		return strict.Required("/type")
	case t.Type != "function":
		return strict.Variant("/type", "only %s of type function are supported", what)
	case bool(t.Custom):
		return strict.Errorf("/custom", "unknown member")
	case name == nil:
		return strict.Required("/function")
	case *name == "":
		return strict.Required("/function/name")
	case len(*name) > chat.MaxToolName:
		return strict.Errorf("/function/name", "must be at most %d bytes long", chat.MaxToolName)
	}
	return nil
}

// tool is a definition.
type tool struct {
	typed
	Function *function `json:"function"`
	cacheMark
	Unknown strict.Unknown `json:",embed"`
}

type function struct {
	Name        string           `json:"name"`
	Description string           `json:"description"`
	Parameters  strict.RawObject `json:"parameters"`
	Strict      bool             `json:"strict"`
	Type        strict.Ignored   `json:"type"` // clients that know Responses say it here again
	cacheMark
	Unknown strict.Unknown `json:",embed"`
}

func (f *function) name() *string {
	if f == nil {
		return nil
	}
	return &f.Name
}

// Check takes a schema whose root may be an object: one without a type, as many clients write it,
// is, and {} is the schema of a function without parameters.
func (t *tool) Check() *strict.Error {
	if err := t.check("tools", t.Function.name()); err != nil {
		return err
	}
	var root struct {
		Type jsontext.Value `json:"type"`
	}
	var nothing struct { // {}, that is, or nulls only
		Unknown strict.Unknown `json:",embed"`
	}
	f := t.Function
	if f.Parameters == nil {
		return nil
	}
	bad := strict.Peek(f.Parameters, &root) != nil
	switch {
	case !bad && isObject(root.Type):
	case strict.Unmarshal(f.Parameters, &nothing) == nil:
		f.Parameters = strict.RawObject(anyObject)
	case bad || root.Type != nil && root.Type.Kind() != 'n':
		return strict.Errorf("/function/parameters", "must be a JSON Schema whose type is object")
	}
	return nil
}

// isObject reports whether a schema's type is object, or has it in its list.
func isObject(kind jsontext.Value) bool {
	var several []string
	return string(kind) == `"object"` || kind.Kind() == '[' && strict.Peek(kind, &several) == nil && slices.Contains(several, "object")
}

// toChat gives the tool that stands at param.
func (t *tool) toChat(param string) chat.Tool {
	f := t.Function
	// Clients put the mark in either place.
	out := chat.Tool{Name: f.Name, Description: f.Description, Strict: f.Strict, Schema: json.RawMessage(anyObject), Cache: cmp.Or(f.cachePoint(), t.cachePoint())}
	if f.Parameters != nil {
		out.Schema, out.Param = json.RawMessage(f.Parameters), param+".function.parameters"
	}
	return out
}

// pastCall is a call that the model made before.
type pastCall struct {
	typed
	ID       string          `json:"id"`
	Index    strict.Ignored  `json:"index"` // clients that add up deltas leave it in
	Function *calledFunction `json:"function"`
	cacheMark
	Others strict.Others `json:",embed"`
}

type calledFunction struct {
	Name            string         `json:"name"`
	Arguments       string         `json:"arguments"`
	ParsedArguments strict.Ignored `json:"parsed_arguments"` // openai-python's own, beside arguments
	cacheMark
	Others strict.Others `json:",embed"`
}

func (c *pastCall) Check() *strict.Error {
	var name *string
	if c.Function != nil {
		name = &c.Function.Name
	}
	if err := c.check("calls", name); err != nil {
		return err
	}
	if c.ID == "" {
		return strict.Required("/id")
	}
	return nil
}

// toolChoice is a word or an object.
type toolChoice struct {
	word *string
	typed
	Function     *namedFunction `json:"function"`
	AllowedTools *allowedTools  `json:"allowed_tools"`
	Unknown      strict.Unknown `json:",embed"`
}

func (c *toolChoice) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members toolChoice
	return wordOr(dec, &c.word, func() error { return strict.Object(dec, (*members)(c), c) })
}

// wordOr reads a tool choice: one of its words, or the object.
func wordOr(dec *jsontext.Decoder, word **string, object func() error) error {
	switch dec.PeekKind() {
	case '"':
		text, err := strict.Text(dec)
		if err != nil {
			return err
		}
		said := string(text)
		*word = &said
		if err := strict.OneOf("", *word, "none", "auto", "required"); err != nil {
			return err
		}
		return nil
	case '{', 'n':
		return object()
	}
	return strict.Mismatch(dec, "a string or an object")
}

func (c *toolChoice) Check() *strict.Error {
	switch {
	case c.Type == "allowed_tools" && c.AllowedTools == nil:
		return strict.Required("/allowed_tools")
	case c.Type == "allowed_tools":
		return nil
	case c.Type != "" && c.Type != "function":
		return strict.Variant("/type", "must be one of function, allowed_tools")
	}
	return c.check("tools", c.Function.name())
}

type namedTool struct {
	typed
	Function *namedFunction `json:"function"`
	Unknown  strict.Unknown `json:",embed"`
}

type namedFunction struct {
	Name    string         `json:"name"`
	Unknown strict.Unknown `json:",embed"`
}

func (f *namedFunction) name() *string {
	if f == nil {
		return nil
	}
	return &f.Name
}

func (t *namedTool) Check() *strict.Error { return t.check("tools", t.Function.name()) }

type allowedTools struct {
	Mode    *string                `json:"mode"`
	Tools   strict.List[namedTool] `json:"tools"`
	Unknown strict.Unknown         `json:",embed"`
}

func (a *allowedTools) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members allowedTools
	return strict.Object(dec, (*members)(a), a)
}

func (a *allowedTools) Check() *strict.Error {
	switch {
	case a.Mode == nil:
		return strict.Required("/mode")
	case a.Tools == nil:
		return strict.Required("/tools")
	case len(a.Tools) == 0:
		return strict.Errorf("/tools", "must not be empty")
	}
	return strict.OneOf("/mode", a.Mode, "auto", "required")
}

// checkTools is what is wrong between the tools and the choice of one.
func (r *chatRequest) checkTools() *strict.Error {
	names := make(map[string]bool, len(r.Tools))
	for i := range r.Tools {
		name := r.Tools[i].Function.Name
		if names[name] {
			return strict.Errorf("/tools/"+strconv.Itoa(i)+"/function/name", "two tools have the name %q", strict.Clip(name, 64))
		}
		names[name] = true
	}
	c := &r.ToolChoice
	asked := func(pointer string, f *namedFunction) *strict.Error {
		if names[f.Name] {
			return nil
		}
		return strict.Errorf(pointer+"/function/name", "there is no tool %q in tools", strict.Clip(f.Name, 64))
	}
	switch {
	case c.Type == "function":
		return asked("/tool_choice", c.Function)
	case c.Type == "allowed_tools":
		if err := atMost("/tool_choice/allowed_tools/tools", len(c.AllowedTools.Tools), chat.MaxTools, "tools"); err != nil {
			return err
		}
		for i := range c.AllowedTools.Tools {
			if err := asked("/tool_choice/allowed_tools/tools/"+strconv.Itoa(i), c.AllowedTools.Tools[i].Function); err != nil {
				return err
			}
		}
	case is(c.word, "required") && len(r.Tools) == 0:
		return strict.Errorf("/tool_choice", "is only allowed when tools are specified")
	}
	return nil
}

// modes are what words of OpenAI's mean.
var modes = map[string]chat.ToolChoiceMode{"none": chat.ToolChoiceNone, "auto": chat.ToolChoiceAuto, "required": chat.ToolChoiceAny}

// toChat: required is Bedrock's any, a named function its tool. allowed_tools keeps all definitions
// where they are, for the cache's sake, with OpenAI; where an upstream has no such choice, bedrock
// leaves the others out.
func (c *toolChoice) toChat() chat.ToolChoice {
	switch {
	case c.word != nil:
		return chat.ToolChoice{Mode: modes[*c.word]}
	case c.Type == "function":
		return chat.ToolChoice{Mode: chat.ToolChoiceTool, Name: c.Function.Name}
	case c.Type == "allowed_tools":
		out := chat.ToolChoice{Mode: modes[*c.AllowedTools.Mode]}
		for _, t := range c.AllowedTools.Tools {
			out.Only = append(out.Only, t.Function.Name)
		}
		return out
	}
	return chat.ToolChoice{}
}
