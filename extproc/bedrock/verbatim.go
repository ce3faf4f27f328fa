package bedrock

import "aisix/extproc/chat"

// Adopt makes the Call of what was asked in the model's own format (API): no more of it
// changes than what must. Errors are *fault.Error.
func Adopt(v *chat.Verbatim, m *Model) (*Call, error) {
	p := &prepared{req: &chat.Request{Stream: v.Stream}, model: m, family: m.family, api: m.api, invokes: true, notes: v.Notes}
	var err error
	if p.knobs, err = newKnobs(p.req, m); err != nil {
		return nil, err
	}
	body := p.adopted(v)
	return &Call{
		model: m, stream: v.Stream, api: m.api, verbatim: true,
		address: &m.addressed[operationOf(m.api, v.Stream)],
		header:  invokeHeader(p), body: body, notes: p.notes,
	}, nil
}
