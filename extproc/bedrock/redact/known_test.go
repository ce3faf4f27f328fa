package redact

import (
	"regexp"
	"strings"
	"testing"
)

// What was said before the first word that nobody knows stays; AWS's own sentences stay whole.
func TestKnown(t *testing.T) {
	for message, want := range map[string]string{
		"":   "",
		"no": unchecked,
		"The system encountered an unexpected error during processing. Try your request again.": "The system encountered an unexpected error during processing. Try your request again.",
		"prompt is too long: 210000 tokens > 200000 maximum":                                    "prompt is too long: 210000 tokens > 200000 maximum",
		"The model returned the following errors: 'Where is my submarine?' is bad":              "The model returned the following errors: " + unchecked,
		"Too many requests, please wait. 4111 1111 1111":                                        "Too many requests, please wait. 4111 " + unchecked,
		"Too many requests: 41111111":                                                           "Too many requests: " + unchecked,
		"error: Übersee":                                                                        "error: " + unchecked,
		"The model \xff":                                                                        "The model " + unchecked,
	} {
		if got := Known(message); got != want {
			t.Errorf("%q\n got %q\nwant %q", message, got, want)
		}
	}
	for line := range strings.Lines(sentences) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
			continue
		}
		if line = number.ReplaceAllString(line, "1024"); Known(line) != line {
			t.Errorf("%q becomes %q", line, Known(line))
		}
	}
	if got := Known(strings.Repeat("please wait ", 1000)); len(got) > maxMessage+100 {
		t.Errorf("%d bytes", len(got))
	}
}

var number = regexp.MustCompile(`\bN\b`)
