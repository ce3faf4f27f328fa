package schema

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"aisix/extproc/chat"
)

var errAlternatives = fmt.Errorf("has more than %d alternatives and properties in the anyOf, oneOf and allOf of its root", chat.MaxSchemaValues)

// mergeRoot is t without the alternatives of its root, which are merged into one
// object: it has the properties of all, and requires what each of them requires.
// Arguments stay as flat as the caller's own schema has them, and a model writes an
// object more surely than one in another one. What the merged schema can't say any
// more, which properties go together, is told in the note.
func mergeRoot(t tree, in *inliner) (tree, *merger, error) {
	t, in.root = keepReferences(t)
	m := merger{in: in, left: chat.MaxSchemaValues}
	all, err := m.object(&t, 0)
	if err != nil {
		return tree{}, nil, err
	}
	if all == nil {
		return tree{}, nil, ErrNoObject
	}
	out := tree{kind: '{', members: []member{{"type", textTree("object")}}}
	for _, x := range t.members {
		switch x.name {
		case "type", "anyOf", "oneOf", "allOf", "properties", "required", "additionalProperties":
		default:
			out.members = append(out.members, x)
		}
	}
	properties := tree{kind: '{'}
	for _, name := range all.names {
		properties.members = append(properties.members, member{name, all.properties[name]})
	}
	out.members = append(out.members, member{"properties", properties})
	if len(all.required) > 0 {
		required := tree{kind: '['}
		for _, name := range all.required {
			required.members = append(required.members, member{value: textTree(name)})
		}
		out.members = append(out.members, member{"required", required})
	}
	if all.closed {
		out.members = append(out.members, member{"additionalProperties", tree{raw: []byte("false")}})
	} else if open := t.get("additionalProperties"); open != nil {
		out.members = append(out.members, member{"additionalProperties", *open})
	}
	return out, &m, nil
}

// keepReferences keeps what references lead to that go through the alternatives of
// the root: as a definition. It gives t, and t with all that references may ask for.
func keepReferences(t tree) (kept, root tree) {
	var name string
	moved := func(ref string) (string, bool) {
		for _, union := range []string{"#/anyOf", "#/oneOf", "#/allOf"} {
			if rest, ok := strings.CutPrefix(ref, union); ok && (rest == "" || rest[0] == '/') {
				return "#/$defs/" + name + ref[1:], true
			}
		}
		return ref, false
	}
	used := false
	each(t, func(t tree) (tree, bool) {
		if ref, ok := t.get("$ref").text(); ok {
			_, goes := moved(ref)
			used = used || goes
		}
		return t, false
	})
	if !used {
		return t, t
	}
	definitions := tree{kind: '{'}
	if d := t.get("$defs"); d != nil && d.kind == '{' {
		definitions = *d
	}
	for name = "root"; definitions.get(name) != nil; {
		name += "_"
	}
	var unions []member
	for _, x := range t.members {
		if isUnion(x.name) {
			unions = append(unions, x)
		}
	}
	t = t.with("$defs", definitions.with(name, tree{kind: '{', members: unions}))
	t, _ = each(t, func(t tree) (tree, bool) {
		if ref, ok := t.get("$ref").text(); ok {
			if ref, ok = moved(ref); ok {
				return t.with("$ref", textTree(ref)), true
			}
		}
		return t, false
	})
	return t, t
}

// flat is what a schema says of an object's members.
type flat struct {
	names      []string // in order
	properties map[string]tree
	required   []string // once each
	requires   map[string]bool
	closed     bool
}

func newFlat(closed bool) *flat {
	return &flat{properties: map[string]tree{}, requires: map[string]bool{}, closed: closed}
}

func (f *flat) require(name string) {
	if !f.requires[name] {
		f.requires[name] = true
		f.required = append(f.required, name)
	}
}

// merger merges alternatives; its steps are counted, since references may lead to the
// same ones again and again.
type merger struct {
	in           *inliner
	left         int
	alternatives []*flat // the root's, for the note
	loses        bool    // there were alternatives: the merged schema says less
}

