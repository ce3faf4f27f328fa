package anthropic

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
)

// turn is one message.
type turn struct {
	Role         string        `json:"role"`
	Content      content       `json:"content"`
	OutputConfig *outputWish   `json:"output_config"` // from here on
	ClearAt      *string       `json:"clear_at"`      // system
	Others       strict.Others `json:",embed"`        // an answer's own, which clients send back (id, model, usage, …)
}

// Check holds a message to its role.
func (m *turn) Check() *strict.Error {
	switch m.Role {
	case "":
		return strict.Required("/role")
	case "user", "assistant", "system":
	default:
		return strict.Variant("/role", "must be one of user, assistant, system")
	}
	if m.Role != "assistant" {
		if err := m.Others.Refuse(); err != nil {
			return err
		}
	}
	if !m.Content.given && m.Role != "assistant" { // a model may have said nothing
		return strict.Required("/content")
	}
	if m.Role == "system" {
		return m.onlyInstructs()
	}
	if m.ClearAt != nil {
		return strict.Errorf("/clear_at", "is only allowed in messages of role system")
	}
	for i := range m.Content.blocks {
		b, place := &m.Content.blocks[i], "/content/"+strconv.Itoa(i)
		switch {
		case b.Type == "tool_addition" || b.Type == "tool_removal" || b.Type == "tool_reference":
			return strict.Variant(place+"/type", "content blocks of type %s are not supported here", b.Type)
		case m.Role == "assistant" && (b.Type == "image" || b.Type == "document"):
			return strict.Errorf(place, "content blocks of type %s are not allowed in a message with role assistant", b.Type)
		}
		if m.Role == "user" {
			if err := b.Others.Refuse(); err != nil {
				err.Pointer = place + err.Pointer
				return err
			}
		}
	}
	return nil
}

// onlyText refuses what is no text.
func onlyText(blocks []asBlock, pointer string) *strict.Error {
	for i := range blocks {
		if blocks[i].Type != "text" {
			return strict.Errorf(pointer+"/"+strconv.Itoa(i), "must be a text block")
		}
	}
	return nil
}

// content is a string, or blocks.
type content struct {
	given  bool
	blocks strict.List[asBlock]
}

func (c *content) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case '"':
		text, err := strict.Text(dec)
		if err != nil {
			return err
		}
		said := string(text)
		c.given, c.blocks = true, strict.List[asBlock]{{Type: "text", Text: &said}}
		return nil
	case '[':
		c.given = true
		return c.blocks.UnmarshalJSONFrom(dec)
	case 'n':
		return dec.SkipValue()
	}
	return strict.Mismatch(dec, "a string or an array of content blocks")
}

// count is how many blocks there are, those of results included.
func (c *content) count() int {
	n := len(c.blocks)
	for i := range c.blocks {
		n += len(c.blocks[i].Content.blocks)
	}
	return n
}

// asBlock is a content block as a caller sends it, with the members of every kind.
type asBlock struct {
	Type         string           `json:"type"`
	Text         *string          `json:"text"`
	Source       *askedSource     `json:"source"`  // image, document
	Title        *string          `json:"title"`   // document
	Context      *string          `json:"context"` // document
	ID           string           `json:"id"`      // tool_use
	Name         string           `json:"name"`
	Input        strict.RawObject `json:"input"`
	Caller       strict.Ignored   `json:"caller"`      // tool_use: of the model's own code, which there is none of
	Tool         *changedTool     `json:"tool"`        // tool_addition, tool_removal
	ToolName     string           `json:"tool_name"`   // tool_reference
	ToolUseID    string           `json:"tool_use_id"` // tool_result
	Content      content          `json:"content"`
	IsError      bool             `json:"is_error"`
	Thinking     *string          `json:"thinking"`
	Signature    string           `json:"signature"`
	Data         string           `json:"data"` // redacted_thinking
	Citations    strict.Raw       `json:"citations"`
	CacheControl *mark            `json:"cache_control"`
	Others       strict.Others    `json:",embed"`
}

// kindMembers are the members of each kind, beside type, cache_control and citations.
var kindMembers = map[string][]string{
	"text":              {"text"},
	"image":             {"source"},
	"document":          {"source", "title", "context"},
	"tool_use":          {"id", "name", "input", "caller"},
	"tool_result":       {"tool_use_id", "content", "is_error"},
	"thinking":          {"thinking", "signature"},
	"redacted_thinking": {"data"},
	"tool_addition":     {"tool"},
	"tool_removal":      {"tool"},
	"tool_reference":    {"tool_name"},
}

