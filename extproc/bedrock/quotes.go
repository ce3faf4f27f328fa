package bedrock

import (
	"iter"
	"strings"

	"aisix/extproc/chat"
)

// AWS's messages may quote what they refuse, and no log may hold a prompt or an
// answer: what stands in both, in one piece of at least quoteSize bytes, is
// taken for a quote. Shorter ones are words that any message has.
const (
	quoteSize = 12
	quoted    = "[quoted from the request]"
)

// unquote is message without what it quotes of the texts. It reads them once.
func unquote(message string, texts iter.Seq[string]) string {
	windows := map[[quoteSize]byte][]int{}
	for i := 0; i+quoteSize <= len(message); i++ {
		w := [quoteSize]byte([]byte(message[i : i+quoteSize]))
		windows[w] = append(windows[w], i)
	}
	if len(windows) == 0 {
		return message
	}
	found := make([]bool, len(message))
	any := false
	for text := range texts {
		for i := 0; i+quoteSize <= len(text); i++ {
			for _, at := range windows[[quoteSize]byte([]byte(text[i:i+quoteSize]))] {
				any = true
				for j := at; j < at+quoteSize; j++ {
					found[j] = true
				}
			}
		}
	}
	if !any {
		return message
	}
	var b strings.Builder
	for i := range len(message) {
		switch {
		case !found[i]:
			b.WriteByte(message[i])
		case i == 0 || !found[i-1]:
			b.WriteString(quoted)
		}
	}
	return strings.ToValidUTF8(b.String(), "")
}

// spoken are the texts of a conversation, tools' arguments and results included.
func spoken(r *chat.Request) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !eachText(r.System, yield) {
			return
		}
		for _, m := range r.Messages {
			if !eachText(m.Blocks, yield) {
				return
			}
		}
	}
}

// eachText is false once yield was.
func eachText(blocks []chat.Block, yield func(string) bool) bool {
	for _, b := range blocks {
		more := true
		switch b := b.(type) {
		case chat.Text:
			more = yield(b.Text)
		case chat.Thinking:
			more = yield(b.Text)
		case chat.ToolUse:
			more = yield(string(b.Input))
		case chat.ToolResult:
			more = eachText(b.Blocks, yield)
		}
		if !more {
			return false
		}
	}
	return true
}
