package openai

import (
	"strings"

	"aisix/extproc/chat"
)

// A participant's name tells the model who of one role speaks. Bedrock has no
// member for it, so it stands where a reader would look for it: before what is
// said ("alice: Hello").

// named puts a name before the blocks of one message. A blank one, or a message
// that says nothing, stays as it is.
func named(name string, blocks []chat.Block) []chat.Block {
	name = strings.TrimSpace(name)
	if name == "" {
		return blocks
	}
	for i, b := range blocks {
		switch b := b.(type) {
		case chat.Text:
			if strings.TrimSpace(b.Text) == "" {
				continue
			}
			blocks[i] = chat.Text{Text: name + ": " + b.Text}
			return blocks
		case chat.Image, chat.Document:
			return append([]chat.Block{chat.Text{Text: name + ":"}}, blocks...)
		}
	}
	return blocks
}

// assistantName is who speaks in the assistant message that stands at a place
// in Request.Messages.
type assistantName struct {
	name string
	at   int
}

// nameAssistants tells assistants apart where there is more than one, an unnamed
// one included. A single one needs no name: the model would only learn to begin
// its answers with it.
func (c *conversation) nameAssistants() {
	several := false
	for _, a := range c.assistants {
		several = several || a.name != c.assistants[0].name
	}
	if !several {
		return
	}
	for _, a := range c.assistants {
		m := &c.request.Messages[a.at]
		m.Blocks = named(a.name, m.Blocks)
	}
}
