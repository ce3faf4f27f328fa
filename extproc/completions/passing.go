package completions

import (
	"bytes"

	"aisix/extproc/chat"
	"aisix/extproc/plainjson"
)

// What passes as it is, where both ends speak this format: of a stream, most chunks add to a
// text, and are looked at and not taken apart.

// Raw gives a chunk's own words, and the events in it; one that adds to a text has none, and
// only tells how much. Both are valid until the following call. Errors are Decode's.
func (d *EventDecoder) Raw(chunk []byte) (raw chat.Raw, events []chat.Event, err error) {
	d.passes = true
	if d.started {
		if seen := skim(chunk); seen > 0 {
			return chat.Raw{Data: chunk, Seen: seen}, nil, nil
		}
	}
	if events, err = d.Decode(chunk); err != nil {
		return chat.Raw{}, nil, err
	}
	return chat.Raw{Data: chunk}, events, nil
}

// skim reads a chunk that does no more than to add to the text of its one choice, and tells
// how many bytes; 0 for all else.
func skim(chunk []byte) (seen int) {
	r := plainjson.New(chunk)
	choices := 0
	r.Object(func(name []byte) {
		switch string(name) {
		case "choices":
			r.Array(func() {
				if choices++; choices > 1 {
					r.Fail()
				}
				seen = skimChoice(&r)
			})
		case "error", "usage":
			if !r.Null() {
				r.Fail()
			}
		default:
			r.Skip()
		}
	})
	if !r.End() || bytes.IndexByte(chunk, '\n') >= 0 || bytes.IndexByte(chunk, '\r') >= 0 {
		return 0
	}
	return seen
}

func skimChoice(r *plainjson.Reader) (seen int) {
	r.Object(func(name []byte) {
		switch string(name) {
		case "delta":
			r.Object(func(name []byte) {
				switch string(name) {
				case "content":
					if text := r.Raw(); len(text) > 2 && text[0] == '"' {
						seen = len(text) - 2
					} else {
						r.Fail()
					}
				case "role":
					r.Skip()
				default:
					if !r.Null() {
						r.Fail()
					}
				}
			})
		case "finish_reason", "message":
			if !r.Null() {
				r.Fail()
			}
		default:
			r.Skip()
		}
	})
	return seen
}
