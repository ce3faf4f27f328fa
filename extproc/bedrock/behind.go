package bedrock

import (
	"unicode/utf8"

	"aisix/extproc/chat"
)

// behind is an event that came after so much of a text of which it is not known yet
// whether it belongs to the answer (objectText). Reasoning tells where it stood, and goes
// back to the model there: it must not overtake text.
type behind struct {
	at    int // bytes of the text
	event chat.Event
}

// undecided is how much text waits for an object to begin.
func (r *restorer) undecided() int {
	if len(r.answer) == 0 {
		return 0
	}
	if o, ok := r.answer[0].(*objectText); ok && o.state == beforeObject {
		return len(o.held)
	}
	return 0
}

// pass passes an event on, or has it wait: reasoning behind text that waits, and all
// that comes after it.
func (r *restorer) pass(out []chat.Event, e chat.Event) []chat.Event {
	n := r.undecided()
	if n > 0 && (len(r.behind) > 0 || isReasoningDelta(e)) {
		r.behind = append(r.behind, behind{n, e})
		return out
	}
	return append(out, e)
}

// follow appends text, and what waited each at its place. Text that was left out since
// an object began has none.
func (r *restorer) follow(out []chat.Event, text string) []chat.Event {
	said := func(s string) {
		if s != "" {
			out = append(out, chat.TextDelta{Index: r.last, Text: s})
		}
	}
	from := 0
	o, ok := r.answer[0].(*objectText)
	dropped := ok && (o.state == inObject || o.state == behindObject)
	for _, b := range r.behind {
		at := min(b.at, len(text))
		for at < len(text) && !utf8.RuneStart(text[at]) { // what became of it may have another length
			at++
		}
		if !dropped && at > from {
			said(text[from:at])
			from = at
		}
		out = append(out, b.event)
	}
	r.behind = nil
	said(text[from:])
	return out
}

func isReasoningDelta(e chat.Event) bool {
	switch e.(type) {
	case chat.ThinkingDelta, chat.RedactedDelta:
		return true
	}
	return false
}
