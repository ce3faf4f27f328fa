package openai

import (
	"cmp"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
)

// cacheControl is Anthropic's {"type":"ephemeral","ttl":"5m"|"1h"}.
type cacheControl struct {
	Type    *string        `json:"type"`
	TTL     *string        `json:"ttl"`
	Unknown strict.Unknown `json:",embed"`
}

func (c *cacheControl) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members cacheControl
	return strict.Object(dec, (*members)(c), c)
}

func (c *cacheControl) Check() *strict.Error {
	if c.Type == nil {
		return strict.Required("/type")
	}
	return cmp.Or(strict.OneOf("/type", c.Type, "ephemeral"), strict.OneOf("/ttl", c.TTL, "5m", "1h"))
}

func (c *cacheControl) toChat() *chat.CachePoint {
	switch {
	case c == nil:
		return nil
	case c.TTL == nil:
		return &chat.CachePoint{}
	}
	return &chat.CachePoint{TTL: *c.TTL}
}

// cacheMark is a mark as clients of Anthropic's models send it, and those of GitHub
// Copilot's by their own name.
type cacheMark struct {
	CacheControl        *cacheControl `json:"cache_control"`
	CopilotCacheControl *cacheControl `json:"copilot_cache_control"`
}

func (m *cacheMark) cachePoint() *chat.CachePoint {
	return cmp.Or(m.CacheControl, m.CopilotCacheControl).toChat()
}

// cacheBreakpoint is OpenAI's {"mode":"explicit","ttl":"30m"}: a cache point that
// must live for at least 30 minutes, which is also the default. Bedrock has 5 minutes
// and an hour.
type cacheBreakpoint struct {
	Mode    *string        `json:"mode"`
	TTL     *string        `json:"ttl"`
	Unknown strict.Unknown `json:",embed"`
}

func (b *cacheBreakpoint) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members cacheBreakpoint
	return strict.Object(dec, (*members)(b), b)
}

func (b *cacheBreakpoint) Check() *strict.Error {
	if b.Mode == nil {
		return strict.Required("/mode")
	}
	return cmp.Or(
		strict.OneOf("/mode", b.Mode, "explicit"),
		strict.OneOf("/ttl", b.TTL, "30m", "12h"),
		only("/ttl", !is(b.TTL, "12h"), "12h is not supported: Bedrock keeps a cache for at most an hour"),
	)
}

// toChat: five minutes would be too short for what was asked, so it is the hour.
func (b *cacheBreakpoint) toChat() *chat.CachePoint { return &chat.CachePoint{TTL: "1h"} }

// cacheOptions say how OpenAI should cache. Bedrock makes no cache point by itself.
type cacheOptions struct {
	Mode    *string        `json:"mode"`
	TTL     *string        `json:"ttl"`
	Unknown strict.Unknown `json:",embed"`
}

func (o *cacheOptions) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members cacheOptions
	return strict.Object(dec, (*members)(o), o)
}

func (o *cacheOptions) Check() *strict.Error {
	return cmp.Or(strict.OneOf("/mode", o.Mode, "implicit", "explicit"), strict.OneOf("/ttl", o.TTL, "30m"))
}

// mark puts a message's cache point after its last block, unless that has one. A message
// with nothing in it is left out, and its mark moves to what stands before.
func mark(blocks []chat.Block, p *chat.CachePoint) []chat.Block {
	if p == nil {
		return blocks
	}
	if n := len(blocks); n > 0 {
		if _, ok := blocks[n-1].(chat.CachePoint); ok {
			return blocks
		}
	}
	return append(blocks, *p)
}
