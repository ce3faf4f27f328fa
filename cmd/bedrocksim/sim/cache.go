package sim

import (
	"crypto/sha256"
	"slices"
	"sync"
)

// promptCache remembers which prefixes of prompts were read, as Bedrock does for those that end in a
// cache point. It has no time to live and no least size.
type promptCache struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]bool
}

const maxPrefixes = 10_000

// lookBack is how many blocks before a mark are looked at for one that was marked before: an agent's mark
// moves with the conversation (Anthropic's documentation: Prompt caching, Automatic prefix checking).
const lookBack = 20

// A piece of a prompt: its tokens, what identifies it, and whether a cache point stands after it.
type piece struct {
	text string
	mark bool
	hour bool // the mark's time to live
}

// use counts what of a prompt is read from the cache and what is written to it; the rest is input.
func (c *promptCache) use(model string, prompt []piece) (use cacheUse, input int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Forgetting all at once keeps the memory bounded; tests have no such number.
	if c.seen == nil || len(c.seen) > maxPrefixes {
		c.seen = map[[sha256.Size]byte]bool{}
	}
	hash := sha256.New()
	hash.Write([]byte(model))
	total, marked := 0, 0
	type stop struct {
		at   int
		hour bool
	}
	var stops []stop
	// Every prefix has the hash of all that came before: one changed byte early on, and no later mark
	// is found.
	var known []int // where prefixes end that were marked before, in the order of pieces; 0 is none
	for _, p := range prompt {
		hash.Write([]byte("\x00" + p.text))
		total += tokens(p.text)
		key := [sha256.Size]byte(hash.Sum(nil))
		known = append(known, 0)
		if c.seen[key] {
			known[len(known)-1] = total
		}
		if !p.mark {
			continue
		}
		marked = total
		stops = append(stops, stop{total, p.hour})
		for _, end := range known[max(0, len(known)-lookBack):] {
			use.read = max(use.read, end)
		}
		c.seen[key] = true
	}
	// The longest prefix known is read, what follows up to the last mark is written.
	use.write = marked - use.read
	from := use.read
	for _, m := range stops {
		if m.at > from {
			if m.hour {
				use.hour += m.at - from
			}
			from = m.at
		}
	}
	return use, total - marked
}

// conversePrompt and claudePrompt are what the model reads, in the order in which caching sees it.

// conversePrompt: in Converse a cache point is a block of its own, and marks the one before it.
//
// Where all is cached unasked, every block counts as marked.
func conversePrompt(body any, unasked bool) []piece {
	var prompt []piece
	add := func(v any) {
		if child(v, "cachePoint") != nil {
			if len(prompt) > 0 {
				prompt[len(prompt)-1].mark, prompt[len(prompt)-1].hour = true, str(v, "cachePoint", "ttl") == "1h"
			}
			return
		}
		prompt = append(prompt, piece{text: compact(v), mark: unasked})
	}
	for _, t := range items(body, "toolConfig", "tools") {
		add(t)
	}
	for _, s := range items(body, "system") {
		add(s)
	}
	for _, m := range items(body, "messages") {
		for _, b := range items(m, "content") {
			add(b)
		}
	}
	return prompt
}

// claudePrompt: Anthropic's mark is a member of the block that it marks, and no part of its text.
func claudePrompt(body any) []piece {
	var prompt []piece
	add := func(v any) {
		mark, ttl := child(v, "cache_control") != nil, str(v, "cache_control", "ttl")
		for _, inner := range items(v, "content") { // a mark inside a tool result counts for the whole
			mark, ttl = mark || child(inner, "cache_control") != nil, or(ttl, str(inner, "cache_control", "ttl"))
		}
		o, _ := v.(object)
		plain := object{}
		for k, e := range o {
			if k != "cache_control" {
				plain[k] = e
			}
		}
		prompt = append(prompt, piece{text: compact(plain), mark: mark, hour: ttl == "1h"})
	}
	for _, t := range items(body, "tools") {
		add(t)
	}
	for _, b := range contentOf(body, "system") {
		add(b)
	}
	for _, m := range items(body, "messages") {
		for _, b := range contentOf(m, "content") {
			add(b)
		}
	}
	return prompt
}

// look notes how many marks a body has, and whether one is on the last turn.
func (a *ask) look(w *wish) {
	a.marks = len(w.marks)
	for _, m := range w.marks {
		a.markedLast = a.markedLast || m.section == "messages" && m.i >= len(w.turns)-2 && w.turns[m.i].role == "user"
	}
	// Nova takes a mark after text only: a turn of results has no place for one.
	if n := len(w.turns); w.converse && n > 0 && !slices.ContainsFunc(w.turns[n-1].blocks, func(b wishBlock) bool { return b.kind == "text" }) {
		a.markedLast = true
	}
}
