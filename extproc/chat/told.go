package chat

import (
	"regexp"
	"slices"
	"strings"
)

// Named is a name that a caller or a model chose, as the operator's log may have it: one that may be a
// word of the conversation is not told.
func Named(name string) string {
	if names.MatchString(name) {
		return name
	}
	return "(no plain name)"
}

// AllNamed is Named of each, sorted, each once.
func AllNamed(all []string) string {
	told := make([]string, 0, len(all))
	for _, name := range all {
		told = append(told, Named(name))
	}
	slices.Sort(told)
	return strings.Join(slices.Compact(told), ", ")
}

var names = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)

// Unquoted is a message of ours, which may quote what it refuses, as the operator's log may have it.
func Unquoted(message string) string {
	return inQuotes.ReplaceAllStringFunc(message, func(quoted string) string {
		if names.MatchString(quoted[1 : len(quoted)-1]) {
			return quoted
		}
		return `"…"`
	})
}

var inQuotes = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
