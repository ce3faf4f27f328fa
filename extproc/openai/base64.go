package openai

import (
	"bytes"
	"encoding/base64"

	"aisix/extproc/chat"
)

// worthwhile is how long an image's base64 must be to go out as it came. What is shorter
// is decoded, as all else is.
const worthwhile = 16 << 10

// asItCame takes a large image whose data: URL holds standard base64, which is what
// Bedrock wants too: it goes out as it is, without being decoded and encoded again, and
// shares the body's bytes. It says no to what is none at a look, documents among it.
func (a *imageAddress) asItCame(url []byte) bool {
	if len(url) < worthwhile {
		return false
	}
	head, _, found := bytes.Cut(url[:min(len(url), maxDataHead)], []byte(","))
	if !found || !bytes.HasSuffix(head, []byte(";base64")) {
		return false
	}
	body := url[len(head)+1:]
	var start [12]byte // as much as a format is told by
	if n, err := base64.StdEncoding.Decode(start[:], body[:16]); err == nil {
		a.format = chat.ImageFormat(start[:n])
	}
	if a.format == "" || !standardBase64(body) {
		a.format = ""
		return false
	}
	a.base64 = body
	return true
}

// inAlphabet is 0 for the characters of standard base64.
var inAlphabet = func() (t [256]byte) {
	for i := range t {
		t[i] = 1
	}
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = 0
	}
	return t
}()

// standardBase64 reports whether s is what an encoder would write: of that alphabet, with
// padding, and nothing in the bits that stand for nothing.
func standardBase64(s []byte) bool {
	if len(s) == 0 || len(s)%4 != 0 {
		return false
	}
	last := s[len(s)-4:]
	if _, err := base64.StdEncoding.Strict().Decode(make([]byte, 3), last); err != nil || bytes.ContainsAny(last, "\r\n") {
		return false
	}
	s = s[:len(s)-4]
	var bad byte
	for ; len(s) >= 8; s = s[8:] {
		bad |= inAlphabet[s[0]] | inAlphabet[s[1]] | inAlphabet[s[2]] | inAlphabet[s[3]] | inAlphabet[s[4]] | inAlphabet[s[5]] | inAlphabet[s[6]] | inAlphabet[s[7]]
	}
	for _, c := range s {
		bad |= inAlphabet[c]
	}
	return bad == 0
}
