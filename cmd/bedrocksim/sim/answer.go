package sim

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
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
	input     string // JSON
}

// cacheUse is what a prompt's cache points did.
type cacheUse struct{ read, write int }

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
	if a.thinking || a.do.has("think") {
		text := "The caller says: " + or(a.prompt, "nothing") + " I should answer that."
		out.blocks = append(out.blocks, block{kind: "thinking", text: text, signature: signature(text)})
	}
	switch uses := a.toolUses(); {
	case a.do.has("empty"):
	case len(uses) > 0:
		if !a.forced() {
			out.blocks = append(out.blocks, block{kind: "text", text: "Let me look that up."})
		}
		out.blocks = append(out.blocks, uses...)
		out.stop = "tool_use"
	default:
		text := a.text()
		text, out.stop, out.sequence = a.bounded(text)
		if text != "" {
			out.blocks = append(out.blocks, block{kind: "text", text: text})
		}
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
	return uses
}

// plain lets "the weather tool get_weather" and "get weather" name the same tool.
func plain(s string) string {
	return strings.NewReplacer("_", " ", "-", " ").Replace(strings.ToLower(s))
}

// use is a call with arguments made up by the tool's schema. Each shape puts its own prefix before
// the id.
func (a *ask) use(t toolDef) block {
	input := "{}"
	if t.schema != nil {
		input = compact(fill(t.schema, a.prompt))
	}
	return block{kind: "tool", id: random(22), name: t.name, input: input}
}

// The signatures that the simulator gives its reasoning are its own, so that a
// reasoning block that comes back changed is found.
var signatureKey = []byte("bedrocksim reasoning")

const signatureMark = "bedrocksim:"

func signature(text string) string {
	h := hmac.New(sha256.New, signatureKey)
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(append([]byte(signatureMark), h.Sum(nil)...))
}

// checkSignature refuses what can't be a signature.
func checkSignature(s string) *fault {
	if s == "" {
		return nil // redacted, or a family that does not sign
	}
	if _, err := base64.StdEncoding.DecodeString(s); err != nil {
		return invalid("Invalid `signature` in `thinking` block")
	}
	return nil
}

// checkThought refuses a reasoning block of the simulator's own that came back
// changed.
func checkThought(text, sig string) *fault {
	if f := checkSignature(sig); f != nil {
		return f
	}
	b, _ := base64.StdEncoding.DecodeString(sig)
	if strings.HasPrefix(string(b), signatureMark) && sig != signature(text) {
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
