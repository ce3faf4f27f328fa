package chat

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/extproc/fault"
)

// emptyResult stands for a tool result without content: a result is never
// dropped and never empty, else its call would look unanswered.
const emptyResult = "(empty)"

// Tidy gives a copy of r, which Check has passed, whose messages are turns as every
// Bedrock family wants them: blank text left out, and turns with nothing in them;
// neighbours of one role merged part by part, the results of one assistant turn first
// in the user turn after it and in the order of the calls, tool inputs that are JSON
// objects, and no white space at the end of a prefill. What the assistant said keeps its
// order, which its reasoning is signed for. Reasoning without a signature is left out:
// nobody takes it back; and so is what would be the end of the conversation, since no model
// goes on with it. A system message keeps its place, as a turn of its own; between
// calls and their results there is none, so that it stands behind the results.
//
// OpenAI's clients need that, who send what their format cannot order, and whoever
// asks a model of another family. It changes what was said: an upstream that speaks
// the caller's own format gets what the caller wrote, after Check alone.
//
// r is not changed. The messages, their blocks and a result's blocks are the
// copy's own, which its owner may change in place; all else is shared with r:
// tools, labels, and the bytes of blocks. An error is a *fault.Error of status 400
// where the user says nothing, or nothing in the end. Tidy(Tidy(r)) is Tidy(r), and
// passes Check.
func Tidy(r *Request) (*Request, error) {
	if settled(r) {
		return copied(r), nil
	}
	return rearranged(r)
}

// rearranged is Tidy of whatever request.
func rearranged(r *Request) (*Request, error) {
	if err := heard(r.Messages); err != nil {
		return nil, err
	}
	out := *r
	var t talk
	for _, b := range r.System {
		t.hoist(b)
	}
	t.add(r.Messages)
	var before groupList // the turn before, in order
	for i := range t.turns {
		if t.turns[i].role == User {
			t.turns[i].groups.order(before)
		}
		before = t.turns[i].groups
	}
	t.endReasoning()
	if n := len(t.turns); t.turns[n-1].role == Assistant {
		t.turns[n-1].groups.trimPrefill()
	}
	if r.Cache != nil {
		t.markEnd(*r.Cache)
		out.Cache = nil
	}
	out.System, out.Messages = t.system.blocks(), t.messages()
	return &out, nil
}

// Join gives the turns of a tidy request of which blocks were left out since, or whose
// system messages became the user's: a turn with nothing in it is left out, its cache
// mark moves to the block before it, and its neighbours are merged part by part.
func Join(messages []Message) []Message {
	var t talk
	t.add(messages)
	return t.messages()
}

// heard refuses messages in which the user says nothing, or nothing in the end.
func heard(messages []Message) error {
	if len(messages) == 0 {
		return fault.Invalid("messages", "messages must include a user message, not system messages only")
	}
	end := len(messages)
	for end > 0 && messages[end-1].Role == Assistant && messages[end-1].empty() {
		end--
	}
	from := end
	for from > 0 && messages[from-1].Role == User && messages[from-1].empty() {
		from--
	}
	if from < end && (from == 0 || messages[from-1].Role != User) {
		place := messages[from].place(from)
		return fault.Invalid(place, "%s has no content: the last message must have non-blank text or another content part", place)
	}
	if !slices.ContainsFunc(messages, func(m Message) bool { return m.Role == User && !m.empty() }) {
		return fault.Invalid("messages", "messages must include a user message that is not blank")
	}
	return nil
}

// empty reports whether a message says nothing.
func (m *Message) empty() bool {
	return !slices.ContainsFunc(m.Blocks, func(b Block) bool {
		_, mark := b.(CachePoint)
		return !mark && tells(b)
	})
}

// tells reports whether a block says something: blank text does not, nor does reasoning
// without a signature, which nobody takes back.
func tells(b Block) bool {
	switch b := b.(type) {
	case Text:
		return !blank(b.Text)
	case Thinking:
		return b.Signature != ""
	}
	return true
}

// talk is a conversation on its way to turns.
type talk struct {
	system  groupList
	turns   []turn    // none is empty
	waiting groupList // system text that came between calls and their results
}

// turn is what one side says until the other one speaks. System messages are in the
// user's, so that results can be brought before them.
type turn struct {
	role   Role
	calls  bool // there are some
	groups groupList
}

// group is a block with the cache points that follow it: where the block goes,
// they go.
type group struct {
	block  Block
	cache  []Block
	system bool   // of a System message
	param  string // of the message
}

type groupList []group

