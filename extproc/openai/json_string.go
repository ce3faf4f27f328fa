package openai

import (
	"unicode/utf16"
	"unicode/utf8"
)

func (p *parser) string() error {
	at := p.open(stringKind)
	p.pos++
	p.nodes[at].start = int32(p.pos)
	for {
		for p.pos < len(p.src) && !special[p.src[p.pos]] {
			p.pos++
		}
		if p.pos >= len(p.src) {
			return p.errorf("a string that does not end")
		}
		switch p.src[p.pos] {
		case '"':
			p.close(at)
			p.pos++
			return nil
		case '\\':
			p.nodes[at].escaped = true
			if err := p.escape(); err != nil {
				return err
			}
		default:
			return p.errorf("control character in a string")
		}
	}
}

// special are the bytes that a string can't hold as they are.
var special = func() (t [256]bool) {
	for c := range ' ' {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

func (p *parser) escape() error {
	p.pos++
	switch p.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		p.pos++
		return nil
	case 'u':
		r, ok := hex4(p.src[p.pos+1:])
		if !ok {
			return p.errorf("malformed escape")
		}
		if utf16.IsSurrogate(r) {
			var low rune
			if rest := p.src[p.pos+5:]; len(rest) > 2 && rest[0] == '\\' && rest[1] == 'u' {
				low, _ = hex4(rest[2:])
			}
			if utf16.DecodeRune(r, low) == utf8.RuneError {
				return p.errorf("unpaired surrogate")
			}
			p.pos += 6
		}
		p.pos += 5
		return nil
	}
	return p.errorf("malformed escape")
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
