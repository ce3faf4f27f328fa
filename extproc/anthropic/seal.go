package anthropic

import (
	"encoding/base64"
	"strings"
)

// Reasoning of other families goes through callers whose format has a place for Claude's
// alone: a signature, or data, which clients keep as they came and send back so. There it
// says whose it is, and holds what that family wants to see again.

// seal is how such a string begins: nothing of Claude's does, which is base64.
const seal = "aisix1."

// sealed is a signature, or redacted data, of a publisher's model. Claude's is as it came.
func sealed(publisher, s string) string {
	if s != "" && (publisher == "anthropic" || publisher == "") {
		return s
	}
	return seal + publisher + "." + base64.RawURLEncoding.EncodeToString([]byte(s))
}

// unsealed gives back what was sealed; ok is false for what was not.
func unsealed(s string) (publisher, signature string, ok bool) {
	rest, ok := strings.CutPrefix(s, seal)
	if !ok {
		return "", "", false
	}
	publisher, coded, ok := strings.Cut(rest, ".")
	if !ok {
		return "", "", false
	}
	b, err := base64.RawURLEncoding.DecodeString(coded)
	return publisher, string(b), err == nil
}

// whose is a signature, or redacted data, as its family wrote it. What was not sealed is
// Claude's; "" is nobody's.
func whose(s string) (publisher, signature string) {
	if p, inner, ok := unsealed(s); ok {
		return p, inner
	}
	if s == "" {
		return "", ""
	}
	return "anthropic", s
}