func (t *talk) hoist(b Block) {
	switch p, mark := b.(CachePoint); {
	case mark:
		t.mark(p)
	case tells(b):
		t.system = append(t.system, group{block: b})
	}
}

// add takes in messages. What says nothing is left out, and a cache point that
// stood behind it stands behind the block before.
func (t *talk) add(messages []Message) {
	t.turns = make([]turn, 0, len(messages))
	for i := range messages {
		m := &messages[i]
		param := m.place(i)
		for _, b := range m.Blocks {
			switch p, mark := b.(CachePoint); {
			case mark:
				t.mark(p)
			case tells(b):
				t.say(m.Role, group{block: mended(b), system: m.Role == System, param: param})
			}
		}
	}
}

func (t *talk) say(role Role, g group) {
	n := len(t.turns)
	if role == System {
		if n > 0 && t.turns[n-1].calls {
			t.waiting = append(t.waiting, g)
			return
		}
		role = User
	}
	if n == 0 || t.turns[n-1].role != role {
		t.turns = append(t.turns, turn{role: role})
		n++
		if role == User {
			t.turns[n-1].groups, t.waiting = t.waiting, nil
		}
	}
	last := &t.turns[n-1]
	if _, call := g.block.(ToolUse); call {
		last.calls = true
	}
	last.groups = append(last.groups, g)
}

// mark marks the last block so far. A cache point with nothing before it marks nothing.
func (t *talk) mark(p CachePoint) {
	l := t.system
	if n := len(t.turns); n > 0 {
		l = t.turns[n-1].groups
	}
	if len(t.waiting) > 0 {
		l = t.waiting
	}
	if n := len(l); n > 0 {
		l[n-1].mark(p)
	}
}

// markEnd marks the last block that can carry a mark: reasoning can't.
func (t *talk) markEnd(p CachePoint) {
	for i := len(t.turns) - 1; i >= 0; i-- {
		for j := len(t.turns[i].groups) - 1; j >= 0; j-- {
			if g := &t.turns[i].groups[j]; !reasons(g.block) {
				g.mark(p)
				return
			}
		}
	}
}

// endReasoning leaves out reasoning at the very end ("The final block in an assistant message
// cannot be `thinking`"), and the turn that is nothing else; a cache mark on it moves to the
// block before. There is a turn of the user's.
func (t *talk) endReasoning() {
	n := len(t.turns)
	if t.turns[n-1].role != Assistant {
		return
	}
	l := t.turns[n-1].groups
	var marks []Block
	for len(l) > 0 && reasons(l[len(l)-1].block) {
		marks = append(marks, l[len(l)-1].cache...)
		l = l[:len(l)-1]
	}
	if t.turns[n-1].groups = l; len(l) == 0 {
		t.turns = t.turns[:n-1]
	}
	for _, m := range marks {
		if p, ok := m.(CachePoint); ok {
			t.mark(p)
		}
	}
}

func reasons(b Block) bool {
	switch b.(type) {
	case Thinking, Redacted:
		return true
	}
	return false
}

// messages gives each turn as a message, and system text as one of its own.
func (t *talk) messages() []Message {
	out := make([]Message, 0, len(t.turns))
	for i := range t.turns {
		role, l := t.turns[i].role, t.turns[i].groups
		for from, to := 0, 0; from < len(l); from = to {
			for to = from + 1; to < len(l) && l[to].system == l[from].system; to++ {
			}
			m := Message{Role: role, Blocks: l[from:to].blocks(), Param: l[from].param}
			if l[from].system {
				m.Role = System
			}
			out = append(out, m)
		}
	}
	return out
}

// mark adds a cache point unless there is one: two on one spot are one.
func (g *group) mark(p CachePoint) {
	if len(g.cache) == 0 {
		g.cache = append(g.cache, p)
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

// mended is a block as Bedrock takes it.
func mended(b Block) Block {
	switch b := b.(type) {
	case ToolUse:
		b.Input = object(b.Input)
		return b
	case ToolResult:
		b.Blocks = result(b.Blocks)
		return b
	}
	return b
}

// order sorts a user's turn: results first, in the order of the calls that are in
// the turn before. The assistant's is as the model spoke, message by message.
func (l groupList) order(before groupList) {
	place := map[string]int{} // of a call's result
	for _, g := range before {
		if u, ok := g.block.(ToolUse); ok {
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
	if text[0] == '{' && valid(text) {
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

// valid reports whether a tool's input is JSON that every service reads: half a surrogate pair
// and names that stand twice, as models write them at times, are refused with the whole
// conversation ("The request body is not valid JSON: no low surrogate in string").
func valid(input []byte) bool { return jsontext.Value(input).IsValid() }

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
