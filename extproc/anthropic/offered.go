package anthropic

import (
	"encoding/json"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
)

// Which tools a model may call can change within a conversation: some are only named at first
// (defer_loading) and loaded by a result that refers to them, and system messages add and take
// away. Claude keeps its cache so. Other models are told in words what changed, and get the
// definitions of those that can be called by now.

// changedTool is the tool of a tool_addition or a tool_removal: by its name, or defined there.
type changedTool struct {
	Type       *string        `json:"type"`
	Name       string         `json:"name"`
	Definition *definition    `json:"definition"`
	Unknown    strict.Unknown `json:",embed"`
}

func (c *changedTool) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members changedTool
	return strict.Object(dec, (*members)(c), c)
}

// Check holds it to its type.
func (c *changedTool) Check() *strict.Error {
	switch {
	case c.Type == nil:
		return strict.Required("/type")
	case *c.Type == "tool_reference" && c.Name == "":
		return strict.Required("/name")
	case *c.Type == "tool_definition" && c.Definition == nil:
		return strict.Required("/definition")
	}
	if c.Definition != nil {
		if err := c.Definition.Check(); err != nil {
			err.Pointer = "/definition" + err.Pointer
			return err
		}
	}
	return strict.OneOf("/type", c.Type, "tool_reference", "tool_definition")
}

func (c *changedTool) check(block string) *strict.Error {
	if block == "tool_removal" && c.Definition != nil {
		return strict.Errorf("/tool/type", "must be tool_reference in a tool_removal")
	}
	return nil
}

func (c *changedTool) name() string {
	if c.Definition != nil {
		return c.Definition.Name
	}
	return c.Name
}

// onlyInstructs refuses in a system message what is neither text nor a change of the tools.
func (m *turn) onlyInstructs() *strict.Error {
	if err := strict.OneOf("/clear_at", m.ClearAt, "next_user_message"); err != nil {
		return err
	}
	for i := range m.Content.blocks {
		switch m.Content.blocks[i].Type {
		case "text", "tool_addition", "tool_removal":
		default:
			return strict.Errorf("/content/"+strconv.Itoa(i), "must be a text block")
		}
	}
	return nil
}

// lastAsked is the last message in which the user says something, beside results of calls: what
// system messages before it said of one turn only is over.
func (r *body) lastAsked() int {
	for i := len(r.Messages) - 1; i >= 0; i-- {
		if r.Messages[i].Role != "user" {
			continue
		}
		for _, b := range r.Messages[i].Content.blocks {
			if b.Type != "tool_result" {
				return i
			}
		}
	}
	return -1
}

// offer is a tool that a request defines, and where.
type offer struct {
	*definition
	param string
}

// offers are the tools that a request defines, each name once: what a message defines anew takes
// the place of what was.
func (r *body) offers() []offer {
	out := make([]offer, 0, len(r.Tools))
	for i := range r.Tools {
		out = append(out, offer{&r.Tools[i], "tools[" + strconv.Itoa(i) + "]"})
	}
	var at map[string]int // of a name in out
	for i := range r.Messages {
		for j := range r.Messages[i].Content.blocks {
			tool := r.Messages[i].Content.blocks[j].Tool
			if tool == nil || tool.Definition == nil {
				continue
			}
			if at == nil {
				at = make(map[string]int, len(out))
				for i, o := range out {
					at[o.Name] = i
				}
			}
			next := offer{tool.Definition, "messages[" + strconv.Itoa(i) + "].content[" + strconv.Itoa(j) + "].tool.definition"}
			if i, ok := at[next.Name]; ok {
				out[i] = next
				continue
			}
			at[next.Name] = len(out)
			out = append(out, next)
		}
	}
	return out
}

func (r *body) checkTools() *strict.Error {
	names := make(map[string]bool, len(r.Tools))
	for i := range r.Tools {
		name := r.Tools[i].Name
		if names[name] {
			return strict.Errorf("/tools/"+strconv.Itoa(i)+"/name", "two tools have the name %q", strict.Clip(name, 64))
		}
		names[name] = true
	}
	offers := r.offers()
	if err := atMost("/tools", len(offers), chat.MaxTools, "tools"); err != nil {
		return err
	}
	for _, o := range offers {
		names[o.Name] = true
	}
	switch c := r.ToolChoice; {
	case c == nil || c.Type == nil:
	case *c.Type == "tool" && !names[c.Name]:
		return strict.Errorf("/tool_choice/name", "there is no tool %q in tools", strict.Clip(c.Name, 64))
	case *c.Type == "any" && len(offers) == 0:
		return strict.Errorf("/tool_choice", "any is only allowed when tools are specified")
	}
	return nil
}

// callable tells of each tool that the conversation names whether it can be called by now.
func (r *body) callable() map[string]bool {
	by := map[string]bool{}
	for i := range r.Messages {
		for j := range r.Messages[i].Content.blocks {
			switch b := &r.Messages[i].Content.blocks[j]; b.Type {
			case "tool_use":
				by[b.Name] = true
			case "tool_result":
				for _, inner := range b.Content.blocks {
					if inner.Type == "tool_reference" {
						by[inner.ToolName] = true
					}
				}
			case "tool_addition", "tool_removal":
				by[b.Tool.name()] = b.Type == "tool_addition"
			}
		}
	}
	if c := r.ToolChoice; c != nil && c.Type != nil && *c.Type == "tool" {
		by[c.Name] = true
	}
	return by
}

// toolsToChat are the tools that can be called by now.
func (r *body) toolsToChat() (tools []chat.Tool, notes []string) {
	offers := r.offers()
	if len(offers) == 0 {
		return nil, nil
	}
	callable := r.callable()
	tools = make([]chat.Tool, 0, len(offers))
	var waiting []string
	for _, o := range offers {
		if can, named := callable[o.Name]; named && !can || !named && o.DeferLoading {
			waiting = append(waiting, o.Name)
			continue
		}
		tools = append(tools, chat.Tool{
			Name: o.Name, Description: o.Description, Schema: json.RawMessage(o.InputSchema), Strict: o.Strict,
			Cache: o.CacheControl.toChat(), Param: o.param + ".input_schema",
		})
	}
	if len(waiting) > 0 {
		notes = []string{"tools that are not loaded were left out: " + chat.AllNamed(waiting)}
	}
	return tools, notes
}
