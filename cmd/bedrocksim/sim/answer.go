package sim

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// answer is what the simulator says, before it takes Converse's or Anthropic's
// shape.
type answer struct {
	id       string
	blocks   []block
	stop     string // "" is none
	sequence string
	output   int
	input    int
}

type block struct {
	kind      string // text, thinking, redacted, tool
	text      string // of text and thinking
	signature string
	data      []byte // of redacted
	id, name  string // of tool
	input     string // JSON, but of a custom tool
	tool      string // the tool's kind, where there are several
	namespace string // of the tool
}

// cacheUse is what a prompt's cache points did.
// What was written stays for five minutes, but for what is to stay for an hour.
type cacheUse struct{ read, write, hour int }

// hello is the exchange of the documentation page.
const (
	helloPrompt = "Say hello from Bedrock."
	helloAnswer = "Hello from Bedrock!"
	helloID     = "msg_01example"
	helloInput  = 9
	helloOutput = 5
)

// answer makes up what is said: reasoning first, then tool calls or a text, as models order them.
// A forced call has no text before it.
func (a *ask) answer() answer {
	out := answer{id: "msg_bdrk_01" + random(22), stop: "end_turn", input: a.input}
	if a.do.has("redact") {
		out.blocks = append(out.blocks, block{kind: "redacted", data: []byte("sealed: " + random(40))})
	}
	spent := false
	if a.thinking || a.do.has("think") || a.do.has("only-think") || a.do.has("interleave") {
		text := "The caller says: " + or(a.prompt, "nothing") + " I should answer that."
		out.blocks = append(out.blocks, a.thought(text))
		spent = a.spend(text)
	}
	switch uses := a.toolUses(); {
	case a.do.has("empty") || a.do.has("only-think"):
	case spent:
		out.stop = "max_tokens"
	case len(uses) > 0:
		a.call(&out, uses)
	default:
		a.say(&out)
	}
	for _, b := range out.blocks {
		out.output += tokens(b.text + b.input + string(b.data))
	}
	// The page shows an id and counts; they are the same each time, so that it can be tested.
	if a.prompt == helloPrompt && len(out.blocks) == 1 && out.blocks[0].text == helloAnswer {
		out.id, out.input, out.output = helloID, helloInput, helloOutput
	}
	a.misreport(&out)
	return out
}

// call adds calls, and a text before them where the model was free to write one.
func (a *ask) call(out *answer, uses []block) {
	out.stop = "tool_use"
	if a.model.has("end_turn_calls") {
		out.stop = "end_turn"
	}
	if !a.forced() {
		out.blocks = append(out.blocks, block{kind: "text", text: a.tagged() + "Let me look that up."})
	}
	if !a.do.has("interleave") {
		out.blocks = append(out.blocks, uses...)
		return
	}
	if len(uses) == 1 && !a.serial {
		again := uses[0]
		again.id = a.callID(again.name, 1)
		uses = append(uses, again)
	}
	for i, u := range uses {
		out.blocks = append(out.blocks, a.thought(fmt.Sprintf("Step %d needs %s.", i+1, u.name)), u)
	}
}

// say adds a text, up to what ends it.
func (a *ask) say(out *answer) {
	text, stop, sequence := a.bounded(a.tagged() + a.text())
	out.stop, out.sequence = stop, sequence
	if text == "" {
		return
	}
	out.blocks = append(out.blocks, block{kind: "text", text: text})
	if a.do.has("interleave") {
		out.blocks = append(out.blocks, a.thought("That was the first half."), block{kind: "text", text: "That is all."})
	}
}

// spend takes the reasoning of a model that thinks unasked out of max tokens, and reports whether
// nothing is left for an answer.
func (a *ask) spend(text string) bool {
	if a.maxTokens == 0 || !a.model.has("unasked") {
		return false
	}
	a.maxTokens -= tokens(text)
	return a.maxTokens <= 0
}

// thought is a reasoning block. Its text may be left out, and only some models sign.
func (a *ask) thought(text string) block {
	if a.omitted {
		text = ""
	}
	b := block{kind: "thinking", text: text}
	if !a.model.has("unsigned") {
		b.signature = signature(text)
	}
	return b
}

func (a *ask) tagged() string {
	if a.do.has("think-tags") {
		return "<thinking>The caller says: " + or(a.prompt, "nothing") + "</thinking>\n"
	}
	return ""
}

// served is the service tier of the answer, "" where nothing is said of one.
func (a *ask) served() string { return or(a.do["tier"], a.tier) }

// misreport changes the stop reason as told.
func (a *ask) misreport(out *answer) {
	for word, reason := range map[string]string{"guardrail": "guardrail_intervened", "refusal": "refusal", "filtered": "content_filtered", "malformed": "malformed_tool_use", "no-stop": ""} {
		if a.do.has(word) {
			out.stop = reason
		}
	}
	if a.do.has("stop") {
		out.stop = a.do["stop"]
	}
}

// maxWords bounds sim:words, at some 10 MB of text.
const maxWords = 1_000_000

