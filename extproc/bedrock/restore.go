package bedrock

import "aisix/extproc/chat"

// restorer undoes in an answer what prepare did to the request: tool names get
// their own names back, and the input of the tool that stood in for structured
// output becomes the text. One restorer serves one answer.
type restorer struct {
	names  map[string]string // alias → name
	output string            // the output tool's name on the wire; "" is none

	open  map[int]bool // indexes of output tool blocks
	held  []chat.Event // text that came while an output tool was still awaited
	made  bool         // the output tool was used
	wrote bool         // and gave input
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
				r.made, r.held = true, nil
				continue
			}
			out = append(out, r.named(e))
		case chat.ToolDelta:
			first, ours := r.open[e.Index]
			switch {
			case !ours:
				out = append(out, e)
			case first && e.JSON != "":
				r.wrote = true
				out = append(out, chat.TextDelta{Index: e.Index, Text: e.JSON})
			}
		case chat.BlockStop:
			if first := r.open[e.Index]; first && !r.wrote {
				out = append(out, chat.TextDelta{Index: e.Index, Text: "{}"})
			}
			out = append(out, e)
		case chat.TextDelta:
			if !r.made {
				r.held = append(r.held, e)
			}
		case chat.Stop:
			out = append(out, r.held...)
			r.held = nil
			if r.made && e.Reason == chat.ToolUseStop {
				e.Reason = chat.EndTurn
			}
			out = append(out, e)
		default:
			out = append(out, e)
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
