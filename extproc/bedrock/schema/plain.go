package schema

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"aisix/extproc/chat"
)

// plainRoot is all that a plain tool schema may hold at its root: anything else
// is refused there ("extraneous key [definitions] is not permitted"). AWS's page
// names the first three; recorded answers show that the others pass.
var plainRoot = []string{"type", "properties", "required", "additionalProperties", "title"}

// What is wrong with a schema whose references are to be written out.
var (
	errReference = fmt.Errorf("has a $ref longer than %d bytes", chat.MaxReference)
	errPointer   = fmt.Errorf("has a $ref of more than %d tokens", chat.MaxPointerTokens)
	errChain     = fmt.Errorf("has a chain of more than %d $refs", chat.MaxReferences)
)

// errTooLarge is a schema that grows by more than may be sent.
type errTooLarge int64

func (e errTooLarge) Error() string {
	return fmt.Sprintf("grows by more than %d bytes when its $refs are expanded, as this model requires: refer to large definitions less often", int64(e))
}

// Plain is a tool's schema for families that take no more than plainRoot at
// its root: what references point at is written where they stand, and the root's
// other members are left out. They bind no model that is not held to a schema
// anyway. What references cost is taken from the budget of the request's schemas.
// Errors are what is wrong with the schema, or ctx's own once that is done.
func Plain(ctx context.Context, raw json.RawMessage, b *Budget) (json.RawMessage, error) {
	if isPlain(raw) {
		return raw, nil
	}
	return plain(ctx, raw, b)
}

func plain(ctx context.Context, raw json.RawMessage, b *Budget) (json.RawMessage, error) {
	root, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	in := newInliner(&root, b)
	in.ctx, in.out = ctx, make([]byte, 0, len(raw))
	if err := in.plainRoot(); err != nil {
		return nil, err
	}
	return in.out, nil
}

// Budget is by how many bytes the schemas of one request may still grow. Work that
// a reference makes is paid for in bytes too: it may be much and write little.
type Budget struct{ most, left int64 }

// NewBudget is one of most bytes.
func NewBudget(most int64) *Budget { return &Budget{most, most} }

const (
	schemaCost = 64 // of a subschema that a reference led to, beside its bytes
	memberCost = 16 // of a member that had to be compared with those beside a reference
)

func (b *Budget) take(n int) error {
	if b.left -= int64(n); b.left < 0 {
		return errTooLarge(b.most)
	}
	return nil
}

// inliner writes one schema with its references written out.
type inliner struct {
	ctx    context.Context
	root   tree
	budget *Budget
	out    []byte
	steps  int

	found map[string]*tree           // by reference; nil is nowhere
	names map[*tree]map[string]*tree // members of objects that have many
	open  map[string]bool            // references that are being written: one that leads back to itself says nothing any more where it does
}

func newInliner(root *tree, b *Budget) *inliner {
	return &inliner{root: *root, budget: b, found: map[string]*tree{}, open: map[string]bool{}, names: map[*tree]map[string]*tree{}}
}

// close says that what refs led to is done with.
func (in *inliner) close(refs []string) {
	for _, ref := range refs {
		delete(in.open, ref)
	}
}

func (in *inliner) plainRoot() error {
	members, refs, err := in.resolve(&in.root)
	if err != nil {
		return err
	}
	kept := make([]member, 0, len(plainRoot)+1)
	if !slices.ContainsFunc(members, func(x member) bool { return x.name == "type" }) {
		kept = append(kept, member{"type", textTree("object")})
	}
	for _, x := range members {
		if slices.Contains(plainRoot, x.name) {
			kept = append(kept, x)
		}
	}
	return in.object(kept, refs, 0)
}

// schema writes t, a schema or what may stand in its place, without references.
func (in *inliner) schema(t *tree, depth int) error {
	if in.steps++; in.steps%1024 == 0 && in.ctx.Err() != nil {
		return in.ctx.Err() // the caller has left
	}
	if err := in.spend(schemaCost); err != nil {
		return err
	}
	if depth > chat.MaxSchemaDepth {
		return errTooDeep
	}
	if t.kind != '{' {
		return in.write(t.raw)
	}
	members, refs, err := in.resolve(t)
	if err != nil {
		return err
	}
	return in.object(members, refs, depth)
}

// object writes a schema's members, which refs led to.
func (in *inliner) object(members []member, refs []string, depth int) error {
	in.out = append(in.out, '{')
	first := true
	for i := range members {
		x := &members[i]
		if x.name == "$defs" || x.name == "definitions" {
			continue
		}
		if err := in.name(x.name, first); err != nil {
			return err
		}
		first = false
		if err := in.value(x, depth); err != nil {
			return err
		}
	}
	err := in.end('}')
	in.close(refs)
	return err
}

