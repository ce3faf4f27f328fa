package openai

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// inputList is what was said: a string, or items.
type inputList struct {
	kind  jsontext.Kind // of the value, 0 where there is none
	text  string
	items strict.List[inputItem]
}

func (l *inputList) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	l.kind = dec.PeekKind()
	return textOr(dec, &l.text, &l.items, "items")
}

// inputItem is one of a conversation's items; which members it may have is up to Type. The
// model's own come back as an answer had them, with what of theirs says nothing to a model.
type inputItem struct {
	Type    string       `json:"type"` // "" is message
	ID      *string      `json:"id"`
	Status  *string      `json:"status"`
	Role    string       `json:"role"`
	Content inputContent `json:"content"`
	Phase   *string      `json:"phase"` // of an assistant's message: commentary or the answer

	CallID    *string                  `json:"call_id"`
	Name      string                   `json:"name"`
	Namespace *string                  `json:"namespace"`
	Arguments itemText                 `json:"arguments"`
	Input     string                   `json:"input"` // of a custom tool's call
	Action    *shellAction             `json:"action"`
	Output    inputContent             `json:"output"`
	Summary   strict.List[summaryPart] `json:"summary"`
	Encrypted string                   `json:"encrypted_content"`

	Tools strict.List[responseTool] `json:"tools"` // of additional_tools, and what a search for tools found

	Others strict.Others `json:",embed"` // of the model's own items what another service put in
}

// itemText is a string. Of what a service ran itself it may be another value, which is not read.
type itemText struct {
	kind jsontext.Kind // of the value, 0 where there is none
	text string
}

func (t *itemText) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if t.kind = dec.PeekKind(); t.kind != '"' {
		return dec.SkipValue()
	}
	said, err := strict.Text(dec)
	t.text = string(said)
	return err
}

func (t *itemText) check(pointer string) *strict.Error {
	if t.kind == 0 || t.kind == '"' || t.kind == 'n' {
		return nil
	}
	return strict.Errorf(pointer, "must be a string")
}

type summaryPart struct {
	Type   string        `json:"type"` // summary_text
	Text   string        `json:"text"`
	Others strict.Others `json:",embed"`
}

// shellAction is what a local shell is to run.
type shellAction struct {
	Type             string              `json:"type"` // exec
	Command          strict.List[string] `json:"command"`
	Env              map[string]string   `json:"env"`
	TimeoutMS        strict.Number       `json:"timeout_ms"`
	User             *string             `json:"user"`
	WorkingDirectory *string             `json:"working_directory"`
	Others           strict.Others       `json:",embed"`
}

