package openai

import (
	"fmt"

	"aisix/extproc/chat"
)

// parts decodes content: a string, or an array of content parts. param is where
// the message stands.
func (d *decoder) parts(v value, role, param string) []chat.Block {
	if !v.present() {
		return nil
	}
	switch v.kind() {
	case stringKind:
		return []chat.Block{chat.Text{Text: d.text(v)}}
	case arrayKind:
		var blocks []chat.Block
		n := 0
		d.some(v, &d.partCount, chat.MaxParts, "content parts", func(item value) {
			b, cache := d.part(item, role, param, n)
			blocks = append(blocks, b)
			blocks = mark(blocks, cache)
			n++
		})
		return blocks
	}
	d.fail(v, "must be a string or an array of content parts")
	return nil
}

// part decodes the nth content part of the message at param, and the cache
// point that it carries.
func (d *decoder) part(v value, role, param string, n int) (chat.Block, *chat.CachePoint) {
	if !d.is(v, objectKind) {
		return nil, nil
	}
	if !v.member("type").present() {
		d.missing(v, "type")
		return nil, nil
	}
	kind := d.text(v.member("type"))
	switch {
	case d.err == nil && kind == "input_audio":
		d.fail(v, "audio is not supported: a content part of type input_audio is not possible")
	case d.err == nil && !carries(role, kind):
		d.fail(v, "a content part of type %q is not possible in a message of role %s", clip(kind, 64), role)
	}
	var content value
	var cache *chat.CachePoint
	d.each(v, func(name string, m value) bool {
		switch name {
		case "type":
		case kind: // each kind has its content under its own name
			content = m
		case "cache_control":
			cache = d.cacheControl(m)
		case "prompt_cache_breakpoint":
			cache = d.cacheBreakpoint(m)
		case "annotations": // LangChain and others leave them in text parts
			return kind == "text"
		default:
			return false
		}
		return true
	})
	if d.err != nil {
		return nil, nil
	}
	if !content.present() {
		d.missing(v, kind)
		return nil, nil
	}
	switch kind {
	case "image_url":
		return d.image(content, fmt.Sprintf("%s.content[%d]", param, n)), cache
	case "file":
		return d.file(content, fmt.Sprintf("%s.content[%d]", param, n)), cache
	default:
		return chat.Text{Text: d.text(content)}, cache
	}
}

// carries tells whether a message of this role may have a part of this kind.
// Tool messages take more than OpenAI's: some families read images in results.
func carries(role, kind string) bool {
	switch kind {
	case "text":
		return true
	case "refusal":
		return role == "assistant"
	case "image_url", "file":
		return role == "user" || role == "tool"
	}
	return false
}
