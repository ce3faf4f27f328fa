package sim

import (
	"strings"
)

// ask is what a request asks for, in whichever shape it came.
type ask struct {
	model  model
	region string

	prompt    string // text of the last user turn, control words taken out
	seen      []string
	results   []result // tool results in the last user turn
	prefill   string   // text of a trailing assistant turn
	tools     []toolDef
	choice    string // auto, any, tool, none; "" is auto
	chosen    string // of tool
	serial    bool
	format    object // schema of structured output
	thinking  bool
	maxTokens int // 0 is no bound
	stops     []string
	paths     []string // additionalModelResponseFieldPaths

	input int // estimate of the prompt's tokens
	cache cacheUse
	do    behaviour
}

// result is one tool's result.
type result struct {
	tool string
	text string
	err  bool
}

type toolDef struct {
	name   string
	schema object
}

// say takes what the last user turn says: text, and a description of what else is
// in it.
func (a *ask) say(text string) {
	if a.prompt != "" && text != "" {
		a.prompt += "\n"
	}
	a.prompt += text
}

// finish takes the control words out of the prompt.
func (a *ask) finish(told behaviour) {
	a.prompt, a.do = told.read(a.prompt)
}

// turn is the part of a conversation's rules that both shapes share.
type turn struct {
	role    string
	uses    []string // ids of tool uses
	results []string // ids that tool results name
	// late tells that other content stands before the last tool result.
	late bool
}

// words counts tokens as a tokenizer might: about four bytes each.
func tokens(s string) int {
	n := (len(strings.TrimSpace(s)) + 3) / 4
	return max(n, 1)
}
