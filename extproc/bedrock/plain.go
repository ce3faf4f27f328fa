package bedrock

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// plainRoot is all that a plain tool schema may hold at its root: anything else
// is refused there ("extraneous key [definitions] is not permitted"). AWS's page
// names the first three; recorded answers show that the others pass.
var plainRoot = []string{"type", "properties", "required", "additionalProperties", "title"}

// maxPlainSize bounds what references may add to all schemas of a request, in
// schemas.
const maxPlainSize = 1 << 16

var errTooLarge = errors.New("is too large once its references are written out")

// plainSchema is a tool's schema for families that take no more than plainRoot at
// its root: what references point at is written where
// they stand, and the root's other members are left out. They bind no model that
// is not held to a schema anyway. Schemas written out are taken from left.
func plainSchema(raw json.RawMessage, left *int) (json.RawMessage, error) {
	root, err := parseTree(raw)
	if err != nil || root.kind != '{' {
		return nil, errNoObject
	}
	in := inliner{root: root, left: left, found: map[string]*tree{}}
	resolved, trail := in.resolve(root, nil)
	out := tree{kind: '{'}
	if resolved.get("type") == nil {
		out.members = append(out.members, member{"type", textTree("object")})
	}
	for _, x := range resolved.members {
		if !slices.Contains(plainRoot, x.name) {
			continue
		}
		if x.value, err = schemasIn(x, func(t tree) (tree, error) { return in.schema(t, trail, 1) }); err != nil {
			return nil, err
		}
		out.members = append(out.members, x)
	}
	return out.json(), nil
}

// inliner writes references out.
type inliner struct {
	root  tree
	left  *int             // schemas
	found map[string]*tree // by reference; nil is nowhere
}

// schema is t, a schema or what may stand in its place, without references. trail
// are those that are being written: one that leads back to itself says nothing any
// more where it does.
func (in *inliner) schema(t tree, trail []string, depth int) (tree, error) {
	if *in.left--; *in.left < 0 {
		return tree{}, errTooLarge
	}
	if depth > maxSchemaDepth {
		return tree{}, errTooDeep
	}
	if t.kind != '{' {
		return t, nil
	}
	t, trail = in.resolve(t, trail)
	out := tree{kind: '{'}
	for _, x := range t.members {
		if x.name == "$defs" || x.name == "definitions" {
			continue
		}
		var err error
		if x.value, err = schemasIn(x, func(s tree) (tree, error) { return in.schema(s, trail, depth+1) }); err != nil {
			return tree{}, err
		}
		out.members = append(out.members, x)
	}
	return out, nil
}

// resolve replaces a reference by the members that it points at, under those that
// stand beside it.
func (in *inliner) resolve(t tree, trail []string) (tree, []string) {
	for {
		ref, ok := t.get("$ref").text()
		if !ok {
			return t, trail
		}
		beside := tree{kind: '{', members: slices.DeleteFunc(slices.Clone(t.members), func(x member) bool { return x.name == "$ref" })}
		target := in.at(ref)
		if target == nil || slices.Contains(trail, ref) {
			return beside, trail
		}
		trail = append(slices.Clip(trail), ref)
		t = *target
		for _, x := range beside.members {
			t = t.with(x.name, x.value)
		}
	}
}

var pointerToken = strings.NewReplacer("~1", "/", "~0", "~")

// at is the object that a reference within the document points at, or nil.
func (in *inliner) at(ref string) *tree {
	if t, ok := in.found[ref]; ok {
		return t
	}
	var t *tree
	if ref == "#" {
		t = &in.root
	} else if slash := strings.LastIndexByte(ref, '/'); slash > 0 {
		if parent := in.at(ref[:slash]); parent != nil {
			t = parent.get(pointerToken.Replace(ref[slash+1:]))
		}
	}
	if t != nil && t.kind != '{' {
		t = nil
	}
	in.found[ref] = t
	return t
}