// ran are items of what a service ran itself: no caller can be asked for them, and no other
// service has a place for them.
var ran = []string{"web_search_call", "file_search_call", "computer_call", "computer_call_output", "code_interpreter_call",
	"image_generation_call", "mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "tool_search_call", "tool_search_output"}

// Check wants the members that the type needs.
func (i *inputItem) Check() *strict.Error {
	call := func() *strict.Error {
		switch {
		case i.CallID == nil || *i.CallID == "":
			return strict.Required("/call_id")
		case i.Name == "" && strings.HasSuffix(i.Type, "tool_call"), i.Name == "" && i.Type == "function_call":
			return strict.Required("/name")
		case len(i.Name) > chat.MaxToolName:
			return strict.Errorf("/name", "must be at most %d bytes long", chat.MaxToolName)
		}
		return i.Arguments.check("/arguments")
	}
	switch i.Type {
	case "", "message":
		return i.checkMessage()
	case "function_call", "custom_tool_call":
		return call()
	case "local_shell_call":
		if i.Action == nil {
			return strict.Required("/action")
		}
		return call()
	case "function_call_output", "custom_tool_call_output", "local_shell_call_output":
		if i.Type == "local_shell_call_output" && i.CallID == nil {
			i.CallID = i.ID // OpenAI's own name for it there
		}
		if i.Output.kind == 0 || i.Output.kind == 'n' {
			return strict.Required("/output")
		}
		if err := i.Output.check("/output"); err != nil {
			return err
		}
		return call()
	case "reasoning":
		return nil
	case "additional_tools":
		if i.Tools == nil {
			return strict.Required("/tools")
		}
		return typedTools(i.Tools)
	case "tool_search_output":
		return typedTools(i.Tools)
	case "item_reference":
		return strict.Variant("", "an item of type item_reference is not supported: this gateway keeps no state; send the item itself")
	}
	if slices.Contains(ran, i.Type) {
		return nil
	}
	return strict.Variant("/type", "an item of type %q is not supported", strict.Clip(i.Type, 64))
}

func (i *inputItem) checkMessage() *strict.Error {
	switch i.Role {
	case "":
		return strict.Required("/role")
	case "system", "developer", "user", "assistant":
	default:
		return strict.Variant("/role", "must be one of system, developer, user, assistant")
	}
	if i.Content.kind == 0 || i.Content.kind == 'n' && i.Role != "assistant" {
		return strict.Required("/content")
	}
	if err := i.Content.check("/content"); err != nil {
		return err
	}
	for n := range i.Content.parts {
		if p := &i.Content.parts[n]; i.Role != "user" && (p.Type == "input_image" || p.Type == "input_file") {
			return strict.Errorf("/content/"+strconv.Itoa(n), "a content part of type %s is not allowed in a message with role %s", p.Type, i.Role)
		}
	}
	return nil
}

// inputContent is a string, or parts. Of what a service ran itself it may be an object, which is
// not read.
type inputContent struct {
	kind  jsontext.Kind // of the value, 0 where there is none
	text  string
	parts strict.List[inputPart]
}

func (c *inputContent) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if c.kind = dec.PeekKind(); c.kind == '{' {
		return dec.SkipValue()
	}
	return textOr(dec, &c.text, &c.parts, "content parts")
}

func (c *inputContent) check(pointer string) *strict.Error {
	if c.kind == '{' {
		return strict.Errorf(pointer, "must be a string or an array of content parts, not an object")
	}
	return nil
}

// inputPart is one part of a message's content, or of a result.
type inputPart struct {
	Type     string           `json:"type"`
	Text     *string          `json:"text"`
	Refusal  *string          `json:"refusal"`
	ImageURL *imageAddress    `json:"image_url"`
	Detail   *string          `json:"detail"`
	FileID   *string          `json:"file_id"`
	FileURL  *string          `json:"file_url"`
	FileData fileData         `json:"file_data"`
	Filename string           `json:"filename"`
	Break    *cacheBreakpoint `json:"prompt_cache_breakpoint"`
	cacheMark
	Others strict.Others `json:",embed"` // annotations, logprobs and the like
}

func (p *inputPart) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members inputPart
	return strict.Object(dec, (*members)(p), p)
}

// Check wants the member that the type names.
func (p *inputPart) Check() *strict.Error {
	switch p.Type {
	case "":
		return strict.Required("/type")
	case "input_text", "output_text", "text", "summary_text", "reasoning_text", "encrypted_text":
		if p.Text == nil {
			return strict.Required("/text")
		}
	case "refusal":
		if p.Refusal == nil {
			return strict.Required("/refusal")
		}
	case "input_image":
		switch {
		case p.FileID != nil:
			return strict.Errorf("/file_id", "uploaded files are not supported: send the image in image_url")
		case p.ImageURL == nil:
			return strict.Required("/image_url")
		}
	case "input_file":
		switch {
		case p.FileID != nil:
			return strict.Errorf("/file_id", "uploaded files are not supported: send the data in file_data")
		case p.FileURL != nil:
			return strict.Errorf("/file_url", "is not supported: send the data in file_data")
		case p.FileData.data == nil:
			return strict.Required("/file_data")
		}
		f := file{FileData: p.FileData, Filename: p.Filename}
		return f.Check()
	case "input_audio":
		return strict.Variant("", "audio is not supported: a content part of type input_audio is not allowed")
	default:
		return strict.Variant("", "a content part of type %q is not supported", strict.Clip(p.Type, 64))
	}
	return nil
}

