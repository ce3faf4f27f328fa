package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"aisix/extproc/chat"
)

// ErrNotNative says that a schema has no native form: its meaning would not survive,
// or constrained decoding is known not to take it.
var ErrNotNative = errors.New("has no form that this model supports natively")

// notNative is an ErrNotNative that says more.
type notNative string

func (e notNative) Error() string     { return string(e) }
func (e notNative) Is(err error) bool { return err == ErrNotNative }

const (
	errOpen      = notNative("has an object that allows any members, or a value of any kind, which this model does not support")
	errAllOf     = notNative("has allOf, which this model does not support")
	errEnum      = notNative("has an enum of objects or arrays, which this model does not support")
	errTuple     = notNative("has a list whose items differ by their place, which this model does not support")
	errRequired  = notNative("requires a property that it does not have, which this model does not support")
	errRecursive = notNative("refers to itself, or to what it does not hold, which this model does not support")
)

// ErrNoObject says that a schema is not one of objects.
var ErrNoObject = errors.New("must have type object")

// What is wrong with a schema, after "the schema".
var (
	errNoObject = errors.New("must be a JSON object")
	errTooMany  = fmt.Errorf("has more than %d values and member names, too many to rewrite for this model", chat.MaxSchemaValues)
	errTooDeep  = fmt.Errorf("nests deeper than %d levels", chat.MaxSchemaDepth)

	errStrictSize  = fmt.Errorf("is larger than %d bytes, the limit for strict schemas", chat.MaxStrictSchema)
	errStrictCount = fmt.Errorf("has more than %d properties, items, alternatives and definitions, the limit for strict schemas", chat.MaxSubschemas)
)

func parseObject(raw json.RawMessage) (tree, error) {
	t, err := parseTree(raw)
	switch {
	case errors.Is(err, errTooMany), errors.Is(err, errTooDeep):
		return tree{}, err
	case err != nil, t.kind != '{':
		return tree{}, errNoObject
	}
	return t, nil
}

// Closed is a schema in its native form, and what of it Bedrock counts.
type Closed struct {
	Schema   json.RawMessage
	Optional int // properties that are not required
	Unions   int // anyOf, oneOf and lists of types
}

// Native is the caller's schema as constrained decoding takes it: objects
// are closed where the caller said nothing, and keywords that it does not know are
// told in the description instead. What the caller left open has no native form
// (ErrNotNative): closed, it would mean something else. That is an object of any
// members, one without properties above all, and a value of any kind.
func Native(raw json.RawMessage) (Closed, error) {
	if len(raw) > chat.MaxStrictSchema {
		return Closed{}, errStrictSize
	}
	t, err := parseObject(raw)
	if err != nil {
		return Closed{}, err
	}
	c := closer{left: chat.MaxSubschemas}
	out, err := c.native(t, 0)
	switch {
	case err != nil:
		return Closed{}, err
	case c.not != "":
		return Closed{}, c.not
	}
	if err := recursion(&t); err != nil {
		return Closed{}, err
	}
	c.Schema = out.json()
	return c.Closed, nil
}

// closer makes one schema native.
type closer struct {
	Closed
	left int       // how many subschemas may still come
	not  notNative // why there is no native form; found out with the rest, for bounds come first
}

// native is Native of one schema.
func (c *closer) native(t tree, depth int) (tree, error) {
	if c.left--; c.left < 0 {
		return tree{}, errStrictCount
	}
	if depth > chat.MaxSchemaDepth {
		return tree{}, errTooDeep
	}
	if anything(&t) || isOpen(&t) {
		c.not = errOpen
	}
	if t.kind != '{' { // true, false, or what Bedrock will refuse
		return t, nil
	}
	c.count(&t)
	out := tree{kind: '{', members: make([]member, 0, len(t.members)+2)}
	object := isObject(&t)
	if object && t.get("type") == nil {
		out.members = append(out.members, member{"type", textTree("object")})
	}
	var moved []member
	for _, x := range t.members {
		switch {
		case x.name == "allOf":
			c.not = errAllOf
		case x.name == "enum" && slices.ContainsFunc(x.value.members, func(x member) bool { return x.value.kind != 0 }):
			c.not = errEnum
		case x.name == "prefixItems": // told in the description, what is left would hold for the first ones too
			c.not = errTuple
		}
		if unsupported(x) {
			moved = append(moved, x)
			continue
		}
		value, err := c.value(x, depth)
		if err != nil {
			return tree{}, err
		}
		if x.name == "oneOf" {
			x.name = "anyOf"
		}
		if ref, ok := value.text(); ok && x.name == "$ref" && strings.Contains(ref, "/oneOf/") {
			value = textTree(throughAnyOf(ref))
		}
		out.members = append(out.members, member{x.name, value})
	}
	if object && out.get("additionalProperties") == nil {
		out.members = append(out.members, member{"additionalProperties", tree{raw: json.RawMessage("false")}})
	}
	if len(moved) > 0 {
		out = out.with("description", describe(out.get("description"), moved))
	}
	return out, nil
}

// throughAnyOf is a reference after every oneOf has become anyOf.
func throughAnyOf(ref string) string {
	tokens := strings.Split(ref, "/")
	for i := 1; i < len(tokens); i++ {
		switch tokens[i] {
		case "oneOf":
			tokens[i] = "anyOf"
		case "properties", "patternProperties", "$defs", "definitions":
			i++ // a name, which may be oneOf
		}
	}
	return strings.Join(tokens, "/")
}

