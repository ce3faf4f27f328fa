package openai

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// toolKind is how a tool is called in this format.
type toolKind int

const (
	functionTool toolKind = iota // with JSON
	customTool                   // with plain text
	localShell                   // with a command to run
)

// toolName is a tool as this format names it. Models know one name and JSON arguments.
type toolName struct {
	kind      toolKind
	namespace string // "" is none
	name      string
}

// toolNames are the tools of one request by the name that the model has for them.
type toolNames map[string]toolName

// wire is the name that the model has for a tool, always the same in one request.
func (n toolNames) wire(t toolName) string {
	base := t.name
	switch {
	case t.kind == localShell:
		base = "local_shell"
	case t.namespace != "":
		base = t.namespace + "__" + t.name
	}
	name := base
	for i := 2; ; i++ {
		switch known, taken := n[name]; {
		case !taken:
			n[name] = t
			return name
		case known == t:
			return name
		}
		name = base + "_" + strconv.Itoa(i)
	}
}

// of is the tool that a model called.
func (n toolNames) of(name string) toolName {
	if t, ok := n[name]; ok {
		return t
	}
	return toolName{name: name} // it made the name up
}

// find is the model's name for a tool that a choice names; any namespace will do where it
// names none.
func (n toolNames) find(kind toolKind, namespace *string, name string) (string, bool) {
	for _, wire := range sortedKeys(n) {
		if t := n[wire]; t.kind == kind && t.name == name && (namespace == nil || *namespace == t.namespace) {
			return wire, true
		}
	}
	return "", false
}

