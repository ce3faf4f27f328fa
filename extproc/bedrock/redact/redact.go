package redact

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxInput is the length in bytes beyond which a message is not looked at.
const MaxInput = 16 << 10

// canned stands for a message that can't be cleaned surely.
const canned = "the upstream refused the request as invalid"

const redacted = "[redacted]"

const (
	maxMessage = 2000 // bytes; a longer one loses its middle, which repeats the caller's own text
	minSecret  = 3    // bytes; a shorter host name is no secret, and part of many words
	maxEscapes = 4    // escapes in escapes: %253A
)

// Redactor takes AWS's identifiers out of a message: ARNs, account ids, regions,
// endpoints, key ids, request ids, signatures.
//
// The whole word around a find goes: what is left of an identifier's word would
// tell about it.
type Redactor struct{ secrets []string }

// New is a Redactor of one call. secrets are strings of it that must not show: its
// own ARN, endpoint, region, key id, signature, request id. Empty ones are none.
func New(secrets ...string) Redactor { return Redactor{secrets} }

// traces are what an identifier can't be without. Every part is bounded, else
// looking for all of them would be quadratic.
var traces = regexp.MustCompile(`(?i)` + strings.Join([]string{
	// ARNs, and the resource parts of one.
	`\barn:`, `arn:aws`, `arn%3a`, `:aws:`, `\baws(-[a-z]{1,9}){0,3}:[a-z0-9-]{1,32}:`,
	`\b(application-inference-profile|inference-profile|provisioned-model|imported-model|custom-model|custom-model-deployment|foundation-model|guardrail|prompt-router|default-prompt-router|assumed-role)/`,
	// Endpoints.
	`[a-z][a-z0-9+.-]{0,15}://`, `https?%3a`, `amazonaws`, `\bapi\.aws\b`, `\.aws\b`, `\.on\.aws`, `\bvpce?-[0-9a-z]`, `sgov\.gov`, `\bic\.gov`, `adc-e\.uk`,
	`\b[0-9]{1,3}(\.[0-9]{1,3}){3}\b`, `\b[0-9a-f]{0,4}(:[0-9a-f]{0,4}){5,}`,
	// Key ids.
	`(akia|asia|aroa|aida|agpa|anpa|anva|apka|abia|acca|aipa)[a-z0-9]{12,}`, `\ba3t[a-z0-9]{13,}`,
	// Signatures: the Authorization header and its parts, also as a query has them, and a session token.
	`aws4-hmac`, `aws4_request`, `(signature|signedheaders|credential)["']? {0,3}(=|%3d) {0,3}["']?[^ "']`,
	`x-amz-security-token["']? {0,3}(:|=|%3[ad]) {0,3}["']?[^ "']`, `[0-9a-f]{64}`,
	// Account ids as the console writes them; all others are account's.
	`[0-9]{4}[^0-9a-z+<>=*]{1,2}[0-9]{4}[^0-9a-z+<>=*]{1,2}[0-9]{4}`,
	// Request and trace ids.
	`[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}`, `(^|[^0-9a-z_])[0-9a-f]{32}([^0-9a-z_]|$)`, `1-[0-9a-f]{8}-[0-9a-f]{24}`,
	// Regions, zones, and regions by their names.
	`[a-z]{2,4}(-[a-z]{2,5})?-(north|south|east|west|central)[a-z]*-[0-9]`,
	`(^|[^a-z])(us|eu|ap|ca|sa|me|af|il|mx|cn|eusc)([-_./ ]?(gov|iso[a-z]?|de))?[-_./ ]?(north|south|east|west|central)([-_./ ]?(north|south|east|west))?[-_./ ]?[0-9]`,
	`[a-z]{2,4}[nsewc]{1,2}[0-9]-az[0-9]`,
	`\b(us|eu|europe|asia pacific|canada|south america|middle east|africa|israel|mexico|china|govcloud)( (east|west|central|north|south))? \([a-z][a-z. -]{0,32}\)`,
}, "|"))

// spread are traces of identifiers that were taken apart: looked for with all
// but letters and digits left out.
var spread = regexp.MustCompile(`arnaws|amazonaws|(us|eu|ap|ca|sa|me|af|il|mx|cn)(gov|iso[a-z])?(north|south|east|west|central)(north|south|east|west)?[0-9]`)

// digits are groups of digits that punctuation or spaces may keep apart.
var digits = regexp.MustCompile(`[0-9](?:[^0-9a-zA-Z+<>=*]{0,2}[0-9])*`)

// opaque are tokens and secrets: long, and of mixed letters and digits.
var opaque = regexp.MustCompile(`[A-Za-z0-9+/=_-]{40,}`)

