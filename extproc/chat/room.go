package chat

// Room is how many bytes the JSON of r is likely to take, in whatever format: texts with
// a few escapes, and files in base64.
func (r *Request) Room() int {
	n := 512 + blocksRoom(r.System)
	for i := range r.Messages {
		n += 32 + blocksRoom(r.Messages[i].Blocks)
	}
	for i := range r.Tools {
		t := &r.Tools[i]
		n += 96 + len(t.Name) + len(t.Description) + len(t.Description)/32 + len(t.Schema)
	}
	return n
}

func blocksRoom(blocks []Block) (n int) {
	for _, b := range blocks {
		n += 64
		switch b := b.(type) {
		case Text:
			n += len(b.Text) + len(b.Text)/32
		case Image:
			n += len(b.Data)/3*4 + len(b.Base64) + 64
		case Document:
			n += len(b.Data)/3*4 + len(b.Name) + 64
		case ToolUse:
			n += len(b.ID) + len(b.Name) + len(b.Input)
		case ToolResult:
			n += len(b.ID) + blocksRoom(b.Blocks)
		case Thinking:
			n += len(b.Text) + len(b.Text)/32 + len(b.Signature)
		case Redacted:
			n += len(b.Data)
		}
	}
	return n
}
