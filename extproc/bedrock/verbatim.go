package bedrock

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/extproc/anthropic"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// Adopt makes the Call of what was asked in the model's own format (API): no more of it
// changes than what must. Errors are *fault.Error.
func Adopt(v *chat.Verbatim, m *Model) (*Call, error) {
	p := &prepared{req: &chat.Request{Stream: v.Stream}, model: m, family: m.family, api: m.api, invokes: true, notes: v.Notes}
	var err error
	if p.knobs, err = newKnobs(p.req, m); err != nil {
		return nil, err
	}
	body, err := withMembers(v.Body, map[string]json.RawMessage{
		"model": nil, "stream": nil,
		"anthropic_version": marshal(anthropic.Version),
	})
	if err != nil {
		return nil, fault.From(err)
	}
	return &Call{
		model: m, stream: v.Stream, api: m.api, verbatim: true,
		address: &m.addressed[operationOf(m.api, v.Stream)],
		header:  invokeHeader(p), body: body, notes: p.notes,
	}, nil
}

// withMembers is an object's text with some of its members set, at its beginning, or with
// nil taken out. All else is in its order, byte for byte.
func withMembers(text []byte, members map[string]json.RawMessage) ([]byte, error) {
	room := len(text)
	for name, value := range members {
		room += len(name) + len(value) + 8
	}
	out := append(make([]byte, 0, room), '{')
	add := func(name, value []byte) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, name...), ':'), value...)
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if value := members[name]; value != nil {
			add(marshal(name), value)
		}
	}
	dec := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true))
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		_, ours := members[name.String()]
		written := marshal(name.String())
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		if !ours {
			add(written, value)
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	return append(out, '}'), nil
}
