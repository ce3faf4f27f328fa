package anthropic

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// Options are what bedrock decided for this model; the zero value is a plain
// call.
type Options struct {
	// Model is what Anthropic's own API names in the body, beside whether the answer is to
	// be a stream; "" is InvokeModel's body, which has the version instead. Beta goes as a
	// header then.
	Model       string
	Beta        []string        // anthropic_beta
	Thinking    json.RawMessage // the thinking object; nil is none
	Effort      string          // output_config.effort; "" is none
	StrictTools bool            // the model takes strict on a tool
	// Extra are further top-level members (top_k, …). They win over what the request
	// says, member by member where both are objects (output_config).
	Extra map[string]json.RawMessage
}

// unextendable are the members that Extra may not name: they are the request
// itself, or have their place elsewhere in InvokeModel.
var unextendable = []string{"anthropic_version", "messages", "model", "stream", "system", "tools", "tool_choice"}

// EncodeRequest gives the body for req, which chat.Tidy and bedrock have
// prepared: roles alternate, names and ids are legal, blocks are not blank;
// a Format that still stands goes out natively, Reasoning has become options, and
// MaxTokens, which the body needs, is there or among the extra members.
// Errors are *fault.Error: a block or a member that Claude has no place for.
func EncodeRequest(req *chat.Request, o Options) ([]byte, error) {
	r := request{
		Version:       Version,
		Beta:          o.Beta,
		MaxTokens:     req.MaxTokens,
		Messages:      make([]message, 0, len(req.Messages)),
		Temperature:   req.Temperature,
		TopP:          req.TopP,
		StopSequences: req.Stop,
		Thinking:      o.Thinking,
		Metadata:      userMetadata(req.User),
	}
	if o.Model != "" {
		r.Model, r.Stream, r.Version, r.Beta = o.Model, req.Stream, "", nil
	}
	n := len(req.System)
	for i := range req.Messages {
		n += len(req.Messages[i].Blocks)
	}
	e := encoder{make([]block, 0, n), make([]string, 0, n)}
	var err error
	if r.System, err = e.blocks(req.System, "messages"); err != nil {
		return nil, err
	}
	for i := range req.Messages {
		m := &req.Messages[i]
		content, err := e.blocks(m.Blocks, m.Param)
		if err != nil {
			return nil, err
		}
		r.Messages = append(r.Messages, message{Role: string(m.Role), Content: content})
	}
	r.Tools = encodeTools(req.Tools, o)
	if len(r.Tools) > 0 { // Claude refuses a choice where there is nothing to choose
		r.ToolChoice = encodeToolChoice(req.ToolChoice, req.ParallelToolCalls)
	}
	encodeOutput(&r, req.Format, o)
	return marshal(&r, o.Extra, req.Room())
}

// encoder has the room for the blocks of a request, and for the texts in them.
type encoder struct {
	room  []block
	texts []string
}

// some is room for n blocks, without room behind it.
func (e *encoder) some(n int) []block {
	if cap(e.room)-len(e.room) < n {
		e.room = make([]block, 0, n)
	}
	from := len(e.room)
	e.room = e.room[:from+n]
	return e.room[from : from : from+n]
}

// text is where s stays.
func (e *encoder) text(s string) *string {
	if len(e.texts) == cap(e.texts) {
		e.texts = make([]string, 0, 8) // those before stay where they are
	}
	e.texts = append(e.texts, s)
	return &e.texts[len(e.texts)-1]
}

// blocks encodes one turn. A cache point becomes the cache_control of the
// block before it; behind a reasoning block, which can't carry one, it moves to
// the block before that. param is where the caller wrote the turn.
func (e *encoder) blocks(blocks []chat.Block, param string) ([]block, error) {
	out := e.some(len(blocks))
	for _, b := range blocks {
		if p, ok := b.(chat.CachePoint); ok {
			markLast(out, p)
			continue
		}
		encoded, err := e.block(b, param)
		if err != nil {
			return nil, err
		}
		if encoded.Type != "" {
			out = append(out, encoded)
		}
	}
	return out, nil
}

