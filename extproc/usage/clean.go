package usage

import (
	"strings"
	"unicode/utf8"
)

// clean cuts s after most bytes and takes out what is not UTF-8, and control
// characters: a text from outside ends up in logs, labels and protobuf strings.
func clean(s string, most int) string {
	if len(s) <= most && plain(s) {
		return s
	}
	return tidy(s, most, control)
}

// plain reports whether s is printable ASCII, as nearly all texts are.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// control reports whether r is a control character, ends a line for some reader of
// the log, or turns the direction of what follows.
func control(r rune) bool {
	return r < ' ' || r >= 0x7F && r <= 0x9F || r >= 0x2028 && r <= 0x202E || r >= 0x2066 && r <= 0x2069
}

// tidy puts one U+FFFD for each run of what has to go.
func tidy(s string, most int, goes func(rune) bool) string {
	var b strings.Builder
	b.Grow(min(len(s), most) + utf8.UTFMax)
	gone := false
	for i, r := range s {
		if b.Len() >= most || i >= 4*most {
			b.WriteString("…")
			break
		}
		if r != utf8.RuneError && !goes(r) {
			b.WriteRune(r)
			gone = false
		} else if !gone {
			b.WriteRune(utf8.RuneError)
			gone = true
		}
	}
	return b.String()
}
