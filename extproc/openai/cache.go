package openai

import "aisix/extproc/chat"

// cacheControl reads Anthropic's {"type":"ephemeral","ttl":"5m"|"1h"}.
func (d *decoder) cacheControl(v value) *chat.CachePoint {
	p := &chat.CachePoint{}
	d.each(v, func(name string, m value) bool {
		switch name {
		case "type":
			d.word(m, "ephemeral")
		case "ttl":
			p.TTL = d.word(m, "5m", "1h")
		default:
			return false
		}
		return true
	})
	if d.err == nil && !v.member("type").present() {
		d.missing(v, "type")
	}
	return p
}

// cacheBreakpoint reads OpenAI's {"mode":"explicit","ttl":"30m"}: a cache point
// that must live for at least 30 minutes, which is also the default. Bedrock has
// 5 minutes and an hour.
func (d *decoder) cacheBreakpoint(v value) *chat.CachePoint {
	d.each(v, func(name string, m value) bool {
		switch name {
		case "mode":
			d.word(m, "explicit")
		case "ttl":
			d.only(m, d.word(m, "30m", "12h") != "12h", "12h is not possible: Bedrock keeps a cache for an hour at most")
		default:
			return false
		}
		return true
	})
	if d.err == nil && !v.member("mode").present() {
		d.missing(v, "mode")
	}
	return &chat.CachePoint{TTL: "1h"}
}

// mark puts a message's cache point behind its last block, unless that has one.
func mark(blocks []chat.Block, p *chat.CachePoint) []chat.Block {
	if p == nil || len(blocks) == 0 {
		return blocks
	}
	if _, ok := blocks[len(blocks)-1].(chat.CachePoint); ok {
		return blocks
	}
	return append(blocks, *p)
}
