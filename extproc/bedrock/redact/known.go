package redact

import (
	_ "embed"
	"iter"
	"regexp"
	"slices"
	"strings"
	"sync"
)

//go:embed sentences.txt
var sentences string

// listed are the lines of sentences.txt, but for what is said of them.
func listed() iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.Lines(sentences) {
			if !strings.HasPrefix(line, "#") && !yield(strings.TrimSpace(line)) {
				return
			}
		}
	}
}

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
		} else if end = -1; vocabulary()[strings.ToLower(word)] {
			continue
		}
		return strings.TrimLeft(strings.TrimRight(message[:at[0]], " '\"`([{<")+" "+unchecked, " ")
	}
	return message
}

// own are AWS's sentences where they are whole, and the members that they are about. They are nobody else's
// words, though a long prompt about the same things may have them too.
var own = sync.OnceValue(func() *regexp.Regexp {
	var all []string
	for line := range listed() {
		for _, sentence := range sentenceEnd.Split(line, -1) {
			if words := strings.Fields(sentence); len(words) >= 3 && len(sentence) >= quoteSize {
				pattern := regexp.QuoteMeta(strings.Join(words, " "))
				pattern = aNumber.ReplaceAllString(pattern, `[0-9]{1,7}`)
				all = append(all, `\b`+strings.ReplaceAll(strings.Trim(pattern, "`"), "'", "['’]")+`\b`)
			}
		}
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) }) // the longest first
	const member = `[0-9]{1,4}|member|content|text|image|document|source|thinking|redacted_thinking|signature|tool_use|tool_result|custom|input_schema|cache_control|type|role|name|id|input|toolUse|toolResult|toolSpec|inputSchema`
	return regexp.MustCompile(`(?i)` + strings.Join(all, "|") + `|\b(?:messages|system|tools|toolConfig)(?:\.(?:` + member + `))+\b|\bdraft 20[0-9]{2}-[0-9]{2}\b`)
})

var (
	sentenceEnd = regexp.MustCompile(`[.:,;!](?: |$)`)
	aNumber     = regexp.MustCompile(`\bN\b`)
)

// wordsOrNumbers are whatever is no ASCII punctuation or space.
var wordsOrNumbers = regexp.MustCompile(`[0-9]+|[^\x00-@\[-^{-\x7f` + "`" + `]+`)

// vocabulary are the words of sentences.txt.
var vocabulary = sync.OnceValue(func() map[string]bool {
	out := map[string]bool{}
	for line := range listed() {
		for _, word := range wordsOrNumbers.FindAllString(line, -1) {
			out[strings.ToLower(word)] = true
		}
	}
	delete(out, "n") // a number's place
	return out
})
