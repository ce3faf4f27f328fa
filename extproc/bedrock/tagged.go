package bedrock

import (
	"strings"

	"aisix/extproc/chat"
)

// tagged tells apart what a model thinks and what it says where it writes both into
// the text: "<thinking>…</thinking> Hello". The element counts at the start of a text
// block and just behind another one, white space or not. Anywhere else it is a text
// about tags. White space in front of it and behind it is left out. One that is
// never closed (the answer was cut) is reasoning to the end of its block.
//
// No more is held back than may be a part of a tag, or white space beside one. One
// tagged serves one answer; the zero value changes nothing.
type tagged struct {
	begin, end string // the tags

	block taggedBlock
	index int  // of the block
	open  bool // there is one
}

// taggedBlock is a text block in the making.
type taggedBlock struct {
	state  taggedState
	closed bool   // an element has ended
	held   string // white space at the start, and the start of a tag
}

// blanks are the white space beside tags: of one byte each, so that no cut hides one.
// So much may stand at the start of a block: a model that writes nothing else has its
// text shown.
const (
	blanks    = " \t\r\n"
	maxBlanks = 64
)

type taggedState int

const (
	undecided taggedState = iota // at the start of the block, or behind an element
	inside
	plain
)

func newTagged(element string) tagged {
	if element == "" {
		return tagged{}
	}
	return tagged{begin: "<" + element + ">", end: "</" + element + ">"}
}

func (t *tagged) events(in []chat.Event) []chat.Event {
	if t.begin == "" {
		return in
	}
	if len(in) == 1 { // most of a stream
		if d, ok := in[0].(chat.TextDelta); ok && t.open && t.index == d.Index && t.block.state == plain {
			return in
		}
	}
	out := make([]chat.Event, 0, len(in)+1)
	for _, e := range in {
		switch e := e.(type) {
		case chat.TextDelta:
			// A new block ends that one: some services send no stop.
			if t.open && t.index != e.Index {
				out = t.close(out)
			}
			if !t.open {
				t.open, t.index, t.block = true, e.Index, taggedBlock{}
			}
			out = t.write(out, e.Text)
			continue
		case chat.BlockStop:
			if t.open && t.index == e.Index {
				out = t.close(out)
			}
		case chat.ToolStart:
			if t.open && t.index == e.Index {
				out = t.close(out)
			}
		case chat.ThinkingDelta, chat.RedactedDelta, chat.Stop:
			out = t.close(out)
		}
		out = append(out, e)
	}
	return out
}

// write adds text to the open block.
func (t *tagged) write(out []chat.Event, text string) []chat.Event {
	b := &t.block
	text, b.held = b.held+text, ""
	for text != "" {
		switch b.state {
		case plain:
			return append(out, chat.TextDelta{Index: t.index, Text: text})
		case undecided:
			begun := strings.TrimLeft(text, blanks)
			if b.closed {
				text = begun
			}
			switch rest, ok := strings.CutPrefix(begun, t.begin); {
			case len(text)-len(begun) > maxBlanks:
				b.state = plain
			case ok:
				b.state, text = inside, rest
			case strings.HasPrefix(t.begin, begun):
				b.held = text
				return out
			default:
				b.state = plain
			}
		case inside:
			thought, rest, ok := strings.Cut(text, t.end)
			if !ok {
				n := partial(text, t.end)
				thought, b.held = text[:len(text)-n], text[len(text)-n:]
			}
			if thought != "" {
				out = append(out, chat.ThinkingDelta{Index: t.index, Text: thought})
			}
			if !ok {
				return out
			}
			b.state, b.closed, text = undecided, true, rest
		}
	}
	return out
}

// close ends the open block, if there is one: what was held is no tag.
func (t *tagged) close(out []chat.Event) []chat.Event {
	b := t.block
	t.open, t.block = false, taggedBlock{}
	switch {
	case b.held == "":
		return out
	case b.state == inside:
		return append(out, chat.ThinkingDelta{Index: t.index, Text: b.held})
	default:
		return append(out, chat.TextDelta{Index: t.index, Text: b.held})
	}
}

// partial is how many bytes at the end of s are the start of tag.
func partial(s, tag string) int {
	for n := min(len(s), len(tag)-1); n > 0; n-- {
		if strings.HasSuffix(s, tag[:n]) {
			return n
		}
	}
	return 0
}
