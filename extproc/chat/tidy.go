package chat

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"aisix/extproc/fault"
)

// emptyResult stands for a tool result without content: a result is never
// dropped and never empty, else its call would look unanswered.
const emptyResult = "(empty)"

// Tidy gives a copy of r, which Check has passed, whose messages are turns as every
// Bedrock family wants them: neighbours of one role merged part by part, blank text
// left out, the results of one assistant turn first in the user turn after it and in
// the order of the calls, tool inputs that are JSON objects, and no white space at the
// end of a prefill. What the assistant said keeps its order, which its reasoning is
// signed for.
// Reasoning without a signature is left out: nobody takes it back.
//
// OpenAI's clients need that, who send what their format cannot order, and whoever
// asks a model of another family. It changes what was said: an upstream that speaks
// the caller's own format gets what the caller wrote, after Check alone.
//
// r is not changed. The messages, their blocks and a result's blocks are the
// copy's own, which its owner may change in place; all else is shared with r:
// tools, labels, and the bytes of blocks. An error is a *fault.Error of status 400
// for a turn with nothing left. Tidy(Tidy(r)) is Tidy(r), and passes Check.
func Tidy(r *Request) (*Request, error) {
	out := *r
	out.System = groups(r.System).clean().blocks()
	turns := merge(r.Messages)
	out.Messages = make([]Message, 0, len(turns))
	var before []Block // of the turn before, in order
	for i := range turns {
		t := &turns[i]
		said := t.groups.clean()
		if t.role == User {
			said.order(before)
		}
		if t.role == Assistant && i == len(turns)-1 {
			said.trimPrefill()
		}
		if len(said) == 0 {
			return nil, fault.Invalid(t.param, "%s has no content: a message must have non-blank text or another content part", t.param)
		}
		m := Message{Role: t.role, Blocks: said.blocks(), Param: t.param}
		out.Messages = append(out.Messages, m)
		before = m.Blocks
	}
	return &out, nil
}

// turn is what one side says until the other one speaks.
type turn struct {
	role   Role
	param  string // of its first message
	groups groupList
}

// group is a block with the cache points that follow it: where the block goes,
// they go.
type group struct {
	block Block
	cache []Block
}

type groupList []group

func merge(messages []Message) []turn {
	turns := make([]turn, 0, len(messages))
	for i, m := range messages {
		if n := len(turns); n == 0 || turns[n-1].role != m.Role {
			turns = append(turns, turn{role: m.Role, param: m.place(i)})
		}
		t := &turns[len(turns)-1]
		t.groups = t.groups.add(m.Blocks)
	}
	return turns
}

func groups(blocks []Block) groupList { return groupList(nil).add(blocks) }

// add groups blocks. A cache point with nothing before it marks nothing.
func (l groupList) add(blocks []Block) groupList {
	for _, b := range blocks {
		if _, ok := b.(CachePoint); ok {
			if len(l) > 0 {
				l[len(l)-1].mark(b)
			}
			continue
		}
		l = append(l, group{block: b})
	}
	return l
}

// mark adds a cache point unless there is one: two on one spot are one.
func (g *group) mark(points ...Block) {
	if len(g.cache) == 0 {
		g.cache = append(g.cache, points...)
	}
}

func (l groupList) blocks() []Block {
	var out []Block
	for _, g := range l {
		out = append(out, g.block)
		out = append(out, g.cache...)
	}
	return out
}

// clean leaves out what says nothing and mends what can be mended. The cache
// point of a block that is left out moves to the block before.
func (l groupList) clean() groupList {
	var out groupList
	for _, g := range l {
		switch b := g.block.(type) {
		case Text:
			if blank(b.Text) {
				g.block = nil
			}
		case Thinking:
			if b.Signature == "" {
				g.block = nil
			}
		case ToolUse:
			b.Input = object(b.Input)
			g.block = b
		case ToolResult:
			b.Blocks = result(b.Blocks)
			g.block = b
		}
		if g.block != nil {
			out = append(out, g)
		} else if len(out) > 0 {
			out[len(out)-1].mark(g.cache...)
		}
	}
	return out
}

// order sorts a user's turn: results first, in the order of the calls that are in
// the turn before. The assistant's is as the model spoke, message by message.
func (l groupList) order(before []Block) {
	place := map[string]int{} // of a call's result
	for _, b := range before {
		if u, ok := b.(ToolUse); ok {
			place[u.ID] = len(place)
		}
	}
	rank := func(b Block) int {
		if r, ok := b.(ToolResult); ok {
			return place[r.ID]
		}
		return len(place)
	}
	slices.SortStableFunc(l, func(a, b group) int { return rank(a.block) - rank(b.block) })
}

// trimPrefill cuts the white space after the last text: Claude refuses it.
func (l groupList) trimPrefill() {
	for i := len(l) - 1; i >= 0; i-- {
		if t, ok := l[i].block.(Text); ok {
			l[i].block = Text{Text: strings.TrimRightFunc(t.Text, unicode.IsSpace)}
			return
		}
	}
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

// object gives a tool's input as a JSON object: nothing is {}, and what is no
// object, or no JSON (a stream that was cut), is kept as text in one.
func object(input json.RawMessage) json.RawMessage {
	text := bytes.TrimSpace(input)
	if len(text) == 0 {
		return json.RawMessage("{}")
	}
	if text[0] == '{' && json.Valid(text) {
		return json.RawMessage(text)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)                                                          // a < would weigh six times what the caller sent
	if err := enc.Encode(map[string]string{"arguments": string(input)}); err != nil { // a map of strings always marshals
		return json.RawMessage("{}")
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// result leaves blank text out of a tool result, but never leaves it empty.
func result(blocks []Block) []Block {
	var out []Block
	for _, b := range blocks {
		if t, ok := b.(Text); ok && blank(t.Text) {
			continue
		}
		out = append(out, b)
	}
	if len(out) == 0 {
		return []Block{Text{Text: emptyResult}}
	}
	return out
}