func (m *merger) step(n int) error {
	if m.left -= n; m.left < 0 {
		return errAlternatives
	}
	return nil
}

// object is what t says, nil where it is no object.
func (m *merger) object(t *tree, depth int) (*flat, error) {
	if err := m.step(1); err != nil {
		return nil, err
	}
	if depth > chat.MaxSchemaDepth {
		return nil, errTooDeep
	}
	if t.kind != '{' {
		if string(t.raw) == "true" {
			return newFlat(false), nil
		}
		return nil, nil
	}
	members, refs, err := m.in.resolve(t)
	if err != nil {
		return nil, err
	}
	defer m.in.close(refs)
	own := tree{kind: '{', members: members}
	if kind := own.get("type"); kind != nil && !mayBeObject(kind) {
		return nil, nil
	}
	all := newFlat(isFalse(own.get("additionalProperties")))
	if p := own.get("properties"); p != nil && p.kind == '{' {
		for i := range p.members {
			if err := m.add(all, p.members[i].name, p.members[i].value); err != nil {
				return nil, err
			}
		}
	}
	if list := own.get("required"); list != nil && list.kind == '[' {
		for i := range list.members {
			if name, ok := list.members[i].value.text(); ok {
				all.require(name)
			}
		}
	}
	for _, name := range []string{"allOf", "anyOf", "oneOf"} {
		list := own.get(name)
		if list == nil || list.kind != '[' {
			continue
		}
		var objects []*flat
		for i := range list.members {
			o, err := m.object(&list.members[i].value, depth+1)
			if err != nil {
				return nil, err
			}
			if o != nil { // arguments are an object, so that no other alternative can be meant
				objects = append(objects, o)
			}
		}
		if len(list.members) > 0 && len(objects) == 0 || name == "allOf" && len(objects) < len(list.members) {
			return nil, nil
		}
		if name != "allOf" {
			m.loses = m.loses || len(objects) > 1
			if depth == 0 {
				m.alternatives = append(m.alternatives, objects...)
			}
			one, err := m.either(objects)
			if err != nil {
				return nil, err
			}
			objects = []*flat{one}
		}
		for _, o := range objects {
			for _, name := range o.names {
				if err := m.add(all, name, o.properties[name]); err != nil {
					return nil, err
				}
			}
			for _, name := range o.required {
				if err := m.step(1); err != nil {
					return nil, err
				}
				all.require(name)
			}
			all.closed = all.closed || o.closed
		}
	}
	return all, nil
}

// add adds a property, or joins it with what there is of it.
func (m *merger) add(to *flat, name string, t tree) error {
	was, there := to.properties[name]
	if err := m.step(1 + len(was.members)); err != nil {
		return err
	}
	if err := m.in.spend(len(name) + len(t.raw)); err != nil {
		return err
	}
	if !there {
		to.names = append(to.names, name)
		to.properties[name] = t
		return nil
	}
	if list := was.get("allOf"); list != nil && was.raw == nil && len(was.members) == 1 { // ours
		if err := m.step(len(list.members)); err != nil {
			return err
		}
	}
	to.properties[name] = both(was, t)
	return nil
}

// either is what holds of an object that is one of several.
func (m *merger) either(objects []*flat) (*flat, error) {
	all := newFlat(len(objects) > 0)
	several := map[string][]tree{}
	requiring := map[string]int{}
	for _, o := range objects {
		all.closed = all.closed && o.closed
		for _, name := range o.names {
			if err := m.step(1); err != nil {
				return nil, err
			}
			if several[name] == nil {
				all.names = append(all.names, name)
			}
			several[name] = append(several[name], o.properties[name])
		}
		for _, name := range o.required {
			if err := m.step(1); err != nil {
				return nil, err
			}
			if requiring[name]++; requiring[name] == len(objects) {
				all.require(name)
			}
		}
	}
	for _, name := range all.names {
		all.properties[name] = oneOfThem(several[name])
	}
	return all, nil
}

