package bedrock

import (
	"encoding/base64"
	"slices"
	"strings"

	"aisix/extproc/chat"
)

// keepsReasoning reports whether the model takes a block of an earlier turn back, if
// that is reasoning. Nobody takes any without a signature, and each family its own
// alone: what Claude signed, no other can read, and a conversation that went from
// one model to another would be refused for ever.
func (m *Model) keepsReasoning(b chat.Block) bool {
	var kind, publisher string
	switch b := b.(type) {
	case chat.Thinking:
		if b.Signature == "" {
			return false
		}
		kind, publisher = "signed", b.Publisher
	case chat.Redacted:
		if _, err := base64.StdEncoding.DecodeString(b.Data); err != nil && !m.invokes() {
			return false // Converse has it in bytes: nothing else came from there
		}
		kind, publisher = "redacted", b.Publisher
	default:
		return true
	}
	if publisher != "" && m.Publisher != "" && publisher != m.Publisher {
		return false
	}
	takes := m.family.Capabilities.PastReasoning
	return takes == nil || slices.Contains(takes, kind)
}

// withoutForeign is r without the reasoning that the model does not take back, and
// without the messages that were nothing else; r itself where there is none.
func (m *Model) withoutForeign(r *chat.Request) *chat.Request {
	foreign := func(b chat.Block) bool { return !m.keepsReasoning(b) }
	if !slices.ContainsFunc(r.Messages, func(message chat.Message) bool { return slices.ContainsFunc(message.Blocks, foreign) }) {
		return r
	}
	out := *r
	out.Messages = make([]chat.Message, 0, len(r.Messages))
	for _, message := range r.Messages {
		if kept := slices.DeleteFunc(slices.Clone(message.Blocks), foreign); len(kept) < len(message.Blocks) {
			if !slices.ContainsFunc(kept, says) {
				continue
			}
			message.Blocks = kept
		}
		out.Messages = append(out.Messages, message)
	}
	return &out
}

// says reports whether a block is more than white space or a mark.
func says(b chat.Block) bool {
	switch b := b.(type) {
	case chat.CachePoint:
		return false
	case chat.Text:
		return strings.TrimSpace(b.Text) != ""
	}
	return true
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
