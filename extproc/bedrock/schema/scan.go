package schema

import "bytes"

// settled reports whether a tool's schema may go out as it is. It reads the text
// once and keeps none of it, for most schemas need no more; where it says no, the
// schema is read into a tree and looked at properly. A schema is settled whose root
// has the type object and neither a reference nor alternatives, whose properties
// have legal names, in which what has properties has a type, and no keyword is null.
func settled(raw []byte) bool {
	type object struct {
		list, properties bool // a list; the members are properties, not keywords
		typed, has       bool // has a type, and properties
	}
	var few [16]object
	open := few[:0]
	var name []byte // of the value that comes next
	root := false   // is of type object
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; c {
		case '{', '[':
			properties := c == '{' && string(name) == "properties"
			if properties {
				open[len(open)-1].has = true
			}
			open = append(open, object{list: c == '[', properties: properties})
			name = nil
		case '}', ']':
			if len(open) == 0 {
				return false
			}
			if o := open[len(open)-1]; o.has && !o.typed {
				return false
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
				if len(open) == 1 && string(name) == "type" {
					root = string(text) == "object"
				}
				name = nil
				continue
			}
			next := end + 1
			for next < len(raw) && (raw[next] == ' ' || raw[next] == '\t' || raw[next] == '\r' || raw[next] == '\n') {
				next++
			}
			if next == len(raw) || raw[next] != ':' {
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
			if c == 'n' && name != nil && !holdsNull(string(name)) {
				return false
			}
			name = nil
		}
	}
	return root && len(open) == 0
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