// Check holds a block to its kind.
func (b *asBlock) Check() *strict.Error {
	members, known := kindMembers[b.Type]
	switch {
	case b.Type == "":
		return strict.Required("/type")
	case !known:
		return strict.Variant("/type", "content blocks of type %s are not supported by this model", strict.Clip(b.Type, 64))
	}
	for _, x := range []struct {
		name  string
		given bool
	}{
		{"text", b.Text != nil}, {"source", b.Source != nil}, {"title", b.Title != nil}, {"context", b.Context != nil}, {"id", b.ID != ""}, {"name", b.Name != ""},
		{"input", b.Input != nil}, {"tool_use_id", b.ToolUseID != ""}, {"content", b.Content.given}, {"is_error", b.IsError}, {"thinking", b.Thinking != nil},
		{"signature", b.Signature != ""}, {"data", b.Data != ""}, {"caller", bool(b.Caller)},
		{"tool", b.Tool != nil}, {"tool_name", b.ToolName != ""},
	} {
		if x.given && !slices.Contains(members, x.name) {
			return strict.Errorf("/"+x.name, "unknown member in a content block of type %s", b.Type)
		}
	}
	switch b.Type {
	case "text":
		if b.Text == nil {
			return strict.Required("/text")
		}
	case "image", "document":
		if b.Source == nil {
			return strict.Required("/source")
		}
		if b.Type == "document" && b.cites() {
			return strict.Errorf("/citations", "citations are not supported by this model")
		}
		return b.Source.check(b.Type == "image", b.Title)
	case "tool_use":
		switch {
		case b.ID == "":
			return strict.Required("/id")
		case b.Name == "":
			return strict.Required("/name")
		case len(b.Name) > chat.MaxToolName:
			return strict.Errorf("/name", "must be at most %d bytes long", chat.MaxToolName)
		}
	case "tool_result":
		if b.ToolUseID == "" {
			return strict.Required("/tool_use_id")
		}
		for i := range b.Content.blocks {
			inner, place := &b.Content.blocks[i], "/content/"+strconv.Itoa(i)
			switch inner.Type {
			case "text", "image", "document", "tool_reference":
			default:
				return strict.Errorf(place, "content blocks of type %s are not supported in a tool result", strict.Clip(inner.Type, 64))
			}
			if err := inner.Others.Refuse(); err != nil {
				err.Pointer = place + err.Pointer
				return err
			}
		}
	case "thinking":
		if b.Thinking == nil {
			return strict.Required("/thinking")
		}
	case "tool_reference":
		if b.ToolName == "" {
			return strict.Required("/tool_name")
		}
	case "tool_addition", "tool_removal":
		if b.Tool == nil {
			return strict.Required("/tool")
		}
		return b.Tool.check(b.Type)
	}
	return nil
}

// cites reports whether a document asks for citations.
func (b *asBlock) cites() bool {
	var wish struct {
		Enabled bool `json:"enabled"`
	}
	return b.Citations != nil && (json.Unmarshal(b.Citations, &wish) != nil || wish.Enabled)
}

// askedSource is where an image or a document comes from.
type askedSource struct {
	Type      string         `json:"type"`
	MediaType string         `json:"media_type"`
	Data      sourceData     `json:"data"`
	URL       string         `json:"url"`
	Content   content        `json:"content"`
	FileID    strict.Ignored `json:"file_id"`
	Unknown   strict.Unknown `json:",embed"`

	format string // of the data, by its bytes
	data   []byte
}

// sourceData is read as it was written.
type sourceData []byte

func (d *sourceData) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == 'n' {
		return dec.SkipValue()
	}
	text, err := strict.Text(dec)
	if err == nil {
		*d = bytes.Clone(text)
	}
	return err
}

func (s *askedSource) check(image bool, title *string) *strict.Error {
	wrong := func(member, format string, args ...any) *strict.Error {
		return strict.Errorf("/source/"+member, format, args...)
	}
	switch {
	case s.Type == "base64":
		data, err := base64.StdEncoding.AppendDecode(nil, bytes.Map(notSpace, s.Data))
		if s.Data = nil; err != nil || len(data) == 0 {
			return wrong("data", "must be base64, and not be empty")
		}
		s.data = data
		if image {
			if s.format = chat.ImageFormat(data); s.format == "" {
				return wrong("data", "is not a supported image: must be png, jpeg, gif or webp")
			}
			return nil
		}
		if s.format = chat.DocumentFormat(data, titled(title), strings.ToLower(s.MediaType)); s.format == "" {
			return wrong("data", "is not a supported document")
		}
	case s.Type == "url" && image:
		if u, err := url.Parse(s.URL); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return wrong("url", "must be an https: URL")
		}
	case s.Type == "url":
		return wrong("type", "documents by URL are not supported by this model: send the data")
	case s.Type == "text" && !image:
		if s.data, s.format, s.Data = s.Data, "txt", nil; len(s.data) == 0 {
			return wrong("data", "must not be empty")
		}
	case s.Type == "content" && !image:
		var all []string
		for i := range s.Content.blocks {
			b := &s.Content.blocks[i]
			if b.Type != "text" {
				return wrong("content/"+strconv.Itoa(i), "only text is supported here by this model")
			}
			all = append(all, *b.Text)
		}
		if s.data, s.format = []byte(strings.Join(all, "\n")), "txt"; len(s.data) == 0 {
			return wrong("content", "must not be empty")
		}
	case s.Type == "":
		return strict.Required("/source/type")
	case s.Type == "file":
		return wrong("type", "uploaded files are not supported by this model: send the data")
	default:
		return wrong("type", "sources of type %s are not supported here", strict.Clip(s.Type, 64))
	}
	return nil
}

