package redact

import (
	"encoding/binary"
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

// Quotes is message without what it quotes of the texts, and without its middle
// where it is long. It reads each text once, however often they repeat themselves,
// and no further than there is something left to find.
func Quotes(message string, texts iter.Seq[string]) string {
	message = shorten(message)
	q := newQuotes(message)
	for text := range texts {
		if q.left == 0 {
			break
		}
		q.read(text)
	}
	var b strings.Builder
	end := 0 // of the quote so far
	for i := range len(message) {
		if i+quoteSize <= len(message) && q.said[window(message, i)] {
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

// quotes are all pieces of quoteSize bytes of a message.
type quotes struct {
	said map[[quoteSize]byte]bool // true: in a text too
	left int                      // pieces that no text had yet
	// wanted counts those by a hash of their last eight bytes. A text is as long as
	// a body may be: looking for each of its pieces in the map would take a second.
	wanted [1 << 15]uint32
}

func newQuotes(message string) *quotes {
	q := &quotes{said: map[[quoteSize]byte]bool{}}
	for i := 0; i+quoteSize <= len(message); i++ {
		q.said[window(message, i)] = false
	}
	q.left = len(q.said)
	for piece := range q.said {
		q.wanted[hash(binary.BigEndian.Uint64(piece[quoteSize-8:]))]++
	}
	return q
}

func (q *quotes) read(text string) {
	last := uint64(0) // the last eight bytes
	for i := range len(text) {
		last = last<<8 | uint64(text[i])
		h := hash(last)
		if q.wanted[h] == 0 || i+1 < quoteSize {
			continue
		}
		piece := window(text, i+1-quoteSize)
		if found, there := q.said[piece]; there && !found {
			q.said[piece] = true
			q.wanted[h]--
			if q.left--; q.left == 0 {
				return
			}
		}
	}
}

// hash is Fibonacci's: the upper bits of a product.
func hash(last uint64) uint64 { return last * 0x9e3779b97f4a7c15 >> 49 }

func window(s string, at int) [quoteSize]byte { return [quoteSize]byte([]byte(s[at : at+quoteSize])) }

// Texts are what of a request a message may quote: the conversation with tools'
// arguments and results, tools' descriptions, stop sequences, the caller's labels.
// Schemas are not among them: AWS names their keywords in words of its own.
func Texts(r *chat.Request) iter.Seq[string] {
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
			more = yield(b.Name) && eachPart(b.Data, yield)
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

// eachPart yields data in parts, so that a long document is not copied whole.
// Each begins with the end of the one before: a quote may stand across.
func eachPart(data []byte, yield func(string) bool) bool {
	const size = 64 << 10
	for from := 0; from < len(data); from += size - quoteSize {
		if !yield(string(data[from:min(from+size, len(data))])) {
			return false
		}
	}
	return true
}
