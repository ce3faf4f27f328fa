package responses

import (
	"cmp"
	"encoding/json"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/completions"
	"aisix/extproc/fault"
)

// unextendable are the members that additional fields may not name: they are the request
// itself.
var unextendable = []string{"input", "instructions", "model", "store", "stream", "tools", "tool_choice"}

// request is the body of a request to an upstream. (OpenAI's API reference, "Create a model
// response")
type request struct {
	Model             string   `json:"model"`
	Instructions      string   `json:"instructions,omitempty"`
	Input             []any    `json:"input"` // upMessage, upCall, upResult, upReasoning
	Tools             []upTool `json:"tools,omitempty"`
	ToolChoice        any      `json:"tool_choice,omitempty"` // a word, or an object
	ParallelToolCalls *bool    `json:"parallel_tool_calls,omitempty"`
	MaxTokens         *int     `json:"max_output_tokens,omitempty"`
	Temperature       *float64 `json:"temperature,omitempty"`
	TopP              *float64 `json:"top_p,omitempty"`
	Text              *upText  `json:"text,omitempty"`
	Include           []string `json:"include"`
	Tier              string   `json:"service_tier,omitempty"`
	Store             bool     `json:"store"` // true is the default, and AWS then keeps what was said for 30 days
	Stream            bool     `json:"stream,omitempty"`
}

type upMessage struct {
	Type    string   `json:"type"` // message
	Role    string   `json:"role"`
	Content []upPart `json:"content"`
}

// upPart is a content part; which members stand is up to Type.
type upPart struct {
	Type     string  `json:"type"` // input_text, input_image, input_file, output_text
	Text     *string `json:"text,omitempty"`
	ImageURL string  `json:"image_url,omitempty"`
	Detail   string  `json:"detail,omitempty"` // of an image, where OpenAI's reference requires it
	FileName string  `json:"filename,omitempty"`
	FileData string  `json:"file_data,omitempty"`
}

