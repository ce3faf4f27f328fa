package bedrock

import "aisix/extproc/chat"

// API is the format of the model's requests and answers, as far as a caller may speak
// it: "" where that is Converse's.
func (m *Model) API() chat.API {
	if m.Publisher == "anthropic" {
		return chat.Messages // InvokeModel's body
	}
	return ""
}

// Adopt makes the Call of what was asked in the model's own format (API): no more of it
// changes than what must. Errors are *fault.Error.
func Adopt(v *chat.Verbatim, m *Model) (*Call, error) {
	p := &prepared{req: &chat.Request{Stream: v.Stream}, model: m, family: m.family, invokes: true, notes: v.Notes}
	var err error
	if p.knobs, err = newKnobs(p.req, m); err != nil {
		return nil, err
	}
	body := p.adopted(v)
	return &Call{
		model: m, stream: v.Stream, invokes: true, verbatim: true,
		address: &m.addresses[operationOf(true, v.Stream)],
		header:  invokeHeader(p), body: body, notes: p.notes,
	}, nil
}
