package schema

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"aisix/extproc/chat"
)

// Input is a tool's input schema as Bedrock takes it.
type Input struct {
	Schema json.RawMessage
	// Names are the properties whose names Bedrock does not take, and what they are
	// called instead, wherever they stand.
	Names map[string]string
	// Note tells of the root's alternatives, which the schema has no place for; "" is none.
	Note string
	// Inside is the one property of the root that holds the whole of what the caller's
	// schema is of; "" is none.
	Inside string

	lossy bool // it says less than the caller's
}

// Alias finds other names for properties: of names it gives those that another one
// must stand for. The other names are legal, and none is among names or given twice.
type Alias func(names []string) map[string]string

// Tool is the caller's schema as the input schema of a tool. Bedrock wants type
// object at its root, and nothing but that word; neither a reference nor
// alternatives there; and names of properties that match [a-zA-Z0-9_.-]{1,64}. What
// has properties is an object, said or not. What older drafts say otherwise than 2020-12
// is said as that does.
func Tool(raw json.RawMessage, alias Alias) (Input, error) {
	if settled(raw) {
		return Input{Schema: raw}, nil
	}
	t, err := parseObject(raw)
	if err != nil {
		return Input{}, err
	}
	t, _ = each(t, withoutNulls)
	t, _ = current(t)
	t, merged, err := rootObject(t)
	if err != nil {
		return Input{}, err
	}
	t, _ = each(t, typed)
	t, names := renamed(t, alias)
	return Input{Schema: t.json(), Names: names, Note: merged.note(names), lossy: merged != nil && merged.loses}, nil
}

// Output is Tool for the schema of an answer. Alternatives at its root are not merged,
// unless nothing is lost: they become a property's, for an answer must be one of them.
func Output(raw json.RawMessage, alias Alias) (Input, error) {
	in, err := Tool(raw, alias)
	if err != nil && !errors.Is(err, ErrNoObject) || err == nil && !in.lossy {
		return in, err
	}
	t, parsing := parseObject(raw)
	if parsing != nil {
		return Input{}, parsing
	}
	t, _ = each(t, withoutNulls)
	t, _ = current(t)
	if t, _, parsing = rootReference(t); parsing != nil {
		return Input{}, parsing
	}
	if !hasUnion(&t) || t.get("type") != nil && !mayBeObject(t.get("type")) {
		return Input{}, err
	}
	t, name := wrapped(t)
	t, _ = each(t, typed)
	t, names := renamed(t, alias)
	return Input{Schema: t.json(), Names: names, Inside: name}, nil
}

// wrapped is an object whose one property is what t is of, and its name.
func wrapped(t tree) (tree, string) {
	name := "answer"
	for taken := true; taken; {
		taken = false
		each(t, func(t tree) (tree, bool) {
			taken = taken || t.get("properties") != nil && t.get("properties").get(name) != nil
			return t, false
		})
		if taken {
			name += "_"
		}
	}
	t, _ = each(t, func(t tree) (tree, bool) {
		ref, ok := t.get("$ref").text()
		if !ok || ref == "" || ref[0] != '#' || strings.HasPrefix(ref, "#/$defs/") || strings.HasPrefix(ref, "#/definitions/") {
			return t, false
		}
		return t.with("$ref", textTree("#/properties/"+name+ref[1:])), true
	})
	inner := tree{kind: '{'}
	out := tree{kind: '{', members: []member{{"type", textTree("object")}, {}, {"required", tree{kind: '[', members: []member{{value: textTree(name)}}}}}}
	for _, x := range t.members {
		if x.name == "$defs" || x.name == "definitions" {
			out.members = append(out.members, x)
		} else if x.name != "$schema" {
			inner.members = append(inner.members, x)
		}
	}
	out.members[1] = member{"properties", tree{kind: '{', members: []member{{name, inner}}}}
	return out, name
}

// Empty reports whether a schema says no more than that there is an object, of any
// members.
func Empty(raw json.RawMessage) bool {
	t, err := parseObject(raw)
	if err != nil {
		return false
	}
	for _, x := range t.members {
		if isNull(&x) {
			continue
		}
		switch x.name {
		case "type":
			if s, _ := x.value.text(); s != "object" {
				return false
			}
		case "properties":
			if x.value.kind != '{' || len(x.value.members) > 0 {
				return false
			}
		case "required":
			if x.value.kind != '[' || len(x.value.members) > 0 {
				return false
			}
		case "additionalProperties":
			if !anything(&x.value) {
				return false
			}
		case "title", "description", "$schema", "$id", "$comment":
		default:
			return false
		}
	}
	return true
}

