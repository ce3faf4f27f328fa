package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/jsonedit"
	"aisix/extproc/plainjson"
)

// What passes as it is, where both ends speak this format: requests to Claude, and its
// answers.

// billing is how Claude Code's first system block begins. It differs from prompt to prompt
// and stands before all that is cached: sent on, it would make every cache miss.
const billing = "x-anthropic-billing-header:"

// withoutBilling takes that block out.
func withoutBilling(body []byte) []byte {
	if !bytes.Contains(body, []byte(billing)) {
		return body
	}
	t := jsonedit.Text(body)
	system, ok := t.Member(t.Root(), "system")
	if !ok {
		return body
	}
	n, first := 0, false
	for item := range t.Items(system) {
		if n++; n == 1 {
			said, _ := t.Member(item, "text")
			first = strings.HasPrefix(t.String(said), billing)
		}
	}
	if !first {
		return body
	}
	var e jsonedit.Edits
	if n == 1 {
		e.Object(t, t.Root(), nil, func(m jsonedit.Member) bool { return m.Name != "system" })
	} else {
		at := 0
		e.Array(t, system, func(jsonedit.Span) bool { at++; return at > 1 })
	}
	return e.Apply(t)
}

// withoutForeign takes out the reasoning that other families wrote in a conversation before
// (sealed): Claude would refuse the turn, and every later one. A message that was nothing
// else goes.
func withoutForeign(body []byte) (_ []byte, notes []string) {
	if !bytes.Contains(body, []byte(`"`+seal)) {
		return body, nil
	}
	s := keptOf(body)
	t := s.t
	var e jsonedit.Edits
	for message := range t.Items(s.messages) {
		_, content := s.read(message)
		all, foreign := 0, 0
		for block := range t.Items(content) {
			all++
			if isForeign(t, block) {
				foreign++
			}
		}
		switch foreign {
		case 0:
			s.add(message)
		case all:
			s.leave()
		default:
			s.add(message)
			e.Array(t, content, func(block jsonedit.Span) bool { return !isForeign(t, block) })
		}
	}
	switch {
	case s.changed: // what is left of the others goes in the next pass
		e = jsonedit.Edits{}
		e.Replace(s.messages, s.list())
		rest, _ := withoutForeign(e.Apply(t))
		return rest, []string{foreignLeft}
	case e.Any():
		return e.Apply(t), []string{foreignLeft}
	}
	return body, nil
}

const foreignLeft = "reasoning of another model was left out"

func isForeign(t jsonedit.Text, block jsonedit.Span) bool {
	kind, _ := t.Member(block, "type")
	name := ""
	switch t.String(kind) {
	case "thinking":
		name = "signature"
	case "redacted_thinking":
		name = "data"
	default:
		return false
	}
	s, _ := t.Member(block, name)
	_, _, ok := unsealed(t.String(s))
	return ok
}

// Stripped is an answer, or an event, without what Bedrock puts beside Claude's words for its
// own accounts: counts that Claude's usage has, and traces, which name the operator's
// guardrails. What a guardrail did stays.
func Stripped(text []byte) []byte {
	if !bytes.Contains(text, []byte(`"amazon-bedrock-`)) {
		return text
	}
	t := jsonedit.Text(text)
	var e jsonedit.Edits
	e.Object(t, t.Root(), nil, func(m jsonedit.Member) bool {
		return !strings.HasPrefix(m.Name, "amazon-bedrock-") || m.Name == "amazon-bedrock-guardrailAction"
	})
	return e.Apply(t)
}

// renamed is a message with the model's name as the caller knows it: of a whole answer the
// body, of a stream the member of message_start.
func renamed(text []byte, alias []byte, path ...string) []byte {
	t := jsonedit.Text(text)
	at, ok := t.Root(), true
	for _, name := range append(path, "model") {
		if at, ok = t.Member(at, name); !ok {
			return text
		}
	}
	var e jsonedit.Edits
	e.Replace(at, alias)
	return e.Apply(t)
}

// Raw gives the payload's own words, without what is Bedrock's, and the events in it; a
// delta of a block has none, and only tells how much text it holds. Both are valid until
// the following call. Errors are Decode's.
func (d *EventDecoder) Raw(payload []byte) (raw chat.Raw, events []chat.Event, err error) {
	if seen, ok := skim(payload); ok {
		return chat.Raw{Name: "content_block_delta", Data: payload, Seen: seen}, nil, nil
	}
	if events, err = d.Decode(payload); err != nil {
		return chat.Raw{}, nil, err
	}
	var e struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(payload, &e); err != nil {
		return chat.Raw{}, nil, err
	}
	if payload = Stripped(payload); bytes.ContainsAny(payload, "\r\n") { // an event is one line
		var line bytes.Buffer
		if err := json.Compact(&line, payload); err != nil {
			return chat.Raw{}, nil, err
		}
		payload = line.Bytes()
	}
	if !isEventName(e.Type) {
		return chat.Raw{}, nil, errors.New("anthropic: decode event: no type")
	}
	return chat.Raw{Name: e.Type, Data: payload, Idle: e.Type == "ping"}, events, nil
}

func isEventName(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return s != ""
}

// skim reads a plain delta of a block, and tells how many bytes of text it holds; ok is false
// for all else.
func skim(payload []byte) (seen int, ok bool) {
	r := plainjson.New(payload)
	isDelta := false
	r.Object(func(name []byte) {
		switch string(name) {
		case "type":
			if isDelta = string(r.Bytes()) == "content_block_delta"; !isDelta {
				r.Fail()
			}
		case "index":
			r.Count()
		case "delta":
			r.Object(func(name []byte) {
				text := r.Raw()
				switch string(name) {
				case "text", "thinking", "partial_json":
					if seen = len(text) - 2; seen < 0 || text[0] != '"' {
						r.Fail()
						return
					}
				}
			})
		default:
			r.Fail()
		}
	})
	if !r.End() || !isDelta {
		return 0, false
	}
	return seen, bytes.IndexByte(payload, '\n') < 0 && bytes.IndexByte(payload, '\r') < 0
}
