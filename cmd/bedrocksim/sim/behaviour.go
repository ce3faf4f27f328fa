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

// words are the control words, with what each does.
var words = map[string]string{
	// Before an answer.
	"throttle":    "429 ThrottlingException; the value is its Retry-After",
	"quota":       "400 ServiceQuotaExceededException",
	"deny":        "403 AccessDeniedException with user, model and account",
	"expired":     "403 ExpiredTokenException",
	"unknown-key": "403 UnrecognizedClientException",
	"notfound":    "404 ResourceNotFoundException",
	"timeout":     "408 ModelTimeoutException",
	"model-error": "424 ModelErrorException",
	"not-ready":   "429 ModelNotReadyException",
	"fail":        "500 InternalServerException",
	"unavailable": "503 ServiceUnavailableException",
	"invalid":     "400 ValidationException that names ARN and account",
	"too-long":    "400 ValidationException: Input is too long for requested model.",
	"throttle400": "ThrottlingException under 400",
	"html":        "a 502 with an HTML body",
	"garbage":     "a 200 that is not what its content type says",
	"coral":       "a 200 with an exception in its body",
	"redirect":    "a 307",
	"json":        "a stream request answered with a whole one, as JSON",
	"stall":       "nothing for the value (10s), without one for ever",
	"drop":        "the connection breaks before an answer",
	// The answer itself.
	"words":     "the value counts the words of the answer",
	"call":      "the value names a tool to call, known or not",
	"no-tools":  "no tool is called",
	"think":     "a reasoning block without being asked",
	"redact":    "redacted reasoning",
	"stop":      "the value is the stop reason",
	"guardrail": "a guardrail intervened",
	"refusal":   "Claude refuses",
	"filtered":  "stop reason content_filtered",
	"malformed": "stop reason malformed_tool_use",
	"empty":     "no content",
	"no-usage":  "no token counts",
	"no-stop":   "no stop reason",
	"extra":     "members, blocks and events that nobody knows yet",
	// How a stream goes out.
	"every":       "the value is the pause between frames (100ms)",
	"chunks":      "the value counts the deltas of each text",
	"bytes":       "the value is how many bytes go out in one write",
	"after":       "the value is how many frames go out before what follows (half of them)",
	"stall-mid":   "then nothing for the value, without one for ever",
	"break":       "then the connection breaks",
	"break-frame": "then half a frame, and a clean end",
	"cut":         "then a clean end",
	"crc":         "then a frame with a bad checksum",
	"exception":   "then an exception frame; the value names it (throttlingException)",
	"error-frame": "then a frame of message type error",
	"error-event": "then Anthropic's own error event (InvokeModel only)",
}

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

// fault gives the exception that a request is told to have, or nil.
func (b behaviour) fault(region, model string) *fault {
	if b.has("too-long") {
		return invalid("Input is too long for requested model.")
	}
	if b.has("throttle400") {
		f := exception("ThrottlingException", region, model)
		f.status = 400
		return f
	}
	for word, name := range exceptions {
		if b.has(word) {
			return exception(name, region, model)
		}
	}
	return nil
}