// rootObject is t with an object at its root: of one type, without a reference, and
// with the alternatives merged into one.
func rootObject(t tree) (tree, *merger, error) {
	t, in, err := rootReference(t)
	if err != nil {
		return tree{}, nil, err
	}
	var merged *merger
	if hasUnion(&t) {
		if t, merged, err = mergeRoot(t, in); err != nil {
			return tree{}, nil, err
		}
	}
	switch kind := t.get("type"); {
	case kind == nil:
		t = tree{kind: '{', members: append([]member{{"type", textTree("object")}}, t.members...)}
	case !mayBeObject(kind):
		return tree{}, nil, ErrNoObject
	case kind.kind == '[': // an object or nothing, say
		t = t.with("type", textTree("object"))
	}
	return t, merged, nil
}

// rootReference is t with what the reference at its root leads to written out there.
func rootReference(t tree) (tree, *inliner, error) {
	in := newInliner(&t, NewBudget(chat.MaxExpansion))
	if _, ok := t.get("$ref").text(); ok {
		members, refs, err := in.resolve(&t)
		if err != nil {
			return tree{}, nil, err
		}
		in.close(refs)
		t = tree{kind: '{', members: members}
		in.root = t
	}
	return t, in, nil
}

// hasUnion reports whether a schema has alternatives of its own.
func hasUnion(t *tree) bool {
	return slices.ContainsFunc(t.members, func(x member) bool { return isUnion(x.name) && x.value.kind == '[' })
}

// mayBeObject reports whether a type is object, or has it in its list.
func mayBeObject(kind *tree) bool {
	if s, ok := kind.text(); ok {
		return s == "object"
	}
	return kind.kind == '[' && slices.ContainsFunc(kind.members, func(x member) bool { s, _ := x.value.text(); return s == "object" })
}

// withoutNulls leaves out keywords that are null, as clients write them who have
// nothing to say there: no keyword may be, but for those that hold a value of the
// caller's.
func withoutNulls(t tree) (tree, bool) {
	if !slices.ContainsFunc(t.members, func(x member) bool { return isNull(&x) }) {
		return t, false
	}
	t.raw, t.members = nil, slices.DeleteFunc(slices.Clone(t.members), func(x member) bool { return isNull(&x) })
	return t, true
}

func isNull(x *member) bool {
	return x.value.kind == 0 && string(x.value.raw) == "null" && !holdsNull(x.name)
}

// holdsNull reports whether null says something as the value of a keyword.
func holdsNull(name string) bool {
	switch name {
	case "const", "default", "example", "examples":
		return true
	}
	return false
}

// typed gives a schema that has properties its type.
func typed(t tree) (tree, bool) {
	if p := t.get("properties"); p == nil || p.kind != '{' || t.get("type") != nil {
		return t, false
	}
	return tree{kind: '{', members: append([]member{{"type", textTree("object")}}, t.members...)}, true
}

// each is t with f done to every schema in it, the inner ones first; the bool of f
// and each says whether anything became another. What did not keeps its text.
func each(t tree, f func(tree) (tree, bool)) (tree, bool) {
	if t.kind != '{' {
		return t, false
	}
	changed := false
	set := func(i int, v tree) {
		if !changed {
			t.raw, t.members, changed = nil, slices.Clone(t.members), true
		}
		t.members[i].value = v
	}
	for i := range t.members {
		switch v := t.members[i].value; holds(t.members[i]) {
		case oneSchema:
			if v, ok := each(v, f); ok {
				set(i, v)
			}
		case severalSchemas:
			several := false
			for j := range v.members {
				s, ok := each(v.members[j].value, f)
				if ok && !several {
					v.raw, v.members, several = nil, slices.Clone(v.members), true
				}
				if ok {
					v.members[j].value = s
				}
			}
			if several {
				set(i, v)
			}
		}
	}
	t, ok := f(t)
	return t, ok || changed
}
