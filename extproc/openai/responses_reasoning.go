package openai

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/responses"
)

// encrypted_content is what a client sends back of what a model thought, without reading it.
// Of a family that is asked by another API it holds that family's own reasoning: text,
// signature and whose it is. It is no secret, and not encrypted: only the model's signature
// keeps it from being changed.

// ours is how such a content begins: none of OpenAI's does.
const ours = responses.Ours

// thought is what it holds.
type thought struct {
	Publisher string `json:"p,omitempty"`
	Text      string `json:"t,omitempty"`
	Signature string `json:"s,omitempty"`
	Redacted  string `json:"r,omitempty"` // in place of the two
}

// sealed is what a block of reasoning comes back by; "" where nobody takes it back. id is the
// item's in the answer of an upstream of this format.
func sealed(b chat.Block) (id, content string) {
	var t thought
	switch b := b.(type) {
	case chat.Thinking:
		if id, encrypted, ok := responses.Unsigned(b.Signature); ok {
			return id, encrypted
		}
		if b.Signature == "" {
			return "", ""
		}
		t = thought{Publisher: b.Publisher, Text: b.Text, Signature: b.Signature}
	case chat.Redacted:
		t = thought{Publisher: b.Publisher, Redacted: b.Data}
	}
	text, err := json.Marshal(t)
	if err != nil { // strings always marshal
		return "", ""
	}
	return "", ours + base64.RawURLEncoding.EncodeToString(text)
}

// reasoning is the block that an item was made of, nil where it is nobody's here.
func (i *inputItem) reasoning() chat.Block {
	coded, ok := strings.CutPrefix(i.Encrypted, ours)
	if !ok {
		if i.Encrypted == "" || i.ID == nil {
			return nil
		}
		// Of an upstream of this format: another one leaves it out.
		var summary []string
		for _, p := range i.Summary {
			summary = append(summary, p.Text)
		}
		return chat.Thinking{Text: strings.Join(summary, "\n\n"), Signature: responses.Signed(*i.ID, i.Encrypted)}
	}
	text, err := base64.RawURLEncoding.DecodeString(coded)
	var t thought
	if err != nil || json.Unmarshal(text, &t) != nil {
		return nil
	}
	if t.Redacted != "" {
		return chat.Redacted{Data: t.Redacted, Publisher: t.Publisher}
	}
	if t.Signature == "" {
		return nil
	}
	return chat.Thinking{Text: t.Text, Signature: t.Signature, Publisher: t.Publisher}
}