// count counts what Bedrock bounds, in one schema.
func (c *closer) count(t *tree) {
	for _, name := range []string{"anyOf", "oneOf", "type"} {
		if v := t.get(name); v != nil && v.kind == '[' {
			c.Unions++
		}
	}
	p := t.get("properties")
	if p == nil || p.kind != '{' {
		return
	}
	required := map[string]bool{}
	if list := t.get("required"); list != nil {
		for i := range list.members {
			if name, ok := list.members[i].value.text(); ok {
				required[name] = true
			}
		}
	}
	for i := range p.members {
		if !required[p.members[i].name] {
			c.Optional++
		}
		delete(required, p.members[i].name)
	}
	if len(required) > 0 { // closed, nothing would fit it
		c.not = errRequired
	}
}

// anything reports whether a schema holds for values of any kind.
func anything(t *tree) bool {
	if t.kind != '{' {
		return string(t.raw) == "true"
	}
	return !slices.ContainsFunc(t.members, func(x member) bool {
		switch x.name {
		case "type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "properties":
			return true
		}
		return false
	})
}

// isOpen reports whether a schema holds for objects or lists of anything.
func isOpen(t *tree) bool {
	if kind := t.get("type"); kind != nil && t.get("items") == nil && t.get("enum") == nil && t.get("const") == nil && t.get("$ref") == nil {
		list := func(v *tree) bool { s, _ := v.text(); return s == "array" }
		if list(kind) || slices.ContainsFunc(kind.members, func(x member) bool { return list(&x.value) }) {
			return true
		}
	}
	more := t.get("additionalProperties")
	if more != nil && !isFalse(more) {
		return true
	}
	if !isObject(t) || t.get("enum") != nil || t.get("const") != nil {
		return false
	}
	if p := t.get("patternProperties"); p != nil && len(p.members) > 0 {
		return true
	}
	if more := t.get("unevaluatedProperties"); more != nil && !isFalse(more) {
		return true
	}
	p := t.get("properties")
	return more == nil && (p == nil || p.kind != '{' || len(p.members) == 0)
}

// recursion is errRecursive where a reference leads back to where it stands, or to
// nowhere in the document.
func recursion(root *tree) error {
	in := newInliner(root, NewBudget(0))
	const ( // of schemas
		begun = 1 + iota
		done
	)
	state := map[*tree]int{}
	var walk func(t *tree) error
	walk = func(t *tree) error {
		if t.kind != '{' || state[t] == done {
			return nil
		}
		if state[t] == begun {
			return errRecursive
		}
		state[t] = begun
		if ref, ok := t.get("$ref").text(); ok {
			target, err := in.at(ref)
			if err != nil {
				return err
			}
			if target == nil {
				return errRecursive
			}
			if err := walk(target); err != nil {
				return err
			}
		}
		for i := range t.members {
			v := &t.members[i].value
			switch holds(t.members[i]) {
			case oneSchema:
				if err := walk(v); err != nil {
					return err
				}
			case severalSchemas:
				for j := range v.members {
					if err := walk(&v.members[j].value); err != nil {
						return err
					}
				}
			}
		}
		state[t] = done
		return nil
	}
	return walk(&in.root)
}

// value is the value of a keyword, its subschemas made native.
func (c *closer) value(x member, depth int) (v tree, err error) {
	v = x.value
	switch holds(x) {
	case oneSchema:
		return c.native(v, depth+1)
	case severalSchemas:
		v.raw, v.members = nil, slices.Clone(v.members)
		for i := range v.members {
			if v.members[i].value, err = c.native(v.members[i].value, depth+1); err != nil {
				return tree{}, err
			}
		}
	}
	return v, nil
}

// subschemas says what of a keyword's value is a schema: nothing, all of it, or
// each member or item.
type subschemas int

const (
	noSchema subschemas = iota
	oneSchema
	severalSchemas
)

func holds(x member) subschemas {
	switch x.name {
	case "items":
		if x.value.kind == '[' { // of older drafts
			return severalSchemas
		}
		return oneSchema
	case "additionalProperties", "additionalItems", "unevaluatedProperties", "unevaluatedItems", "contains", "propertyNames", "not", "if", "then", "else":
		return oneSchema
	case "anyOf", "oneOf", "allOf", "prefixItems":
		if x.value.kind == '[' {
			return severalSchemas
		}
	case "properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions":
		if x.value.kind == '{' {
			return severalSchemas
		}
	}
	return noSchema
}

func isObject(t *tree) bool {
	kind := t.get("type")
	if kind == nil {
		return t.get("properties") != nil
	}
	return mayBeObject(kind)
}

// toDescription are keywords that constrained decoding does not take.
var toDescription = []string{
	"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
	"maxItems", "uniqueItems", "contains", "minContains", "maxContains", "prefixItems", "unevaluatedItems",
	"minProperties", "maxProperties", "patternProperties", "propertyNames", "unevaluatedProperties",
	"dependentRequired", "dependentSchemas", "dependencies", "if", "then", "else", "not",
}

// nativeFormats are the string formats that it does take.
var nativeFormats = []string{"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}

func unsupported(x member) bool {
	switch x.name {
	case "minItems":
		return string(x.value.raw) != "0" && string(x.value.raw) != "1"
	case "format":
		f, ok := x.value.text()
		return ok && !slices.Contains(nativeFormats, f)
	}
	return slices.Contains(toDescription, x.name)
}

// describe adds what was moved to a description.
func describe(description *tree, moved []member) tree {
	s, _ := description.text() // absent is empty
	var hints []string
	for _, x := range moved {
		hints = append(hints, x.name+": "+string(x.value.json()))
	}
	return textTree(strings.TrimSpace(s + " (" + strings.Join(hints, ", ") + ")"))
}