func markLast(blocks []block, p chat.CachePoint) {
	for i := len(blocks) - 1; i >= 0; i-- {
		if t := blocks[i].Type; t == "thinking" || t == "redacted_thinking" {
			continue
		}
		blocks[i].CacheControl = encodeCache(&p)
		return
	}
}

// block gives a block without a type for one that is left out: unsigned
// thinking, which Claude would refuse.
func (e *encoder) block(b chat.Block, param string) (block, error) {
	switch b := b.(type) {
	case chat.Text:
		return block{Type: "text", Text: e.text(b.Text)}, nil
	case chat.Image:
		return encodeImage(b, param)
	case chat.Document:
		return encodeDocument(b, param)
	case chat.ToolUse:
		input := b.Input
		if len(input) == 0 {
			input = json.RawMessage("{}")
		}
		return block{Type: "tool_use", ID: b.ID, Name: b.Name, Input: input}, nil
	case chat.ToolResult:
		content, err := e.blocks(b.Blocks, or(b.Param, param))
		if err != nil {
			return block{}, err
		}
		return block{Type: "tool_result", ToolUseID: b.ID, Content: content, IsError: b.IsError}, nil
	case chat.Thinking:
		if b.Signature == "" {
			return block{}, nil
		}
		return block{Type: "thinking", Thinking: &b.Text, Signature: &b.Signature}, nil
	case chat.Redacted:
		return block{Type: "redacted_thinking", Data: &b.Data}, nil
	default:
		return block{}, fault.Invalid(param, "this model does not support content of this kind")
	}
}

func encodeImage(b chat.Image, param string) (block, error) {
	param = or(b.Param, param)
	if !b.Inline() {
		return block{}, fault.Invalid(param, "the image must be sent inline, as a data: URL")
	}
	if b.Base64 != nil {
		return block{Type: "image", Source: &source{Type: "base64", MediaType: "image/" + b.Format, Data: encoded(b.Base64)}}, nil
	}
	return block{Type: "image", Source: &source{Type: "base64", MediaType: "image/" + b.Format, Data: b.Data}}, nil
}

// encodeDocument sends a PDF as it is and text formats as text: Claude has no
// other kinds of inline document.
func encodeDocument(b chat.Document, param string) (block, error) {
	param = or(b.Param, param)
	switch b.Format {
	case "pdf":
		return block{Type: "document", Title: b.Name, Source: &source{Type: "base64", MediaType: "application/pdf", Data: b.Data}}, nil
	case "txt", "md", "csv", "html":
		if !isText(b.Data) {
			return block{}, fault.Invalid(param, "the document is not UTF-8 text")
		}
		return block{Type: "document", Title: b.Name, Source: &source{Type: "text", MediaType: "text/plain", Data: string(b.Data)}}, nil
	default:
		return block{}, fault.Invalid(param, "this model does not support %s documents: send PDF or plain text", b.Format)
	}
}

// isText reports whether data is text in UTF-8. A few control characters are (those
// that color a terminal, say); more than one in sixteen are not, and would weigh
// six times as much once escaped.
func isText(data []byte) bool {
	controls := 0
	for _, c := range data {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			controls++
		}
	}
	return controls <= len(data)/16+64 && utf8.Valid(data)
}

func encodeTools(tools []chat.Tool, o Options) []tool {
	var out []tool
	for _, t := range tools {
		schema := t.Schema
		if len(schema) == 0 {
			schema = json.RawMessage(`{"type":"object","properties":{}}`)
		}
		out = append(out, tool{
			Name: t.Name, Description: t.Description, InputSchema: schema,
			Strict: t.Strict && o.StrictTools, CacheControl: encodeCache(t.Cache),
		})
	}
	return out
}