type upCall struct {
	Type      string `json:"type"` // function_call
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type upResult struct {
	Type   string `json:"type"` // function_call_output
	CallID string `json:"call_id"`
	Output any    `json:"output"` // a string, or []upPart
}

type upReasoning struct {
	Type      string      `json:"type"` // reasoning
	ID        string      `json:"id,omitempty"`
	Summary   []upSummary `json:"summary"`
	Encrypted string      `json:"encrypted_content"`
}

type upSummary struct {
	Type string `json:"type"` // summary_text
	Text string `json:"text"`
}

type upTool struct {
	Type        string          `json:"type"` // function
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      bool            `json:"strict"` // true is the default
}

type upText struct {
	Format upFormat `json:"format"`
}

type upFormat struct {
	Type        string          `json:"type"` // json_schema
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema"`
	Strict      bool            `json:"strict"`
}

// EncodeRequest gives the body for req, which chat.Tidy and bedrock have prepared: roles
// alternate, names and ids are legal, blocks are not blank, a Format that still stands
// goes out natively, and reasoning of earlier turns is this format's own. Nothing is stored
// at the upstream. Errors are *fault.Error: a block that the format has no place for.
func EncodeRequest(req *chat.Request, o completions.Upstream) ([]byte, error) {
	r := request{
		Model: o.Model, Instructions: completions.Said(req.System), Input: []any{}, ParallelToolCalls: req.ParallelToolCalls,
		MaxTokens: req.MaxTokens, Temperature: req.Temperature, TopP: req.TopP, Tier: o.Tier, Stream: req.Stream,
		Include: []string{"reasoning.encrypted_content"},
	}
	for _, m := range req.Messages {
		add := r.user
		if m.Role == chat.Assistant {
			add = r.assistant
		}
		if err := add(m); err != nil {
			return nil, err
		}
	}
	for _, t := range req.Tools {
		r.Tools = append(r.Tools, upTool{"function", t.Name, t.Description, t.Schema, t.Strict})
	}
	if len(r.Tools) == 0 {
		r.ParallelToolCalls = nil
	} else {
		r.ToolChoice = choice(req.ToolChoice)
	}
	if f := req.Format; f != nil && f.Schema != nil {
		r.Text = &upText{upFormat{"json_schema", cmp.Or(f.Name, "answer"), f.Description, f.Schema, f.Strict}}
	}
	body, err := completions.Marshal(r)
	if err != nil {
		return nil, err
	}
	return completions.Extend(body, o.Extra, unextendable)
}

// user adds a turn of the user's, or a system message in mid-conversation: results first, as
// items of their own.
func (r *request) user(m chat.Message) error {
	var said []chat.Block
	for _, b := range m.Blocks {
		result, ok := b.(chat.ToolResult)
		if !ok {
			said = append(said, b)
			continue
		}
		parts, err := inputParts(result.Blocks, cmp.Or(result.Param, m.Param))
		if err != nil {
			return err
		}
		item := upResult{Type: "function_call_output", CallID: result.ID, Output: parts}
		if texts, ok := onlyText(parts); ok {
			item.Output = texts
		}
		r.Input = append(r.Input, item)
	}
	parts, err := inputParts(said, m.Param)
	if err != nil || len(parts) == 0 {
		return err
	}
	role := string(m.Role)
	if m.Role == chat.System {
		role = "developer"
	}
	r.Input = append(r.Input, upMessage{"message", role, parts})
	return nil
}

// onlyText are the texts of parts where there is nothing else.
func onlyText(parts []upPart) (string, bool) {
	var texts []string
	for _, p := range parts {
		if p.Text == nil {
			return "", false
		}
		texts = append(texts, *p.Text)
	}
	return strings.Join(texts, "\n"), true
}

func inputParts(blocks []chat.Block, param string) ([]upPart, error) {
	var out []upPart
	for _, b := range blocks {
		switch b := b.(type) {
		case chat.Text:
			out = append(out, upPart{Type: "input_text", Text: &b.Text})
		case chat.Image:
			url, err := completions.ImageURL(b, param)
			if err != nil {
				return nil, err
			}
			out = append(out, upPart{Type: "input_image", ImageURL: url, Detail: "auto"})
		case chat.Document:
			file, err := completions.FileURL(b, param)
			if err != nil {
				return nil, err
			}
			out = append(out, upPart{Type: "input_file", FileName: cmp.Or(b.Name, "document.pdf"), FileData: file})
		case chat.CachePoint: // no place: prompts are cached unasked
		default:
			return nil, fault.Invalid(param, "this model does not support content of this kind")
		}
	}
	return out, nil
}

// assistant adds a turn of the model's, item by item in the order in which it spoke.
func (r *request) assistant(m chat.Message) error {
	for _, b := range m.Blocks {
		switch b := b.(type) {
		case chat.Text:
			r.Input = append(r.Input, upMessage{"message", "assistant", []upPart{{Type: "output_text", Text: &b.Text}}})
		case chat.ToolUse:
			r.Input = append(r.Input, upCall{"function_call", b.ID, b.Name, string(b.Input)})
		case chat.Thinking:
			id, encrypted, ok := Unsigned(b.Signature)
			if !ok {
				continue
			}
			item := upReasoning{Type: "reasoning", ID: id, Summary: []upSummary{}, Encrypted: encrypted}
			if b.Text != "" {
				item.Summary = append(item.Summary, upSummary{"summary_text", b.Text})
			}
			r.Input = append(r.Input, item)
		case chat.Redacted, chat.CachePoint:
		default:
			return fault.Invalid(m.Param, "this model does not support content of this kind in assistant messages")
		}
	}
	return nil
}

// choice is nil where the caller said nothing.
func choice(c chat.ToolChoice) any {
	if len(c.Only) > 0 {
		return allowed(c)
	}
	switch c.Mode {
	case chat.ToolChoiceNone, chat.ToolChoiceAuto:
		return string(c.Mode)
	case chat.ToolChoiceAny:
		return "required"
	case chat.ToolChoiceTool:
		return map[string]string{"type": "function", "name": c.Name}
	}
	return nil
}

// allowed is a choice among some of the tools.
func allowed(c chat.ToolChoice) any {
	type named struct {
		Type string `json:"type"`
		Name string `json:"name"`
	}
	out := struct {
		Type  string  `json:"type"`
		Mode  any     `json:"mode"`
		Tools []named `json:"tools"`
	}{Type: "allowed_tools", Mode: choice(chat.ToolChoice{Mode: c.Mode})}
	for _, name := range c.Only {
		out.Tools = append(out.Tools, named{"function", name})
	}
	return out
}

// signed is what a signature begins with that is a reasoning item's id and its
// encrypted_content: no other API's are like it, so that none takes the other's back.
const signed = "responses:"

// Signed is the signature of a reasoning block that was an item of this format's.
func Signed(id, encrypted string) string {
	if encrypted == "" {
		return "" // can't be sent back
	}
	return signed + id + ":" + encrypted
}

// Unsigned are the item's id and encrypted_content; ok is false for a signature of another
// format's.
func Unsigned(signature string) (id, encrypted string, ok bool) {
	rest, ok := strings.CutPrefix(signature, signed)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}

// Ours is how the encrypted_content begins that the gateway itself made, of what a model of
// another API thought: an upstream of this format would refuse it.
const Ours = "aisix1."
