package bedrock

import "aisix/extproc/chat"

// restorer undoes in an answer what prepare did to the request: tool names get
// their own names back, and the input of the tool that stood in for structured
// output becomes the text. One restorer serves one answer.
type restorer struct {
	names  map[string]string // alias → name
	output string            // the output tool's name on the wire; "" is none

	open  map[int]bool // indexes of output tool blocks
	held  []chat.Event // text that came while an output tool was still awaited, and what must not overtake it
	made  bool         // the output tool was used
	wrote bool         // and gave input

	ordered bool // reasoning is among what is held: all else waits behind it
}

func (r *restorer) events(in []chat.Event) []chat.Event {
	if r.output == "" {
		if len(r.names) > 0 {
			for i, e := range in {
				if t, ok := e.(chat.ToolStart); ok {
					in[i] = r.named(t)
				}
			}
		}
		return in
	}
	var out []chat.Event
	for _, e := range in {
		switch e := e.(type) {
		case chat.ToolStart:
			if e.Name == r.output && !e.Server {
				// Text around the tool is chatter; a second use would not be JSON any more.
				if !r.made {
					r.open = map[int]bool{e.Index: true}
				} else {
					r.open[e.Index] = false
				}
				r.made = true
				out = r.release(out)
				continue
			}
			out = r.put(out, r.named(e))
		case chat.ToolDelta:
			first, ours := r.open[e.Index]
			switch {
			case !ours:
				out = r.put(out, e)
			case first && e.JSON != "":
				r.wrote = true
				out = append(out, chat.TextDelta{Index: e.Index, Text: e.JSON})
			}
		case chat.BlockStop:
			if r.open[e.Index] {
				out = r.whole(out)
			}
			out = r.put(out, e)
		case chat.TextDelta:
			if !r.made {
				r.held = append(r.held, e)
			}
		case chat.ThinkingDelta, chat.RedactedDelta:
			r.ordered = r.ordered || len(r.held) > 0
			out = r.put(out, e)
		case chat.Stop:
			out = append(r.whole(r.release(out)), e)
		default:
			out = append(out, e)
		}
	}
	return out
}

// put passes an event on, or has it wait behind text that waits: reasoning says what
// came before it.
func (r *restorer) put(out []chat.Event, e chat.Event) []chat.Event {
	if r.ordered {
		r.held = append(r.held, e)
		return out
	}
	return append(out, e)
}

// release passes on what was held, but for text where the output tool gives that.
func (r *restorer) release(out []chat.Event) []chat.Event {
	for _, e := range r.held {
		if _, text := e.(chat.TextDelta); !text || !r.made {
			out = append(out, e)
		}
	}
	r.held, r.ordered = nil, false
	return out
}

// whole ends the output tool's input: one that never came is {}.
func (r *restorer) whole(out []chat.Event) []chat.Event {
	for index, first := range r.open {
		if first && !r.wrote {
			r.wrote = true
			out = append(out, chat.TextDelta{Index: index, Text: "{}"})
		}
	}
	return out
}

func (r *restorer) named(t chat.ToolStart) chat.ToolStart {
	if name, ok := r.names[t.Name]; ok {
		t.Name = name
	}
	return t
}
