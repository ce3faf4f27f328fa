// Package jsonappend writes JSON by appending it to a buffer, byte for byte as an
// Encoder of encoding/json does that escapes no HTML, without its reflection.
//
// It knows the grammar's leaves and no shape of anybody's. Its tests hold it to
// encoding/json. Callers: anthropic and bedrock, for the bodies of requests, and openai, for
// those of answers.
package jsonappend

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

const hex = "0123456789abcdef"

// String appends s as a string. What is not valid UTF-8 becomes the replacement
// character.
func String(dst []byte, s string) []byte {
	dst = append(dst, '"')
	i := plain(s)
	if i == len(s) {
		dst = append(dst, s...)
		return append(dst, '"')
	}
	from := 0
	for i < len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				dst = append(append(dst, s[from:i]...), `\ufffd`...)
				from = i + 1
			case r == '\u2028' || r == '\u2029': // line ends to JavaScript
				dst = append(append(append(dst, s[from:i]...), `\u202`...), hex[r&0xf])
				from = i + size
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
		i++
		from = i
		i += plain(s[i:])
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// plain is how many bytes at the start of s are ASCII that stands for itself, seen by
// eights: an octet more or less does not matter, since what follows is looked at one by
// one.
func plain(s string) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := s[i : i+8]
		w := uint64(x[0]) | uint64(x[1])<<8 | uint64(x[2])<<16 | uint64(x[3])<<24 | uint64(x[4])<<32 | uint64(x[5])<<40 | uint64(x[6])<<48 | uint64(x[7])<<56
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		control := w - ones*' ' // borrows where a byte is under a space
		if (w|control|(quote-ones)|(slash-ones))&tops != 0 {
			break
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

// Raw appends JSON that is valid without the white space between its tokens.
func Raw(dst, raw []byte) []byte {
	from := 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
		case ' ', '\t', '\n', '\r':
			dst = append(dst, raw[from:i]...)
			from = i + 1
		}
	}
	return append(dst, raw[from:]...)
}

// Base64 appends data as a string of standard base64.
func Base64(dst, data []byte) []byte {
	dst = append(slices.Grow(dst, base64.StdEncoding.EncodedLen(len(data))+2), '"')
	dst = base64.StdEncoding.AppendEncode(dst, data)
	return append(dst, '"')
}

// Float appends a number of so many bits that is one (JSON has no NaN).
func Float(dst []byte, f float64, bits int) []byte {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (bits == 64 && (abs < 1e-6 || abs >= 1e21) || bits == 32 && (float32(abs) < 1e-6 || float32(abs) >= 1e21)) {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, bits)
	if n := len(dst); format == 'e' && n >= 4 && string(dst[n-4:n-1]) == "e-0" { // e-09 is e-9
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// Name appends the name of an object's member, behind a comma but for the first one. It
// is ASCII that stands for itself.
func Name(dst []byte, name string) []byte {
	dst = append(Comma(dst), '"')
	dst = append(dst, name...)
	return append(dst, '"', ':')
}

// Comma appends a comma where one belongs in front of the next member or element.
func Comma(dst []byte) []byte {
	if n := len(dst); n > 0 && dst[n-1] != '{' && dst[n-1] != '[' {
		return append(dst, ',')
	}
	return dst
}
