package schema

import (
	"bytes"
	"slices"
)

// settled reports whether a tool's schema may go out as it is. It reads the text
// once and keeps none of it, for most schemas need no more; where it says no, the
// schema is read into a tree and looked at properly. A schema is settled whose root
// has the type object and neither a reference nor alternatives, whose properties
// have legal names, in which what has properties has a type, and no keyword is null.
func settled(raw []byte) bool {
	type object struct {
		list, properties bool // a list; the members are properties, not keywords
		names            int  // a list of names that must differ: where they begin in seen, from 1
		typed, has       bool // has a type, and properties
	}
	var few [16]object
	open := few[:0]
	var several [32][]byte
	seen := several[:0] // names of the open lists of them
	var name []byte     // of the value that comes next
	root := false       // is of type object
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; c {
		case '{', '[':
			properties := c == '{' && string(name) == "properties"
			if properties {
				open[len(open)-1].has = true
			}
			o := object{list: c == '[', properties: properties}
			if o.list {
				if len(open) > 0 && open[len(open)-1].properties {
					return false
				}
				switch string(name) {
				case "items", "properties", "patternProperties", "$defs", "definitions", "dependentSchemas":
					return false
				case "required", "type":
					o.names = len(seen) + 1
				case "anyOf", "oneOf", "allOf":
					if after(raw, i+1) == ']' {
						return false
					}
				}
			}
			open = append(open, o)
			name = nil
		case '}', ']':
			if len(open) == 0 {
				return false
			}
			o := open[len(open)-1]
			if o.has && !o.typed {
				return false
			}
			if o.names > 0 {
				seen = seen[:o.names-1]
			}
			open, name = open[:len(open)-1], nil
		case '"':
			end := i + 1
			for end < len(raw) && raw[end] != '"' {
				if raw[end] == '\\' {
					end++
				}
				end++
			}
			if end >= len(raw) || len(open) == 0 {
				return false
			}
			text := raw[i+1 : end]
			i = end
			o := &open[len(open)-1]
			if o.list || name != nil { // a value
				if o.names > 0 {
					if len(seen) == cap(seen) || slices.ContainsFunc(seen[o.names-1:], func(s []byte) bool { return bytes.Equal(s, text) }) {
						return false
					}
					seen = append(seen, text)
				}
				if o.names > 0 && string(text) == "any" {
					return false
				}
				if string(name) == "type" {
					if string(text) == "any" {
						return false
					}
					root = len(open) == 1 && string(text) == "object" || len(open) > 1 && root
				}
				name = nil
				continue
			}
			if after(raw, end+1) != ':' {
				return false
			}
			if o.properties && !LegalName(string(text)) || bytes.IndexByte(text, '\\') >= 0 {
				return false
			}
			if name = text; len(name) == 0 {
				name = []byte{0} // there is one
			}
			o.typed = o.typed || string(text) == "type"
			if len(open) == 1 && (string(text) == "$ref" || isUnion(string(text))) {
				return false
			}
		case ',', ' ', '\t', '\r', '\n', ':':
		default: // a number or a word
			switch {
			case c == 'n' && len(open) > 0 && open[len(open)-1].names > 0:
				return false
			case name == nil:
			case c == 'n' && !holdsNull(string(name)):
				return false
			case c == 't' || c == 'f':
				switch string(name) {
				case "exclusiveMinimum", "exclusiveMaximum", "required":
					return false
				}
			}
			name = nil
		}
	}
	return root && len(open) == 0
}

// after is what comes next in raw that is no white space, 0 at its end.
func after(raw []byte, i int) byte {
	for ; i < len(raw); i++ {
		switch raw[i] {
		case ' ', '\t', '\r', '\n':
		default:
			return raw[i]
		}
	}
	return 0
}

func isUnion(name string) bool { return name == "anyOf" || name == "oneOf" || name == "allOf" }

// maxName is how long a property's name may be at Bedrock, in bytes.
const maxName = 64

// LegalName reports whether Bedrock takes s as the name of a property.
func LegalName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return true
}
