package usage

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"regexp"
	"strings"
)

// redacted stands for a text that is a secret, or looks like one.
const redacted = "[redacted]"

// hideSecrets takes out what a caller typed into the wrong place. An API key in
// model, in the path or as a request id is told to nobody.
//
// An alias is told where it is one: as the administrator wrote it, or as a wildcard
// takes it, unless it looks like a secret. What is no alias may be anything, and is
// told by its hash: who knows what callers might have meant can compare.
func (f *Facts) hideSecrets() {
	f.Alias = cutAt(f.Alias, longestSecret)
	switch {
	case f.Alias == "" || f.Alias == f.ModelAlias:
	case f.isSecret(f.Alias):
		f.hide(f.Alias, f.UpstreamModel)
		f.Alias = redacted
	case f.ModelAlias == "":
		f.Alias = unknownAlias(f.Alias)
	default:
		captured := capture(f.ModelAlias, f.Alias)
		if captured != f.Alias && f.isSecret(captured) {
			f.hide(f.Alias, f.UpstreamModel, captured)
			f.Alias = redacted
		}
	}
	if f.isKey(f.RequestID) || looksLikeKey(f.RequestID) {
		f.RequestID = redacted
	}
	f.hidePath()
}

// hide keeps texts out of the lines about this call; the upstream model that was
// made of a secret is one of them.
func (f *Facts) hide(texts ...string) {
	for _, text := range texts {
		if text != "" {
			f.hidden = append(f.hidden, text)
		}
	}
	if f.UpstreamModel != "" {
		f.UpstreamModel = redacted
	}
}

// hidePath cuts the query off the path, and takes secrets out of its segments, and what is no name: it may be
// a word of a conversation that somebody sent to the wrong place.
func (f *Facts) hidePath() {
	f.Path, _, _ = strings.Cut(f.Path, "?")
	f.Path = cutAt(f.Path, longestModel)
	if len(f.Tries) > 0 {
		return // it is one of ours
	}
	segments := strings.Split(f.Path, "/")
	found := false
	for i, segment := range segments {
		plain, err := url.PathUnescape(segment)
		if err != nil || f.isSecret(plain) || f.isSecret(segment) || strings.ContainsFunc(plain, noName) {
			segments[i], found = redacted, true
		}
	}
	if found {
		f.Path = strings.Join(segments, "/")
	}
}

// noName reports whether no name in a path has c.
func noName(c rune) bool { return c <= ' ' || c >= 0x7f }

// isSecret reports whether s is an API key of ours, or looks like a secret.
func (f *Facts) isSecret(s string) bool { return looksLikeKey(s) || opaque(s) || f.isKey(s) }

// longestSecret bounds what is hashed to see whether it is a key of ours.
const longestSecret = 1024

func (f *Facts) isKey(s string) bool {
	return f.IsKey != nil && s != "" && len(s) <= longestSecret && f.IsKey(s)
}

// capture is what the star of a wildcard alias stands for in alias.
func capture(wildcard, alias string) string {
	prefix, suffix, _ := strings.Cut(wildcard, "*")
	return strings.TrimSuffix(strings.TrimPrefix(alias, prefix), suffix)
}

// unknownAlias is how an alias that no model has is told.
func unknownAlias(alias string) string {
	hash := sha256.Sum256([]byte(alias))
	return "unknown:sha256:" + hex.EncodeToString(hash[:6])
}

func cutAt(s string, most int) string { return s[:min(len(s), most)] }

// keyMarks are how keys begin that people paste, and how many letters and digits
// come next at least: OpenAI's and Anthropic's, Stripe's, AWS's, Bedrock's own,
// GitHub's, GitLab's, Slack's, Google's, Hugging Face's, Groq's, NVIDIA's, and JSON
// Web Tokens.
var keyMarks = []struct {
	text  string
	least int
}{
	{"sk-", 1}, {"sk_", 1}, {"pk_", 1}, {"rk_", 1}, {"AKIA", 12}, {"ASIA", 12}, {"ABSK", 12}, {"bedrock-api-key-", 1},
	{"ghp_", 8}, {"gho_", 8}, {"ghs_", 8}, {"github_pat_", 8}, {"glpat-", 8}, {"xoxb-", 1}, {"xoxp-", 1}, {"xoxa-", 1},
	{"AIza", 12}, {"hf_", 12}, {"gsk_", 12}, {"nvapi-", 8}, {"eyJ", 12}, {"Bearer ", 1},
}

// looksLikeKey reports whether a key of somebody's begins in s, at the beginning of a
// word.
func looksLikeKey(s string) bool {
	for _, mark := range keyMarks {
		for at := 0; ; {
			i := strings.Index(s[at:], mark.text)
			if i < 0 {
				break
			}
			begin := at + i
			at = begin + len(mark.text)
			if (begin == 0 || !alphanumeric(s[begin-1])) && len(s)-at >= mark.least && !strings.ContainsFunc(s[at:at+mark.least], func(r rune) bool { return r > '~' || !alphanumeric(byte(r)) }) {
				return true
			}
		}
	}
	return false
}

// opaque reports whether s holds a run of 32 or more letters and digits (and + / =, as
// in base64) of all three kinds, as no name of a model does.
func opaque(s string) bool {
	const shortest = 32
	var lower, upper, digit, run int
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z':
			lower++
		case 'A' <= c && c <= 'Z':
			upper++
		case '0' <= c && c <= '9':
			digit++
		case c == '+' || c == '/' || c == '=':
		default:
			lower, upper, digit, run = 0, 0, 0, 0
			continue
		}
		if run++; run >= shortest && lower > 0 && upper > 0 && digit > 0 {
			return true
		}
	}
	return false
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// echoed are what AWS may echo of a signed request (a signature mismatch prints
// the canonical request, session token included), access key ids, and what a caller
// sent.
var echoed = regexp.MustCompile(`(?i)(x-amz-security-token["']?\s*(?:[:=]|%3[ad])\s*["']?|(?:signature|credential)\s*(?:=|%3d)\s*|bearer\s+|x-api-key["']?\s*[:=]\s*["']?|\bsk-)[^\s"',;&<>\\]+` +
	`|(?-i:(?:AKIA|ASIA)[A-Z0-9]{12,})`)

// Redact takes credentials out of an error's text, and cuts it at 4 KiB.
func Redact(s string) string {
	s = cutAt(s, 2*longestText) // first, so that a long text costs no more than a short one
	return cleanText(echoed.ReplaceAllString(s, "${1}"+redacted), longestText)
}

// redact is Redact, and takes out what is hidden of this call.
func (f *Facts) redact(s string) string {
	for _, hidden := range f.hidden {
		s = strings.ReplaceAll(s, hidden, redacted)
	}
	return Redact(s)
}
