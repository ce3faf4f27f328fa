package sim

import (
	"slices"
	"strings"
)

// ask is what a request asks for, in whichever shape it came.
type ask struct {
	model     model
	region    string
	api       api
	host      string
	requestID string
	streamed  bool
	faults    []string // what was taken, but is a mistake

	prompt    string // said in one, control words taken out
	seen      []string
	results   []result // tool results in the last user turn
	said      []string // the texts of the last user turn
	prefilled bool     // a trailing assistant turn has text
	tools     []toolDef
	choice    string // auto, any, tool, none; "" is auto
	chosen    string // of tool
	serial    bool
	format    object // schema of structured output
	thinking  bool
	omitted   bool   // reasoning comes without its text
	tier      string // the service tier that was asked for
	maxTokens int    // 0 is no bound
	stops     []string
	paths     []string // additionalModelResponseFieldPaths

	usage bool              // a stream of Chat Completions ends with its counts
	uses  map[string]string // names of the tools that were called, by call
	past  []past
	agent *agent // nil where the conversation has no scenario

	// of Responses alone
	head      object // what a response says of its request
	items     []any  // the input
	keep      bool   // store
	kept      func(response object)
	sealed    bool // reasoning comes with its encrypted content
	padded    bool // deltas have an obfuscation
	persisted func(id string) (object, bool)

	input int // estimate of the prompt's tokens
	cache cacheUse
	marks int // cache points

	markedLast bool // one of them is on the last turn

	do behaviour
}

// past is a turn of the conversation: a user's, or the model's with so many calls.
type past struct {
	user  bool
	text  string
	calls int
}

// called remembers which tool a call was of, for its result names the call alone.
func (a *ask) called(id, tool string) {
	if a.uses == nil {
		a.uses = map[string]string{}
	}
	a.uses[id] = tool
}

// result is one tool's result.
type result struct {
	tool string
	text string
	err  bool
}

type toolDef struct {
	name      string
	schema    object
	kind      string // of Responses: function, custom or local_shell
	namespace string
}

// finish makes the prompt of what was said, and takes the control words out.
func (a *ask) finish(told behaviour) {
	a.agent = a.session(told)
	said := slices.DeleteFunc(a.said, func(s string) bool { return s == "" })
	a.prompt, a.do = told.read(strings.Join(said, "\n"))
}

// think adds what a model does about reasoning without being told: some do it unasked, and some leave its
// text out unless they are asked for a summary.
func (a *ask) think(kind, display string) {
	if kind == "" && a.model.has("unasked") {
		a.thinking = true
	}
	a.omitted = display == "omitted" || display == "" && kind != "enabled" && a.model.has("omitted")
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
