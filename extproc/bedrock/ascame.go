package bedrock

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"

	"aisix/extproc/chat"
	"aisix/extproc/completions"
	"aisix/extproc/jsonedit"
)

// asCame reports whether a request in OpenAI's format may go up in the caller's own bytes: its
// conversation and its tools are what they were when it came, and so would go up anyway.
func (p *prepared) asCame() bool {
	was, is := p.asked, p.req
	if was == nil || was.Came == nil || !p.family.AsCame || len(p.model.options.IgnoreParams) > 0 || !chat.Settled(was) {
		return false
	}
	if len(p.names) > 0 || len(p.fields) > 0 || p.output != "" || p.object || p.format != nil || was.Format != nil {
		return false
	}
	if len(is.System) != len(was.System) || len(is.Messages) != len(was.Messages) || !reflect.DeepEqual(is.ToolChoice, was.ToolChoice) {
		return false
	}
	return slices.EqualFunc(is.Tools, was.Tools, func(a, b chat.Tool) bool {
		return a.Name == b.Name && a.Strict == b.Strict && a.Cache == nil && bytes.Equal(a.Schema, b.Schema)
	}) && spelledOut(was.Came)
}

// spelledOut reports whether the body's messages and tools have no member that is null, as clients
// write what they do not say, nor an empty list of calls or of parts: a service may refuse either.
func spelledOut(body []byte) bool {
	t := jsonedit.Text(body)
	for m := range t.Members(t.Root()) {
		if (m.Name == "messages" || m.Name == "tools") && !spelledIn(t, m.Value) {
			return false
		}
	}
	return true
}

func spelledIn(t jsonedit.Text, value jsonedit.Span) bool {
	for item := range t.Items(value) {
		if !spelledIn(t, item) {
			return false
		}
	}
	for m := range t.Members(value) {
		switch {
		case m.Name == "parameters": // a schema, which may well have a null
			if bare(t, m.Value) {
				return false
			}
		case t.Kind(m.Value) == 'n':
			if m.Name != "content" {
				return false
			}
		case (m.Name == "tool_calls" || m.Name == "content") && t.Kind(m.Value) == '[' && empty(t, m.Value), !spelledIn(t, m.Value):
			return false
		}
	}
	return true
}

// bare reports whether a schema says nothing, not even that it is of an object, without which
// OpenAI itself refuses it ("schema must be a JSON Schema of 'type: "object"', got 'type: "None"'").
func bare(t jsonedit.Text, schema jsonedit.Span) bool {
	for m := range t.Members(schema) {
		if t.Kind(m.Value) != 'n' {
			return false
		}
	}
	return t.Kind(schema) == '{'
}

func empty(t jsonedit.Text, list jsonedit.Span) bool {
	for range t.Items(list) {
		return false
	}
	return true
}

// ownWords are the members that go up as they came, hints are those that do where they say something.
// All others are settings: what of them is not in the translation does not go up.
var (
	ownWords = []string{"messages", "tools", "tool_choice"}
	hints    = []string{"user", "safety_identifier", "prompt_cache_key", "n", "store", "verbosity"}
)

// withOwnWords is the caller's body for a request that asCame: its settings are those of the
// translation, and all else is byte for byte what was sent.
func (p *prepared) withOwnWords(req *chat.Request, o completions.Upstream) ([]byte, error) {
	bare := *req
	bare.System, bare.Messages = nil, nil
	settings, err := completions.EncodeRequest(&bare, o)
	if err != nil {
		return nil, err
	}
	t, s := jsonedit.Text(req.Came), jsonedit.Text(settings)
	set := map[string]json.RawMessage{}
	var order []string
	for m := range s.Members(s.Root()) {
		if !slices.Contains(ownWords, m.Name) {
			set[m.Name] = json.RawMessage(s.At(m.Value))
			order = append(order, m.Name)
		}
	}
	var e jsonedit.Edits
	drop := map[string]bool{}
	for m := range t.Members(t.Root()) {
		value, ok := set[m.Name]
		switch {
		case !ok && slices.Contains(ownWords, m.Name):
			drop[m.Name] = m.Name != "messages" && (len(req.Tools) == 0 || t.Kind(m.Value) == 'n') // an empty list is refused
		case !ok:
			drop[m.Name] = !slices.Contains(hints, m.Name) || t.Kind(m.Value) == 'n'
		case !same(t.At(m.Value), value):
			e.Replace(m.Value, value)
		}
		delete(set, m.Name)
	}
	var first []byte
	for _, name := range order {
		if value, missing := set[name]; missing {
			if len(first) > 0 {
				first = append(first, ',')
			}
			first = append(append(append(first, marshal(name)...), ':'), value...)
		}
	}
	e.Object(t, t.Root(), first, func(m jsonedit.Member) bool { return !drop[m.Name] })
	return e.Apply(t), nil
}

// same reports whether two values mean the same: one stop sequence may stand alone.
func same(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	if list, ok := y.([]any); ok && len(list) == 1 && reflect.DeepEqual(x, list[0]) {
		return true
	}
	return reflect.DeepEqual(x, y)
}
