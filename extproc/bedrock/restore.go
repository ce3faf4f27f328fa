package bedrock

import (
	"aisix/extproc/bedrock/schema"
	"aisix/extproc/chat"
)

// restorer undoes in an answer what prepare did to the request: tools and properties get
// their own names back, the input of the tool that stood in for structured output becomes
// the text, and an answer that is to be a JSON object is no more than that. One restorer
// serves one answer.
type restorer struct {
	names  map[string]string            // alias → name
	fields map[string]map[string]string // by a tool's name on the wire: alias of a property → name
	output string                       // the output tool's name on the wire; "" is none
	object bool                         // a text is to be a JSON object
	shape  schema.Input                 // of structured output
	answer filters                      // of structured output

	inputs map[int]*keys // of tool blocks whose properties are renamed
	last   int           // index of the text block that answer was last given of

	open  map[int]bool // indexes of output tool blocks
	held  []chat.Event // text that came while an output tool was still awaited, and what must not overtake it
	made  bool         // the output tool was used
	wrote bool         // and gave input

	ordered bool // reasoning is among what is held: all else waits behind it

	behind []behind // what came after text that may yet be no part of the answer
}

func (r *restorer) events(in []chat.Event) []chat.Event {
	if len(r.fields) > 0 {
		in = r.properties(in)
	}
	if r.output == "" {
		if len(r.names) > 0 {
			for i, e := range in {
				if t, ok := e.(chat.ToolStart); ok {
					in[i] = r.named(t)
				}
			}
		}
		if len(r.answer) > 0 {
			in = r.shaped(in)
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
				out = r.text(out, e.Index, e.JSON)
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

// release passes on what was held. The text is left out where the output tool gives it;
// else it is the answer in the model's own words, perhaps.
func (r *restorer) release(out []chat.Event) []chat.Event {
	if r.object && !r.made {
		r.answer = append(filters{new(objectText)}, structured(r.shape)...)
	}
	for _, e := range r.held {
		t, text := e.(chat.TextDelta)
		switch {
		case !text:
			out = r.pass(out, e)
		case !r.made:
			out = r.text(out, t.Index, t.Text)
		}
	}
	r.held, r.ordered = nil, false
	return out
}

// whole ends the output tool's input, of which one that never came is {}, or what is held
// back of the text in its place.
func (r *restorer) whole(out []chat.Event) []chat.Event {
	for index, first := range r.open {
		if first && !r.wrote {
			r.wrote = true
			out = append(out, chat.TextDelta{Index: index, Text: "{}"})
		}
	}
	return r.rest(out)
}

// properties gives the inputs of tools their own names back.
func (r *restorer) properties(in []chat.Event) []chat.Event {
	out := make([]chat.Event, 0, len(in))
	rest := func(index int) {
		if k := r.inputs[index]; k != nil {
			if raw := k.rest(nil); len(raw) > 0 {
				out = append(out, chat.ToolDelta{Index: index, JSON: string(raw)})
			}
			delete(r.inputs, index)
		}
	}
	for _, e := range in {
		switch x := e.(type) {
		case chat.ToolStart:
			rest(x.Index)
			if names := r.fields[x.Name]; len(names) > 0 && !x.Server {
				if r.inputs == nil {
					r.inputs = map[int]*keys{}
				}
				r.inputs[x.Index] = newKeys(names)
			}
		case chat.ToolDelta:
			if k := r.inputs[x.Index]; k != nil {
				raw := k.write(nil, x.JSON)
				if len(raw) == 0 {
					continue
				}
				e = chat.ToolDelta{Index: x.Index, JSON: string(raw)}
			}
		case chat.BlockStop:
			rest(x.Index)
		case chat.Stop:
			for index := range r.inputs { // blocks that never stopped
				rest(index)
			}
		}
		out = append(out, e)
	}
	return out
}

// shaped gives the text of structured output as the caller's schema has it.
func (r *restorer) shaped(in []chat.Event) []chat.Event {
	out := make([]chat.Event, 0, len(in))
	for _, e := range in {
		switch x := e.(type) {
		case chat.TextDelta:
			out = r.text(out, x.Index, x.Text)
			continue
		case chat.ToolStart:
			// What the model said before it calls is no answer yet.
			if r.object && !x.Server {
				out = r.rest(out)
				r.answer = filters{new(objectText)}
			}
		case chat.Stop:
			out = r.rest(out)
		}
		out = r.pass(out, e)
	}
	return out
}

// text appends what is there of the answer's text once fragment has come.
func (r *restorer) text(out []chat.Event, index int, fragment string) []chat.Event {
	r.last = index
	if len(r.answer) == 0 {
		return append(out, chat.TextDelta{Index: index, Text: fragment})
	}
	text := r.answer.write(nil, fragment)
	if len(r.behind) > 0 && r.undecided() == 0 {
		return r.follow(out, string(text))
	}
	if len(text) > 0 {
		out = append(out, chat.TextDelta{Index: index, Text: string(text)})
	}
	return out
}

// rest appends what is held back of the answer's text.
func (r *restorer) rest(out []chat.Event) []chat.Event {
	if len(r.answer) == 0 {
		return out
	}
	return r.follow(out, string(r.answer.rest(nil)))
}

func (r *restorer) named(t chat.ToolStart) chat.ToolStart {
	if name, ok := r.names[t.Name]; ok {
		t.Name = name
	}
	return t
}