// blocks are content; param is where it stands.
func (c *inputContent) blocks(param string) []chat.Block {
	if c.kind == '"' {
		return []chat.Block{chat.Text{Text: c.text}}
	}
	var blocks []chat.Block
	for i := range c.parts {
		p := &c.parts[i]
		place := param + "[" + strconv.Itoa(i) + "]"
		var b chat.Block
		switch {
		case p.Text != nil:
			b = chat.Text{Text: *p.Text}
		case p.Refusal != nil:
			b = chat.Text{Text: *p.Refusal}
		case p.ImageURL != nil:
			b = p.ImageURL.toChat(place)
		default:
			f := file{FileData: p.FileData, Filename: p.Filename}
			b = f.toChat(place)
		}
		point := p.cacheMark.cachePoint()
		if p.Break != nil {
			point = p.Break.toChat()
		}
		blocks = mark(append(blocks, b), point)
	}
	return blocks
}

// converse adds the items of a conversation to the request, each as a message: Tidy joins
// what one side said. System messages are hoisted until the model has spoken, as in chat
// completions.
func (t *tooling) converse(in *inputList) error {
	if in.kind == '"' {
		t.add(chat.Message{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: in.text}}, Param: "input"})
		return nil
	}
	left := map[string]bool{}
	for n := range in.items {
		i := &in.items[n]
		param := "input[" + strconv.Itoa(n) + "]"
		switch i.Type {
		case "", "message":
			t.message(i, param)
		case "function_call", "custom_tool_call", "local_shell_call":
			use, err := t.past(i, param)
			if err != nil {
				return err
			}
			t.add(chat.Message{Role: chat.Assistant, Blocks: []chat.Block{use}, Param: param})
		case "function_call_output", "custom_tool_call_output", "local_shell_call_output":
			result := chat.ToolResult{ID: *i.CallID, Blocks: i.Output.blocks(param + ".output"), Param: param + ".call_id"}
			t.add(chat.Message{Role: chat.User, Blocks: []chat.Block{result}, Param: param})
		case "reasoning":
			if thought := i.reasoning(); thought != nil {
				t.add(chat.Message{Role: chat.Assistant, Blocks: []chat.Block{thought}, Param: param})
			} else if i.Encrypted != "" {
				left["reasoning of another service"] = true
			}
		case "additional_tools", "tool_search_output": // offered before (offer)
		default:
			left[chat.Named(i.Type)] = true
		}
	}
	for _, name := range sorted(left) {
		t.request.Notes = append(t.request.Notes, "items were left out: "+name)
	}
	return nil
}

func sorted(set map[string]bool) []string {
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (t *tooling) add(m chat.Message) { t.request.Messages = append(t.request.Messages, m) }

func (t *tooling) message(i *inputItem, param string) {
	blocks := i.Content.blocks(param + ".content")
	switch i.Role {
	case "user":
		t.add(chat.Message{Role: chat.User, Blocks: blocks, Param: param})
	case "assistant":
		t.add(chat.Message{Role: chat.Assistant, Blocks: blocks, Param: param})
	default:
		if !slices.ContainsFunc(t.request.Messages, func(m chat.Message) bool { return m.Role == chat.Assistant }) {
			t.request.System = append(t.request.System, blocks...)
			return
		}
		t.add(chat.Message{Role: chat.System, Blocks: blocks, Param: param})
	}
}

// past is a call of an earlier turn.
func (t *tooling) past(i *inputItem, param string) (chat.ToolUse, error) {
	use := chat.ToolUse{ID: *i.CallID}
	namespace := ""
	if i.Namespace != nil {
		namespace = *i.Namespace
	}
	switch i.Type {
	case "local_shell_call":
		use.Name = t.names.wire(toolName{kind: localShell})
		input, err := marshal(i.Action.input())
		if err != nil {
			return use, fault.Invalid(param+".action", "%s.action can't be written as JSON", param)
		}
		use.Input = input
	case "custom_tool_call":
		use.Name = t.names.wire(toolName{customTool, namespace, i.Name})
		input, err := marshal(map[string]string{customInput: i.Input})
		if err != nil {
			return use, fault.Invalid(param+".input", "%s.input can't be written as JSON", param)
		}
		use.Input = input
	default:
		use.Name = t.names.wire(toolName{functionTool, namespace, i.Name})
		use.Input = json.RawMessage(i.Arguments.text)
	}
	return use, nil
}
