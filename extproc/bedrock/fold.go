package bedrock

import (
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// folded is a text as a reader's eye takes it: compatibility forms, accents and
// look-alikes made plain ASCII, invisible characters left out, every kind of
// space one space. What hides in a text is looked for there; at and end say
// which bytes of the text each folded byte stands for.
type folded struct {
	text    string
	at, end []int
}

// fold gives s folded, and again with its escapes resolved, round by round: one
// may hide another (%253A), and what looks like one may be none.
func fold(s string) []folded {
	var f builder
	for i, r := range s {
		size := utf8.RuneLen(r)
		if r == utf8.RuneError {
			size = 1
		}
		f.write(plain(r), i, i+size)
	}
	out := []folded{f.folded()}
	for range maxEscapes {
		next, changed := out[len(out)-1].unescape()
		if !changed {
			break
		}
		out = append(out, next)
	}
	return out
}

// Escapes in escapes in escapes are more than anybody reads.
const maxEscapes = 4

// builder makes a folded.
type builder struct {
	text    strings.Builder
	at, end []int
}

func (b *builder) write(s string, at, end int) {
	b.text.WriteString(s)
	for range len(s) {
		b.at, b.end = append(b.at, at), append(b.end, end)
	}
}

func (b *builder) folded() folded { return folded{b.text.String(), b.at, b.end} }

// plain is what r looks like, "" where it can't be seen.
func plain(r rune) string {
	switch {
	case unicode.IsSpace(r), unicode.In(r, unicode.Zs, unicode.Zl, unicode.Zp):
		return " "
	case r < utf8.RuneSelf && !unicode.IsControl(r):
		return string(r)
	case r == utf8.RuneError, unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Mn, unicode.Me):
		return ""
	}
	if s, ok := lookalikes[r]; ok {
		return s
	}
	if unicode.In(r, unicode.Pd) {
		return "-"
	}
	if d, ok := digit(r); ok {
		return d
	}
	var b strings.Builder
	for _, d := range norm.NFKD.String(string(r)) {
		switch {
		case d == r:
			b.WriteRune(d)
		default:
			b.WriteString(plain(d))
		}
	}
	return b.String()
}

// digit is the ASCII digit that a decimal digit of another script stands for:
// Unicode's ranges of them hold tens.
func digit(r rune) (string, bool) {
	for _, t := range unicode.Nd.R16 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return strconv.Itoa(int(r-rune(t.Lo)) % 10), true
		}
	}
	for _, t := range unicode.Nd.R32 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return strconv.Itoa(int(r-rune(t.Lo)) % 10), true
		}
	}
	return "", false
}

// lookalikes are characters that pass for those an identifier is made of and
// have no compatibility form that says so.
var lookalikes = pairs(
	"аaвbеeкkмmнhоoрpсcтtуyхxіiјjѕsԁdԛqԝwһhӏl"+ // Cyrillic
		"АAВBЕEКKМMНHОOРPСCТTУYХXІIЈJЅSЗ3Ԛ"+"QԜW"+
		"αaβbεeιiκkνvοoρpτtυuχxωw"+ // Greek
		"ΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧX"+
		"ıiɑaɡgʟl", // Latin
	"−-‒-–-—-⁃-˗-➖-:", // dashes; the colon is itself
	"∶:꞉:ː:։:׃:⁚:", "⁄/∕/⧸/", "․.‧.。.｡.·.", "‘'’'“\"”\"")

func pairs(lists ...string) map[rune]string {
	m := map[rune]string{}
	for _, list := range lists {
		runes := []rune(list)
		for i := 0; i+1 < len(runes); i += 2 {
			m[runes[i]] = string(runes[i+1])
		}
	}
	return m
}

// escapes are the ways in which JSON, URLs and HTML write a character.
var escapes = regexp.MustCompile(`(?i)\\u[0-9a-f]{4}|\\u\{[0-9a-f]{1,6}\}|\\x[0-9a-f]{2}|(%[0-9a-f]{2})+|&#x?[0-9a-f]{1,6};|&(colon|sol|hyphen|dash|period|nbsp|amp|num|lowbar);`)

func (f folded) unescape() (folded, bool) {
	matches := escapes.FindAllStringIndex(f.text, -1)
	if matches == nil {
		return f, false
	}
	var b builder
	last := 0
	keep := func(to int) {
		for i := last; i < to; i++ {
			b.write(f.text[i:i+1], f.at[i], f.end[i])
		}
		last = to
	}
	for _, m := range matches {
		keep(m[0])
		decoded := decodeEscape(f.text[m[0]:m[1]])
		for _, r := range decoded {
			b.write(plain(r), f.at[m[0]], f.end[m[1]-1])
		}
		last = m[1]
	}
	keep(len(f.text))
	return b.folded(), true
}

func decodeEscape(s string) string {
	switch s[0] {
	case '%':
		var raw []byte
		for i := 0; i+3 <= len(s); i += 3 {
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return s
			}
			raw = append(raw, byte(n))
		}
		return string(raw)
	case '\\':
		n, err := strconv.ParseUint(strings.Trim(s[2:], "{}"), 16, 32)
		if err != nil {
			return s
		}
		return string(rune(n))
	default:
		return html.UnescapeString(s)
	}
}
