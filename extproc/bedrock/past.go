package bedrock

import (
	"encoding/base64"
	"slices"

	"aisix/extproc/chat"
	"aisix/extproc/responses"
)

// keepsReasoning reports whether the model takes a block of an earlier turn back, if
// that is reasoning. Nobody takes any without a signature, and each family its own
// alone: what Claude signed, no other can read, and a conversation that went from
// one model to another would be refused for ever.
func (m *Model) keepsReasoning(b chat.Block, by api) bool {
	var kind, publisher string
	switch b := b.(type) {
	case chat.Thinking:
		if b.Signature == "" {
			return false
		}
		kind, publisher = "signed", b.Publisher
	case chat.Redacted:
		if _, err := base64.StdEncoding.DecodeString(b.Data); err != nil && by == apiConverse {
			return false // Converse has it in bytes: nothing else came from there
		}
		kind, publisher = "redacted", b.Publisher
	default:
		return true
	}
	if thinking, ok := b.(chat.Thinking); ok {
		if _, _, ours := responses.Unsigned(thinking.Signature); ours != (by == apiResponses) {
			return false // an item of Responses', or what is none
		}
	}
	if publisher != "" && m.Publisher != "" && publisher != m.Publisher {
		return false
	}
	takes := m.family.Capabilities.PastReasoning
	if takes == nil { // not said; a signature without a name is Claude's (attribute)
		return kind != "signed" || publisher != "" || m.Publisher == "" || m.Publisher == "anthropic"
	}
	return slices.Contains(takes, kind)
}

// withoutForeign is r without the reasoning that the model does not take back; r itself
// where there is none. Tidy leaves out the messages that were nothing else.
func (m *Model) withoutForeign(r *chat.Request) *chat.Request {
	by := m.apiOf(r)
	foreign := func(b chat.Block) bool { return !m.keepsReasoning(b, by) }
	if !slices.ContainsFunc(r.Messages, func(message chat.Message) bool { return slices.ContainsFunc(message.Blocks, foreign) }) {
		return r
	}
	out := *r
	out.Messages = make([]chat.Message, 0, len(r.Messages))
	for _, message := range r.Messages {
		if slices.ContainsFunc(message.Blocks, foreign) {
			message.Blocks = m.withoutReasoning(message.Blocks, by)
		}
		out.Messages = append(out.Messages, message)
	}
	return &out
}

// withoutReasoning are a message's blocks without the foreign ones. What only these
// kept apart is together again: a text that one stood in; and calls are behind the
// text, where no reasoning is left that the order matters to.
func (m *Model) withoutReasoning(blocks []chat.Block, by api) []chat.Block {
	if !slices.ContainsFunc(blocks, func(b chat.Block) bool { return isReasoning(b) && m.keepsReasoning(b, by) }) {
		blocks = callsLast(blocks)
	}
	kept := make([]chat.Block, 0, len(blocks))
	gap := false
	for _, b := range blocks {
		if !m.keepsReasoning(b, by) {
			gap = true
			continue
		}
		if text, ok := b.(chat.Text); ok && gap && len(kept) > 0 {
			if before, ok := kept[len(kept)-1].(chat.Text); ok {
				kept[len(kept)-1], gap = chat.Text{Text: before.Text + text.Text}, false
				continue
			}
		}
		kept, gap = append(kept, b), false
	}
	return kept
}

func isReasoning(b chat.Block) bool {
	switch b.(type) {
	case chat.Thinking, chat.Redacted:
		return true
	}
	return false
}

// callsLast are blocks with the calls, and the marks on them, behind the rest.
func callsLast(blocks []chat.Block) []chat.Block {
	rest, calls := make([]chat.Block, 0, len(blocks)), []chat.Block(nil)
	called := false
	for _, b := range blocks {
		if _, mark := b.(chat.CachePoint); !mark {
			_, called = b.(chat.ToolUse)
		}
		if called {
			calls = append(calls, b)
		} else {
			rest = append(rest, b)
		}
	}
	return append(rest, calls...)
}

// attribute tells of reasoning that will come back who wrote it, for keepsReasoning.
// thinking_blocks is Anthropic's shape, so that a signature of Claude's needs no name
// on it; redacted blocks look alike, whoever wrote them.
func (m *Model) attribute(events []chat.Event) {
	for i, e := range events {
		switch e := e.(type) {
		case chat.ThinkingDelta:
			if e.Signature != "" && m.Publisher != "anthropic" {
				e.Publisher = m.Publisher
				events[i] = e
			}
		case chat.RedactedDelta:
			e.Publisher = m.Publisher
			events[i] = e
		}
	}
}
