package completions

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// Upstream is what bedrock decided for a model that is asked in this format.
type Upstream struct {
	Model string // its id at the upstream
	Tier  string // service_tier; "" is none
	// Extra are further top-level members (reasoning_effort, seed, …). They win over what the
	// request says.
	Extra map[string]json.RawMessage
}

// unextendable are the members that Extra may not name: they are the request itself.
var unextendable = []string{"messages", "model", "stream", "stream_options", "tools", "tool_choice"}

// request is the body of a request to an upstream. (OpenAI's API reference,
// "Create chat completion")
type request struct {
	Model             string         `json:"model"`
	Messages          []message      `json:"messages"`
	Tools             []tool         `json:"tools,omitempty"`
	ToolChoice        any            `json:"tool_choice,omitempty"` // a word, or an object
	ParallelToolCalls *bool          `json:"parallel_tool_calls,omitempty"`
	MaxTokens         *int           `json:"max_completion_tokens,omitempty"`
	Temperature       *float64       `json:"temperature,omitempty"`
	TopP              *float64       `json:"top_p,omitempty"`
	Stop              []string       `json:"stop,omitempty"`
	Format            *format        `json:"response_format,omitempty"`
	Tier              string         `json:"service_tier,omitempty"`
	Stream            bool           `json:"stream,omitempty"`
	StreamOptions     *streamOptions `json:"stream_options,omitempty"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type message struct {
	Role       string `json:"role"`
	Content    any    `json:"content"` // a string, []part, or null beside calls
	ToolCalls  []call `json:"tool_calls,omitempty"`
	ToolCallID string `json:"tool_call_id,omitempty"`
}

// part is a content part; which members stand is up to Type.
type part struct {
	Type  string  `json:"type"` // text, image_url, file
	Text  *string `json:"text,omitempty"`
	Image *image  `json:"image_url,omitempty"`
	File  *file   `json:"file,omitempty"`
}

type image struct {
	URL string `json:"url"`
}

type file struct {
	Name string `json:"filename"`
	Data string `json:"file_data"` // a data URL
}

type call struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"` // function
	Function functionCall `json:"function"`
}

type functionCall struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type tool struct {
	Type     string   `json:"type"` // function
	Function function `json:"function"`
}

type function struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      bool            `json:"strict,omitempty"`
}

type format struct {
	Type   string `json:"type"` // json_schema
	Schema schema `json:"json_schema"`
}

type schema struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema"`
	Strict      bool            `json:"strict,omitempty"`
}

// EncodeRequest gives the body for req, which chat.Tidy and bedrock have prepared: roles
// alternate, names and ids are legal, blocks are not blank, and a Format that still stands
// goes out natively. Errors are *fault.Error: a block that the format has no place for.
func EncodeRequest(req *chat.Request, o Upstream) ([]byte, error) {
	r := request{
		Model: o.Model, ParallelToolCalls: req.ParallelToolCalls, MaxTokens: req.MaxTokens, Temperature: req.Temperature,
		TopP: req.TopP, Stop: req.Stop, Tier: o.Tier, Stream: req.Stream,
	}
	if req.Stream {
		r.StreamOptions = &streamOptions{IncludeUsage: true}
	}
	if len(req.System) > 0 {
		r.Messages = append(r.Messages, message{Role: "system", Content: Said(req.System)})
	}
	for _, m := range req.Messages {
		messages, err := turn(m)
		if err != nil {
			return nil, err
		}
		r.Messages = append(r.Messages, messages...)
	}
	for _, t := range req.Tools {
		r.Tools = append(r.Tools, tool{"function", function{t.Name, t.Description, t.Schema, t.Strict}})
	}
	if len(r.Tools) == 0 {
		r.ParallelToolCalls = nil
	} else {
		r.ToolChoice = choice(req.ToolChoice)
	}
	if f := req.Format; f != nil && f.Schema != nil {
		r.Format = &format{"json_schema", schema{cmp.Or(f.Name, "answer"), f.Description, f.Schema, f.Strict}}
	}
	body, err := Marshal(r)
	if err != nil {
		return nil, err
	}
	return Extend(body, o.Extra, unextendable)
}

// Extend adds members to an object's text; where both have one that is an object, member by
// member, and the added ones win. never may not be among them.
func Extend(body []byte, extra map[string]json.RawMessage, never []string) ([]byte, error) {
	if len(extra) == 0 {
		return body, nil
	}
	var own map[string]json.RawMessage
	if err := json.Unmarshal(body, &own); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if slices.Contains(never, name) {
			return nil, fault.Invalid(name, "%s is not allowed among additional request fields", name)
		}
		own[name] = overlay(own[name], extra[name])
	}
	return Marshal(own)
}

func overlay(below, above json.RawMessage) json.RawMessage {
	var b, a map[string]json.RawMessage
	if json.Unmarshal(below, &b) != nil || json.Unmarshal(above, &a) != nil || a == nil || b == nil {
		return above
	}
	for name, value := range a {
		b[name] = overlay(b[name], value)
	}
	out, err := Marshal(b)
	if err != nil {
		return above
	}
	return out
}

