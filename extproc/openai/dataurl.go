package openai

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
)

// dataURL is a data: URL, decoded. By RFC 2397 it is
// data:[<media type>][;<parameter>]…[;base64],<data>.
type dataURL struct {
	data  []byte
	media string // in lower case, without parameters
	name  string // of the parameter name or filename, with which some clients say one
}

// maxDataHead bounds what stands before the comma.
const maxDataHead = 4096

func isDataURL(raw []byte) bool {
	const scheme = "data:"
	return len(raw) >= len(scheme) && strings.EqualFold(string(raw[:len(scheme)]), scheme)
}

// parseDataURL decodes a URL of which isDataURL holds. Its data may be percent-encoded,
// in base64 or not. The word base64 need not be the last: clients put their parameters
// behind it. ok is false for data that is none.
func parseDataURL(raw []byte) (u dataURL, ok bool) {
	head, body, found := bytes.Cut(raw[len("data:"):], []byte(","))
	if !found || len(head) > maxDataHead {
		return dataURL{}, false
	}
	media, parameters, _ := strings.Cut(string(head), ";")
	if u.media = strings.ToLower(strings.TrimSpace(media)); u.media == "" {
		u.media = "text/plain"
	}
	coded := false
	for p := range strings.SplitSeq(parameters, ";") {
		key, value, _ := strings.Cut(p, "=")
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "base64":
			coded = true
		case "name", "filename":
			u.name = parameterValue(value)
		}
	}
	body = percentDecoded(body)
	if !coded {
		u.data = bytes.Clone(body) // raw is the decoder's
		return u, true
	}
	u.data, ok = decodeBase64(body)
	return u, ok
}

// parameterValue takes off what is around a value: quotes, and escapes.
func parameterValue(s string) string {
	s = strings.Trim(strings.TrimSpace(s), `"`)
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// percentDecoded is s with its escapes decoded. A percent sign that begins none stands
// for itself, as browsers have it: text that nobody encoded is sent, too.
func percentDecoded(s []byte) []byte {
	i := bytes.IndexByte(s, '%')
	if i < 0 {
		return s
	}
	out := append(make([]byte, 0, len(s)), s[:i]...)
	for ; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			var c [1]byte
			if _, err := hex.Decode(c[:], s[i+1:i+3]); err == nil {
				out = append(out, c[0])
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return out
}

// decodeBase64 is forgiving: white space anywhere, padding that is right, wrong
// or none, and either alphabet, since clients mix them up.
func decodeBase64(s []byte) ([]byte, bool) {
	if bytes.ContainsAny(s, "-_ \t\f\r\n") {
		s = bytes.Map(func(r rune) rune {
			switch r {
			case '-':
				return '+'
			case '_':
				return '/'
			case ' ', '\t', '\f', '\r', '\n':
				return -1
			}
			return r
		}, s)
	}
	s = bytes.TrimRight(s, "=")
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(s)))
	n, err := base64.RawStdEncoding.Decode(out, s)
	return out[:n], err == nil
}
