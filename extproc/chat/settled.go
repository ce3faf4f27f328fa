package chat

// settled reports whether Tidy would change nothing of r: most conversations come so, and
// are copied without being taken apart. Where it can't tell at a look it says no.
// Settled reports whether Tidy would leave the conversation as it is.
func Settled(r *Request) bool { return settled(r) }

func settled(r *Request) bool {
	if r.Cache != nil || len(r.Messages) == 0 || len(r.System) > 0 && !settledBlocks(r.System) {
		return false
	}
	var before []Block // the turn before
	for i := range r.Messages {
		m := &r.Messages[i]
		if m.Role != User && m.Role != Assistant || i > 0 && m.Role == r.Messages[i-1].Role || !settledBlocks(m.Blocks) || !inOrder(m.Blocks, before) {
			return false
		}
		before = m.Blocks
	}
	return r.Messages[len(r.Messages)-1].Role == User // the end of a prefill has to be looked at
}

// settledBlocks reports whether nothing would be left out, mended or moved: each block
// says something, and has no more than one mark behind it.
func settledBlocks(blocks []Block) bool {
	marked := true // nothing stands there to be marked
	for _, b := range blocks {
		switch b := b.(type) {
		case CachePoint:
			if marked {
				return false
			}
			marked = true
			continue
		case ToolUse:
			n := len(b.Input)
			if n < 2 || b.Input[0] != '{' || b.Input[n-1] != '}' || !valid(b.Input) {
				return false
			}
		case ToolResult:
			for _, inner := range b.Blocks {
				if t, ok := inner.(Text); ok && blank(t.Text) {
					return false
				}
			}
			if len(b.Blocks) == 0 {
				return false
			}
		default:
			if !tells(b) {
				return false
			}
		}
		marked = false
	}
	return len(blocks) > 0
}

// inOrder reports whether results come before all else, in the order of the calls of the
// turn before.
func inOrder(blocks, before []Block) bool {
	call, others := 0, false
	for _, b := range blocks {
		switch b := b.(type) {
		case CachePoint:
		case ToolResult:
			if others {
				return false
			}
			use, ok := ToolUse{}, false
			for ; !ok && call < len(before); call++ {
				use, ok = before[call].(ToolUse)
			}
			if !ok || use.ID != b.ID {
				return false
			}
		default:
			others = true
		}
	}
	return true
}

// copied is Tidy of a settled request: its messages and blocks, all in one piece.
func copied(r *Request) *Request {
	n := len(r.System)
	for i := range r.Messages {
		n += len(r.Messages[i].Blocks)
		for _, b := range r.Messages[i].Blocks {
			if result, ok := b.(ToolResult); ok {
				n += len(result.Blocks)
			}
		}
	}
	all := make([]Block, 0, n)
	clone := func(blocks []Block) []Block { // without room behind it: what is appended goes elsewhere
		from := len(all)
		all = append(all, blocks...)
		return all[from:len(all):len(all)]
	}
	out := *r
	if out.System = nil; len(r.System) > 0 {
		out.System = clone(r.System)
	}
	out.Messages = make([]Message, len(r.Messages))
	for i := range r.Messages {
		m := &r.Messages[i]
		blocks := clone(m.Blocks)
		for j, b := range blocks {
			if result, ok := b.(ToolResult); ok {
				result.Blocks = clone(result.Blocks)
				blocks[j] = result
			}
		}
		out.Messages[i] = Message{Role: m.Role, Blocks: blocks, Param: m.place(i)}
	}
	return &out
}
