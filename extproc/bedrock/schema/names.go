package schema

import (
	"slices"
	"strings"
)

// renamed is t with legal names for its properties, at every depth, and what became
// of which name.
func renamed(t tree, alias Alias) (tree, map[string]string) {
	var names []string
	illegal := false
	each(t, func(t tree) (tree, bool) {
		if p := t.get("properties"); p != nil && p.kind == '{' {
			for i := range p.members {
				names = append(names, p.members[i].name)
				illegal = illegal || !LegalName(p.members[i].name)
			}
		}
		return t, false
	})
	if !illegal || alias == nil {
		return t, nil
	}
	r := renaming(alias(names))
	t, _ = each(t, r.schema)
	return t, r
}

// renaming gives names of properties other ones.
type renaming map[string]string

func (r renaming) of(name string) string {
	if other, ok := r[name]; ok {
		return other
	}
	return name
}

// schema renames in one schema, not in those inside it.
func (r renaming) schema(t tree) (tree, bool) {
	out, changed := t, false
	for i := range t.members {
		x := &t.members[i]
		v, ok := x.value, false
		switch x.name {
		case "properties":
			if v, ok = r.keys(v); ok {
				for j := range v.members {
					if was := x.value.members[j].name; was != v.members[j].name {
						v.members[j].value = tell(v.members[j].value, was)
					}
				}
			}
		case "dependentSchemas":
			v, ok = r.keys(v)
		case "dependentRequired", "dependencies":
			v, ok = r.keys(v)
			for j := range v.members {
				if list, is := r.list(v.members[j].value); is {
					if !ok {
						v.raw, v.members, ok = nil, slices.Clone(v.members), true
					}
					v.members[j].value = list
				}
			}
		case "required":
			v, ok = r.list(v)
		case "discriminator": // OpenAPI's
			if name, is := v.get("propertyName").text(); is && r.of(name) != name {
				v, ok = v.with("propertyName", textTree(r.of(name))), true
			}
		case "$ref":
			if ref, is := v.text(); is {
				if other := r.pointer(ref); other != ref {
					v, ok = textTree(other), true
				}
			}
		}
		if !ok {
			continue
		}
		if !changed {
			out.raw, out.members, changed = nil, slices.Clone(t.members), true
		}
		out.members[i].value = v
	}
	return out, changed
}

// keys renames the members of an object.
func (r renaming) keys(t tree) (tree, bool) {
	if t.kind != '{' || !slices.ContainsFunc(t.members, func(x member) bool { return r.of(x.name) != x.name }) {
		return t, false
	}
	t.raw, t.members = nil, slices.Clone(t.members)
	for i := range t.members {
		t.members[i].name = r.of(t.members[i].name)
	}
	return t, true
}

// list renames in a list of names.
func (r renaming) list(t tree) (tree, bool) {
	if t.kind != '[' {
		return t, false
	}
	out, changed := t, false
	for i := range t.members {
		name, ok := t.members[i].value.text()
		if !ok || r.of(name) == name {
			continue
		}
		if !changed {
			out.raw, out.members, changed = nil, slices.Clone(t.members), true
		}
		out.members[i].value = textTree(r.of(name))
	}
	return out, changed
}

// pointer renames the tokens of a reference that name properties.
func (r renaming) pointer(ref string) string {
	if !strings.Contains(ref, "/properties/") {
		return ref
	}
	tokens := strings.Split(ref, "/")
	for i := 1; i < len(tokens)-1; i++ {
		if tokens[i] != "properties" {
			continue
		}
		i++
		if name := pointerToken.Replace(tokens[i]); r.of(name) != name {
			tokens[i] = r.of(name) // legal names need no escapes
		}
	}
	return strings.Join(tokens, "/")
}

// tell lets the model know a property by the name that it had: the new one may say
// little. Nothing may stand beside a reference.
func tell(t tree, name string) tree {
	const long = 256
	if t.kind != '{' || len(name) > long || t.get("$ref") != nil {
		return t
	}
	if s, ok := t.get("description").text(); ok && s != "" {
		return t.with("description", textTree(name+": "+s))
	}
	return t.with("description", textTree(name))
}
