package redact

import (
	"iter"
	"maps"
	"slices"

	"aisix/extproc/chat"
)

// Text is something that a caller wrote.
type Text struct {
	said string
	form form
}

// form is how a Text is to be read.
type form byte

const (
	words      form = iota
	data            // a JSON text
	schema          // a JSON Schema: its keywords are nobody's words
	schemas         // an object of schemas by names that the caller chose
	parameters      // members of a request: models' names for them are AWS's words too
	messages        // a body of Anthropic's Messages, or part of it, whose names are not the caller's
	responses       // the same of OpenAI's Responses
	enumerated      // one of those that an API knows
)

// Words is a text that a message quotes as it is.
func Words(s string) Text { return Text{said: s} }

// Messages is a whole body of Anthropic's Messages, which a message may quote any part of.
func Messages(body []byte) Text { return Text{string(body), messages} }

// Responses is the same of OpenAI's Responses.
func Responses(body []byte) Text { return Text{string(body), responses} }

// Len is its length in bytes.
func (t Text) Len() int { return len(t.said) }

// Texts are what of a request a message may quote: all that the caller wrote and no
// rule of ours has held to a few words. What is too short for a quote is left out.
func Texts(r *chat.Request) iter.Seq[Text] {
	return func(yield func(Text) bool) {
		each(r, func(form form, text string) bool { return len(text) < quoteSize || yield(Text{text, form}) })
	}
}

// each is false once yield was, as all that it calls.
func each(r *chat.Request, yield func(form, string) bool) bool {
	if !eachBlock(r.System, yield) {
		return false
	}
	for _, m := range r.Messages {
		if !eachBlock(m.Blocks, yield) {
			return false
		}
	}
	for _, t := range r.Tools {
		if !yield(words, t.Name) || !yield(words, t.Description) || !yield(schema, string(t.Schema)) {
			return false
		}
	}
	if f := r.Format; f != nil && (!yield(words, f.Name) || !yield(words, f.Description) || !yield(schema, string(f.Schema))) {
		return false
	}
	if r.Reasoning != nil && !yield(parameters, string(r.Reasoning.Thinking)) {
		return false
	}
	for _, raw := range r.Extensions {
		if !yield(parameters, string(raw)) {
			return false
		}
	}
	for _, text := range slices.Concat(r.Stop, slices.Collect(maps.Keys(r.Metadata)), slices.Collect(maps.Values(r.Metadata)), []string{r.User}) {
		if !yield(words, text) {
			return false
		}
	}
	return true
}

func eachBlock(blocks []chat.Block, yield func(form, string) bool) bool {
	for _, b := range blocks {
		more := true
		switch b := b.(type) {
		case chat.Text:
			more = yield(words, b.Text)
		case chat.Thinking:
			more = yield(words, b.Text) && yield(words, b.Signature)
		case chat.Redacted:
			more = yield(words, b.Data)
		case chat.Document:
			more = yield(words, b.Name) && eachPart(b.Data, yield)
		case chat.ToolUse:
			more = yield(words, b.ID) && yield(words, b.Name) && yield(data, string(b.Input))
		case chat.ToolResult:
			more = yield(words, b.ID) && eachBlock(b.Blocks, yield)
		}
		if !more {
			return false
		}
	}
	return true
}

// eachPart yields a document in parts, so that a long one is not copied whole.
// Each begins with the end of the one before: a quote may stand across.
func eachPart(file []byte, yield func(form, string) bool) bool {
	const size = 64 << 10
	for from := 0; from < len(file); from += size - quoteSize {
		if !yield(words, string(file[from:min(from+size, len(file))])) {
			return false
		}
	}
	return true
}
