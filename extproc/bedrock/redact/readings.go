package redact

import (
	"encoding/base64"
	"html"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// reading is a message read in one way, and where each byte of it stands in the message.
type reading struct {
	text     []byte
	from, to []int
	isBare   bool
}

// readings are the ways to read a message that may write what it quotes otherwise: as it is, with its
// escapes undone, in letters of one size and out of base64, each of them bare as well. (It is read as it
// is too, since what it quotes may have such escapes of its own.)
func readings(message string) []reading {
	plain := reading{}.room(len(message))
	plain.text = append(plain.text, message...)
	for i := range len(message) {
		plain.from, plain.to = append(plain.from, i), append(plain.to, i+1)
	}
	all := []reading{plain}
	for range maxEscapes {
		next := plain.replace(escaped, unwritten)
		if len(next.text) == len(plain.text) {
			break
		}
		plain = next
		all = append(all, plain)
	}
	for _, r := range all {
		all = append(all, r.sized(strings.ToLower)...)
		all = append(all, r.sized(strings.ToUpper)...)
	}
	for _, r := range all {
		for _, at := range encoded.FindAllIndex(r.text, -1) {
			all = append(all, r.decoded(at[0], at[1])...)
		}
	}
	for _, r := range all {
		all = append(all, r.bare())
	}
	return all
}

// escaped are the ways in which JSON, URLs, HTML, Go and Python write a character.
var escaped = regexp.MustCompile(`\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}|\\u\{[0-9a-fA-F]{1,6}\}|\\x[0-9a-fA-F]{2}|\\[^uUx]|%[0-9a-fA-F]{2}|&#?[0-9a-zA-Z]{1,8};`)

// unwritten is the character that one of them writes.
func unwritten(e string) string {
	digits := strings.Trim(e[min(len(e), 2):], "{}")
	switch {
	case e[0] == '&':
		return html.UnescapeString(e)
	case e[0] == '%':
		return oneByte(e[1:])
	case e[1] == 'x':
		return oneByte(digits)
	case e[1] == 'u' || e[1] == 'U':
		if first, second, pair := strings.Cut(digits, `\u`); pair {
			return string(utf16.DecodeRune(number16(first), number16(second)))
		}
		n, err := strconv.ParseUint(digits, 16, 32)
		if err != nil || n > utf8.MaxRune {
			return e
		}
		return string(rune(n))
	}
	if i := strings.IndexByte("ntrbfva0", e[1]); i >= 0 {
		return "\n\t\r\b\f\v\a\x00"[i : i+1]
	}
	return e[1:]
}

func number16(hex string) rune {
	n, _ := strconv.ParseUint(hex, 16, 16) // the expression has four digits
	return rune(n)
}

func oneByte(hex string) string {
	n, _ := strconv.ParseUint(hex, 16, 8) // the expression has two digits
	return string([]byte{byte(n)})
}

// replace is r with each match in the place of which something else stands.
func (r reading) replace(of *regexp.Regexp, by func(string) string) reading {
	out := reading{}.room(len(r.text))
	end := 0
	for _, at := range of.FindAllIndex(r.text, -1) {
		out.append(r, end, at[0])
		end = at[1]
		out.stand(by(string(r.text[at[0]:end])), r.from[at[0]], r.to[end-1])
	}
	out.append(r, end, len(r.text))
	return out
}

// room is r with room for n bytes.
func (r reading) room(n int) reading {
	r.text, r.from, r.to = slices.Grow(r.text, n), slices.Grow(r.from, n), slices.Grow(r.to, n)
	return r
}

// append adds a part of r.
func (out *reading) append(r reading, from, to int) {
	out.text = append(out.text, r.text[from:to]...)
	out.from, out.to = append(out.from, r.from[from:to]...), append(out.to, r.to[from:to]...)
}

// stand adds a text that stands for all that is written between from and to.
func (out *reading) stand(text string, from, to int) {
	out.text = append(out.text, text...)
	for range len(text) {
		out.from, out.to = append(out.from, from), append(out.to, to)
	}
}

// encoded is what may be base64, and long enough for a quote.
var encoded = regexp.MustCompile(`[A-Za-z0-9+/_-]{16,}`)

// decoded is a part of r out of base64, which may have lost its first letters.
func (r reading) decoded(from, to int) (all []reading) {
	text := strings.NewReplacer("-", "+", "_", "/").Replace(string(r.text[from:to]))
	for skip := range min(4, len(text)) {
		in := text[skip:]
		if len(in)%4 == 1 {
			in = in[:len(in)-1]
		}
		plain, err := base64.RawStdEncoding.DecodeString(in)
		if err != nil || !isText(plain) {
			continue
		}
		out := reading{}.room(len(plain))
		for i := range plain {
			first := from + skip + i*4/3
			out.stand(string(plain[i:i+1]), r.from[first], r.to[min(first+1, to-1)])
		}
		all = append(all, out)
	}
	return all
}

// isText reports whether b is one, of which both ends may be missing.
func isText(b []byte) bool {
	for i, r := range string(b) {
		if r == utf8.RuneError && i >= utf8.UTFMax && i < len(b)-utf8.UTFMax || r < ' ' && !between(byte(r)) {
			return false
		}
	}
	return true
}

// sized is r in capitals or small letters, where those are not ASCII's, which are all the same to pieces.
func (r reading) sized(by func(string) string) []reading {
	if !notASCII.Match(r.text) {
		return nil
	}
	return []reading{r.replace(notASCII, by)}
}

var notASCII = regexp.MustCompile(`[^\x00-\x7f]`)

// bare is r without what may be between words.
func (r reading) bare() reading {
	out := reading{isBare: true}.room(len(r.text))
	for i, c := range r.text {
		if !between(c) {
			out.append(r, i, i+1)
		}
	}
	return out
}

// within is a part of r without what JSON puts between two values, where r is bare: the same may stand
// between a message's own words and what it quotes.
func (r reading) within(first, last int) (int, int) {
	for r.isBare && first < last && (r.text[first] == ':' || r.text[first] == ',') {
		first++
	}
	for r.isBare && first < last && (r.text[last] == ':' || r.text[last] == ',') {
		last--
	}
	return first, last
}

// pieces are those that begin at each byte.
func (r reading) pieces() iter.Seq2[int, piece] {
	return func(yield func(int, piece) bool) {
		var p piece
		for i, c := range r.text {
			if p.add(c); i+1 >= quoteSize && !yield(i+1-quoteSize, p) {
				return
			}
		}
	}
}
