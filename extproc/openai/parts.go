package openai

import (
	"slices"
	"strconv"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// content is a string or an array of parts.
type content struct {
	kind  jsontext.Kind // of the value, 0 where there is none
	text  string
	parts strict.List[part]
}

func (c *content) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	c.kind = dec.PeekKind()
	return textOr(dec, &c.text, &c.parts, "content parts")
}

// textOr reads a string, or a list of what.
func textOr(dec *jsontext.Decoder, text *string, list jsonv2.UnmarshalerFrom, what string) error {
	switch dec.PeekKind() {
	case '"':
		said, err := strict.Text(dec)
		*text = string(said)
		return err
	case '[', 'n':
		return list.UnmarshalJSONFrom(dec)
	}
	return strict.Mismatch(dec, "a string or an array of "+what)
}

// part is one part of a message's content. Each kind has its own member.
type part struct {
	Type                  string           `json:"type"`
	Text                  *string          `json:"text"`
	Refusal               *string          `json:"refusal"`
	ImageURL              *imageURL        `json:"image_url"`
	File                  *file            `json:"file"`
	InputAudio            strict.Ignored   `json:"input_audio"`
	PromptCacheBreakpoint *cacheBreakpoint `json:"prompt_cache_breakpoint"`
	Annotations           strict.Ignored   `json:"annotations"` // LangChain and others leave them in text parts

	// Reasoning in Anthropic's shape, as clients of other gateways send it back among the assistant's
	// content.
	Thinking  *string `json:"thinking"`
	Signature *string `json:"signature"`
	Data      *string `json:"data"`

	cacheMark
	Others strict.Others `json:",embed"` // the message's role says whether there may be some
}

var partTypes = []string{"text", "refusal", "image_url", "file"}

// Check wants the member that the type names, and none of another type: a part with both would be
// half dropped.
func (p *part) Check() *strict.Error {
	switch {
	case p.Type == "":
		return strict.Required("/type")
	case p.Type == "thinking":
		if p.Thinking == nil {
			return strict.Required("/thinking")
		}
		return nil
	case p.Type == "redacted_thinking":
		if p.Data == nil {
			return strict.Required("/data")
		}
		return nil
	case p.Type == "input_audio":
		return strict.Variant("", "audio is not supported: a content part of type input_audio is not allowed")
	case !slices.Contains(partTypes, p.Type): // whatever is in it
		return strict.Variant("", "a content part of type %q is not supported", strict.Clip(p.Type, 64))
	}
	own := false
	for _, x := range []struct {
		name  string
		given bool
	}{{"text", p.Text != nil}, {"refusal", p.Refusal != nil}, {"image_url", p.ImageURL != nil}, {"file", p.File != nil}, {"input_audio", bool(p.InputAudio)}} {
		switch {
		case x.name == p.Type:
			own = x.given
		case x.given:
			return strict.Errorf("/"+x.name, "unknown member in a content part of type %s", strict.Clip(p.Type, 64))
		}
	}
	switch {
	case bool(p.Annotations) && p.Type != "text" && p.Type != "refusal":
		return strict.Errorf("/annotations", "unknown member in a content part of type %s", p.Type)
	case !own:
		return strict.Required("/" + p.Type)
	}
	return nil
}

// carries reports whether a message of this role may have a part of this kind. Tool
// messages take more than OpenAI's: some families read images in results.
func carries(role, kind string) bool {
	switch kind {
	case "refusal", "thinking", "redacted_thinking":
		return role == "assistant"
	case "image_url", "file":
		return role == "user" || role == "tool"
	}
	return true
}

// stray is the name of a member that only reasoning has, in a part that is none; "" is no such
// member. The assistant's may have it: another provider's, and left out.
func (p *part) stray() string {
	switch {
	case p.Thinking != nil:
		return "thinking"
	case p.Signature != nil:
		return "signature"
	case p.Data != nil:
		return "data"
	}
	return ""
}

// reasoning is the part's block of reasoning, nil where it is none.
func (p *part) reasoning() chat.Block {
	switch {
	case p.Type == "thinking":
		signature := ""
		if p.Signature != nil {
			signature = *p.Signature
		}
		return chat.Thinking{Text: *p.Thinking, Signature: signature}
	case p.Type == "redacted_thinking":
		return chat.Redacted{Data: *p.Data}
	}
	return nil
}

// blocks are a message's content; param is where the message stands.
func (c *conversation) blocks(from content, param string) ([]chat.Block, error) {
	if from.kind == '"' {
		c.texts = append(c.texts, chat.Text{Text: from.text})
		n := len(c.texts)
		return c.texts[n-1 : n : n], nil // what is appended goes elsewhere
	}
	var blocks []chat.Block
	for i := range from.parts {
		p := &from.parts[i]
		b := p.reasoning()
		switch {
		case b != nil:
		case p.Text != nil:
			b = chat.Text{Text: *p.Text}
		case p.Refusal != nil:
			b = chat.Text{Text: *p.Refusal}
		case p.ImageURL != nil:
			place := param + ".content[" + strconv.Itoa(i) + "]"
			// Bedrock reads every image at its full size; a document has no detail.
			if is(p.ImageURL.Detail, "low") && !c.anyDetail && p.ImageURL.URL.document == "" {
				return nil, fault.Invalid(place+".image_url.detail", "%s.image_url.detail: low is not supported: send a smaller image", place)
			}
			b = p.ImageURL.URL.toChat(place)
		case p.File != nil:
			b = p.File.toChat(param + ".content[" + strconv.Itoa(i) + "]")
		}
		blocks = mark(append(blocks, b), p.cachePoint())
	}
	return blocks, nil
}

// cachePoint is the part's mark: OpenAI's own, else Anthropic's.
func (p *part) cachePoint() *chat.CachePoint {
	if p.PromptCacheBreakpoint != nil {
		return p.PromptCacheBreakpoint.toChat()
	}
	return p.cacheMark.cachePoint()
}
