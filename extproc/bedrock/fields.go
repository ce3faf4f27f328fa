package bedrock

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// What stands in additionalModelRequestFields was written by hand, by the operator or
// by a caller who may: it wins over what the gateway derives of the request, and
// nothing goes out that would clash with it.

// writtenFields makes room for fields that the request has members of its own for.
func (p *prepared) writtenFields() error {
	if len(p.knobs.additional) == 0 {
		return nil
	}
	r, note := p.req, func(name string, had bool) {
		if had {
			p.note(name + " is set by the model's configuration: the request's was left out")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.knobs.additional)) {
		switch name {
		case "max_tokens":
			note(name, r.MaxTokens != nil)
			p.maxTokens = nil
			var n int
			if json.Unmarshal(p.knobs.additional[name], &n) == nil {
				p.maxTokens = &n // budgets keep under it
			}
		case "temperature":
			note(name, r.Temperature != nil)
			r.Temperature = nil
		case "top_p":
			note(name, r.TopP != nil)
			r.TopP = nil
		case "top_k":
			note(name, p.knobs.topK != nil)
			p.knobs.topK = nil
		case "stop_sequences":
			note("stop", r.Stop != nil)
			r.Stop = nil
		}
	}
	return nil
}

// mergeFields puts together what was derived and what was written.
func (p *prepared) mergeFields() error {
	if p.format != nil {
		for name, raw := range p.family.FormatFields {
			p.additional[name] = merge(p.additional[name], raw)
		}
	}
	for name, raw := range p.knobs.additional {
		p.additional[name] = merge(p.additional[name], raw)
	}
	raw := p.additional["anthropic_beta"]
	if raw == nil {
		return nil
	}
	var betas []string
	if json.Unmarshal(raw, &betas) == nil { // a list, as the other one
		for _, beta := range p.knobs.beta {
			if !slices.Contains(betas, beta) {
				betas = append(betas, beta)
			}
		}
		p.knobs.beta = betas
		delete(p.additional, "anthropic_beta")
	}
	return nil
}

// merge is base with over on top: members of objects one by one, at any depth,
// everything else as a whole.
func merge(base, over json.RawMessage) json.RawMessage {
	b, o := members(base), members(over)
	if b == nil || o == nil {
		return over
	}
	for name, raw := range o {
		b[name] = merge(b[name], raw)
	}
	return object(b)
}

// overlaps reports whether over would replace a part of base in a merge.
func overlaps(base, over json.RawMessage) bool {
	if base == nil || over == nil {
		return false
	}
	b, o := members(base), members(over)
	if b == nil || o == nil {
		return true
	}
	for name, raw := range o {
		if overlaps(b[name], raw) {
			return true
		}
	}
	return false
}

// holds reports whether a merge of part into whole would change nothing.
func holds(whole, part json.RawMessage) bool {
	w, p := members(whole), members(part)
	if w == nil || p == nil {
		var a, b bytes.Buffer
		return json.Compact(&a, whole) == nil && json.Compact(&b, part) == nil && bytes.Equal(a.Bytes(), b.Bytes())
	}
	for name, raw := range p {
		if !holds(w[name], raw) {
			return false
		}
	}
	return true
}

// members are an object's, nil for anything else.
func members(raw json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

// withEffort is a family's field with its word for an effort.
func withEffort(raw json.RawMessage, word string) json.RawMessage {
	return bytes.ReplaceAll(raw, []byte(`"$effort"`), marshal(word))
}

// note tells the operator's log something of the request.
func (p *prepared) note(text string) { p.notes = append(p.notes, text) }
