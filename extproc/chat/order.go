package chat

// Order tells the events of an answer block after block. An upstream may have several grow
// at once (calls of Chat Completions, whose blocks have no end but the answer's), and what a
// dialect writes, and Collect gathers, has one that grows, and then the next one. So the block
// that began first is told as it comes, without a copy; what comes of those behind it waits
// until it is at its end. The zero Order has an answer before it. Not for concurrent use.
//
// Between the first event of a block and its BlockStop there is nothing of another block, and
// each block has its BlockStop, ahead of Stop at the latest. Text and reasoning end where
// anything else begins: what goes on under their index is another block. So does a call whose
// index begins anew. A fragment of a call without its start is left out, since nobody could
// answer that call; so is a tool that the model ran itself.
type Order struct {
	told    part // the block that is told as it comes, if telling
	telling bool
	waiting []*part       // those that began behind it, in that order
	calls   map[int]*part // of these, the calls that grow, by index
	held    int
	raw     bool // the upstream's own words pass
}

// part is a block that grows.
type part struct {
	kind      partKind
	index     int
	ended     bool
	start     ToolStart
	text      pieces // text, reasoning, redacted data, a tool's input
	signature pieces
	publisher string
}

type partKind int

const (
	textPart partKind = iota
	thinkingPart
	redactedPart
	toolPart
)

// partSize is what a block that waits takes, beside its text.
const partSize = 200

// Held is about how many bytes wait.
func (o *Order) Held() int { return o.held }

// Append appends what may be told now that e has come: nothing, e, or what waited.
func (o *Order) Append(dst []Event, e Event) []Event {
	if o.raw {
		return append(dst, e)
	}
	switch x := e.(type) {
	case *Raw:
		o.raw = true // a writer only looks at what follows
	case ToolStart:
		dst = o.end(dst, o.said())
		dst = o.end(dst, o.call(x.Index))
		if x.Server {
			return dst
		}
		if p := o.begin(toolPart, x.Index); p != nil {
			p.start = x
			o.held += len(x.ID) + len(x.Name)
			return dst
		}
	case ToolDelta:
		p := o.call(x.Index)
		if p == nil {
			return dst
		}
		if p != &o.told {
			o.keep(&p.text, x.JSON)
			return dst
		}
	case TextDelta:
		var p *part
		if dst, p = o.say(dst, textPart, x.Index); p != nil {
			o.keep(&p.text, x.Text)
			return dst
		}
	case ThinkingDelta:
		var p *part
		if dst, p = o.say(dst, thinkingPart, x.Index); p != nil {
			o.keep(&p.text, x.Text)
			o.keep(&p.signature, x.Signature)
			p.by(x.Publisher)
			return dst
		}
	case RedactedDelta:
		var p *part
		if dst, p = o.say(dst, redactedPart, x.Index); p != nil {
			o.keep(&p.text, x.Data)
			p.by(x.Publisher)
			return dst
		}
	case BlockStop:
		if p := o.said(); p != nil && p.index == x.Index {
			return o.end(dst, p)
		}
		return o.end(dst, o.call(x.Index))
	case Stop:
		for _, p := range o.waiting {
			p.ended = true
		}
		o.calls = nil
		if o.telling {
			dst = o.end(dst, &o.told)
		}
	}
	return append(dst, e)
}

// said is the text or reasoning that grows, nil where there is none. It is the last block: it
// ends where another one begins.
func (o *Order) said() *part {
	p := &o.told
	if n := len(o.waiting); n > 0 {
		p = o.waiting[n-1]
	}
	if !o.telling || p.ended || p.kind == toolPart {
		return nil
	}
	return p
}

// call is the call of an index that grows, nil where there is none.
func (o *Order) call(index int) *part {
	if o.telling && o.told.kind == toolPart && o.told.index == index {
		return &o.told
	}
	return o.calls[index]
}

// say gives the text or reasoning that a delta belongs to, nil where it is told as it comes.
func (o *Order) say(dst []Event, kind partKind, index int) ([]Event, *part) {
	p := o.said()
	if p == nil || p.kind != kind || p.index != index {
		dst = o.end(dst, p)
		dst = o.end(dst, o.call(index)) // a new block with an old index ends that one: some services send no stop
		p = o.begin(kind, index)
	}
	if p == &o.told {
		p = nil
	}
	return dst, p
}

// begin gives a new block, nil where it is told as it comes.
func (o *Order) begin(kind partKind, index int) *part {
	if !o.telling {
		o.telling, o.told = true, part{kind: kind, index: index}
		return nil
	}
	p := &part{kind: kind, index: index}
	o.waiting = append(o.waiting, p)
	o.held += partSize
	if kind == toolPart {
		if o.calls == nil {
			o.calls = map[int]*part{}
		}
		o.calls[index] = p
	}
	return p
}

func (o *Order) keep(to *pieces, s string) {
	to.add(s)
	o.held += len(s)
}

// end ends a block; nil is none. Behind the one that was told, the next are told: what waited of
// them, and the first that is not at its end then grows as it comes.
func (o *Order) end(dst []Event, p *part) []Event {
	switch {
	case p == nil:
		return dst
	case p != &o.told:
		p.ended = true
		if p.kind == toolPart {
			delete(o.calls, p.index)
		}
		return dst
	}
	dst = append(dst, BlockStop{Index: p.index})
	for o.telling = false; !o.telling && len(o.waiting) > 0; {
		next := o.waiting[0]
		o.waiting[0], o.waiting = nil, o.waiting[1:]
		o.held -= next.size()
		dst = next.tell(dst)
		if next.ended {
			dst = append(dst, BlockStop{Index: next.index})
			continue
		}
		delete(o.calls, next.index)
		o.telling, o.told = true, part{kind: next.kind, index: next.index}
	}
	if len(o.waiting) == 0 {
		o.waiting = nil
	}
	return dst
}

// size is what a block that waits counts for.
func (p *part) size() int {
	return partSize + len(p.start.ID) + len(p.start.Name) + p.text.size() + p.signature.size()
}

// tell tells what there is of a block.
func (p *part) tell(dst []Event) []Event {
	switch p.kind {
	case toolPart:
		dst = append(dst, p.start)
		if p.text.empty() {
			return dst
		}
		return append(dst, ToolDelta{Index: p.index, JSON: p.text.String()})
	case thinkingPart:
		return append(dst, ThinkingDelta{Index: p.index, Text: p.text.String(), Signature: p.signature.String(), Publisher: p.publisher})
	case redactedPart:
		return append(dst, RedactedDelta{Index: p.index, Data: p.text.String(), Publisher: p.publisher})
	default:
		return append(dst, TextDelta{Index: p.index, Text: p.text.String()})
	}
}

func (p *part) by(publisher string) {
	if publisher != "" {
		p.publisher = publisher
	}
}

// pieces are a text that grows. One that came whole is not copied.
type pieces struct {
	first string
	all   []byte // nil where there is only the first
}

func (p *pieces) add(s string) {
	switch {
	case s == "":
	case p.all != nil:
		p.all = append(p.all, s...)
	case p.first == "":
		p.first = s
	default:
		p.all = append(append(p.all, p.first...), s...)
	}
}

func (p *pieces) empty() bool { return p.first == "" }

func (p *pieces) size() int { return max(len(p.first), len(p.all)) }

func (p *pieces) String() string {
	if p.all != nil {
		return string(p.all)
	}
	return p.first
}
