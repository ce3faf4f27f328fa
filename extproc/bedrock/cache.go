package bedrock

import (
	"slices"
	"strconv"

	"aisix/extproc/chat"
)

// maxCachePoints is how many Bedrock takes in one request.
const maxCachePoints = 4

// longTTL is the one lifetime that is longer than the default of five minutes, which is
// also what no TTL means.
const longTTL = "1h"

// cache leaves cache points only where the family takes them, with a TTL that
// it knows, and only as many and in an order that Bedrock takes. A mark is a hint: without
// effect elsewhere.
func (p *prepared) cache() error {
	r, c := p.req, &p.family.Capabilities
	for i, t := range r.Tools {
		switch {
		case t.Cache == nil:
		case slices.Contains(c.Cache, "tools"):
			r.Tools[i].Cache = &chat.CachePoint{TTL: knownTTL(t.Cache.TTL, c.CacheTTL)}
		default:
			r.Tools[i].Cache = nil
		}
	}
	place := placing{legal: slices.Contains(c.Cache, "system"), ttls: c.CacheTTL}
	r.System = place.blocks(r.System)
	place.legal, place.textOnly = slices.Contains(c.Cache, "messages"), c.CacheAfter == "text"
	if !p.invokes && c.CacheAfter == "" {
		place.documents = p.family.ConverseCacheDocuments
	}
	for i, m := range r.Messages {
		r.Messages[i].Blocks = place.blocks(m.Blocks)
	}
	p.boundCache()
	return nil
}

// boundCache keeps the last four points, which reach furthest, and lets none of them live
// longer than one before it: Bedrock wants those of an hour before those of five minutes,
// in the order tools, system, messages.
func (p *prepared) boundCache() {
	total := 0
	p.eachCachePoint(func(c chat.CachePoint) *chat.CachePoint { total++; return &c })
	p.points = min(total, maxCachePoints)
	seen, short, shortened := 0, false, 0
	p.eachCachePoint(func(c chat.CachePoint) *chat.CachePoint {
		switch seen++; {
		case seen <= total-maxCachePoints:
			return nil
		case c.TTL != longTTL:
			short = true
		case short:
			c.TTL = ""
			shortened++
		}
		return &c
	})
	if total > maxCachePoints {
		p.notes = append(p.notes, "Bedrock takes four cache points: of "+strconv.Itoa(total)+" the last four were kept")
	}
	if shortened > 0 {
		p.notes = append(p.notes, "Bedrock takes no cache point of an hour behind one of five minutes: "+strconv.Itoa(shortened)+" became one of five minutes")
	}
}

// eachCachePoint puts what f gives in the place of every point, nil is none, in Bedrock's
// order.
func (p *prepared) eachCachePoint(f func(chat.CachePoint) *chat.CachePoint) {
	r := p.req
	for i, t := range r.Tools {
		if t.Cache != nil {
			r.Tools[i].Cache = f(*t.Cache)
		}
	}
	replace := func(blocks []chat.Block) []chat.Block {
		gone := false
		for i, b := range blocks {
			c, ok := b.(chat.CachePoint)
			if !ok {
				continue
			}
			if with := f(c); with != nil {
				blocks[i] = *with
			} else {
				blocks[i], gone = nil, true
			}
		}
		if gone {
			return slices.DeleteFunc(blocks, func(b chat.Block) bool { return b == nil })
		}
		return blocks
	}
	r.System = replace(r.System)
	for i, m := range r.Messages {
		r.Messages[i].Blocks = replace(m.Blocks)
	}
}

// placing puts points where they may stand.
type placing struct {
	legal     bool     // some may stand at all
	textOnly  bool     // and only behind text
	documents []string // and behind documents only of these formats; nil is all
	ttls      []string // that are known
}

// blocks is a turn with its points behind blocks that carry one: a point behind another
// moves back to the last one that does, or goes. Two on one spot are one, which lives as
// long as either.
func (p placing) blocks(blocks []chat.Block) []chat.Block {
	if !slices.ContainsFunc(blocks, marked) {
		return blocks
	}
	var out []chat.Block
	spot, taken := -1, false // behind the last block that carries a point
	mark := func(c chat.CachePoint) {
		c.TTL = knownTTL(c.TTL, p.ttls)
		switch {
		case spot < 0:
		case !taken:
			out, taken = slices.Insert(out, spot, chat.Block(c)), true
		case c.TTL == longTTL:
			out[spot] = c
		}
	}
	for _, b := range blocks {
		var inner *chat.CachePoint
		switch x := b.(type) {
		case chat.CachePoint:
			mark(x)
			continue
		case chat.ToolResult:
			x.Blocks, inner = withoutMark(x.Blocks)
			b = x
		}
		out = append(out, b)
		if p.carries(b) {
			spot, taken = len(out), false
		}
		if inner != nil { // a mark inside a result stands beside it
			mark(*inner)
		}
	}
	return out
}

func (p placing) carries(b chat.Block) bool {
	switch b := b.(type) {
	case chat.Text:
		return p.legal
	case chat.Document:
		return p.legal && !p.textOnly && (p.documents == nil || slices.Contains(p.documents, b.Format))
	case chat.Thinking, chat.Redacted: // Claude refuses a mark on its own reasoning
		return false
	}
	return p.legal && !p.textOnly
}

// withoutMark is a result's content without its points, of which the last is given.
func withoutMark(blocks []chat.Block) (content []chat.Block, mark *chat.CachePoint) {
	for _, b := range blocks {
		if c, ok := b.(chat.CachePoint); ok {
			mark = &c
			continue
		}
		content = append(content, b)
	}
	if len(content) == 0 {
		content = []chat.Block{chat.Text{Text: "(empty)"}} // a result is never empty
	}
	return content, mark
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
