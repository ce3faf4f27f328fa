package chat

import "encoding/json"

// Request is one request for an answer, as the caller meant it. A dialect fills
// it; nobody changes it afterwards (a later attempt encodes it again).
type Request struct {
	System   []Block   // Text and CachePoint only, in order: what was said to the model before it spoke
	Messages []Message // as the caller sent them, until Tidy

	Tools             []Tool
	ToolChoice        ToolChoice
	ParallelToolCalls *bool // nil: not said

	MaxTokens        *int // nil: the family's or the model resource's default
	MaxTokensWish    bool // the dialect wants MaxTokens of everybody: less is no reason to refuse
	Temperature      *float64
	TopP             *float64
	FrequencyPenalty *float64
	PresencePenalty  *float64
	Stop             []string // never blank
	Seed             *int64

	Format    *Format    // structured output; nil is plain text
	Reasoning *Reasoning // nil: not said

	Verbosity     string // how long an answer is to be: low, high; "" is not said, or medium, the default
	VerbosityWish bool   // the dialect's callers ask it of every model: where it has no place it is left out with a note

	// Hints: used where the upstream has a place for them, otherwise without effect.
	User        string            // the caller's own user id (user, safety_identifier)
	Metadata    map[string]string // the caller's labels
	ServiceTier string            // "", "auto", "default", "flex", "priority", "reserved"

	// Extensions are members that only the upstream understands (guardrailConfig,
	// performanceConfig, additionalModelRequestFields, requestMetadata, top_k,
	// anthropic_beta, …): raw JSON by the name the caller used. The bedrock package
	// checks their shape and whether the model resource allows them.
	Extensions map[string]json.RawMessage

	Cache *CachePoint // a mark on the whole request; Tidy sets it where the conversation ends

	Stream bool // answer with SSE

	Notes []string // for the operator's log: what of the caller's the dialect left out

	// Came is the body as it came, where its conversation and tools say nothing that is not
	// here: an upstream that speaks the caller's format (completions) may have them in the
	// caller's own bytes, if nothing has to change and it likes how they are written. nil where the dialect is in doubt.
	Came []byte
}

// Role is who speaks in a Message. The dialect puts the system and developer messages
// that come before the assistant's first word into Request.System; later ones are
// System messages at their place. Tool messages are user turns made of ToolResult blocks.
type Role string

// The roles of a conversation.
const (
	User      Role = "user"
	Assistant Role = "assistant"
	System    Role = "system" // in mid-conversation; Text and CachePoint only
)

// Message is one turn, or after the caller's own cutting a part of one.
type Message struct {
	Role   Role
	Blocks []Block
	// Param is where the caller wrote it ("messages[3]"), for errors.
	Param string
}

// Block is one content block of a message: Text, Image, Document, ToolUse,
// ToolResult, Thinking, Redacted or CachePoint.
type Block interface{ block() }

// Text is plain text. A refusal that the caller sends back is Text too.
type Text struct{ Text string }

// Image is an inline image. Format is one of png, jpeg, gif, webp, decided by
// the magic bytes. Its bytes are in Data, or those of a large one in Base64, where they
// came so. An image that is still a URL has URL set and neither:
// it must be fetched (or refused) before the request is encoded.
type Image struct {
	Format string
	Data   []byte
	Base64 []byte // in standard base64, fit to go out as it is; shared with the caller's body
	URL    string
	Param  string // where the caller wrote it
}

// Document is an inline document. Format is one of Converse's: pdf, csv, doc,
// docx, xls, xlsx, html, txt, md.
type Document struct {
	Name   string // as the caller named it; bedrock cleans it
	Format string
	Data   []byte
	Param  string
}

// ToolUse is a call of a tool by the model. Input is a JSON object (Tidy sees
// to that); in a request it is what the model wrote, byte for byte.
type ToolUse struct {
	ID    string
	Name  string
	Input json.RawMessage
}

// ToolResult answers the ToolUse of the same ID. Blocks are Text, Image or
// Document, never none (Tidy).
type ToolResult struct {
	ID      string
	Blocks  []Block
	IsError bool
	Param   string
}

// Thinking is what the model thought (a reasoning block), with the signature that lets it be sent
// back. A block without a signature can't be sent back to anybody.
type Thinking struct {
	Text      string
	Signature string
	Publisher string // who made the model that wrote it; "" is not known
}

// Redacted is reasoning that the model keeps to itself. Data is the provider's own
// string, to be sent back as it came; where the provider's format has bytes, their
// standard base64.
type Redacted struct {
	Data      string
	Publisher string // as Thinking's
}

// CachePoint marks the end of a prefix worth caching: it follows the block that
// carried the mark. TTL is "", "5m" or "1h".
type CachePoint struct{ TTL string }

func (Text) block()       {}
func (Image) block()      {}
func (Document) block()   {}
func (ToolUse) block()    {}
func (ToolResult) block() {}
func (Thinking) block()   {}
func (Redacted) block()   {}
func (CachePoint) block() {}

// Tool is a function that the model may call.
type Tool struct {
	Name        string
	Description string
	Schema      json.RawMessage // a JSON Schema whose type is object
	Strict      bool
	Cache       *CachePoint // a cache point after this definition
	Param       string      // where the caller wrote the schema
}

// ToolChoice says whether and which tool must be called.
type ToolChoice struct {
	Mode ToolChoiceMode
	Name string   // of ToolChoiceTool
	Only []string // OpenAI's allowed_tools: the subset that may be called; empty is all
}

// ToolChoiceMode is the kind of a ToolChoice.
type ToolChoiceMode string

// The kinds of tool choice; the zero value is "the caller said nothing".
const (
	ToolChoiceUnset ToolChoiceMode = ""
	ToolChoiceAuto  ToolChoiceMode = "auto"
	ToolChoiceNone  ToolChoiceMode = "none"
	ToolChoiceAny   ToolChoiceMode = "any"  // OpenAI: required
	ToolChoiceTool  ToolChoiceMode = "tool" // the one named
)

// Format asks for structured output: any JSON object (Schema nil), or JSON that
// the schema describes.
type Format struct {
	Name        string // json_schema's name; "" for json_object
	Description string
	Schema      json.RawMessage
	Strict      bool
	Param       string // where the caller wrote the schema
}

// Reasoning asks the model to think, or not to.
type Reasoning struct {
	Effort   string          // OpenAI's reasoning_effort: none, minimal, low, medium, high, xhigh, max; "" if not said
	Thinking json.RawMessage // Anthropic's thinking object, as the caller sent it; wins over Effort where both speak of the same
	// Wish tells that a model which can't be told so much of it, or does not think, is not refused
	// for it: what has no place is left out with a note.
	Wish bool
}
