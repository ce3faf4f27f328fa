package bedrock

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"aisix/extproc/bedrock/redact"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/jsonedit"
	"aisix/extproc/responses"
)

// Adopt makes the Call of what was asked in the model's own format (API): no more of it
// changes than what must. Errors are *fault.Error.
func Adopt(v *chat.Verbatim, m *Model) (*Call, error) {
	p := &prepared{req: &chat.Request{Stream: v.Stream}, model: m, family: m.family, api: m.api, invokes: m.api.anthropic(), notes: slices.Clip(v.Notes)}
	var err error
	if p.knobs, err = newKnobs(p.req, m); err != nil {
		return nil, err
	}
	c := &Call{model: m, stream: v.Stream, api: m.api, verbatim: true, passes: v.Stream && m.api.sse(), address: &m.addressed[operationOf(m.api, v.Stream)]}
	switch m.api {
	case apiInvoke:
		c.header, c.body = invokeHeader(p), p.adopted(v)
	case apiMessages:
		err = p.adoptMessages(c, v)
	default:
		err = p.adoptResponses(c, v)
	}
	if err != nil {
		return nil, err
	}
	c.notes, c.asked, c.chosen = p.notes, v, chosen{betas: p.knobs.beta}
	c.came = came{body: c.body, sent: true, read: redact.Responses}
	if m.api.anthropic() {
		c.came.read = redact.Messages
	}
	return c, nil
}

// keeping are the members of a Responses request that need what was said before to be kept,
// and what they are where nothing is.
var keeping = []string{"background", "conversation", "previous_response_id", "prompt"}

// adoptResponses is the body of what was asked in the format of OpenAI's Responses: the model
// is its upstream's id, nothing is stored where the resource does not allow it, and the
// operator's fields are over the caller's. What no upstream has a place for goes: Codex's
// client_metadata; reasoning of another API's; and tools that a service runs itself (hosted).
func (p *prepared) adoptResponses(c *Call, v *chat.Verbatim) error {
	if err := p.unguarded(); err != nil {
		return err
	}
	p.unplaced()
	t := jsonedit.Text(v.Body)
	members := map[string]jsonedit.Span{}
	for m := range t.Members(t.Root()) {
		members[m.Name] = m.Value
	}
	stateful := p.model.options.AllowStore
	drop := map[string]bool{"model": true, "client_metadata": true}
	if !stateful {
		for _, name := range keeping {
			at, ok := members[name]
			if kind := t.Kind(at); ok && kind != 'n' && kind != 'f' && string(t.At(at)) != `""` {
				return fault.Invalid(name, "%s is not supported: this gateway keeps no state; send the whole conversation in input", name)
			}
			drop[name] = true
		}
		drop["store"] = true
		if err := referring(t, members["input"]); err != nil {
			return err
		}
	}
	var e jsonedit.Edits
	tools := hosted{p: p, e: &e, t: t, gone: map[string]bool{}}
	if err := tools.leaveOut(members, drop); err != nil {
		return err
	}
	first := append([]byte(`"model":`), marshal(p.model.ID)...)
	if !stateful {
		first = append(first, `,"store":false`...)
	}
	if tier := p.knobs.tier; tier != nil {
		first = append(append(first, `,"service_tier":`...), marshal(tier.Type)...)
		drop["service_tier"] = true
	}
	if n := p.model.options.MaxTokens; n != nil {
		if _, said := members["max_output_tokens"]; !said {
			first = append(append(first, `,"max_output_tokens":`...), marshal(*n)...)
		}
	}
	for name, raw := range p.writtenMembers(t) {
		first = append(append(append(append(first, ','), marshal(name)...), ':'), raw...)
		drop[name] = true
	}
	e.Object(t, t.Root(), first, func(m jsonedit.Member) bool {
		if m.Name == "input" && bytes.Contains(t.At(m.Value), []byte(`"reasoning"`)) {
			p.withoutOurs(&e, t, m.Value, stateful)
		}
		return !drop[m.Name]
	})
	c.header, c.body = converseHeader, e.Apply(t)
	return nil
}

// referring refuses an item that is named instead of sent.
func referring(t jsonedit.Text, input jsonedit.Span) error {
	if !bytes.Contains(t.At(input), []byte(`item_reference`)) {
		return nil
	}
	n := 0
	for item := range t.Items(input) {
		if kind, _ := t.Member(item, "type"); t.String(kind) == "item_reference" {
			param := "input[" + strconv.Itoa(n) + "]"
			return fault.Invalid(param, "%s: an item of type item_reference is not supported: this gateway keeps no state; send the item itself", param)
		}
		n++
	}
	return nil
}

// withoutOurs takes the items out that hold what a model of another API thought: sealed by us, or
// with nothing at all to know it by, which an upstream that stores nothing looks for in vain.
func (p *prepared) withoutOurs(e *jsonedit.Edits, t jsonedit.Text, input jsonedit.Span, stateful bool) {
	ours := func(item jsonedit.Span) bool {
		encrypted, _ := t.Member(item, "encrypted_content")
		kind, _ := t.Member(item, "type")
		if sealed := t.String(encrypted); sealed != "" || t.String(kind) != "reasoning" {
			return strings.HasPrefix(sealed, responses.Ours)
		}
		content, _ := t.Member(item, "content")
		for range t.Items(content) {
			return false // in the open, as gpt-oss has it
		}
		return !stateful
	}
	left := false
	e.Array(t, input, func(item jsonedit.Span) bool {
		gone := ours(item)
		left = left || gone
		return !gone
	})
	if left {
		p.note("reasoning of another model was left out")
	}
}
