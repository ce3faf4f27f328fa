package bedrock

import (
	"iter"
	"maps"
	"slices"
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

// unquote is message without what it quotes of the texts. It reads each once,
// however often they repeat themselves.
func unquote(message string, texts iter.Seq[string]) string {
	windows := map[[quoteSize]byte]bool{} // those of message; true: in a text too
	for i := 0; i+quoteSize <= len(message); i++ {
		windows[window(message, i)] = false
	}
	if len(windows) == 0 {
		return message
	}
	for text := range texts {
		for i := 0; i+quoteSize <= len(text); i++ {
			if _, said := windows[window(text, i)]; said {
				windows[window(text, i)] = true
			}
		}
	}
	var b strings.Builder
	end := 0 // of the quote so far
	for i := range len(message) {
		if i+quoteSize <= len(message) && windows[window(message, i)] {
			if i == 0 || i > end {
				b.WriteString(quoted)
			}
			end = i + quoteSize
		}
		if i >= end {
			b.WriteByte(message[i])
		}
	}
	return strings.ToValidUTF8(b.String(), "")
}

func window(s string, at int) [quoteSize]byte { return [quoteSize]byte([]byte(s[at : at+quoteSize])) }

// spoken are the texts of a request: the conversation with tools' arguments and
// results, tools' descriptions, stop sequences, the caller's labels. Schemas are
// not among them: AWS names their keywords in words of its own.
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
		for _, t := range r.Tools {
			if !yield(t.Description) {
				return
			}
		}
		for _, text := range slices.Concat(r.Stop, slices.Collect(maps.Values(r.Metadata)), []string{r.User}) {
			if !yield(text) {
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
		case chat.Document:
			more = yield(b.Name) && yield(string(b.Data))
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
