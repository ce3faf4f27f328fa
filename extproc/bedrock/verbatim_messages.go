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
	}
	kept, without, notes := p.model.betas(flags, t, without)
	for _, note := range notes {
		p.note(note)
	}
	var written []string // a list that is none is left to Bedrock
	_ = json.Unmarshal(p.knobs.additional["anthropic_beta"], &written)
	for _, flag := range append(slices.Clone(p.knobs.beta), written...) { // the operator's word, whatever we know of the flag
		if !slices.Contains(kept, flag) {
			kept = append(kept, flag)
		}
	}

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
		case m.Name == "tools" && len(nested["tools"]) > 0:
			for tool := range t.Items(m.Value) {
				e.Object(t, tool, nil, func(m jsonedit.Member) bool { return !slices.Contains(nested["tools"], m.Name) })
			}
		case m.Name != "cache_control" && len(nested[m.Name]) > 0:
			e.Object(t, m.Value, nil, func(inner jsonedit.Member) bool { return !slices.Contains(nested[m.Name], inner.Name) })
		}
		return true
	})
	body := e.Apply(t)
	if members := nested["cache_control"]; len(members) > 0 {
		body = withoutInMarks(body, members)
	}
	if !p.family.SystemMessages && !has(p.family.Capabilities.SystemTurns) {
		body = withoutSystemTurns(body)
	}
	return body
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

// withoutSystemTurns puts system messages that stand inside the conversation elsewhere, for models
// that take none there: before the assistant's first word they join the system prompt, which
// changes no cache; later ones become part of the user's turn beside them, behind the results of
// calls. Turns of the user's that one kept apart become one: roles must alternate. Those that
// the caller left side by side stay so.
func withoutSystemTurns(body []byte) []byte {
	t := jsonedit.Text(body)
	messages, _ := t.Member(t.Root(), "messages")
	var out []turn
	var hoisted, waiting []byte // waiting is until the results of calls have come
	spoke, found := false, false
	apart := false // a system message stood behind the last of out
	for m := range t.Items(messages) {
		at, _ := t.Member(m, "role")
		role := t.String(at)
		content, _ := t.Member(m, "content")
		last := len(out) - 1
		behindUser := last >= 0 && out[last].role == "user" && out[last].hasBlocks(t)
		switch {
		case role == "system" && !spoke:
			hoisted = appendBlocks(hoisted, t, content)
			found, apart = true, true
			continue
		case role == "system" && behindUser:
			out[last].added = appendBlocks(out[last].added, t, content)
			found, apart = true, true
			continue
		case role == "system":
			waiting = appendBlocks(waiting, t, content)
			found, apart = true, true
			continue
		}
		next := turn{role: role, at: m, content: content}
		switch {
		case role == "user" && apart && behindUser && next.hasBlocks(t):
			out[last].added = appendBlocks(out[last].added, t, content)
		case role == "user" && next.hasBlocks(t):
			next.added, waiting = waiting, nil
			out = append(out, next)
		default:
			if len(waiting) > 0 {
				out, waiting = append(out, turn{role: "user", added: waiting}), nil
			}
			out = append(out, next)
		}
		spoke, apart = spoke || role == "assistant", false
	}
	if !found {
		return body
	}
	if len(waiting) > 0 {
		out = append(out, turn{role: "user", added: waiting})
	}

	var list []byte
	list = append(list, '[')
	for i, m := range out {
		if i > 0 {
			list = append(list, ',')
		}
		list = m.append(list, t)
	}
	list = append(list, ']')
	var e jsonedit.Edits
	e.Replace(messages, list)
	if len(hoisted) > 0 {
		system, ok := t.Member(t.Root(), "system")
		blocks := appendBlocks(nil, t, system)
		if len(blocks) > 0 {
			blocks = append(blocks, ',')
		}
		blocks = append(append(append([]byte{'['}, blocks...), hoisted...), ']')
		if ok {
			e.Replace(system, blocks)
		} else {
			e.Object(t, t.Root(), append([]byte(`"system":`), blocks...), func(jsonedit.Member) bool { return true })
		}
	}
	return e.Apply(t)
}

// turn is a message, and blocks that were added to it.
type turn struct {
	role    string
	at      jsonedit.Span // none where it is all added
	content jsonedit.Span
	added   []byte
}

// hasBlocks reports whether blocks can be added.
func (m *turn) hasBlocks(t jsonedit.Text) bool {
	kind := byte('[')
	if m.at != (jsonedit.Span{}) {
		kind = t.Kind(m.content)
	}
	return kind == '[' || kind == '"'
}

// append appends the message: as it came where nothing was added. Results come first, as Claude
// wants them.
func (m *turn) append(dst []byte, t jsonedit.Text) []byte {
	if len(m.added) == 0 {
		return append(dst, t.At(m.at)...)
	}
	head, tail := []byte(`{"role":"user","content":`), []byte("}")
	var blocks []byte
	if m.at != (jsonedit.Span{}) {
		head, tail = t[m.at.From:m.content.From], t[m.content.To:m.at.To]
		blocks = appendBlocks(nil, t, m.content)
	}
	if len(blocks) > 0 {
		blocks = append(blocks, ',')
	}
	all := jsonedit.Text(slices.Concat([]byte("["), blocks, m.added, []byte("]")))
	var results, others []byte
	for block := range all.Items(all.Root()) {
		kind, _ := all.Member(block, "type")
		to := &others
		if all.String(kind) == "tool_result" {
			to = &results
		}
		*to = append(append(*to, ','), all.At(block)...)
	}
	list := append(results, others...)
	return append(append(append(append(append(dst, head...), '['), list[1:]...), ']'), tail...)
}

// appendBlocks appends content as blocks, without brackets: a string is a text.
func appendBlocks(dst []byte, t jsonedit.Text, content jsonedit.Span) []byte {
	next := func() {
		if len(dst) > 0 {
			dst = append(dst, ',')
		}
	}
	switch t.Kind(content) {
	case '"':
		if t.String(content) == "" {
			return dst
		}
		next()
		dst = append(append(append(dst, `{"type":"text","text":`...), t.At(content)...), '}')
	case '[':
		for block := range t.Items(content) {
			next()
			dst = append(dst, t.At(block)...)
		}
	}
	return dst
}