// oneOfThem is the schema of what is one of several: of constants an enum, which
// models know best.
func oneOfThem(several []tree) tree {
	var distinct []tree
	seen := map[string]bool{}
	for _, t := range several {
		if text := string(t.json()); !seen[text] {
			seen[text] = true
			distinct = append(distinct, t)
		}
	}
	if len(distinct) == 1 {
		return distinct[0]
	}
	if t, ok := enumOf(distinct); ok {
		return t
	}
	union := tree{kind: '['}
	for _, t := range distinct {
		union.members = append(union.members, member{value: t})
	}
	return tree{kind: '{', members: []member{{"anyOf", union}}}
}

// enumOf is one enum for schemas that are constants and enums of one type.
func enumOf(several []tree) (tree, bool) {
	var kind *tree
	list := tree{kind: '['}
	seen := map[string]bool{}
	for i := range several {
		t := &several[i]
		if t.kind != '{' {
			return tree{}, false
		}
		values := 0
		for j := range t.members {
			x := &t.members[j]
			switch x.name {
			case "title", "description", "default":
			case "type":
				if i > 0 && (kind == nil || !bytes.Equal(kind.json(), x.value.json())) {
					return tree{}, false
				}
				kind = &x.value
			case "const", "enum":
				of := []member{{value: x.value}}
				if x.name == "enum" {
					of = x.value.members
				}
				for _, v := range of {
					values++
					if text := string(v.value.json()); !seen[text] {
						seen[text] = true
						list.members = append(list.members, v)
					}
				}
			default:
				return tree{}, false
			}
		}
		if values == 0 || kind != nil && t.get("type") == nil {
			return tree{}, false
		}
	}
	out := tree{kind: '{'}
	if kind != nil {
		out.members = append(out.members, member{"type", *kind})
	}
	out.members = append(out.members, member{"enum", list})
	if d := several[0].get("description"); d != nil {
		out.members = append(out.members, member{"description", *d})
	}
	return out, true
}

// both is the schema of what two schemas hold for: their members in one where they
// do not speak of the same.
func both(a, b tree) tree {
	switch {
	case a.raw != nil && bytes.Equal(a.raw, b.raw), string(b.raw) == "true":
		return a
	case string(a.raw) == "true":
		return b
	}
	if a.kind == '{' && b.kind == '{' {
		out := tree{kind: '{', members: slices.Clone(a.members)}
		conflict := false
		for _, x := range b.members {
			was := a.get(x.name)
			switch {
			case was == nil:
				out.members = append(out.members, x)
			case x.name == "title", x.name == "description", was.raw != nil && bytes.Equal(was.raw, x.value.raw):
			default:
				conflict = true
			}
		}
		if !conflict {
			return out
		}
	}
	list := tree{kind: '[', members: []member{{value: a}}}
	if l := a.get("allOf"); l != nil && a.raw == nil && len(a.members) == 1 { // ours
		list.members = slices.Clone(l.members)
	}
	list.members = append(list.members, member{value: b})
	return tree{kind: '{', members: []member{{"allOf", list}}}
}

func isFalse(t *tree) bool { return t != nil && string(t.raw) == "false" }

// note tells which properties go together, in a few words, by their new names.
func (m *merger) note(r renaming) string {
	const most, long = 32, 4096
	if m == nil || len(m.alternatives) < 2 {
		return ""
	}
	var b strings.Builder
	b.WriteString("The arguments are of one of these forms, in which a name with ? may be left out:")
	for i, o := range m.alternatives {
		if i == most || b.Len() > long {
			b.WriteString(" and others")
			break
		}
		var words []string
		for _, name := range o.required {
			word := r.of(name)
			p := o.properties[name]
			if c := p.get("const"); c != nil && len(c.raw) > 0 && len(c.raw) <= maxName {
				word += "=" + string(c.raw)
			}
			words = append(words, word)
		}
		for _, name := range o.names {
			if !o.requires[name] {
				words = append(words, r.of(name)+"?")
			}
		}
		if len(words) > most {
			words = append(words[:most], "and others")
		}
		b.WriteString(" (" + strconv.Itoa(i+1) + ") " + strings.Join(words, ", "))
	}
	return b.String() + "."
}