// Message is s with identifiers replaced, or a fixed one where that can't be done
// surely, of s empty or over MaxInput too.
func (r Redactor) Message(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > MaxInput || !utf8.ValidString(s) {
		return canned
	}
	clean := r.clean(s)
	rest := strings.ReplaceAll(clean, redacted, "|")
	if !strings.ContainsFunc(rest, unicode.IsLetter) || r.hides(rest) {
		return canned
	}
	return shorten(clean)
}

// clean replaces the words that have an identifier in them by one mark each.
func (r Redactor) clean(s string) string {
	text, at := fold(s)
	spans := r.spans(text)
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	var b strings.Builder
	last, end := 0, 0
	for _, x := range spans {
		if x.to <= end { // in the same word as the one before
			continue
		}
		x = word(text, x)
		if x.from >= end {
			b.WriteString(s[last:at[x.from]])
			b.WriteString(redacted)
		}
		last, end = at[x.to], x.to
	}
	b.WriteString(s[last:])
	return b.String()
}

// hides reports whether an identifier is left that can't be cut out surely: in
// escapes, or spread over words and punctuation.
func (r Redactor) hides(s string) bool {
	for range maxEscapes {
		text, _ := fold(s)
		if len(r.spans(text)) > 0 || spread.MatchString(strings.Map(lettersAndDigits, text)) {
			return true
		}
		plain := unescape(text)
		if plain == s {
			break
		}
		s = plain
	}
	return false
}

// span is a part of a text, never empty.
type span struct{ from, to int }

// spans are the identifiers in a folded text.
func (r Redactor) spans(text string) []span {
	var out []span
	for _, m := range traces.FindAllStringIndex(text, -1) {
		out = append(out, trim(text, span{m[0], m[1]}))
	}
	for _, m := range digits.FindAllStringIndex(text, -1) {
		if x := (span{m[0], m[1]}); account(text, x) {
			out = append(out, x)
		}
	}
	for _, m := range opaque.FindAllStringIndex(text, -1) {
		if mixed(text[m[0]:m[1]]) {
			out = append(out, span{m[0], m[1]})
		}
	}
	lower := strings.ToLower(text)
	for _, secret := range r.secrets {
		if secret = strings.ToLower(secret); len(secret) < minSecret {
			continue
		}
		for i := 0; ; {
			n := strings.Index(lower[i:], secret)
			if n < 0 {
				break
			}
			out = append(out, span{i + n, i + n + len(secret)})
			i += n + len(secret)
		}
	}
	return out
}

// trim leaves out what a pattern matched around an identifier.
func trim(text string, x span) span {
	const around = " \"'<>`([{"
	for x.to-x.from > 1 && strings.IndexByte(around, text[x.from]) >= 0 {
		x.from++
	}
	for x.to-x.from > 1 && strings.IndexByte(around, text[x.to-1]) >= 0 {
		x.to--
	}
	return x
}

// account reports whether groups of digits hold an account id, which has twelve: a
// run of as many, or groups that together are twelve.
func account(text string, in span) bool {
	var groups []span
	for i := in.from; i < in.to; i++ {
		if text[i] < '0' || text[i] > '9' {
			continue
		}
		if n := len(groups); n > 0 && groups[n-1].to == i {
			groups[n-1].to = i + 1
		} else {
			groups = append(groups, span{i, i + 1})
		}
	}
	for i := range groups {
		n := 0
		for j := i; j < len(groups) && n < 12; j++ {
			n += groups[j].to - groups[j].from
			if n == 12 || (i == j && n > 12) {
				return true
			}
		}
	}
	return false
}

func mixed(s string) bool {
	var upper, lower, number int
	for _, c := range s {
		switch {
		case unicode.IsUpper(c):
			upper++
		case unicode.IsLower(c):
			lower++
		case unicode.IsDigit(c):
			number++
		}
	}
	return upper >= 3 && lower >= 3 && number >= 3
}

// word is the whole word, or words, around x, without the sentence's
// punctuation.
func word(text string, x span) span {
	const ends = " \"'<>`"
	from := strings.LastIndexAny(text[:x.from], ends) + 1
	to := len(text)
	if n := strings.IndexAny(text[x.to:], ends); n >= 0 {
		to = x.to + n
	}
	for from < x.from && strings.IndexByte("([{", text[from]) >= 0 {
		from++
	}
	for to > x.to && strings.IndexByte(".,:;)]}", text[to-1]) >= 0 {
		to--
	}
	return span{from, to}
}

// shorten cuts the middle out of a long message: its head says what it is about
// and its tail what was expected.
func shorten(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	head, tail := s[:maxMessage/2], s[len(s)-maxMessage/2:]
	if i := strings.LastIndexByte(head, ' '); i > 0 {
		head = head[:i]
	}
	if i := strings.IndexByte(tail, ' '); i >= 0 {
		tail = tail[i:]
	}
	return strings.ToValidUTF8(head, "") + " […]" + strings.ToValidUTF8(tail, "")
}
