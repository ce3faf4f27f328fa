package sim

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// behaviour is what a request is told to do other than answer well: control
// words with their values, "" where none was given. In a prompt they are written
// sim:word or sim:word=value, and are no part of what was asked.
type behaviour map[string]string

// A word is a control word: its name, its value where it takes one ("[=x]" where
// it need not have it), and what it does.
type word struct{ name, value, does string }

// vocabulary is the control words. docs/simulator.md shows it: `go test
// ./cmd/bedrocksim/sim -update` writes the tables there.
var vocabulary = []struct {
	title string
	words []word
}{
	{"Instead of an answer", []word{
		{"throttle", "[=seconds]", "429 `ThrottlingException`, with that `Retry-After`"},
		{"throttle400", "", "the same exception under status 400"},
		{"quota", "", "400 `ServiceQuotaExceededException`"},
		{"tokens-per-day", "", "429 `ThrottlingException`: Too many tokens per day"},
		{"deny", "", "403 `AccessDeniedException`, which names user, account and ARN"},
		{"expired", "", "403 `ExpiredTokenException`"},
		{"unknown-key", "", "403 `UnrecognizedClientException`"},
		{"notfound", "", "404 `ResourceNotFoundException`"},
		{"timeout", "", "408 `ModelTimeoutException`"},
		{"model-error", "", "424 `ModelErrorException`"},
		{"not-ready", "", "429 `ModelNotReadyException`"},
		{"fail", "", "500 `InternalServerException`"},
		{"unavailable", "", "503 `ServiceUnavailableException`"},
		{"invalid", "", "400 `ValidationException`, which names account and ARN"},
		{"too-long", "", "400 `ValidationException`: Input is too long for requested model."},
		{"prompt-too-long", "", "400, as Claude says it (`prompt is too long: N tokens > M maximum`) and OpenAI (`context_length_exceeded`)"},
		{"overloaded", "", "529 `overloaded_error` on Anthropic's path, elsewhere 503"},
		{"html", "", "a 502 with an HTML page"},
		{"garbage", "", "a 200 whose body is not what its content type says"},
		{"coral", "", "a 200 with an exception in its body"},
		{"redirect", "", "a 307"},
		{"json", "", "a stream request gets a whole answer, as JSON"},
		{"once", "=words", "each of these words once in the session, from its second turn on, one a turn: `once=throttle=1,overloaded,cut`"},
		{"stall", "[=duration]", "silence before the answer, without a value for ever"},
		{"stall-head", "[=duration]", "the head of the answer, silence, and then the rest; without a value for ever"},
		{"drip", "[=duration]", "the head, and every 20 ms something that says nothing, before the answer: white space ahead of JSON, comments, pings, unknown events in a stream; without a value for ever"},
		{"drop", "", "a TCP reset"},
	}},
	{"The answer itself", []word{
		{"words", "=n", "`word1 word2 …`, up to a million"},
		{"say", "=text", "that text, written as in a URL's query (`+` is a space, `%0A` a line break)"},
		{"call", "[=name]", "a call of that tool, known or not"},
		{"call-id", "[=id]", "calls have that id, without a value an empty one"},
		{"tier", "=name", "that service tier has served; otherwise the one that was asked for"},
		{"is", "=model", "what an ARN stands for that does not show its model, `anthropic.claude-opus-4-7` say; from the control endpoint or the flag, not in a prompt"},
		{"agent", "[=folder]", "for three turns the tools are used, as a model of Claude Code or Codex does, and then a text says so; files go to that folder, or to /tmp"},
		{"no-tools", "", "no tool is called"},
		{"think", "", "a reasoning block, without being asked for"},
		{"only-think", "", "a reasoning block and nothing else"},
		{"interleave", "", "reasoning, text, reasoning, a call, reasoning, a call; without tools reasoning, text, reasoning, text"},
		{"think-tags", "", "`<thinking>…</thinking>` at the start of the text, as Nova 1 writes its reasoning"},
		{"redact", "", "a redacted reasoning block"},
		{"stop", "=reason", "that stop reason"},
		{"guardrail", "", "a guardrail has intervened"},
		{"refusal", "", "stop reason `refusal`"},
		{"filtered", "", "stop reason `content_filtered`"},
		{"malformed", "", "stop reason `malformed_tool_use`"},
		{"no-stop", "", "no stop reason"},
		{"no-usage", "", "no token counts"},
		{"empty", "", "no content"},
		{"extra", "", "members, blocks, deltas and events that nobody knows yet"},
	}},
	{"Credentials, from the control endpoint or the flag", []word{
		{"session", "=duration", "temporary credentials that are given out from then on last so long"},
		{"sts", "=how", "what STS and the metadata services do instead: `deny` (403 `AccessDenied`), `throttle` (400 `Throttling`), `away` (503), `stall` (silence for ever)"},
	}},
	{"How a stream goes out", []word{
		{"every", "[=duration]", "a pause between frames, 100ms without a value"},
		{"chunks", "=n", "each text in so many deltas"},
		{"bytes", "=n", "so many bytes in one write"},
		{"after", "=n", "so many frames before one of the following; otherwise half of them"},
		{"stall-mid", "[=duration]", "silence, and then the rest; without a value for ever"},
		{"break", "", "the connection breaks"},
		{"break-frame", "", "half a frame, then a clean end"},
		{"cut", "", "a clean end"},
		{"crc", "", "a frame with a wrong checksum, or an event that is no JSON"},
		{"exception", "[=name]", "an exception frame, `throttlingException` without a value"},
		{"error-frame", "", "a frame of message type `error`"},
		{"error-event", "", "an error event of the API: Anthropic's own, here in a chunk, `response.failed`, or OpenAI's error"},
	}},
}