// Said are the texts of blocks, in paragraphs.
func Said(blocks []chat.Block) string {
	var all []string
	for _, b := range blocks {
		if t, ok := b.(chat.Text); ok {
			all = append(all, t.Text)
		}
	}
	return strings.Join(all, "\n\n")
}

// turn is one turn. Results are messages of their own, ahead of what else the user
// says; their images, for which those have no place, are the user's.
func turn(m chat.Message) ([]message, error) {
	if m.Role == chat.Assistant {
		return answer(m)
	}
	var out []message
	var said, shown []chat.Block
	for _, b := range m.Blocks {
		result, ok := b.(chat.ToolResult)
		if !ok {
			said = append(said, b)
			continue
		}
		var texts []string
		for _, b := range result.Blocks {
			switch b := b.(type) {
			case chat.Text:
				texts = append(texts, b.Text)
			case chat.CachePoint:
			default:
				shown = append(shown, b)
			}
		}
		if len(texts) == 0 {
			texts = []string{"(shown in the next message)"}
		}
		out = append(out, message{Role: "tool", ToolCallID: result.ID, Content: strings.Join(texts, "\n")})
	}
	parts, err := parts(append(shown, said...), m.Param)
	if err != nil || len(parts) == 0 {
		return out, err
	}
	message := message{Role: string(m.Role), Content: parts}
	if len(parts) == 1 && parts[0].Text != nil {
		message.Content = *parts[0].Text
	}
	return append(out, message), nil
}

func answer(m chat.Message) ([]message, error) {
	out := message{Role: "assistant"}
	var texts []string
	for _, b := range m.Blocks {
		switch b := b.(type) {
		case chat.Text:
			texts = append(texts, b.Text)
		case chat.ToolUse:
			out.ToolCalls = append(out.ToolCalls, call{b.ID, "function", functionCall{b.Name, string(b.Input)}})
		case chat.CachePoint, chat.Thinking, chat.Redacted: // no place, and left out before
		default:
			return nil, fault.Invalid(m.Param, "this model does not support content of this kind in assistant messages")
		}
	}
	if text := strings.Join(texts, ""); text != "" || len(out.ToolCalls) == 0 {
		out.Content = text
	}
	return []message{out}, nil
}

func parts(blocks []chat.Block, param string) ([]part, error) {
	var out []part
	for _, b := range blocks {
		switch b := b.(type) {
		case chat.Text:
			out = append(out, part{Type: "text", Text: &b.Text})
		case chat.Image:
			url, err := ImageURL(b, param)
			if err != nil {
				return nil, err
			}
			out = append(out, part{Type: "image_url", Image: &image{url}})
		case chat.Document:
			data, err := FileURL(b, param)
			if err != nil {
				return nil, err
			}
			out = append(out, part{Type: "file", File: &file{cmp.Or(b.Name, "document.pdf"), data}})
		case chat.CachePoint: // no place
		default:
			return nil, fault.Invalid(param, "this model does not support content of this kind")
		}
	}
	return out, nil
}

// ImageURL is an inline image as a data URL. param is where the caller wrote the turn.
func ImageURL(b chat.Image, param string) (string, error) {
	switch {
	case !b.Inline():
		return "", fault.Invalid(cmp.Or(b.Param, param), "the image must be sent inline, as a data: URL")
	case b.Base64 != nil:
		return "data:image/" + b.Format + ";base64," + string(b.Base64), nil
	}
	return "data:image/" + b.Format + ";base64," + base64.StdEncoding.EncodeToString(b.Data), nil
}

// FileURL is an inline document as a data URL: PDF alone.
func FileURL(b chat.Document, param string) (string, error) {
	if b.Format != "pdf" {
		return "", fault.Invalid(cmp.Or(b.Param, param), "this model does not support %s documents: send PDF, or the text itself", b.Format)
	}
	return "data:application/pdf;base64," + base64.StdEncoding.EncodeToString(b.Data), nil
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
		return map[string]any{"type": "function", "function": map[string]string{"name": c.Name}}
	}
	return nil
}

// allowed is a choice among some of the tools.
func allowed(c chat.ToolChoice) any {
	type named struct {
		Type     string            `json:"type"`
		Function map[string]string `json:"function"`
	}
	type subset struct {
		Mode  any     `json:"mode"`
		Tools []named `json:"tools"`
	}
	s := subset{Mode: choice(chat.ToolChoice{Mode: c.Mode})}
	for _, name := range c.Only {
		s.Tools = append(s.Tools, named{"function", map[string]string{"name": name}})
	}
	return struct {
		Type    string `json:"type"`
		Allowed subset `json:"allowed_tools"`
	}{"allowed_tools", s}
}

// Marshal is json.Marshal without HTML escapes.
func Marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
