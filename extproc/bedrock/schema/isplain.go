package schema

import "slices"

// isPlain reports whether Plain would give a schema as it is: compact text without
// references or definitions, whose root has a type and no more members than plainRoot's.
// It reads the text once, as settled does, and says no where a look does not tell.
func isPlain(raw []byte) bool {
	const deep, long = 32, 1 << 14 // further, bounds have to be counted
	if len(raw) > long || len(raw) == 0 || raw[0] != '{' {
		return false
	}
	var objects [deep + 1]bool // the open ones; false is a list
	depth, typed, name := 0, false, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; c {
		case '{', '[':
			if depth++; depth > deep {
				return false
			}
			objects[depth], name = c == '{', c == '{'
		case '}', ']':
			depth--
			name = false
		case ',':
			name = objects[depth]
		case ' ', '\t', '\r', '\n':
			return false
		case '"':
			from := i + 1
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					if name {
						return false
					}
					i++
				}
			}
			if i >= len(raw) {
				return false
			}
			if !name {
				continue
			}
			name = false
			text := raw[from:i]
			switch string(text) {
			case "$ref", "$defs", "definitions":
				return false
			case "type":
				typed = typed || depth == 1
			}
			if depth == 1 && !slices.Contains(plainRoot, string(text)) || slices.ContainsFunc(text, func(c byte) bool { return c < ' ' || c > '~' }) {
				return false
			}
		}
	}
	return typed && depth == 0
}