// value writes the value of a keyword.
func (in *inliner) value(x *member, depth int) error {
	v := &x.value
	switch holds(*x) {
	case noSchema:
		return in.write(v.raw)
	case oneSchema:
		return in.schema(v, depth+1)
	}
	in.out = append(in.out, v.kind)
	for i := range v.members {
		var err error
		if v.kind == '{' {
			err = in.name(v.members[i].name, i == 0)
		} else if i > 0 {
			err = in.write([]byte{','})
		}
		if err == nil {
			err = in.schema(&v.members[i].value, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return in.end(v.kind + 2)
}

// spend pays for n bytes, unless the caller wrote them where they stand: those
// are in the body's limit.
func (in *inliner) spend(n int) error {
	if len(in.open) == 0 {
		return nil
	}
	return in.budget.take(n)
}

func (in *inliner) write(raw []byte) error {
	if err := in.spend(len(raw)); err != nil {
		return err
	}
	if free := cap(in.out) - len(in.out); free < len(raw) { // append alone would copy a long one five times
		in.out = slices.Grow(in.out, len(raw)+len(in.out))
	}
	in.out = append(in.out, raw...)
	return nil
}

// name writes a member's name.
func (in *inliner) name(name string, first bool) error {
	if err := in.spend(len(name) + len(`,"":`)); err != nil {
		return err
	}
	if !first {
		in.out = append(in.out, ',')
	}
	in.out = append(appendText(in.out, name), ':')
	return nil
}

// end closes an object or a list.
func (in *inliner) end(c byte) error {
	in.out = append(in.out, c)
	return in.spend(len(`{}`))
}

// resolve gives the members of a schema: those that its reference leads to, over
// any number of further ones, under those that stand beside a reference. refs are
// open until the members are written.
func (in *inliner) resolve(t *tree) (members []member, refs []string, err error) {
	ref, ok := t.get("$ref").text()
	if !ok {
		return t.members, nil, nil
	}
	layers := []*tree{t}
	for ok {
		target, err := in.at(ref)
		if err != nil {
			return nil, nil, err
		}
		if target == nil || in.open[ref] {
			break
		}
		if len(refs) == chat.MaxReferences {
			return nil, nil, errChain
		}
		in.open[ref] = true
		refs, layers = append(refs, ref), append(layers, target)
		ref, ok = target.get("$ref").text()
	}
	members, err = in.merge(layers)
	return members, refs, err
}

// merge gives the members of the last layer with those of the ones before it over
// them, without references.
func (in *inliner) merge(layers []*tree) ([]member, error) {
	last := layers[len(layers)-1]
	if _, ok := last.get("$ref").text(); !ok && !slices.ContainsFunc(layers[:len(layers)-1], func(t *tree) bool { return len(t.members) > 1 }) {
		return last.members, nil
	}
	var out []member
	places := map[string]int{}
	for _, t := range slices.Backward(layers) {
		if err := in.budget.take(memberCost * len(t.members)); err != nil {
			return nil, err
		}
		for i := range t.members {
			x := &t.members[i]
			if _, isText := x.value.text(); isText && x.name == "$ref" {
				continue
			}
			place, there := places[x.name]
			if !there {
				place = len(out)
				places[x.name], out = place, append(out, member{name: x.name})
			}
			out[place].value = x.value
		}
	}
	return out, nil
}

var pointerToken = strings.NewReplacer("~1", "/", "~0", "~")

// at is the object that a reference within the document points at, or nil.
func (in *inliner) at(ref string) (*tree, error) {
	if len(ref) > chat.MaxReference {
		return nil, errReference
	}
	if t, ok := in.found[ref]; ok {
		return t, nil
	}
	pointer, here := strings.CutPrefix(ref, "#")
	tokens := strings.Split(pointer, "/")
	if len(tokens)-1 > chat.MaxPointerTokens {
		return nil, errPointer
	}
	var t *tree
	if here && tokens[0] == "" {
		t = &in.root
	}
	for _, token := range tokens[1:] {
		if t != nil {
			t = in.member(t, pointerToken.Replace(token))
		}
	}
	if t != nil && t.kind != '{' {
		t = nil
	}
	in.found[ref] = t
	return t, nil
}

// member is the object's member of that name, or the list's item, or nil. An object that has many is
// not gone through for each reference.
func (in *inliner) member(t *tree, name string) *tree {
	const few = 16
	if t.kind == '[' {
		if i, err := strconv.Atoi(name); err == nil && 0 <= i && i < len(t.members) {
			return &t.members[i].value
		}
		return nil
	}
	if t.kind != '{' || len(t.members) <= few {
		return t.get(name)
	}
	names, ok := in.names[t]
	if !ok {
		names = make(map[string]*tree, len(t.members))
		for i := range t.members {
			names[t.members[i].name] = &t.members[i].value
		}
		in.names[t] = names
	}
	return names[name]
}
