package bedrock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"aisix/extproc/anthropic"
	"aisix/extproc/bedrock/redact"
	"aisix/extproc/chat"
	"aisix/extproc/completions"
	"aisix/extproc/fault"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/smithy-go"
)

// Exception is what AWS said, for the operator's log: it may name AWS's
// identifiers and must not reach a caller.
type Exception struct {
	Type      string // the exception's name, "" where none was told
	Message   string
	Code      string // OpenAI's error code, and the member that it names; "" is none
	Param     string
	RequestID string // AWS's
	Status    int    // HTTP status, 0 inside a stream
	Hint      string // what the operator may do about it, "" is nothing known

	said string // the Message before it was cleaned, for who decides by it
}

func (e *Exception) Error() string {
	s := fmt.Sprintf("bedrock: %s: %s (status %d, aws request id %s)", e.Type, e.Message, e.Status, e.RequestID)
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

// What is read of an exception. Longer bodies are none, and longer names and
// messages are cut before anything looks into them.
const (
	maxException     = 1 << 20
	maxExceptionName = 128
)

// none is the header of what comes inside a stream.
var none Header = http.Header(nil)

// requestID is AWS's request id of a reply, "" where it has none.
func requestID(header Header) string {
	for _, name := range []string{"X-Amzn-Requestid", "Request-Id", "X-Request-Id"} { // the last two are bedrock-mantle's
		if id := header.Get(name); id != "" {
			return id
		}
	}
	return ""
}

// exceptionOf reads name and message; the header wins over the body.
func exceptionOf(status int, header Header, body []byte) *Exception {
	e := &Exception{Status: status, RequestID: requestID(header)}
	if len(body) > maxException {
		body = nil
	}
	// AWS spells it message and Message; encoding/json matches both.
	var b struct {
		Type    json.RawMessage `json:"__type"`
		Code    json.RawMessage `json:"code"`
		Message json.RawMessage `json:"message"`
	}
	if json.Unmarshal(body, &b) == nil {
		var message string
		if json.Unmarshal(b.Message, &message) == nil {
			e.Message = message
		}
		for _, v := range []json.RawMessage{b.Type, b.Code} {
			var s string
			if json.Unmarshal(v, &s) == nil && e.Type == "" {
				e.Type = exceptionName(s)
			}
		}
	}
	// Claude's own error object may be the body, or the text inside the message.
	for _, raw := range [][]byte{body, []byte(e.Message)} {
		if a := anthropic.DecodeError(raw); a != nil {
			e.Message = a.Message
			if e.Type == "" && !anyFailure(a.Type) {
				e.Type = anthropicTypes[a.Type]
			}
			continue
		}
		if o := completions.DecodeError(raw); o != nil {
			e.Message, e.Code, e.Param = o.Message, o.Code, o.Param
			if e.Type == "" {
				e.Type = openaiException(o, status)
			}
		}
	}
	if h := exceptionName(header.Get("X-Amzn-Errortype")); h != "" {
		e.Type = h
	}
	return e
}

// exceptionName cuts what AWS puts around the name: a namespace with # before
// it, a colon and a URL behind it.
func exceptionName(s string) string {
	s, _, _ = strings.Cut(s, ":")
	if i := strings.LastIndexByte(s, '#'); i >= 0 {
		s = s[i+1:]
	}
	return cut(strings.TrimSpace(s), maxExceptionName)
}

// cut is s without what stands after most bytes.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// quote is s as a message shows it: what others wrote may be long.
func quote(s string) string {
	const most = 128
	if len(s) > most {
		s = cut(s, most) + "…"
	}
	return strconv.Quote(s)
}

// streamFault is the fault of an error that the event codec returned for a frame: an
// exception, or what can't be decoded. An exception is one by its headers, whatever it says.
func (r *Reply) streamFault(err error, frame []byte) *fault.Error {
	var code, message string
	var api smithy.APIError
	if errors.As(err, &api) {
		code, message = api.ErrorCode(), api.ErrorMessage()
	} else if code = exceptionType(frame); code == "" {
		return undecodable(err)
	}
	name := exceptionName(code)
	if name != "" {
		// Inside a stream a member's name may stand for the type's: validationException.
		name = strings.ToUpper(name[:1]) + name[1:]
	}
	return r.fault(&Exception{Type: name, Message: message, RequestID: r.RequestID()}, none)
}

// exceptionType is the name of an exception in a frame whose payload is none of JSON, or
// nothing at all; "" where the frame is no exception.
func exceptionType(frame []byte) string {
	m, err := eventstream.NewDecoder().Decode(bytes.NewReader(frame), nil)
	if err != nil {
		return ""
	}
	if kind := m.Headers.Get(":message-type"); kind == nil || kind.String() != "exception" {
		return ""
	}
	if name := m.Headers.Get(":exception-type"); name != nil {
		return name.String()
	}
	return ""
}

// The texts of a prompt that is too long: each maker's models have their own. One of them may
// also say that more was asked of the answer than there is room for: that is no such prompt.
var (
	tooLong = regexp.MustCompile(`(?i)` + strings.Join([]string{
		`\b(input|prompt|messages) (is|are) too long|prompt too long`,
		`input length and .?max_tokens.? exceed`,            // Claude
		`input tokens exceed`,                               // Nova
		`too many input tokens`,                             // Titan
		`max(imum)? (context|model|prompt|sequence) length`, // Llama, Mistral, Grok, and what vLLM serves
		`exceeds? (the |its |this model's )?(max(imum)? )?context (window|length|size)|context (window|length) exceed`, // GPT, MiniMax
		`exceeded (the )?model token limit`,  // Kimi
		`tokens in the prompt cannot exceed`, // Cohere
	}, "|"))
	tooMuchAsked = regexp.MustCompile(`(?i)max_(completion_|output_)?tokens\W[^.]*\bis too (large|high)`)
)

// Throttling says by its text alone which quota is used up: that of a minute, or that of
// a day, behind which no wait of a client's helps. Where neither name nor status tells
// that it is throttling, the text must begin so.
var (
	daily       = regexp.MustCompile(`(?i)\bper[- ]day\b|\b(a|each|every) day\b|\bdaily\b`)
	dailyItself = regexp.MustCompile(`(?i)^\W*too many (input |output )?(tokens|requests) per[- ]day\b`)
)

// answer is what a caller sees of an exception.
type answer struct {
	kind          fault.Kind // "" is fault.Upstream
	status        int
	code, message string
}

var (
	rateLimited   = answer{status: http.StatusTooManyRequests, code: "rate_limit_exceeded", message: "upstream rate limited"}
	outOfQuota    = answer{status: http.StatusTooManyRequests, code: "insufficient_quota", message: "upstream rate limited"}
	notReady      = answer{status: http.StatusServiceUnavailable, code: "model_not_ready", message: "upstream model not ready"}
	overloaded    = answer{status: http.StatusServiceUnavailable, code: "overloaded", message: "upstream overloaded"}
	timedOut      = answer{kind: fault.Timeout, status: http.StatusGatewayTimeout, message: "upstream timed out"}
	accessDenied  = answer{status: http.StatusForbidden, code: "permission_denied", message: "upstream authentication failed"}
	notAuthentic  = answer{status: http.StatusForbidden, message: "upstream authentication failed"}
	modelNotFound = answer{status: http.StatusNotFound, code: "model_not_found", message: "upstream model not found"}
	modelFailed   = answer{status: http.StatusBadGateway, message: "the upstream model failed"}
	failed        = answer{status: http.StatusBadGateway, message: "upstream error"}
	invalid       = answer{status: http.StatusBadRequest} // the exception's own message
)

// answers are those of the exceptions of bedrock-runtime's service model, before
// and inside streams, and of the errors that all AWS services have in common.
// Where an exception has no name, or a new one, its HTTP status decides.
var answers = map[string]answer{
	"AccessDeniedException":         accessDenied,
	"ConflictException":             invalid,
	"InternalServerException":       failed,
	"ModelErrorException":           modelFailed,
	"ModelNotReadyException":        notReady,
	"ModelStreamErrorException":     modelFailed,
	"ModelTimeoutException":         timedOut,
	"ResourceNotFoundException":     modelNotFound,
	"ServiceQuotaExceededException": outOfQuota,
	"ServiceUnavailableException":   overloaded,
	"ThrottlingException":           rateLimited,
	"ValidationException":           invalid,

	"AccessDenied":                        accessDenied,
	"ExpiredToken":                        notAuthentic,
	"ExpiredTokenException":               notAuthentic,
	"IncompleteSignature":                 notAuthentic,
	"IncompleteSignatureException":        notAuthentic,
	"InvalidClientTokenId":                notAuthentic,
	"InvalidSignatureException":           notAuthentic,
	"MissingAuthenticationToken":          notAuthentic,
	"MissingAuthenticationTokenException": notAuthentic,
	"NotAuthorized":                       notAuthentic,
	"OptInRequired":                       notAuthentic,
	"RequestExpired":                      notAuthentic,
	"SignatureDoesNotMatch":               notAuthentic,
	"UnrecognizedClientException":         notAuthentic,
	"InternalFailure":                     failed,
	"InternalServerError":                 failed,
	"RequestLimitExceeded":                rateLimited,
	"RequestTimeout":                      timedOut,
	"RequestTimeoutException":             timedOut,
	"ServiceUnavailable":                  overloaded,
	"Throttling":                          rateLimited,
	"TooManyRequestsException":            rateLimited,
	"ValidationError":                     invalid,
}

// answerByStatus is the answer where the exception's name tells nothing.
func answerByStatus(s int) answer {
	switch {
	case s == http.StatusBadRequest:
		return invalid
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		return notAuthentic
	case s == http.StatusNotFound:
		return modelNotFound
	case s == http.StatusRequestTimeout, s == http.StatusGatewayTimeout:
		return timedOut
	case s == http.StatusTooManyRequests:
		return rateLimited
	case s == http.StatusServiceUnavailable, s == 529: // Anthropic's overload
		return overloaded
	case s >= 400 && s < 500 && s != http.StatusFailedDependency:
		return answer{status: s, message: "the upstream refused the request"}
	default:
		return failed
	}
}

// fault is what the caller may see of e; e itself is for the log from here on.
func (r *Reply) fault(e *Exception, header Header) *fault.Error {
	e.Message = e.Message[:min(len(e.Message), redact.MaxInput+1)] // a longer one is not passed on
	e.said = e.Message
	a, known := answers[e.Type]
	if !known {
		a = answerByStatus(e.Status)
	}
	if a == rateLimited && daily.MatchString(e.Message) || e.Type == "" && a == invalid && dailyItself.MatchString(e.Message) {
		a = outOfQuota
	}
	f := &fault.Error{Kind: fault.Upstream, Status: a.status, Code: a.code, Message: a.message, Err: e}
	if a.kind != "" {
		f.Kind = a.kind
	}
	switch a.status {
	case http.StatusForbidden:
		f.Status = denied(e.Status)
	case http.StatusBadRequest:
		f.Message = r.redactor().Message(e.Message)
		if word.MatchString(e.Code) {
			f.Code = e.Code
		}
		if member.MatchString(e.Param) {
			f.Param = e.Param
		}
		if tooLong.MatchString(e.Message) && !tooMuchAsked.MatchString(e.Message) {
			f.Code = "context_length_exceeded"
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		f.RetryAfter = or(retryAfter(header), saidDelay(e.Message))
	}
	e.Hint = hint(e)
	if key := r.signed.bearer(); key != "" { // an upstream may say what it was sent: that is for no log either
		e.Message = strings.ReplaceAll(e.Message, key, "[redacted]")
	}
	e.Message = r.call.unquoted(e.Message, r.begun)
	if !known && e.Type != "" {
		e.Type = chat.Named(e.Type)
	}
	return f
}

// What of OpenAI's error object a caller may see, beside the redacted message: a code, and
// the path of a member.
var (
	word   = regexp.MustCompile(`^[a-z][a-z_]{0,63}$`)
	member = regexp.MustCompile(`^[a-zA-Z_]+([.\[][a-zA-Z0-9_]+\]?){0,15}$`)
)

// denied is the status of an authentication failure: AWS's own where it is one.
func denied(status int) int {
	if status == http.StatusUnauthorized {
		return status
	}
	return http.StatusForbidden
}

// AWS takes signatures that are off by up to five minutes.
const (
	maxSkew   = 5 * time.Minute
	clockHint = "this host's clock is off by more than five minutes: signatures are refused"
)

// hint says what the log should tell the operator about credentials and clocks.
func hint(e *Exception) string {
	switch {
	case strings.HasPrefix(e.Type, "ExpiredToken") || e.Type == "RequestExpired":
		return "the provider key's credentials have expired: replace them"
	case strings.Contains(e.Message, "Signature expired") || strings.Contains(e.Message, "Signature not yet current"):
		return clockHint
	}
	return ""
}

// retryAfter relays a Retry-After that is one: whole seconds or an HTTP date.
func retryAfter(header Header) string {
	v := strings.TrimSpace(header.Get("Retry-After"))
	if n, err := strconv.Atoi(v); err == nil && n >= 0 {
		return strconv.Itoa(max(n, 1))
	}
	if _, err := http.ParseTime(v); err == nil {
		return v
	}
	return ""
}

// delay is how OpenAI's models say in words when to try again: inside a stream there is no header.
var delay = regexp.MustCompile(`(?i)try again in (\d{1,6}(?:\.\d{1,9})?) ?(ms|s|seconds?)\b`)

// saidDelay is the delay that a message names, in whole seconds; "" is none.
func saidDelay(message string) string {
	m := delay.FindStringSubmatch(message)
	if m == nil {
		return ""
	}
	n, _ := strconv.ParseFloat(m[1], 64) // it is a number
	if m[2] == "ms" {
		n /= 1000
	}
	return strconv.Itoa(max(int(math.Ceil(n)), 1))
}

// undecodable is an answer that is none.
func undecodable(err error) *fault.Error {
	// The SDK tells what it found in place of what it looked for, be it all that a model said.
	if said := err.Error(); found.MatchString(said) {
		err = errors.New(found.ReplaceAllString(said, `, got something else`))
	}
	return &fault.Error{Kind: fault.Upstream, Status: http.StatusBadGateway, Message: "the upstream's answer could not be decoded", Err: err}
}

var found = regexp.MustCompile(`(?s), got .*`)

// incomplete is an answer that lacks what.
func incomplete(what string) *fault.Error {
	return &fault.Error{Kind: fault.Upstream, Status: http.StatusBadGateway,
		Message: "the upstream's answer was incomplete", Err: errors.New("the reply has no " + what)}
}
