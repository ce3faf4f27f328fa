package usage

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// How much is kept, in bytes: of a text that a caller or an upstream chose, of the
// name of a resource (255 characters), of a model id.
const (
	longest      = 256
	longestName  = 1024
	longestModel = 2048
	longestText  = 4096
	mostNotes    = 16 // of one call
)

// clean cuts s after most bytes and takes out what is not UTF-8, and control
// characters: a text from outside ends up in logs, labels and protobuf strings.
func clean(s string, most int) string {
	if len(s) <= most && plain(s) {
		return s
	}
	return tidy(s, most, control)
}

// cleanText is clean for an operator's text of several lines.
func cleanText(s string, most int) string {
	return tidy(s, most, func(r rune) bool { return r != '\n' && r != '\t' && control(r) })
}

// plain reports whether s is printable ASCII, as nearly all texts are.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// control reports whether r is a control character, ends a line for some reader of
// the log, or turns the direction of what follows.
func control(r rune) bool {
	return r < ' ' || r >= 0x7F && r <= 0x9F || r >= 0x2028 && r <= 0x202E || r >= 0x2066 && r <= 0x2069
}

// tidy puts one U+FFFD for each run of what has to go.
func tidy(s string, most int, goes func(rune) bool) string {
	var b strings.Builder
	b.Grow(min(len(s), most) + utf8.UTFMax)
	gone := false
	for i, r := range s {
		if b.Len() >= most || i >= 4*most {
			b.WriteString("…")
			break
		}
		if r != utf8.RuneError && !goes(r) {
			b.WriteRune(r)
			gone = false
		} else if !gone {
			b.WriteRune(utf8.RuneError)
			gone = true
		}
	}
	return b.String()
}

// clean makes facts fit to be told: all that comes from outside is cleaned and cut
// here, once, before anything is made of it.
func (f *Facts) clean() {
	f.hideSecrets()
	for _, text := range []struct {
		s    *string
		most int
	}{
		{&f.RequestID, longest}, {&f.Method, 32}, {&f.Path, longest}, {&f.Operation, longest}, {&f.ClientAddress, longest},
		{&f.KeyID, longest}, {&f.TeamID, longestName}, {&f.UserID, longestName}, {&f.Alias, longest}, {&f.ModelAlias, longestName}, {&f.ModelID, longest}, {&f.Provider, longest}, {&f.ProviderKeyID, longest},
		{&f.UpstreamModel, longestModel}, {&f.LimitScope, longest}, {&f.Limit, longest}, {&f.ErrorType, longest}, {&f.ErrorCode, longest},
	} {
		*text.s = clean(*text.s, text.most)
	}
	for i := range f.Tries {
		f.Tries[i].RequestID = clean(f.Tries[i].RequestID, longest)
	}
	if more := len(f.Notes) - mostNotes; more > 0 {
		f.Notes = append(f.Notes[:mostNotes:mostNotes], fmt.Sprintf("and %d more like these", more))
	}
	for _, n := range []**int{&f.Usage.Input, &f.Usage.Output, &f.Usage.CacheRead, &f.Usage.CacheWrite, &f.Usage.Reasoning} {
		*n = believable(*n)
	}
}

// mostTokens is more than any call has: what an upstream says beyond it is no count.
const mostTokens = 1 << 30

// believable is n within bounds; an absent count stays absent.
func believable(n *int) *int {
	if n == nil || *n >= 0 && *n <= mostTokens {
		return n
	}
	within := min(max(*n, 0), mostTokens)
	return &within
}