// encodeToolChoice gives nil where the caller said nothing. none has no place
// for disable_parallel_tool_use, and needs none.
func encodeToolChoice(c chat.ToolChoice, parallel *bool) *toolChoice {
	serial := parallel != nil && !*parallel
	switch c.Mode {
	case chat.ToolChoiceNone:
		return &toolChoice{Type: "none"}
	case chat.ToolChoiceAny:
		return &toolChoice{Type: "any", DisableParallel: serial}
	case chat.ToolChoiceTool:
		return &toolChoice{Type: "tool", Name: c.Name, DisableParallel: serial}
	case chat.ToolChoiceAuto:
		return &toolChoice{Type: "auto", DisableParallel: serial}
	default:
		if serial {
			return &toolChoice{Type: "auto", DisableParallel: true}
		}
		return nil
	}
}

func encodeOutput(r *request, f *chat.Format, o Options) {
	var format *outputFormat
	if f != nil && f.Schema != nil {
		format = &outputFormat{Type: "json_schema", Schema: f.Schema}
	}
	if format != nil || o.Effort != "" {
		r.OutputConfig = &outputConfig{Effort: o.Effort, Format: format}
	}
}

func encodeCache(p *chat.CachePoint) *cacheControl {
	if p == nil {
		return nil
	}
	return &cacheControl{Type: "ephemeral", TTL: p.TTL}
}

func userMetadata(user string) *metadata {
	if user == "" {
		return nil
	}
	return &metadata{UserID: UserID(user)}
}

// UserID is the caller's user id as Anthropic takes it, "" of "": an opaque id of up to
// 256 characters. It refuses those that look like an e-mail address or a phone number; a
// hint must not cost the call, so such an id goes as its SHA-256.
func UserID(user string) string {
	if user == "" {
		return ""
	}
	number := strings.Trim(user, "+0123456789 ()-./") == ""
	if len(user) > 256 || strings.Contains(user, "@") || number {
		sum := sha256.Sum256([]byte(user))
		user = hex.EncodeToString(sum[:])
	}
	return user
}

// marshal gives r's JSON with the extra members behind it, in the order of their
// names, and without its own of those names.
// room is how many bytes to set aside.
func marshal(r *request, extra map[string]json.RawMessage, room int) ([]byte, error) {
	if len(extra) == 0 {
		return r.append(make([]byte, 0, room)), nil
	}
	own, err := r.members()
	if err != nil {
		return nil, err
	}
	var tail []byte
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if slices.Contains(unextendable, name) {
			return nil, fault.Invalid(name, "%s is not allowed among additional request fields", name)
		}
		if !json.Valid(extra[name]) {
			return nil, fault.Invalid(name, "%s must be JSON", name)
		}
		key, err := unescaped(name)
		if err != nil {
			return nil, err
		}
		value := extra[name]
		if own[name] != nil {
			r.drop(name)
			if value, err = overlay(own[name], value); err != nil {
				return nil, err
			}
		}
		tail = append(append(append(append(tail, ','), key...), ':'), value...)
	}
	body := r.append(make([]byte, 0, room+len(tail)))
	return append(append(body[:len(body)-1], tail...), '}'), nil
}

// drop takes a member out.
func (r *request) drop(name string) {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		if tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); tag == name {
			v.Field(i).SetZero()
		}
	}
}

// overlay is over, with what own has besides where both are objects. A thinking
// object is one of several kinds, and never half of two.
func overlay(own, over json.RawMessage) (json.RawMessage, error) {
	var both, above map[string]json.RawMessage
	if json.Unmarshal(own, &both) != nil || json.Unmarshal(over, &above) != nil || both == nil || above == nil || both["type"] != nil {
		return over, nil
	}
	maps.Copy(both, above)
	return unescaped(both)
}

// members are those that r has, without those that are the request itself: they
// may be long, and are never extended.
func (r request) members() (own map[string]json.RawMessage, err error) {
	r.System, r.Messages, r.Tools = nil, nil, nil
	return own, json.Unmarshal(r.append(nil), &own)
}

// unescaped is v's JSON without HTML escapes.
func unescaped(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("anthropic: encode request: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
