package sim

import (
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	properName = regexp.MustCompile(`\b[A-Z][a-z]+(?: [A-Z][a-z]+)*\b`)
	numeral    = regexp.MustCompile(`-?\b\d+(?:\.\d+)?\b`)
)

// fill makes up a value that fits a JSON Schema, out of what the prompt says
// where it can. A schema that asks for more than maxValues gets a value that
// does not fit.
type filler struct {
	root    object
	prompt  string   // in lower case
	names   []string // proper names in the prompt
	numbers []float64
	left    int // values still to be made
}

const maxValues = 10_000

func fill(schema object, prompt string) any {
	f := &filler{root: schema, prompt: strings.ToLower(prompt), names: properNames(prompt), left: maxValues}
	for _, n := range numeral.FindAllString(prompt, maxValues) {
		if x, err := strconv.ParseFloat(n, 64); err == nil {
			f.numbers = append(f.numbers, x)
		}
	}
	v := f.value(schema, "", 0)
	if v == nil {
		return object{}
	}
	return v
}

func (f *filler) value(s object, name string, depth int) any {
	if f.left--; f.left < 0 || depth > 16 {
		return nil
	}
	// Only within the document, as models resolve them. A ring ends at the depth.
	if ref := str(s, "$ref"); ref != "" {
		target, _ := f.resolve(ref).(object)
		return f.value(target, name, depth+1)
	}
	if c, ok := s["const"]; ok {
		return c
	}
	if e := items(s, "enum"); len(e) > 0 {
		for _, v := range e { // the one that the prompt names
			if w, ok := v.(string); ok && w != "" && strings.Contains(f.prompt, strings.ToLower(w)) {
				return v
			}
		}
		return e[0]
	}
	// The first alternative that is not null: an optional member is filled.
	for _, word := range []string{"anyOf", "oneOf"} {
		for _, option := range items(s, word) {
			if o, ok := option.(object); ok && str(o, "type") != "null" {
				return f.value(o, name, depth+1)
			}
		}
	}
	if parts := items(s, "allOf"); len(parts) > 0 {
		return f.value(merge(s, parts), name, depth+1)
	}
	switch kind(s) {
	case "object":
		return f.object(s, depth)
	case "array":
		of, _ := s["items"].(object)
		l := []any{}
		for range min(max(whole(s, "minItems"), 1), maxValues) {
			l = append(l, f.value(of, name, depth+1))
		}
		return l
	case "integer":
		return f.number(s, true)
	case "number":
		return f.number(s, false)
	case "boolean":
		return true
	case "null":
		return nil
	default:
		return f.text(s, name)
	}
}

// kind is a schema's type; of several the first that is not null.
func kind(s object) string {
	if k := str(s, "type"); k != "" {
		return k
	}
	for _, k := range items(s, "type") {
		if k != "null" {
			k, _ := k.(string)
			return k
		}
	}
	if s["properties"] != nil {
		return "object"
	}
	if s["items"] != nil {
		return "array"
	}
	return "string"
}

// merge makes one schema of allOf: properties of all, requirements of all; of other keywords the
// last one wins, the schema's own over its parts'.
func merge(s object, parts []any) object {
	out := object{"properties": object{}}
	for _, p := range append(slices.Clone(parts), s) {
		o, _ := p.(object)
		for k, v := range o {
			switch k {
			case "allOf":
			case "properties":
				props, _ := v.(object)
				for n, p := range props {
					out["properties"].(object)[n] = p
				}
			case "required":
				out[k] = append(items(out, k), items(o, k)...)
			default:
				out[k] = v
			}
		}
	}
	return out
}

// resolve follows a JSON pointer (RFC 6901) from the root; nil is nowhere.
func (f *filler) resolve(ref string) any {
	v := any(f.root)
	for _, name := range strings.Split(strings.TrimPrefix(ref, "#"), "/") {
		if name != "" {
			v = child(v, strings.NewReplacer("~1", "/", "~0", "~").Replace(name))
		}
	}
	return v
}

func (f *filler) object(s object, depth int) any {
	out := object{}
	props, _ := s["properties"].(object)
	required := items(s, "required")
	// Optional members too, as models tend to fill what they are offered.
	for name, p := range props {
		o, _ := p.(object)
		if depth > 6 && !slices.Contains(required, any(name)) {
			continue // an optional member of a recursive schema ends here
		}
		out[name] = f.value(o, name, depth+1)
	}
	for _, r := range required {
		if name, ok := r.(string); ok && out[name] == nil && props[name] == nil {
			out[name] = name
		}
	}
	return out
}

// number is one of the prompt's that the bounds allow, else the nearest to 1. Exclusive bounds are
// taken as whole steps, which is enough for made-up values.
func (f *filler) number(s object, integer bool) any {
	bound := func(name string, otherwise float64) float64 {
		if n, ok := s[name].(json.Number); ok {
			if x, err := n.Float64(); err == nil {
				return x
			}
		}
		return otherwise
	}
	least := math.Max(bound("minimum", math.Inf(-1)), bound("exclusiveMinimum", math.Inf(-1))+1)
	most := math.Min(bound("maximum", math.Inf(1)), bound("exclusiveMaximum", math.Inf(1))-1)
	x := math.Min(math.Max(1, least), most)
	for _, n := range f.numbers { // the first that fits
		if n >= least && n <= most && (!integer || n == math.Trunc(n)) {
			x = n
			break
		}
	}
	if integer {
		x = math.Ceil(x)
	}
	return x
}

// text follows format and length, not pattern: making up text for a regular expression is no
// simulator's job.
func (f *filler) text(s object, name string) string {
	v := ""
	switch str(s, "format") {
	case "date":
		v = "2026-01-02"
	case "date-time":
		v = "2026-01-02T03:04:05Z"
	case "time":
		v = "03:04:05Z"
	case "email":
		v = "someone@example.com"
	case "uri", "url":
		v = "https://example.com/"
	case "uuid":
		v = "00000000-0000-4000-8000-000000000001"
	default:
		v = f.proper(name)
	}
	if short := min(whole(s, "minLength"), maxValues) - len(v); short > 0 {
		v += strings.Repeat("x", short)
	}
	if n := whole(s, "maxLength"); n > 0 && len(v) > n {
		v = v[:n]
	}
	return v
}

// proper is the last proper name in the prompt ("Weather in Paris?"), else the
// member's own name.
func (f *filler) proper(name string) string {
	if len(f.names) == 0 {
		return or(name, "value")
	}
	return f.names[len(f.names)-1]
}

// properNames leaves out a word that opens a sentence.
func properNames(prompt string) (names []string) {
	for _, at := range properName.FindAllStringIndex(prompt, maxValues) {
		before := strings.TrimRight(prompt[:at[0]], " \t\n\"'")
		if before != "" && !strings.HasSuffix(before, ".") && !strings.HasSuffix(before, "?") && !strings.HasSuffix(before, "!") {
			names = append(names, prompt[at[0]:at[1]])
		}
	}
	return names
}

func compact(v any) string {
	b, _ := json.Marshal(v) // decoded JSON
	return string(b)
}
