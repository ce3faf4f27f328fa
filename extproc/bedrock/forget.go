package bedrock

import (
	"iter"
	"slices"

	"aisix/extproc/bedrock/redact"
	"aisix/extproc/chat"
)

// Forget drops what only encoding and sending took: the body, and of the request
// all but the texts that AWS's messages may quote. An answer may be minutes away,
// and a request weighs megabytes. It gives the bytes that stay. Call it once the
// request has gone out for the last time: it can't be signed again. It must not run
// beside the Call's other methods, or its replies'.
func (c *Call) Forget() (kept int64) {
	c.body = nil
	if c.request != nil {
		c.said = slices.Collect(redact.Texts(withoutFiles(c.request)))
		c.request = nil
	}
	for _, text := range c.said {
		kept += int64(len(text))
	}
	return kept
}

// texts are what a message of AWS's may quote.
func (c *Call) texts() iter.Seq[string] {
	if c.request == nil {
		return slices.Values(c.said)
	}
	return redact.Texts(c.request)
}

// withoutFiles is r without the content of documents that are no text: nobody
// quotes the bytes of a PDF.
func withoutFiles(r *chat.Request) *chat.Request {
	out := *r
	out.Messages = slices.Clone(r.Messages)
	for i := range out.Messages {
		out.Messages[i].Blocks = dropFiles(out.Messages[i].Blocks)
	}
	return &out
}

func dropFiles(blocks []chat.Block) []chat.Block {
	out := slices.Clone(blocks)
	for i, b := range out {
		switch b := b.(type) {
		case chat.Document:
			if !slices.Contains([]string{"txt", "md", "csv", "html"}, b.Format) {
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
