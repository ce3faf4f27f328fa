package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"aisix/extproc/fault"
)

// emptyResult stands for a tool result without content: a result is never
// dropped and never empty, else its call would look unanswered.
const emptyResult = "(empty)"

// Normalize gives a copy of r whose messages are turns as every Bedrock family
// wants them: neighbours of one role merged part by part, blank text left out,
// assistant blocks in the order reasoning, text, tool use, the results of one
// assistant turn first in the user turn behind it and in the order of the
// calls, tool inputs that are JSON objects, and no white space at the end of a
// prefill. Reasoning without a signature is left out: nobody takes it back.
//
// r is not changed; the blocks' bytes are shared. An error is a *fault.Error of
// status 400 whose Param is where the caller wrote what is wrong. A request
// without messages is not an error here (a model may take system text only),
// nor is a first turn by the assistant (Bedrock has words for it).
// Normalize(Normalize(r)) is Normalize(r).
func Normalize(r *Request) (*Request, error) {
	out := *r
	out.System = groups(r.System).clean().blocks()
	turns := merge(r.Messages)
	for i := range turns {
		t := &turns[i]
		if err := t.checkRoles(); err != nil {
			return nil, err
		}
		t.groups = t.groups.clean()
	}
	for i := range turns {
		var calls []call
		if i > 0 {
			calls = turns[i-1].calls()
		}
		if err := turns[i].pair(calls); err != nil {
			return nil, err
		}
	}
	out.Messages = make([]Message, 0, len(turns))
	for i := range turns {
		t := &turns[i]
		t.groups.order()
		if t.role == Assistant && i == len(turns)-1 {
			t.groups.trimPrefill()
		}
		if len(t.groups) == 0 {
			return nil, fault.Invalid(t.param, "%s has no content: a turn needs text that is not blank, or another content part", t.param)
		}
		out.Messages = append(out.Messages, Message{Role: t.role, Blocks: t.groups.blocks(), Param: t.param})
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
	param string // of the message that it came in
}

type groupList []group

// call is a tool use that waits for its result.
type call struct{ id, param string }

func merge(messages []Message) []turn {
	turns := make([]turn, 0, len(messages))
	for i, m := range messages {
		param := m.Param
		if param == "" {
			param = fmt.Sprintf("messages[%d]", i)
		}
		if n := len(turns); n == 0 || turns[n-1].role != m.Role {
			turns = append(turns, turn{role: m.Role, param: param})
		}
		t := &turns[len(turns)-1]
		t.groups = t.groups.add(m.Blocks, param)
	}
	return turns
}

func groups(blocks []Block) groupList { return groupList(nil).add(blocks, "") }

// add groups blocks. A cache point with nothing before it marks nothing.
func (l groupList) add(blocks []Block, param string) groupList {
	for _, b := range blocks {
		if _, ok := b.(CachePoint); ok {
			if len(l) > 0 {
				l[len(l)-1].mark(b)
			}
			continue
		}
		l = append(l, group{block: b, param: param})
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

// order sorts a turn: results and reasoning first, tool use last. Results are
// in order already (pair).
func (l groupList) order() {
	slices.SortStableFunc(l, func(a, b group) int { return rank(a.block) - rank(b.block) })
}

func rank(b Block) int {
	switch b.(type) {
	case ToolResult, Thinking, Redacted:
		return 0
	case ToolUse:
		return 2
	default:
		return 1
	}
}

// trimPrefill cuts the white space behind the last text: Claude refuses it.
func (l groupList) trimPrefill() {
	for i := len(l) - 1; i >= 0; i-- {
		if t, ok := l[i].block.(Text); ok {
			l[i].block = Text{Text: strings.TrimRightFunc(t.Text, unicode.IsSpace)}
			return
		}
	}
}

func (t *turn) checkRoles() error {
	for _, g := range t.groups {
		switch b := g.block.(type) {
		case ToolUse:
			if t.role != Assistant {
				return fault.Invalid(g.param, "%s: only the assistant calls tools", g.param)
			}
			if b.ID == "" {
				return fault.Invalid(g.param, "%s: a tool call has no id", g.param)
			}
		case ToolResult:
			if t.role != User {
				return fault.Invalid(g.where(), "%s: the assistant has no tool results", g.where())
			}
			if b.ID == "" {
				return fault.Invalid(g.where(), "%s: a tool result has no call id", g.where())
			}
		case Thinking, Redacted:
			if t.role != Assistant {
				return fault.Invalid(g.param, "%s: only the assistant has reasoning", g.param)
			}
		}
	}
	return nil
}

// where is the most exact place known for a group.
func (g group) where() string {
	if r, ok := g.block.(ToolResult); ok && r.Param != "" {
		return r.Param
	}
	return g.param
}

func (t *turn) calls() []call {
	var out []call
	for _, g := range t.groups {
		if u, ok := g.block.(ToolUse); ok {
			out = append(out, call{u.ID, g.param})
		}
	}
	return out
}

// pair checks that the turn answers each of calls once and nothing else, and
// puts its results in the calls' order.
func (t *turn) pair(calls []call) error {
	place := make(map[string]int, len(calls))
	for i, c := range calls {
		if _, ok := place[c.id]; ok {
			return fault.Invalid(c.param+".tool_calls", "%s: two tool calls have the id %q", c.param, clip(c.id))
		}
		place[c.id] = i
	}
	results := make([]*group, len(calls))
	var rest groupList
	for at := range t.groups {
		g := &t.groups[at]
		r, ok := g.block.(ToolResult)
		if !ok {
			rest = append(rest, *g)
			continue
		}
		i, ok := place[r.ID]
		if !ok {
			return fault.Invalid(g.where(), "a tool message must answer a tool call of the assistant message before it: there is no tool call %q", clip(r.ID))
		}
		if results[i] != nil {
			return fault.Invalid(g.where(), "the tool call %q has two results", clip(r.ID))
		}
		results[i] = g
	}
	ordered := make(groupList, 0, len(t.groups))
	for i, g := range results {
		if g == nil {
			return fault.Invalid(calls[i].param+".tool_calls", "an assistant message with tool calls must be followed by tool messages that answer each of them: %q has no answer", clip(calls[i].id))
		}
		ordered = append(ordered, *g)
	}
	t.groups = append(ordered, rest...)
	return nil
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

// clip cuts an id to a length fit for an error message.
func clip(id string) string {
	const most = 64
	if len(id) <= most {
		return id
	}
	return strings.ToValidUTF8(id[:most], "") + "…"
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
