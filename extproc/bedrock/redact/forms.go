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

// written is a message read in one way, and where each byte of it stands in the message.
type written struct {
	text     []byte
	from, to []int
	isBare   bool
}

// forms are the ways to read a message that may write what it quotes otherwise: as it is, with its
// escapes undone, in letters of one size and out of base64, each of them bare as well. (It is read as it
// is too, since what it quotes may have such escapes of its own.)
func forms(message string) []written {
	plain := written{}.room(len(message))
	plain.text = append(plain.text, message...)
	for i := range len(message) {
		plain.from, plain.to = append(plain.from, i), append(plain.to, i+1)
	}
	all := []written{plain}
	for range maxEscapes {
		next := plain.replace(escaped, unwritten)
		if len(next.text) == len(plain.text) {
			break
		}
		plain = next
		all = append(all, plain)
	}
	for _, form := range all {
		all = append(all, form.sized(strings.ToLower)...)
		all = append(all, form.sized(strings.ToUpper)...)
	}
	for _, form := range all {
		for _, at := range encoded.FindAllIndex(form.text, -1) {
			all = append(all, form.decoded(at[0], at[1])...)
		}
	}
	for _, form := range all {
		all = append(all, form.bare())
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

// replace is w with each match in the place of which something else stands.
func (w written) replace(of *regexp.Regexp, by func(string) string) written {
	out := written{}.room(len(w.text))
	end := 0
	for _, at := range of.FindAllIndex(w.text, -1) {
		out.append(w, end, at[0])
		end = at[1]
		out.stand(by(string(w.text[at[0]:end])), w.from[at[0]], w.to[end-1])
	}
	out.append(w, end, len(w.text))
	return out
}

// room is w with room for n bytes.
func (w written) room(n int) written {
	w.text, w.from, w.to = slices.Grow(w.text, n), slices.Grow(w.from, n), slices.Grow(w.to, n)
	return w
}

// append adds a part of w.
func (out *written) append(w written, from, to int) {
	out.text = append(out.text, w.text[from:to]...)
	out.from, out.to = append(out.from, w.from[from:to]...), append(out.to, w.to[from:to]...)
}

// stand adds a text that stands for all that is written between from and to.
func (out *written) stand(text string, from, to int) {
	out.text = append(out.text, text...)
	for range len(text) {
		out.from, out.to = append(out.from, from), append(out.to, to)
	}
}

// encoded is what may be base64, and long enough for a quote.
var encoded = regexp.MustCompile(`[A-Za-z0-9+/_-]{16,}`)

// decoded is a part of w out of base64, which may have lost its first letters.
func (w written) decoded(from, to int) (all []written) {
	text := strings.NewReplacer("-", "+", "_", "/").Replace(string(w.text[from:to]))
	for skip := range min(4, len(text)) {
		in := text[skip:]
		if len(in)%4 == 1 {
			in = in[:len(in)-1]
		}
		plain, err := base64.RawStdEncoding.DecodeString(in)
		if err != nil || !isText(plain) {
			continue
		}
		out := written{}.room(len(plain))
		for i := range plain {
			first := from + skip + i*4/3
			out.stand(string(plain[i:i+1]), w.from[first], w.to[min(first+1, to-1)])
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

// sized is w in capitals or small letters, where those are not ASCII's, which are all the same to pieces.
func (w written) sized(by func(string) string) []written {
	if !notASCII.Match(w.text) {
		return nil
	}
	return []written{w.replace(notASCII, by)}
}

var notASCII = regexp.MustCompile(`[^\x00-\x7f]`)

// bare is w without what may be between words.
func (w written) bare() written {
	out := written{isBare: true}.room(len(w.text))
	for i, c := range w.text {
		if !between(c) {
			out.append(w, i, i+1)
		}
	}
	return out
}

// within is a part of w without what JSON puts between two values, where w is bare: the same may stand
// between a message's own words and what it quotes.
func (w written) within(first, last int) (int, int) {
	for w.isBare && first < last && (w.text[first] == ':' || w.text[first] == ',') {
		first++
	}
	for w.isBare && first < last && (w.text[last] == ':' || w.text[last] == ',') {
		last--
	}
	return first, last
}

// pieces are those that begin at each byte.
func (w written) pieces() iter.Seq2[int, piece] {
	return func(yield func(int, piece) bool) {
		var p piece
		for i, c := range w.text {
			if p.add(c); i+1 >= quoteSize && !yield(i+1-quoteSize, p) {
				return
			}
		}
	}
}
