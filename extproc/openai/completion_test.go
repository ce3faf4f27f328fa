package openai

import (
	"testing"
	"time"

	"aisix/extproc/chat"
)

// sameCompletion fails where what is appended of an answer is not what encoding/json makes of it.
func sameCompletion(t *testing.T, h chat.Heading, model string, r *chat.Response) {
	t.Helper()
	c := (&asked{model: model}).completion(h, r)
	got, err := c.append(nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCompletion(t *testing.T) {
	n := func(n int) *int { return &n }
	odd := "a\"b\\c\n\r\t\b\f\x00\x1f\x7f é\u2028\u2029😀\ufffd \xff <&>"
	h := chat.Heading{ID: "1", Created: time.Unix(7, 0)}
	for _, r := range []chat.Response{
		{},
		{ID: odd, Stop: chat.EndTurn, Blocks: []chat.Block{chat.Text{Text: odd}, chat.Text{Text: "b"}}, Tier: odd},
		{Stop: chat.ToolUseStop, Blocks: []chat.Block{chat.ToolUse{ID: odd, Name: odd, Input: []byte(odd)}, chat.ToolUse{Input: []byte("{}")}}},
		{Stop: chat.MaxTokens, Blocks: []chat.Block{chat.Thinking{Text: odd, Signature: "s"}, chat.Redacted{Data: "d", Publisher: "p"}, chat.Text{Text: "c"}}},
		{Usage: chat.Usage{Input: n(1), Output: n(2)}},
		{Usage: chat.Usage{Input: n(1), Output: n(2), CacheRead: n(0)}},
		{Usage: chat.Usage{Input: n(1), CacheWrite: n(4)}},
		{Usage: chat.Usage{Input: n(1), CacheRead: n(3), CacheWrite: n(4), Reasoning: n(5)}},
	} {
		sameCompletion(t, h, odd, &r)
	}
}

func FuzzCompletion(f *testing.F) {
	f.Add("id", "text", "thought", "{}", 1, true)
	f.Fuzz(func(t *testing.T, id, text, thought, input string, n int, more bool) {
		r := chat.Response{ID: id, Stop: chat.StopReason(id), Blocks: []chat.Block{chat.Text{Text: text}}, Usage: chat.Usage{Input: &n}}
		if more {
			r.Blocks = append(r.Blocks, chat.Thinking{Text: thought, Signature: id}, chat.ToolUse{ID: id, Name: text, Input: []byte(input)}, chat.ToolUse{})
			r.Usage.CacheRead, r.Usage.Reasoning, r.Tier = &n, &n, id
		}
		sameCompletion(t, chat.Heading{ID: id, Created: time.Unix(int64(n), 0)}, text, &r)
	})
}
