package openai

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// neverIgnored is the conversation itself, whatever a model resource says. What names the
// model and the form of the answer was read before.
var neverIgnored = []string{"messages", "messages.role", "messages.content", "messages.tool_calls", "messages.tool_call_id"}

// without is an object's text without some of its members. A name is a path: each dot
// leads into an object, or into every object of a list.
func without(text []byte, names []string) []byte {
	ignored := pruning{}
	for _, name := range names {
		if !slices.Contains(neverIgnored, name) {
			ignored.add(name)
		}
	}
	out, err := ignored.prune(text)
	if err != nil {
		return text // no object: it is refused as it is
	}
	return out
}

// pruning is what to take out of an object: nil the member itself, else what is to be
// taken out of it.
type pruning map[string]pruning

func (p pruning) add(name string) {
	p[name] = nil // a member may have a dot in its name
	first, rest, dotted := strings.Cut(name, ".")
	if !dotted {
		return
	}
	inner, known := p[first]
	if known && inner == nil {
		return
	}
	if inner == nil {
		inner = pruning{}
		p[first] = inner
	}
	inner.add(rest)
}

// prune gives an object's text without its members in p, or each object's of a list. Any
// other value stays: the decoder says what is wrong with it.
func (p pruning) prune(text jsontext.Value) (jsontext.Value, error) {
	switch text.Kind() {
	case '[':
		var items []jsontext.Value
		if err := json.Unmarshal(text, &items); err != nil {
			return nil, err
		}
		for i := range items {
			var err error
			if items[i], err = p.prune(items[i]); err != nil {
				return nil, err
			}
		}
		return json.Marshal(items)
	case '{':
		var members map[string]jsontext.Value
		if err := json.Unmarshal(text, &members); err != nil {
			return nil, err
		}
		for name, inner := range p {
			value, ok := members[name]
			switch {
			case !ok:
			case inner == nil:
				delete(members, name)
			default:
				var err error
				if members[name], err = inner.prune(value); err != nil {
					return nil, err
				}
			}
		}
		return json.Marshal(members, json.Deterministic(true))
	}
	return text, nil
}
