package bedrock

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// canned stands for a message that can't be cleaned surely.
const canned = "the upstream refused the request as invalid"

const redacted = "[redacted]"

// maxMessage is the longest message that is passed on, in bytes.
const maxMessage = 2000

// redactor takes AWS's identifiers out of a message. secrets are strings of this
// call that must not show: its ARN, its endpoint, its key id.
type redactor struct{ secrets []string }

// traces are what an AWS identifier can't be without. The whole word around one
// goes: an ARN holds a region and an account, an endpoint a region.
var traces = []string{
	`arn:`, `arn%3a`,
	`https?://`, `https?%3a`, `amazonaws`, `api\.aws`, `\bvpce?-`,
	`(AKI|ASI|ARO|AID|AGP|ANP|ANV|APK|ABI|ACC|AIP|A3T)[A-Z0-9]{9,}`,
	`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`,
	`[a-z]{2,4}(-[a-z]{2,5})?-(north|south|east|west|central)[a-z]*-[0-9]`,
	`[0-9]{4}-?[0-9]{4}-?[0-9]{4}`,
}

var (
	trace = regexp.MustCompile(`(?i)` + strings.Join(traces, "|"))
	words = regexp.MustCompile(`[^\s"'<>\x60]+`)
)

// message is s with identifiers replaced, or the canned one.
func (r redactor) message(s string) string {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > maxMessage || strings.ContainsFunc(s, hides) {
		return canned
	}
	for _, secret := range r.secrets {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, redacted)
		}
	}
	clean := words.ReplaceAllStringFunc(s, func(word string) string {
		if !trace.MatchString(word) {
			return word
		}
		// The punctuation of the sentence stays.
		end := strings.TrimRight(word, ".,:;)]}")
		return redacted + word[len(end):]
	})
	// What is spread over words can't be cut out surely.
	if trace.MatchString(strings.Join(strings.Fields(clean), "")) || !strings.ContainsFunc(strings.ReplaceAll(clean, redacted, ""), unicode.IsLetter) {
		return canned
	}
	return clean
}

// hides tells whether c could keep an identifier from being recognized.
func hides(c rune) bool {
	return c == unicode.ReplacementChar || (unicode.IsControl(c) && c != '\n' && c != '\t') || unicode.Is(unicode.Cf, c) ||
		(c > unicode.MaxASCII && unicode.In(c, unicode.Nd, unicode.Mn))
}

func quote(s string) string { return strconv.Quote(s) }