func notSpace(r rune) rune {
	switch r {
	case ' ', '\t', '\r', '\n':
		return -1
	}
	return r
}

func titled(title *string) string {
	if title == nil {
		return ""
	}
	return *title
}

// conversation is a request's messages in the making.
type conversation struct {
	request *chat.Request
	spoke   bool // the assistant has
	left    map[string]bool
}

func (c *conversation) add(r *body) {
	c.request.System = c.blocks(r.System.blocks, "system")
	c.request.Messages = make([]chat.Message, 0, len(r.Messages))
	asked := r.lastAsked()
	for i := range r.Messages {
		m := &r.Messages[i]
		if m.ClearAt != nil && i < asked {
			continue // it was for a turn that is over
		}
		param := "messages[" + strconv.Itoa(i) + "]"
		blocks := c.blocks(m.Content.blocks, param+".content")
		switch m.Role {
		// Hoisted until the assistant has spoken. To hoist a later one would change the beginning
		// of the conversation, and what was cached of it would be paid for anew.
		case "system":
			if !c.spoke {
				c.request.System = append(c.request.System, blocks...)
				continue
			}
			if len(blocks) == 0 { // it says output_config alone
				continue
			}
		case "assistant":
			c.spoke = true
			c.leave("messages.", m.Others)
		}
		c.request.Messages = append(c.request.Messages, chat.Message{Role: chat.Role(m.Role), Blocks: blocks, Param: param})
	}
}

// blocks are a message's; param is where they stand.
func (c *conversation) blocks(from []asBlock, param string) []chat.Block {
	blocks := make([]chat.Block, 0, len(from))
	for i := range from {
		b := &from[i]
		if b.Type == "redacted_thinking" && b.Data == "" {
			continue // nothing, as an answer had it
		}
		blocks = append(blocks, c.block(b, param+"["+strconv.Itoa(i)+"]"))
		if p := b.CacheControl.toChat(); p != nil {
			blocks = append(blocks, *p)
		}
		c.leave("messages.content.", b.Others)
		if b.Type != "document" && b.Citations != nil && string(b.Citations) != "[]" {
			c.leave("messages.content.", strict.Others{"citations": true})
		}
	}
	return blocks
}

func (c *conversation) block(b *asBlock, param string) chat.Block {
	switch b.Type {
	case "text":
		return chat.Text{Text: *b.Text}
	case "image":
		return chat.Image{Format: b.Source.format, Data: b.Source.data, URL: b.Source.URL, Param: param}
	case "document":
		if b.Context != nil && *b.Context != "" {
			c.leave("messages.content.", strict.Others{"context": true})
		}
		return chat.Document{Name: titled(b.Title), Format: b.Source.format, Data: b.Source.data, Param: param}
	case "tool_use":
		return chat.ToolUse{ID: b.ID, Name: b.Name, Input: json.RawMessage(b.Input)}
	case "tool_result":
		inner := c.blocks(b.Content.blocks, param+".content")
		// A cache point stands beside a tool result, never inside it.
		inside := slices.IndexFunc(inner, func(b chat.Block) bool { _, ok := b.(chat.CachePoint); return ok })
		if inside >= 0 {
			if p := inner[inside].(chat.CachePoint); b.CacheControl == nil {
				kind, ttl := "ephemeral", p.TTL
				if b.CacheControl = (&mark{Type: &kind}); ttl != "" {
					b.CacheControl.TTL = &ttl
				}
			}
			inner = slices.DeleteFunc(inner, func(b chat.Block) bool { _, ok := b.(chat.CachePoint); return ok })
		}
		return chat.ToolResult{ID: b.ToolUseID, Blocks: inner, IsError: b.IsError, Param: param}
	case "tool_reference":
		return chat.Text{Text: "The tool " + b.ToolName + " can be called now."}
	case "tool_addition":
		return chat.Text{Text: "From here on the tool " + b.Tool.name() + " can be called."}
	case "tool_removal":
		return chat.Text{Text: "From here on the tool " + b.Tool.name() + " can no longer be called."}
	case "thinking":
		publisher, signature := whose(b.Signature)
		return chat.Thinking{Text: *b.Thinking, Signature: signature, Publisher: publisher}
	default: // Check has let no other kind pass
		publisher, data := whose(b.Data)
		return chat.Redacted{Data: data, Publisher: publisher}
	}
}

// leave takes note of members that no model reads: what another answer had, and no wish of the
// caller's.
func (c *conversation) leave(place string, others strict.Others) {
	for _, name := range others.Names() {
		if c.left == nil {
			c.left = map[string]bool{}
		}
		c.left[place+strict.Clip(name, 64)] = true
	}
}

func (c *conversation) notes() []string {
	if len(c.left) == 0 {
		return nil
	}
	const few = 8
	names := make([]string, 0, len(c.left))
	for name := range c.left {
		names = append(names, name)
	}
	slices.Sort(names)
	more := ""
	if n := len(names) - few; n > 0 {
		names, more = names[:few], " and "+strconv.Itoa(n)+" more"
	}
	return []string{"members of content were left out: " + strings.Join(names, ", ") + more}
}
