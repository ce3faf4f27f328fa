package redact

import (
	"html"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// fold gives s with what can't be seen left out, every kind of space one space,
// every dash a hyphen, full-width forms plain, and ? for all else that is not
// ASCII: AWS writes its identifiers in ASCII. at says where in s each byte of the
// text begins, and has one entry more for the end.
func fold(s string) (text string, at []int) {
	var b strings.Builder
	for i, r := range s {
		switch {
		case unicode.IsSpace(r):
			r = ' '
		case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Mn, unicode.Me):
			continue
		case unicode.Is(unicode.Pd, r):
			r = '-'
		case r > '\uff00' && r < '\uff5f':
			r -= '\uff00' - ' '
		case r >= utf8.RuneSelf:
			r = '?'
		}
		b.WriteByte(byte(r))
		at = append(at, i)
	}
	return b.String(), append(at, len(s))
}

var escapes = regexp.MustCompile(`(?i)\\u[0-9a-f]{4}|%[0-9a-f]{2}|&#?[0-9a-z]{1,8};`)

// unescape resolves the ways in which JSON, URLs and HTML write a character.
func unescape(s string) string {
	return escapes.ReplaceAllStringFunc(s, func(e string) string {
		switch e[0] {
		case '%':
			if plain, err := url.PathUnescape(e); err == nil {
				return plain
			}
		case '\\':
			if n, err := strconv.ParseUint(e[2:], 16, 16); err == nil {
				return string(rune(n))
			}
		}
		return html.UnescapeString(e)
	})
}

func lettersAndDigits(c rune) rune {
	if c == '|' || unicode.IsLetter(c) || unicode.IsDigit(c) {
		return unicode.ToLower(c)
	}
	return -1
}
