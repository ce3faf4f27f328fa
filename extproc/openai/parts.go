package openai

import (
	"strconv"

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
	switch c.kind = dec.PeekKind(); c.kind {
	case '"':
		text, err := strict.Text(dec)
		c.text = string(text)
		return err
	case '[', 'n':
		return c.parts.UnmarshalJSONFrom(dec)
	}
	return strict.Mismatch(dec, "a string or an array of content parts")
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
	cacheMark
	Others strict.Others `json:",embed"` // the message's role says whether there may be some
}

// Check wants the member that the type names, and none of another type: a part with both would be
// half dropped.
func (p *part) Check() *strict.Error {
	switch {
	case p.Type == "":
		return strict.Required("/type")
	case p.Type == "input_audio":
		return strict.Variant("", "audio is not supported: a content part of type input_audio is not allowed")
	}
	known, own := false, false
	for _, x := range []struct {
		name  string
		given bool
	}{{"text", p.Text != nil}, {"refusal", p.Refusal != nil}, {"image_url", p.ImageURL != nil}, {"file", p.File != nil}, {"input_audio", bool(p.InputAudio)}} {
		switch {
		case x.name == p.Type:
			known, own = true, x.given
		case x.given:
			return strict.Errorf("/"+x.name, "unknown member in a content part of type %s", strict.Clip(p.Type, 64))
		}
	}
	switch {
	case !known:
		return strict.Variant("", "a content part of type %q is not supported", strict.Clip(p.Type, 64))
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
	case "refusal":
		return role == "assistant"
	case "image_url", "file":
		return role == "user" || role == "tool"
	}
	return true
}

// blocks are a message's content; param is where the message stands.
func (c *conversation) blocks(from content, param string) ([]chat.Block, error) {
	if from.kind == '"' {
		return []chat.Block{chat.Text{Text: from.text}}, nil
	}
	var blocks []chat.Block
	for i := range from.parts {
		p := &from.parts[i]
		var b chat.Block
		switch {
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
