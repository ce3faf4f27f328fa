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
// call that must not show: its ARN, its endpoint.
type redactor struct{ secrets []string }

// Order counts: what holds others comes first.
var identifiers = []*regexp.Regexp{
	regexp.MustCompile(`(?i)\barn:[^\s"'<>()\[\]{},;]*`),
	regexp.MustCompile(`(?i)\bhttps?://[^\s"'<>]*`),
	regexp.MustCompile(`(?i)\b[a-z0-9.-]*\bamazonaws\.com(\.cn)?\b(:\d+)?[^\s"'<>]*`),
	regexp.MustCompile(`(?i)\b[a-z0-9.-]+\.(api\.aws|amazonaws|vpce)\b[^\s"'<>]*`),
	regexp.MustCompile(`(?i)\bvpce?-[0-9a-z-]+`),
	regexp.MustCompile(`\b(A3T[A-Z0-9]|AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ANVA|APKA|ABIA|ACCA|AIPA)[A-Z0-9]{12,}\b`),
	regexp.MustCompile(`(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`),
	regexp.MustCompile(`(?i)\b(us|eu|ap|ca|sa|af|me|il|mx|cn)(-gov|-iso[a-z]?|-isob)?-(north|south|east|west|central|northeast|northwest|southeast|southwest)-\d+[a-z]?\b`),
	regexp.MustCompile(`\b\d{4}-?\d{4}-?\d{4}\b`),
	regexp.MustCompile(`\b\d{8}T\d{6}Z\b`),
}

// leftovers are traces of AWS that no cleaned message has.
var leftovers = regexp.MustCompile(`(?i)arn:|amazonaws|api\.aws|AKIA[A-Z0-9]{4}|ASIA[A-Z0-9]{4}|x-amz|security token|signature|[0-9]{12}|(us|eu|ap|ca|sa|af|me|il|mx|cn)(-gov)?-(north|south|east|west|central)[a-z]*-\d`)

// message is s with identifiers replaced, or the canned one.
func (r redactor) message(s string) string {
	s = strings.TrimSpace(strings.ToValidUTF8(s, "\uFFFD"))
	if s == "" || len(s) > maxMessage {
		return canned
	}
	for _, c := range s {
		if unicode.IsControl(c) && c != '\n' && c != '\t' || unicode.Is(unicode.Cf, c) {
			return canned // could hide an identifier from the patterns
		}
	}
	for _, secret := range r.secrets {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, redacted)
		}
	}
	for _, p := range identifiers {
		s = p.ReplaceAllLiteralString(s, redacted)
	}
	if leftovers.MatchString(s) || strings.Trim(s, " .,:;[]") == strings.Trim(redacted, "[]") {
		return canned
	}
	return s
}

func quote(s string) string { return strconv.Quote(s) }
