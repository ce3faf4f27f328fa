package responses

import (
	"bytes"

	"aisix/extproc/chat"
	"aisix/extproc/plainjson"
)

// What passes as it is, where both ends speak this format: of a stream, most events are
// deltas, which are looked at and not taken apart.

// Raw gives an event's own words, and the events in it; a delta has none, and only tells how
// much text it holds. Both are valid until the following call. Errors are Decode's.
func (d *EventDecoder) Raw(data []byte) (raw chat.Raw, events []chat.Event, err error) {
	if name, at, seen, ok := skim(data); ok {
		if d.seen == nil {
			d.seen = map[int]bool{}
		}
		if seen > 0 {
			d.seen[at] = true
		}
		return chat.Raw{Name: name, Data: data, Seen: seen}, nil, nil
	}
	name, events, err := d.decode(data)
	if err != nil {
		return chat.Raw{}, nil, err
	}
	if !isEventName(name) {
		name = ""
	}
	return chat.Raw{Name: name, Data: data, Idle: name == "keepalive"}, events, nil
}

func isEventName(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return s != ""
}

// deltas are the events whose text is counted while it comes.
var deltas = []string{
	"response.output_text.delta", "response.function_call_arguments.delta", "response.custom_tool_call_input.delta",
	"response.reasoning_summary_text.delta", "response.reasoning_text.delta", "response.refusal.delta",
}

// skim reads a plain delta: its name, the index of its item, and how many bytes of text it
// holds; ok is false for all else.
func skim(data []byte) (name string, at, seen int, ok bool) {
	if !bytes.Contains(data, []byte(`.delta"`)) {
		return "", 0, 0, false
	}
	r := plainjson.New(data)
	r.Object(func(member []byte) {
		switch string(member) {
		case "type":
			name = known(r.Bytes())
		case "output_index":
			at = r.Count()
		case "delta":
			text := r.Raw()
			if seen = len(text) - 2; seen < 0 || text[0] != '"' {
				r.Fail()
			}
		case "response", "error": // of no delta that is known
			r.Fail()
		default:
			r.Skip()
		}
	})
	return name, at, seen, r.End() && name != "" && bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') < 0
}

// known is one of deltas by its name, "" where it is none.
func known(name []byte) string {
	for _, d := range deltas {
		if d == string(name) {
			return d
		}
	}
	return ""
}
