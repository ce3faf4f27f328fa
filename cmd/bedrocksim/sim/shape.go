package sim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
)

// check says what is wrong with the value at a path, or nil.
type check func(path string, v any) *fault

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// members checks an object; a name with a leading * is required. null is absent.
func members(fields map[string]check) check {
	required := map[string]bool{}
	known := map[string]check{}
	for name, c := range fields {
		plain := strings.TrimPrefix(name, "*")
		required[plain] = plain != name
		known[plain] = c
	}
	// In the order of names, so that of several faults the same one is told each time.
	return func(path string, v any) *fault {
		o, ok := v.(object)
		if !ok {
			return at(path, "Input should be an object")
		}
		for _, name := range slices.Sorted(maps.Keys(known)) {
			if required[name] && o[name] == nil {
				return at(join(path, name), "Field required")
			}
		}
		for _, name := range slices.Sorted(maps.Keys(o)) {
			c, ok := known[name]
			if !ok {
				return at(join(path, name), "Extra inputs are not permitted")
			}
			if o[name] == nil {
				continue
			}
			if f := c(join(path, name), o[name]); f != nil {
				return f
			}
		}
		return nil
	}
}

// union checks an object of which exactly one member stands.
func union(fields map[string]check) check {
	inner := members(fields)
	return func(path string, v any) *fault {
		if o, ok := v.(object); ok && len(o) != 1 {
			return at(path, "exactly one member must be set, got %d", len(o))
		}
		return inner(path, v)
	}
}

// tagged checks an object by what its type member says.
func tagged(kinds map[string]map[string]check) check {
	inner := map[string]check{}
	for kind, fields := range kinds {
		fields = maps.Clone(fields)
		fields["*type"] = enum(kind)
		inner[kind] = members(fields)
	}
	names := slices.Sorted(maps.Keys(kinds))
	return func(path string, v any) *fault {
		o, ok := v.(object)
		if !ok {
			return at(path, "Input should be an object")
		}
		kind, _ := o["type"].(string)
		c := inner[kind]
		if c == nil {
			return at(path, "Input tag '%s' found using 'type' does not match any of the expected tags: %s", kind, strings.Join(names, ", "))
		}
		return c(path, v)
	}
}

// list checks an array of least to most items that all have one shape.
func list(least, most int, of check) check {
	return func(path string, v any) *fault {
		l, ok := v.([]any)
		if !ok {
			return at(path, "Input should be a valid list")
		}
		if len(l) < least || len(l) > most {
			return at(path, "List should have between %d and %d items, got %d", least, most, len(l))
		}
		for i, e := range l {
			if f := of(fmt.Sprintf("%s.%d", path, i), e); f != nil {
				return f
			}
		}
		return nil
	}
}

// text checks a string of least to most bytes that match a pattern ("" is any).
func text(least, most int, pattern string) check {
	// The whole text has to match, line breaks in it too.
	re := regexp.MustCompile("^(?s:" + or(pattern, ".*") + ")$")
	return func(path string, v any) *fault {
		s, ok := v.(string)
		if !ok {
			return at(path, "Input should be a valid string")
		}
		if len(s) < least || len(s) > most {
			return at(path, "String should have between %d and %d characters, got %d", least, most, len(s))
		}
		if !re.MatchString(s) {
			return at(path, "String should match pattern '^%s$'", pattern)
		}
		return nil
	}
}

// anyText is any string, the empty one included.
var anyText = text(0, math.MaxInt, "")

// enum checks a string that is one of values, in their spelling.
func enum(values ...string) check {
	return func(path string, v any) *fault {
		if s, ok := v.(string); !ok || !slices.Contains(values, s) {
			return at(path, "Input should be one of: %s", strings.Join(values, ", "))
		}
		return nil
	}
}

// number checks a number within bounds, both included.
func number(least, most float64) check {
	return func(path string, v any) *fault {
		n, ok := v.(json.Number)
		if !ok {
			return at(path, "Input should be a valid number")
		}
		if x, err := n.Float64(); err != nil || x < least || x > most {
			return at(path, "Input should be between %v and %v", least, most)
		}
		return nil
	}
}

// integer checks an integer as it is written: 5.0 and 1e2 are none here.
func integer(least, most int64) check {
	return func(path string, v any) *fault {
		n, ok := v.(json.Number)
		if !ok {
			return at(path, "Input should be a valid integer")
		}
		if x, err := n.Int64(); err != nil || x < least || x > most {
			return at(path, "Input should be an integer between %d and %d", least, most)
		}
		return nil
	}
}

func boolean(path string, v any) *fault {
	if _, ok := v.(bool); !ok {
		return at(path, "Input should be a valid boolean")
	}
	return nil
}

// free is any JSON; freeObject any object.
func free(string, any) *fault { return nil }

func freeObject(path string, v any) *fault {
	if _, ok := v.(object); !ok {
		return at(path, "Input should be an object")
	}
	return nil
}

// blob checks base64 of at most most decoded bytes, and at least one.
func blob(most int) check {
	return func(path string, v any) *fault {
		s, ok := v.(string)
		if !ok {
			return at(path, "Input should be base64")
		}
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil || len(b) == 0 {
			return at(path, "Invalid base64 data")
		}
		if len(b) > most {
			return at(path, "exceeds the limit of %d bytes: %d bytes", most, len(b))
		}
		return nil
	}
}

// mapOf checks an object whose members all have one shape.
func mapOf(least, most int, name, of check) check {
	return func(path string, v any) *fault {
		o, ok := v.(object)
		if !ok {
			return at(path, "Input should be an object")
		}
		if len(o) < least || len(o) > most {
			return at(path, "between %d and %d members are allowed, got %d", least, most, len(o))
		}
		for _, k := range slices.Sorted(maps.Keys(o)) {
			e := o[k]
			if f := name(join(path, k), k); f != nil {
				return f
			}
			if f := of(join(path, k), e); f != nil {
				return f
			}
		}
		return nil
	}
}

// all runs several checks.
func all(checks ...check) check {
	return func(path string, v any) *fault {
		for _, c := range checks {
			if f := c(path, v); f != nil {
				return f
			}
		}
		return nil
	}
}
