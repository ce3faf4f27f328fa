package bedrock

import (
	"iter"
	"maps"
	"slices"

	"aisix/extproc/bedrock/redact"
	"aisix/extproc/chat"
)

// Forget drops what only encoding and sending took: the body, and of the request
// all but the texts that AWS's messages may quote; of one that was adopted these too, where
// they are long. An answer may be minutes away, and a request weighs megabytes. It gives
// the bytes that stay. Call it once the request has gone out for the last time: it can't be
// signed again. It must not run beside the Call's other methods, or its replies'.
func (c *Call) Forget() (kept int64) {
	c.body, c.came.sent = nil, false
	if len(c.came.body) > maxSaid {
		c.came.body, c.unsaid = nil, true
	}
	return c.ForgetRequest()
}

// ForgetRequest is Forget of all but the body, which is among the bytes that stay: the call can
// be signed again, as it is.
func (c *Call) ForgetRequest() (kept int64) {
	c.asked = nil
	if c.request != nil {
		r := withoutFiles(c.request)
		c.said = slices.AppendSeq(make([]redact.Text, 0, len(r.System)+len(r.Messages)+2*len(r.Tools)), said(r, c.names))
		c.request = nil
	}
	return c.kept()
}

// maxSaid is how many bytes of texts stay while an answer comes.
const maxSaid = 16 << 10

// ForgetTexts drops the texts too, where they are long: an answer has begun, and what AWS still has to
// say is told to the log only as far as it is known (redact.Known). It comes after Forget.
func (c *Call) ForgetTexts() (kept int64) {
	if c.kept() > maxSaid {
		c.said, c.unsaid = nil, true
	}
	return c.kept()
}

// kept is how many bytes stay.
func (c *Call) kept() int64 {
	kept := c.Size()
	if !c.came.sent {
		kept += int64(len(c.came.body))
	}
	for _, text := range c.said {
		kept += int64(text.Len())
	}
	return kept
}

// Adopted reports whether what a message may quote is the body alone.
func (c *Call) Adopted() bool { return c.came.body != nil }

// came is the body that a caller sent, where it is not taken apart.
type came struct {
	body []byte
	sent bool // it is what goes out, too
	read func([]byte) redact.Text
}

// unquoted is AWS's message without what it quotes of the request, and of the answer once that has begun.
func (c *Call) unquoted(message string, begun bool) string {
	if !c.unsaid {
		message = redact.Quotes(message, c.texts())
	}
	if c.unsaid || begun {
		message = redact.Known(message)
	}
	return message
}

// texts are what a message of AWS's may quote.
func (c *Call) texts() iter.Seq[redact.Text] {
	switch {
	case c.came.body != nil:
		return func(yield func(redact.Text) bool) { yield(c.came.read(c.came.body)) }
	case c.request == nil:
		return slices.Values(c.said)
	}
	return said(c.request, c.names)
}

// said are the texts of r, and those names that went out otherwise than the caller
// wrote them.
func said(r *chat.Request, aliases map[string]string) iter.Seq[redact.Text] {
	return func(yield func(redact.Text) bool) {
		for text := range redact.Texts(r) {
			if !yield(text) {
				return
			}
		}
		names := slices.Collect(maps.Keys(aliases))
		for _, m := range r.Messages {
			names = appendDocuments(names, m.Blocks)
		}
		for _, name := range names {
			if !yield(redact.Words(name)) {
				return
			}
		}
	}
}

func appendDocuments(names []string, blocks []chat.Block) []string {
	for _, b := range blocks {
		switch b := b.(type) {
		case chat.Document:
			if clean := cleanName(b.Name); clean != b.Name {
				names = append(names, clean)
			}
		case chat.ToolResult:
			names = appendDocuments(names, b.Blocks)
		}
	}
	return names
}

// withoutFiles is r without the content of documents that are no text: nobody
// quotes the bytes of a PDF.
func withoutFiles(r *chat.Request) *chat.Request {
	if !slices.ContainsFunc(r.Messages, func(m chat.Message) bool { return slices.ContainsFunc(m.Blocks, hasFile) }) {
		return r
	}
	out := *r
	out.Messages = slices.Clone(r.Messages)
	for i := range out.Messages {
		out.Messages[i].Blocks = dropFiles(out.Messages[i].Blocks)
	}
	return &out
}

// hasFile reports whether a block is, or holds, a document that is no text.
func hasFile(b chat.Block) bool {
	switch b := b.(type) {
	case chat.Document:
		return !slices.Contains([]string{"txt", "md", "csv", "html"}, b.Format)
	case chat.ToolResult:
		return slices.ContainsFunc(b.Blocks, hasFile)
	}
	return false
}

func dropFiles(blocks []chat.Block) []chat.Block {
	out := slices.Clone(blocks)
	for i, b := range out {
		switch b := b.(type) {
		case chat.Document:
			if hasFile(b) {
				b.Data = nil
				out[i] = b
			}
		case chat.ToolResult:
			b.Blocks = dropFiles(b.Blocks)
			out[i] = b
		}
	}
	return out
}