func sortedKeys(n toolNames) []string {
	names := make([]string, 0, len(n))
	for name := range n {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// responseTool is a definition; which members it may have is up to Type.
type responseTool struct {
	Type        string                    `json:"type"`
	Name        string                    `json:"name"`
	Description string                    `json:"description"`
	Parameters  strict.RawObject          `json:"parameters"`
	Strict      *bool                     `json:"strict"`
	Format      *customFormat             `json:"format"` // of a custom tool
	Tools       strict.List[responseTool] `json:"tools"`  // of a namespace
	cacheMark
	Others strict.Others `json:",embed"` // of the tools that a service runs itself; and what says nothing to a model
}

// customFormat is what a custom tool's input looks like.
type customFormat struct {
	Type       string        `json:"type"` // text, grammar
	Syntax     string        `json:"syntax"`
	Definition string        `json:"definition"`
	Others     strict.Others `json:",embed"`
}

// Check wants the members that the type needs.
func (t *responseTool) Check() *strict.Error {
	switch t.Type {
	case "function", "custom", "namespace":
		switch {
		case t.Name == "":
			return strict.Required("/name")
		case len(t.Name) > chat.MaxToolName:
			return strict.Errorf("/name", "must be at most %d bytes long", chat.MaxToolName)
		case t.Type == "namespace" && t.Tools == nil:
			return strict.Required("/tools")
		case t.Type == "namespace":
			return typedTools(t.Tools)
		case t.Type == "function":
			return t.checkParameters()
		}
	}
	return nil
}

// typedTools wants a type of each; those that a server of MCP lists have none.
func typedTools(tools strict.List[responseTool]) *strict.Error {
	for n := range tools {
		if tools[n].Type == "" {
			return strict.Required("/tools/" + strconv.Itoa(n) + "/type")
		}
	}
	return nil
}

// checkParameters holds them to what the functions of chat completions have.
func (t *responseTool) checkParameters() *strict.Error {
	as := tool{typed: typed{Type: "function"}, Function: &function{Name: t.Name, Parameters: t.Parameters}}
	if err := as.Check(); err != nil {
		err.Pointer = strings.TrimPrefix(err.Pointer, "/function")
		return err
	}
	t.Parameters = as.Function.Parameters
	return nil
}

// tooling makes a chat request of one in this format, and keeps the names of its tools.
type tooling struct {
	request *chat.Request
	names   toolNames
	hosted  []string // kinds of tools that the service would run itself
}

// offer adds the tools of a request, at its top or among its items (additional_tools, and what a
// search for tools found), and which of them is to be called.
func (t *tooling) offer(r *responseRequest) error {
	for i := range r.Tools {
		t.tool(&r.Tools[i], "", "tools["+strconv.Itoa(i)+"]")
	}
	for n := range r.Input.items {
		if i := &r.Input.items[n]; i.Type == "additional_tools" || i.Type == "tool_search_output" {
			for k := range i.Tools {
				t.tool(&i.Tools[k], "", "input["+strconv.Itoa(n)+"].tools["+strconv.Itoa(k)+"]")
			}
		}
	}
	if len(t.request.Tools) > chat.MaxTools {
		return fault.Invalid("tools", "a request must have at most %d tools", chat.MaxTools)
	}
	slices.Sort(t.hosted)
	for _, kind := range slices.Compact(t.hosted) {
		t.request.Notes = append(t.request.Notes, "a tool of type "+chat.Named(kind)+" was left out: nothing here runs it")
	}
	return t.choose(&r.ToolChoice)
}

// customInput is the member that a model puts a custom tool's input in.
const customInput = "input"

var (
	customSchema = json.RawMessage(`{"type":"object","properties":{"input":{"type":"string","description":"The whole input of the tool, as plain text."}},"required":["input"],"additionalProperties":false}`)
	shellSchema  = json.RawMessage(`{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"},"description":"The command and its arguments."},` +
		`"working_directory":{"type":"string","description":"Where to run it."},"timeout_ms":{"type":"integer","description":"How long it may run, in milliseconds."}},"required":["command"]}`)
)

func (t *tooling) tool(d *responseTool, namespace, param string) {
	out := chat.Tool{Description: d.Description, Cache: d.cacheMark.cachePoint()}
	name := toolName{namespace: namespace, name: d.Name}
	switch d.Type {
	case "function":
		out.Schema, out.Strict = json.RawMessage(anyObject), d.Strict != nil && *d.Strict
		if d.Parameters != nil {
			out.Schema, out.Param = json.RawMessage(d.Parameters), param+".parameters"
		}
	case "custom":
		name.kind, out.Schema = customTool, customSchema
		if f := d.Format; f != nil && f.Type == "grammar" {
			out.Description = strings.TrimSpace(out.Description + "\n\nThe input must follow this grammar (" + f.Syntax + "):\n" + f.Definition)
		}
	case "local_shell":
		name, out.Schema = toolName{kind: localShell}, shellSchema
		out.Description = "Runs a command on the user's machine, and gives its output."
	case "namespace":
		for i := range d.Tools {
			t.tool(&d.Tools[i], d.Name, param+".tools["+strconv.Itoa(i)+"]")
		}
		return
	default:
		t.hosted = append(t.hosted, strict.Clip(d.Type, 64))
		return
	}
	before := len(t.names)
	out.Name = t.names.wire(name)
	if len(t.names) == before { // said again: the last word counts
		t.request.Tools = slices.DeleteFunc(t.request.Tools, func(other chat.Tool) bool { return other.Name == out.Name })
	}
	t.request.Tools = append(t.request.Tools, out)
}

// responseChoice is a word or an object.
type responseChoice struct {
	word      *string
	Type      string                      `json:"type"`
	Name      string                      `json:"name"`
	Namespace *string                     `json:"namespace"`
	Mode      *string                     `json:"mode"` // of allowed_tools
	Tools     strict.List[responseChoice] `json:"tools"`
	Others    strict.Others               `json:",embed"`
}

func (c *responseChoice) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members responseChoice
	return wordOr(dec, &c.word, func() error { return strict.Object(dec, (*members)(c), c) })
}

// Check wants the members that the type needs.
func (c *responseChoice) Check() *strict.Error {
	switch {
	case c.Type == "":
		return strict.Required("/type")
	case (c.Type == "function" || c.Type == "custom") && c.Name == "":
		return strict.Required("/name")
	case c.Type == "allowed_tools" && c.Mode == nil:
		return strict.Required("/mode")
	case c.Type == "allowed_tools" && len(c.Tools) == 0:
		return strict.Required("/tools")
	case c.Type == "allowed_tools":
		return strict.OneOf("/mode", c.Mode, "auto", "required")
	}
	return nil
}

// choose says which tool is to be called. One that nothing here runs can't be.
func (t *tooling) choose(c *responseChoice) error {
	out := &t.request.ToolChoice
	switch {
	case c.word != nil:
		out.Mode = modes[*c.word]
		if *c.word == "required" && len(t.request.Tools) == 0 {
			return fault.Invalid("tool_choice", "tool_choice: is only allowed to be required when tools are specified that the caller runs")
		}
	case c.Type == "":
	case c.Type == "allowed_tools":
		out.Mode = modes[*c.Mode]
		for i := range c.Tools {
			place := "tool_choice.tools[" + strconv.Itoa(i) + "]"
			name, err := t.chosen(&c.Tools[i], place)
			if err != nil && *c.Mode == "auto" && slices.Contains(t.hosted, c.Tools[i].Type) {
				continue // only offered
			}
			if err != nil {
				return err
			}
			out.Only = append(out.Only, name)
		}
		if len(out.Only) == 0 {
			out.Mode = chat.ToolChoiceNone
		}
	default:
		name, err := t.chosen(c, "tool_choice")
		if err != nil {
			return err
		}
		*out = chat.ToolChoice{Mode: chat.ToolChoiceTool, Name: name}
	}
	return nil
}

// chosen is the model's name for the tool that a choice names.
func (t *tooling) chosen(c *responseChoice, place string) (string, error) {
	kind, named := functionTool, c.Name
	switch c.Type {
	case "function":
	case "custom":
		kind = customTool
	case "local_shell":
		kind, named = localShell, ""
	default:
		return "", fault.Invalid(place, "%s: a tool of type %q can't be called: nothing here runs it", place, strict.Clip(c.Type, 64))
	}
	name, ok := t.names.find(kind, c.Namespace, named)
	if !ok {
		return "", fault.Invalid(place, "%s: there is no tool %q in tools", place, strict.Clip(cmp.Or(c.Name, c.Type), 64))
	}
	return name, nil
}

// shellInput is a local shell's command as the model writes it.
type shellInput struct {
	Command          []string          `json:"command"`
	WorkingDirectory string            `json:"working_directory,omitempty"`
	TimeoutMS        json.Number       `json:"timeout_ms,omitempty"`
	Env              map[string]string `json:"env,omitempty"`
}

func (a *shellAction) input() shellInput {
	in := shellInput{Command: a.Command, Env: a.Env, TimeoutMS: json.Number(a.TimeoutMS)}
	if in.Command == nil {
		in.Command = []string{}
	}
	if a.WorkingDirectory != nil {
		in.WorkingDirectory = *a.WorkingDirectory
	}
	return in
}
