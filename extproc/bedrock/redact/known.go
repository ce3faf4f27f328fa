package redact

import (
	_ "embed"
	"regexp"
	"strings"
)

//go:embed sentences.txt
var sentences string

const unchecked = "[not kept: it may quote the conversation]"

// Known is message up to the first word that sentences.txt does not have: where what was asked, or what was
// answered, is not there to tell a quote by. Numbers of up to seven digits are known, but none right behind another.
func Known(message string) string {
	message = shorten(message)
	end := -1 // of the number that was last
	for _, at := range wordsOrNumbers.FindAllStringIndex(message, -1) {
		word := message[at[0]:at[1]]
		if '0' <= word[0] && word[0] <= '9' {
			apart := end < 0 || strings.ContainsAny(message[end:at[0]], "+<=>")
			if end = at[1]; apart && len(word) <= 7 {
				continue
			}
		} else if end = -1; vocabulary[strings.ToLower(word)] {
			continue
		}
		return strings.TrimLeft(strings.TrimRight(message[:at[0]], " '\"`([{<")+" "+unchecked, " ")
	}
	return message
}

// wordsOrNumbers are whatever is no ASCII punctuation or space.
var wordsOrNumbers = regexp.MustCompile(`[0-9]+|[^\x00-@\[-^{-\x7f` + "`" + `]+`)

// vocabulary are the words of sentences.txt.
var vocabulary = func() map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(sentences) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		for _, word := range wordsOrNumbers.FindAllString(line, -1) {
			out[strings.ToLower(word)] = true
		}
	}
	delete(out, "n") // a number's place
	return out
}()