// words is the vocabulary by name.
var words = func() map[string]string {
	all := map[string]string{}
	for _, group := range vocabulary {
		for _, w := range group.words {
			all[w.name] = w.does
		}
	}
	return all
}()

// A control word may stand anywhere in a prompt; its value ends at a space.
var controlWord = regexp.MustCompile(`\bsim:([a-z0-9-]+)(?:=(\S+))?`)

// read gives a prompt without its control words, and the words added to what was
// told beforehand. Words that nobody knows stay.
func (b behaviour) read(prompt string) (string, behaviour) {
	told := maps.Clone(b)
	if told == nil {
		told = behaviour{}
	}
	prompt = controlWord.ReplaceAllStringFunc(prompt, func(s string) string {
		m := controlWord.FindStringSubmatch(s)
		if words[m[1]] == "" {
			return s
		}
		told[m[1]] = m[2]
		return ""
	})
	return strings.TrimSpace(prompt), told
}

// parseBehaviour reads words from the control endpoint: with or without sim:.
func parseBehaviour(s string) (behaviour, error) {
	b := behaviour{}
	for _, w := range strings.Fields(s) {
		name, value, _ := strings.Cut(strings.TrimPrefix(w, "sim:"), "=")
		if words[name] == "" {
			return nil, fmt.Errorf("no control word %q; there are: %s", name, strings.Join(slices.Sorted(maps.Keys(words)), ", "))
		}
		b[name] = value
	}
	return b, nil
}

func (b behaviour) has(name string) bool {
	_, ok := b[name]
	return ok
}

// number and duration give a word's value, and otherwise where it has none or one that is no number:
// a typing error in a test behaves like the bare word.
func (b behaviour) number(name string, otherwise int) int {
	if n, err := strconv.Atoi(b[name]); err == nil {
		return n
	}
	return otherwise
}

func (b behaviour) duration(name string, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(b[name]); err == nil {
		return d
	}
	return otherwise
}

// exceptions are the words that answer with an exception.
var exceptions = map[string]string{
	"throttle": "ThrottlingException", "quota": "ServiceQuotaExceededException", "deny": "AccessDeniedException", "expired": "ExpiredTokenException",
	"unknown-key": "UnrecognizedClientException", "notfound": "ResourceNotFoundException", "timeout": "ModelTimeoutException", "model-error": "ModelErrorException",
	"not-ready": "ModelNotReadyException", "fail": "InternalServerException", "unavailable": "ServiceUnavailableException", "invalid": "ValidationException",
}

// told gives the fault that a request is told to have, in its API's words, or nil.
func (a *ask) told() *fault {
	switch {
	case a.do.has("prompt-too-long") && (a.api == apiChat || a.api == apiResponses):
		f := invalid("Your input exceeds the context window of this model. Please adjust your input and try again.")
		f.code = "context_length_exceeded"
		return f
	case a.do.has("prompt-too-long"):
		said := fmt.Sprintf("prompt is too long: %d tokens > 200000 maximum", 200_000+a.input)
		if a.api == apiConverse {
			said = "The model returned the following errors: " + said
		}
		return invalid("%s", said)
	case a.do.has("overloaded"):
		f := exception("ServiceUnavailableException", a.region, a.model.id)
		if a.api == apiMessages {
			f.message = "Overloaded"
		}
		return f
	}
	return a.do.fault(a.region, a.model.id)
}

// fault gives the exception that a request is told to have, or nil.
func (b behaviour) fault(region, model string) *fault {
	if b.has("too-long") {
		return invalid("Input is too long for requested model.")
	}
	if b.has("tokens-per-day") {
		return &fault{status: 429, kind: "ThrottlingException", message: "Too many tokens per day, please wait before trying again."}
	}
	if b.has("throttle400") {
		f := exception("ThrottlingException", region, model)
		f.status = 400
		return f
	}
	// Sorted, so that of two words the same one wins each time.
	for _, word := range slices.Sorted(maps.Keys(exceptions)) {
		if b.has(word) {
			return exception(exceptions[word], region, model)
		}
	}
	return nil
}
