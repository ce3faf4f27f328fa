package schema

import (
	"slices"
	"strings"
)

// Bedrock holds a schema to draft 2020-12 ("JSON schema is invalid. It must match JSON
// Schema draft 2020-12", "The json schema definition at … is invalid"), and generators
// write older ones, and OpenAPI's. What those say has a form there, which it is given:
//
//   - a tuple is prefixItems, and what follows it items;
//   - an exclusive bound is a number, not true beside minimum or maximum;
//   - required lists the names, each once, and does not stand in the property, nor in
//     anything else that has no name;
//   - a value of any type has no type; an empty list of alternatives, and a property
//     whose schema is null, say nothing;
//   - what has no members is {}, not [], which PHP writes for it.
//
// What is no schema in any draft is left for Bedrock to refuse in its own words.
func current(t tree) (tree, bool) {
	t, changed := each(t, modern)
	t, nameless := each(t, nothingRequired) // those that properties say are read by now
	if changed {
		t, _ = each(t, throughTuple)
	}
	return t, changed || nameless
}

// nothingRequired is t without a required that is no list of names.
func nothingRequired(t tree) (tree, bool) {
	if !isBool(t.get("required")) {
		return t, false
	}
	return t.without("required"), true
}

// modern is current of one schema, whose inner ones are.
func modern(t tree) (tree, bool) {
	changed := false
	for _, step := range []func(tree) (tree, bool){empty, tuple, bounds, required, anyType, once, emptyUnions} {
		u, ok := step(t)
		t, changed = u, changed || ok
	}
	return t, changed
}

// empty is t whose schemas by names are objects, and so are they.
func empty(t tree) (tree, bool) {
	isEmpty := func(x member) bool { return x.value.kind == '[' && len(x.value.members) == 0 }
	changed := false
	for _, name := range []string{"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"} {
		of := t.get(name)
		switch {
		case of == nil:
		case isEmpty(member{value: *of}):
			t, changed = t.with(name, tree{kind: '{'}), true
		case of.kind == '{' && slices.ContainsFunc(of.members, isEmpty):
			schemas := tree{kind: '{', members: slices.Clone(of.members)}
			for i := range schemas.members {
				if isEmpty(schemas.members[i]) {
					schemas.members[i].value = tree{kind: '{'}
				}
			}
			t, changed = t.with(name, schemas), true
		}
	}
	return t, changed
}

// tuple is t with the items of a list in their places as prefixItems.
func tuple(t tree) (tree, bool) {
	items := t.get("items")
	if items == nil || items.kind != '[' || t.get("prefixItems") != nil {
		return t, false
	}
	out := tree{kind: '{', members: make([]member, 0, len(t.members))}
	for _, x := range t.members {
		switch {
		case x.name == "items" && len(x.value.members) == 0:
			continue
		case x.name == "items":
			x.name = "prefixItems"
		case x.name == "additionalItems":
			x.name = "items"
		}
		out.members = append(out.members, x)
	}
	return out, true
}

// bounds is t whose exclusive bounds are numbers. One that is true is that of the other
// keyword, which says no more then.
func bounds(t tree) (tree, bool) {
	changed := false
	for _, x := range [][2]string{{"exclusiveMinimum", "minimum"}, {"exclusiveMaximum", "maximum"}} {
		v := t.get(x[0])
		if !isBool(v) {
			continue
		}
		changed = true
		if most := t.get(x[1]); string(v.raw) == "true" && most != nil {
			t = t.with(x[0], *most).without(x[1])
		} else {
			t = t.without(x[0])
		}
	}
	return t, changed
}

func isBool(t *tree) bool {
	return t != nil && (string(t.raw) == "true" || string(t.raw) == "false")
}

// required is t whose properties do not say themselves that they are required, and have
// a schema.
func required(t tree) (tree, bool) {
	properties := t.get("properties")
	if properties == nil || properties.kind != '{' {
		return t, false
	}
	says := func(p *tree) bool { return isBool(p.get("required")) }
	if !slices.ContainsFunc(properties.members, func(x member) bool { return says(&x.value) || string(x.value.raw) == "null" }) {
		return t, false
	}
	list, of := tree{kind: '['}, tree{kind: '{', members: slices.Clone(properties.members)}
	if names := t.get("required"); names != nil && names.kind == '[' {
		list.members = slices.Clone(names.members)
	}
	for i := range of.members {
		x := &of.members[i]
		switch {
		case string(x.value.raw) == "null":
			x.value = tree{kind: '{'}
		case says(&x.value):
			if string(x.value.get("required").raw) == "true" {
				list.members = append(list.members, member{value: textTree(x.name)})
			}
			x.value = x.value.without("required")
		}
	}
	t = t.with("properties", of)
	if len(list.members) > 0 {
		t = t.with("required", list)
	}
	return t, true
}

// anyType is t without a type that is any, and with null by its name.
func anyType(t tree) (tree, bool) {
	kinds := t.get("type")
	if kind, _ := kinds.text(); kind == "any" {
		return t.without("type"), true
	}
	if kinds == nil || kinds.kind != '[' {
		return t, false
	}
	list, changed := tree{kind: '[', members: slices.Clone(kinds.members)}, false
	for i := range list.members {
		v := &list.members[i].value
		if kind, _ := v.text(); kind == "any" {
			return t.without("type"), true
		}
		if string(v.raw) == "null" {
			*v, changed = textTree("null"), true
		}
	}
	if !changed {
		return t, false
	}
	return t.with("type", list), true
}

// once is t whose lists of names have each of them once.
func once(t tree) (tree, bool) {
	changed := false
	for _, name := range []string{"required", "type"} {
		list := t.get(name)
		if list == nil || list.kind != '[' {
			continue
		}
		if names := distinct(list.members); len(names) < len(list.members) {
			t, changed = t.with(name, tree{kind: '[', members: names}), true
		}
	}
	return t, changed
}

// emptyUnions is t without lists of no alternatives.
func emptyUnions(t tree) (tree, bool) {
	empty := func(x member) bool { return isUnion(x.name) && x.value.kind == '[' && len(x.value.members) == 0 }
	if !slices.ContainsFunc(t.members, empty) {
		return t, false
	}
	t.raw, t.members = nil, slices.DeleteFunc(slices.Clone(t.members), empty)
	return t, true
}

// distinct are the items of a list, each text once.
func distinct(items []member) []member {
	seen := make(map[string]bool, len(items))
	return slices.DeleteFunc(slices.Clone(items), func(x member) bool {
		s, ok := x.value.text()
		if !ok {
			return false
		}
		twice := seen[s]
		seen[s] = true
		return twice
	})
}

// throughTuple is a schema whose reference leads to where tuples are now.
func throughTuple(t tree) (tree, bool) {
	ref, ok := t.get("$ref").text()
	if !ok || !strings.HasPrefix(ref, "#") {
		return t, false
	}
	tokens := strings.Split(ref, "/")
	for i := 1; i < len(tokens); i++ {
		switch tokens[i] {
		case "items":
			if i+1 < len(tokens) && isIndex(tokens[i+1]) {
				tokens[i] = "prefixItems"
			}
		case "additionalItems":
			tokens[i] = "items"
		case "properties", "patternProperties", "$defs", "definitions":
			i++ // a name
		}
	}
	if to := strings.Join(tokens, "/"); to != ref {
		return t.with("$ref", textTree(to)), true
	}
	return t, false
}

func isIndex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// without is t without a member.
func (t tree) without(name string) tree {
	t.raw, t.members = nil, slices.DeleteFunc(slices.Clone(t.members), func(x member) bool { return x.name == name })
	return t
}
