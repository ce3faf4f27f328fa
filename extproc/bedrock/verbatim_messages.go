package bedrock

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"aisix/extproc/anthropic"
	"aisix/extproc/chat"
	"aisix/extproc/jsonedit"
)

// adopted is the body of what was asked in Anthropic's format, as InvokeModel takes it: the
// version in, model and stream out, flags as Bedrock has them, and the operator's fields over
// the caller's. All else is byte for byte the caller's.
func (p *prepared) adopted(v *chat.Verbatim) []byte {
	t := jsonedit.Text(v.Body)
	flags := slices.Clone(v.Beta)
	own, hasFlags := t.Member(t.Root(), "anthropic_beta")
	if hasFlags {
		for item := range t.Items(own) {
			flags = append(flags, t.String(item))
		}
	}
	var set map[string]json.RawMessage
	var without []string
	if guessing(flags) {
		set, without = p.guesses(t)
	} else if v.Foreign {
		set, without = p.unthought(t)
	}
	kept, without, notes := p.model.betas(flags, t, without)
	for _, note := range notes {
		p.note(note)
	}
	var written []string // a list that is none is left to Bedrock
	_ = json.Unmarshal(p.knobs.additional["anthropic_beta"], &written)
	for _, flag := range append(slices.Clone(p.knobs.beta), written...) { // the operator's word, whatever we know of the flag
		if !slices.Contains(kept, flag) && p.model.takesBeta(flag) {
			kept = append(kept, flag)
		}
	}
	p.knobs.beta = kept // all that goes out

	top := map[string]json.RawMessage{"anthropic_version": marshal(anthropic.Version)}
	if len(kept) > 0 {
		top["anthropic_beta"] = marshal(kept)
	}
	drop := map[string]bool{"model": true, "stream": true, "anthropic_version": true, "anthropic_beta": true}
	if n := p.model.options.MaxTokens; n != nil && !hasMember(t, "max_tokens") {
		top["max_tokens"], drop["max_tokens"] = marshal(*n), true
	}
	for name, raw := range set {
		if drop[name] = true; raw != nil {
			top[name] = raw
		}
	}
	for name, raw := range p.writtenMembers(t) {
		top[name], drop[name] = raw, true
	}
	var e jsonedit.Edits
	var first []byte
	for _, name := range slices.Sorted(maps.Keys(top)) {
		if len(first) > 0 {
			first = append(first, ',')
		}
		first = append(append(append(first, marshal(name)...), ':'), top[name]...)
	}
	nested := map[string][]string{} // by the member that holds it
	for _, place := range without {
		outer, inner, isNested := strings.Cut(place, ".")
		if isNested {
			nested[outer] = append(nested[outer], inner)
		} else {
			drop[place] = true
		}
	}
	e.Object(t, t.Root(), first, func(m jsonedit.Member) bool {
		switch {
		case drop[m.Name]:
			return false
		case m.Name != "cache_control" && len(nested[m.Name]) > 0:
			inner := nested[m.Name]
			keep := func(m jsonedit.Member) bool { return !isAt(t, m, inner) }
			e.Object(t, m.Value, nil, keep)
			e.Array(t, m.Value, func(item jsonedit.Span) bool {
				if m.Name == "messages" && saysOnly(t, item, inner) {
					return false
				}
				e.Object(t, item, nil, keep)
				return true
			})
		}
		return true
	})
	body := e.Apply(t)
	if members := nested["cache_control"]; len(members) > 0 {
		body = withoutInMarks(body, members)
	}
	if !p.family.SystemMessages && !has(p.family.Capabilities.SystemTurns) {
		body = anthropic.WithoutSystemTurns(body)
	}
	return body
}

// saysOnly reports whether a system message has nothing to say beside members that are taken out.
func saysOnly(t jsonedit.Text, message jsonedit.Span, places []string) bool {
	if role, _ := t.Member(message, "role"); t.String(role) != "system" {
		return false
	}
	empty, gone := true, false
	for m := range t.Members(message) {
		switch {
		case isAt(t, m, places):
			gone = true
		case m.Name == "content":
			for range t.Items(m.Value) {
				empty = false
			}
			empty = empty && t.String(m.Value) == ""
		}
	}
	return empty && gone
}

// writtenMembers are those that the operator wrote (additionalModelRequestFields), over the
// caller's own where both are objects, and what a guardrail needs in the body.
func (p *prepared) writtenMembers(t jsonedit.Text) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for name, raw := range p.knobs.additional {
		if name == "anthropic_beta" { // a list beside the caller's (adopted)
			continue
		}
		out[name] = raw
		if own, ok := t.Member(t.Root(), name); ok {
			if members(raw)["type"] == nil { // else it is one of several kinds, and never half of two
				out[name] = merge(json.RawMessage(t.At(own)), raw)
			}
			if string(out[name]) != string(t.At(own)) {
				p.note(name + " is set by the model's configuration: the request's was changed")
			}
		}
	}
	if g := p.knobs.guardrail; g != nil && g.StreamMode != "" && p.req.Stream {
		mode := map[string]string{"sync": "SYNCHRONOUS", "async": "ASYNCHRONOUS"}[g.StreamMode]
		out["amazon-bedrock-guardrailConfig"] = object(map[string]json.RawMessage{"streamProcessingMode": marshal(mode)})
	}
	return out
}

// withoutInMarks takes members out of every cache_control: of the body, of tools, of blocks, and
// of blocks in results.
func withoutInMarks(body []byte, members []string) []byte {
	t := jsonedit.Text(body)
	var e jsonedit.Edits
	mark := func(object jsonedit.Span) {
		if m, ok := t.Member(object, "cache_control"); ok {
			e.Object(t, m, nil, func(m jsonedit.Member) bool { return !slices.Contains(members, m.Name) })
		}
	}
	mark(t.Root())
	for m := range t.Members(t.Root()) {
		switch m.Name {
		case "system", "tools":
			for item := range t.Items(m.Value) {
				mark(item)
			}
		case "messages":
			for message := range t.Items(m.Value) {
				content, _ := t.Member(message, "content")
				for block := range t.Items(content) {
					mark(block)
					inner, _ := t.Member(block, "content")
					for block := range t.Items(inner) {
						mark(block)
					}
				}
			}
		}
	}
	return e.Apply(t)
}
