package bedrock

import (
	"slices"

	"aisix/extproc/chat"
)

// cache leaves cache points only where the family takes them, with a TTL that
// it knows. A mark is a hint: without effect elsewhere.
func (p *prepared) cache() error {
	r, c := p.req, &p.family.Capabilities
	r.System = cachePoints(r.System, slices.Contains(c.Cache, "system"), c.CacheTTL)
	for i, m := range r.Messages {
		r.Messages[i].Blocks = cachePoints(m.Blocks, slices.Contains(c.Cache, "messages"), c.CacheTTL)
	}
	for i, t := range r.Tools {
		if t.Cache == nil {
			continue
		}
		if !slices.Contains(c.Cache, "tools") {
			r.Tools[i].Cache = nil
			continue
		}
		r.Tools[i].Cache = &chat.CachePoint{TTL: knownTTL(t.Cache.TTL, c.CacheTTL)}
	}
	return nil
}

func cachePoints(blocks []chat.Block, legal bool, ttls []string) []chat.Block {
	if !slices.ContainsFunc(blocks, marked) {
		return blocks
	}
	var out []chat.Block
	for _, b := range blocks {
		switch b := b.(type) {
		case chat.CachePoint:
			if legal && len(out) > 0 {
				out = append(out, chat.CachePoint{TTL: knownTTL(b.TTL, ttls)})
			}
		case chat.ToolResult:
			// A mark inside a result stands beside it.
			inner, mark := []chat.Block(nil), (*chat.CachePoint)(nil)
			for _, x := range b.Blocks {
				if c, ok := x.(chat.CachePoint); ok {
					mark = &c
					continue
				}
				inner = append(inner, x)
			}
			if len(inner) == 0 {
				inner = []chat.Block{chat.Text{Text: "(empty)"}} // a result is never empty
			}
			b.Blocks = inner
			out = append(out, b)
			if mark != nil && legal {
				out = append(out, chat.CachePoint{TTL: knownTTL(mark.TTL, ttls)})
			}
		default:
			out = append(out, b)
		}
	}
	return out
}

// marked reports whether b is a cache point, or a result with one inside.
func marked(b chat.Block) bool {
	switch b := b.(type) {
	case chat.CachePoint:
		return true
	case chat.ToolResult:
		return slices.ContainsFunc(b.Blocks, marked)
	}
	return false
}

// knownTTL is ttl where the family has it, else the family's default.
func knownTTL(ttl string, ttls []string) string {
	if slices.Contains(ttls, ttl) {
		return ttl
	}
	return ""
}
