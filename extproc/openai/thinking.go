package openai

import (
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"aisix/extproc/chat"
)

// Reasoning that may be sent back is in thinking_blocks, which is LiteLLM's member.
// A model may think, speak, think, call, and think again, and its signatures hold
// for that order alone; OpenAI's message has content in one place and calls in
// another. So each of our blocks says what stood before it. Clients need not know:
// a message that comes back as it went out is the model's turn again.

// thinkingBlock is one block of an answer.
type thinkingBlock struct {
	Index     *int    `json:"index,omitempty"` // in streams
	Type      string  `json:"type"`
	Thinking  *string `json:"thinking,omitempty"`
	Signature string  `json:"signature,omitempty"`
	Data      string  `json:"data,omitempty"` // the provider's own string
	After     *place  `json:"after,omitempty"`
	Publisher string  `json:"publisher,omitempty"`
}

func thinking(b chat.Thinking, after place) thinkingBlock {
	return thinkingBlock{Type: "thinking", Thinking: &b.Text, Signature: b.Signature, After: after.unlessFirst(), Publisher: b.Publisher}
}

func redacted(b chat.Redacted, after place) thinkingBlock {
	return thinkingBlock{Type: "redacted_thinking", Data: b.Data, After: after.unlessFirst(), Publisher: b.Publisher}
}

// place is how much of an answer stood before a block.
type place struct {
	Content   int `json:"content"`    // Unicode code points of it
	ToolCalls int `json:"tool_calls"` // how many
}

// text moves behind text. Code points are the same before JSON and after it: what is
// no UTF-8 becomes one character a byte.
func (p *place) text(s string) { p.Content += utf8.RuneCountInString(s) }

// unlessFirst is p, nil where nothing stood before: such a block needs no place.
func (p place) unlessFirst() *place {
	if p == (place{}) {
		return nil
	}
	return &p
}

// UnmarshalJSONFrom takes what it understands. The member is ours, and callers have no
// use for it: one that was spoiled on its way is as good as none, and no reason to
// refuse a conversation.
func (p *place) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	raw, err := dec.ReadValue()
	if err != nil {
		return err
	}
	var members struct {
		Content   jsontext.Value `json:"content"`
		ToolCalls jsontext.Value `json:"tool_calls"`
	}
	if json.Unmarshal(raw, &members) == nil {
		p.Content, p.ToolCalls = number(members.Content), number(members.ToolCalls)
	}
	return nil
}

// number is a count out of any JSON, 0 where it is none.
func number(raw jsontext.Value) int {
	n, _ := strconv.ParseFloat(string(raw), 64) // infinite beyond its range
	if !(n > 0) {
		return 0
	}
	return int(min(n, math.MaxInt32))
}

// spoken puts reasoning where it stood in an answer: said are the answer's texts,
// calls its calls, each with the cache points behind it. Between two blocks of
// reasoning text comes before calls. A place that is not there (the caller has cut the
// text, or left out a call) is the nearest one that is, and none is before the place
// of the block before.
func spoken(thoughts []pastThinking, said, calls []chat.Block) []chat.Block {
	blocks := make([]chat.Block, 0, len(thoughts)+len(said)+len(calls))
	var at place
	for i := range thoughts {
		t := &thoughts[i]
		for ; len(said) > 0; said = said[1:] {
			s, ok := said[0].(chat.Text)
			if !ok { // a cache point goes with its text
				blocks = append(blocks, said[0])
				continue
			}
			if at.Content >= t.After.Content {
				break
			}
			head, tail := cut(s.Text, t.After.Content-at.Content)
			at.text(head)
			blocks = append(blocks, chat.Text{Text: head})
			if tail != "" {
				said[0] = chat.Text{Text: tail}
				break
			}
		}
		for ; len(calls) > 0; calls = calls[1:] {
			if _, ok := calls[0].(chat.ToolUse); ok {
				if at.ToolCalls >= t.After.ToolCalls {
					break
				}
				at.ToolCalls++
			}
			blocks = append(blocks, calls[0])
		}
		blocks = append(blocks, t.toChat())
	}
	return append(append(blocks, said...), calls...)
}

// cut gives the first n code points of s, and the rest.
func cut(s string, n int) (head, tail string) {
	for i := range s {
		if n == 0 {
			return s[:i], s[i:]
		}
		n--
	}
	return s, ""
}