// text is the answer in words.
func (a *ask) text() string {
	switch {
	case a.do.number("words", 0) > 0:
		var b strings.Builder
		for i := range min(a.do.number("words", 0), maxWords) {
			fmt.Fprintf(&b, "word%d ", i+1)
		}
		return strings.TrimSpace(b.String())
	case a.agent != nil && !a.agent.idle:
		return a.agent.done(a)
	case a.do["say"] != "":
		if text, err := url.QueryUnescape(a.do["say"]); err == nil {
			return text
		}
		return a.do["say"]
	case a.format != nil && a.model.has("loose_format"):
		return "Here is the JSON that you asked for:\n```json\n" + compact(fill(a.format, a.prompt)) + "\n```"
	case a.format != nil:
		return compact(fill(a.format, a.prompt))
	case a.prompt == helloPrompt && !a.prefilled:
		return helloAnswer
	}
	var parts []string
	for _, r := range a.results {
		verb := "says"
		if r.err {
			verb = "failed with"
		}
		parts = append(parts, fmt.Sprintf("%s %s: %s", or(r.tool, "the tool"), verb, r.text))
	}
	for _, s := range a.seen {
		parts = append(parts, "I see "+s+".")
	}
	if a.prompt != "" {
		parts = append(parts, "You said: "+a.prompt)
	}
	if len(parts) == 0 {
		return "You said nothing."
	}
	return strings.Join(parts, "\n")
}

// bounded cuts text at the first stop sequence and at max tokens.
func (a *ask) bounded(text string) (cut, reason, sequence string) {
	reason = "end_turn"
	end := len(text)
	for _, s := range a.stops {
		if i := strings.Index(text, s); i >= 0 && i < end {
			end, reason, sequence = i, "stop_sequence", s
		}
	}
	text = text[:end]
	// A token is four bytes here (tokens); the cut is at a character's start.
	if a.maxTokens > 0 && tokens(text) > a.maxTokens {
		end := a.maxTokens * 4
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		return text[:end], "max_tokens", ""
	}
	return text, reason, sequence
}

// forced reports whether the caller left the model no choice but to call.
func (a *ask) forced() bool { return a.choice == "any" || a.choice == "tool" }

// toolUses are the calls that the answer makes: of the tools that the prompt
// names, else of the first; none on results, unless forced.
func (a *ask) toolUses() []block {
	if a.do.has("call") {
		return []block{a.use(toolDef{name: or(a.do["call"], "made_up")})}
	}
	if a.agent != nil && !a.agent.idle {
		return a.agent.calls(a)
	}
	if a.thinking && a.forced() && a.model.has("idle_when_forced") {
		return nil
	}
	if len(a.tools) == 0 || a.choice == "none" || a.do.has("no-tools") || !a.forced() && len(a.results) > 0 {
		return nil
	}
	if a.choice == "tool" {
		i := slices.IndexFunc(a.tools, func(t toolDef) bool { return t.name == a.chosen })
		return []block{a.use(a.tools[max(i, 0)])}
	}
	var uses []block
	said := plain(a.prompt)
	for _, t := range a.tools {
		if strings.Contains(said, plain(t.name)) {
			uses = append(uses, a.use(t))
		}
	}
	if len(uses) == 0 {
		if a.prompt == helloPrompt && !a.forced() {
			return nil
		}
		uses = append(uses, a.use(a.tools[0]))
		for _, word := range []string{"twice", "in parallel", "both"} {
			if strings.Contains(said, word) && len(uses) == 1 {
				uses = append(uses, a.use(a.tools[0]))
			}
		}
	}
	if a.serial {
		uses = uses[:1]
	}
	for i := range uses {
		uses[i].id = a.callID(uses[i].name, i)
	}
	return uses
}

// plain lets "the weather tool get_weather" and "get weather" name the same tool.
func plain(s string) string {
	return strings.NewReplacer("_", " ", "-", " ").Replace(strings.ToLower(s))
}

// callID is the id of the n-th call; an ! before it keeps the shape's prefix off.
func (a *ask) callID(name string, n int) string {
	switch {
	case a.do.has("call-id"):
		return "!" + a.do["call-id"]
	case a.model.has("kimi_ids"):
		return fmt.Sprintf("!functions.%s:%d", name, n)
	}
	return random(22)
}

// callID is the id as a shape gives it, with its own prefix.
func (b block) callID(prefix string) string {
	if own, ok := strings.CutPrefix(b.id, "!"); ok {
		return own
	}
	return prefix + b.id
}

// use is a call with arguments made up by the tool's schema.
func (a *ask) use(t toolDef) block {
	input := "{}"
	switch {
	case t.kind == "custom":
		input = "What is meant is: " + or(a.prompt, "nothing")
	case t.kind == "local_shell":
		input = `{"command":["echo","hello"]}`
	case t.schema != nil:
		input = compact(fill(t.schema, a.prompt))
	}
	return block{kind: "tool", id: a.callID(t.name, 0), name: t.name, input: input, tool: t.kind, namespace: t.namespace}
}

// The signatures that the simulator gives its reasoning are its own, so that a
// reasoning block that comes back changed is found.
var signatureKey = []byte("bedrocksim reasoning")

const signatureMark = "bedrocksim:"

// nonceSize makes no two signatures alike, as Claude's are not.
const nonceSize = 8

func signature(text string) string {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	return sealed(nonce, text)
}

func sealed(nonce []byte, text string) string {
	h := hmac.New(sha256.New, signatureKey)
	h.Write(nonce)
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(append([]byte(signatureMark), nonce...)))
}

// checkThought refuses what can't be a signature, and a reasoning block of the simulator's own that came
// back changed. None at all is redacted reasoning, or a family that does not sign.
func checkThought(text, sig string) *fault {
	b, err := base64.StdEncoding.DecodeString(sig)
	own, ours := bytes.CutPrefix(b, []byte(signatureMark))
	if err != nil || ours && (len(own) < nonceSize || sig != sealed(own[:nonceSize], text)) {
		return invalid("Invalid `signature` in `thinking` block")
	}
	return nil
}

// alphabet leaves out what is easily mistaken (0, O, I, l), as Anthropic's ids do.
const alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz123456789"

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("sim: marshal: " + err.Error()) // only values of our own making come here
	}
	return b
}
