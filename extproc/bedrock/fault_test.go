package bedrock

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/extproc/fault"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/smithy-go"
)

// secret stands in every exception's message of these tests and may never show.
const secret = "arn:aws:bedrock:us-west-2:123456789012:provisioned-model/abc123"

// exceptions are all that the service model lists for the four operations and
// their streams, and the errors that AWS's services have in common; with the
// contract's answer to each.
var exceptions = []struct {
	name    string
	http    int // AWS's status
	kind    fault.Kind
	status  int
	code    string
	message string // "" is the exception's own, cleaned
}{
	{"AccessDeniedException", 403, fault.Upstream, 403, "permission_denied", "upstream authentication failed"},
	{"AccessDeniedException", 401, fault.Upstream, 401, "permission_denied", "upstream authentication failed"},
	{"ConflictException", 400, fault.Upstream, 400, "", ""},
	{"InternalServerException", 500, fault.Upstream, 502, "", "upstream error"},
	{"ModelErrorException", 424, fault.Upstream, 502, "", "the upstream model failed"},
	{"ModelNotReadyException", 429, fault.Upstream, 503, "model_not_ready", "upstream model not ready"},
	{"ModelStreamErrorException", 424, fault.Upstream, 502, "", "the upstream model failed"},
	{"ModelTimeoutException", 408, fault.Timeout, 504, "", "upstream timed out"},
	{"ResourceNotFoundException", 404, fault.Upstream, 404, "model_not_found", "upstream model not found"},
	{"ServiceQuotaExceededException", 400, fault.Upstream, 429, "insufficient_quota", "upstream rate limited"},
	{"ServiceUnavailableException", 503, fault.Upstream, 503, "overloaded", "upstream overloaded"},
	{"ThrottlingException", 429, fault.Upstream, 429, "rate_limit_exceeded", "upstream rate limited"},
	{"ThrottlingException", 400, fault.Upstream, 429, "rate_limit_exceeded", "upstream rate limited"},
	{"ValidationException", 400, fault.Upstream, 400, "", ""},

	{"AccessDenied", 403, fault.Upstream, 403, "permission_denied", "upstream authentication failed"},
	{"ExpiredToken", 400, fault.Upstream, 403, "", "upstream authentication failed"},
	{"ExpiredTokenException", 403, fault.Upstream, 403, "", "upstream authentication failed"},
	{"IncompleteSignature", 400, fault.Upstream, 403, "", "upstream authentication failed"},
	{"IncompleteSignatureException", 403, fault.Upstream, 403, "", "upstream authentication failed"},
	{"InvalidClientTokenId", 403, fault.Upstream, 403, "", "upstream authentication failed"},
	{"InvalidSignatureException", 403, fault.Upstream, 403, "", "upstream authentication failed"},
	{"MissingAuthenticationToken", 403, fault.Upstream, 403, "", "upstream authentication failed"},
	{"MissingAuthenticationTokenException", 403, fault.Upstream, 403, "", "upstream authentication failed"},
	{"NotAuthorized", 400, fault.Upstream, 403, "", "upstream authentication failed"},
	{"OptInRequired", 403, fault.Upstream, 403, "", "upstream authentication failed"},
	{"RequestExpired", 400, fault.Upstream, 403, "", "upstream authentication failed"},
	{"SignatureDoesNotMatch", 403, fault.Upstream, 403, "", "upstream authentication failed"},
	{"UnrecognizedClientException", 403, fault.Upstream, 403, "", "upstream authentication failed"},
	{"InternalFailure", 500, fault.Upstream, 502, "", "upstream error"},
	{"InternalServerError", 500, fault.Upstream, 502, "", "upstream error"},
	{"MalformedHttpRequestException", 400, fault.Upstream, 400, "", ""},
	{"RequestAbortedException", 400, fault.Upstream, 400, "", ""},
	{"RequestEntityTooLargeException", 413, fault.Upstream, 413, "", "the upstream refused the request"},
	{"RequestLimitExceeded", 503, fault.Upstream, 429, "rate_limit_exceeded", "upstream rate limited"},
	{"RequestTimeout", 400, fault.Timeout, 504, "", "upstream timed out"},
	{"RequestTimeoutException", 408, fault.Timeout, 504, "", "upstream timed out"},
	{"ServiceUnavailable", 503, fault.Upstream, 503, "overloaded", "upstream overloaded"},
	{"Throttling", 400, fault.Upstream, 429, "rate_limit_exceeded", "upstream rate limited"},
	{"TooManyRequestsException", 429, fault.Upstream, 429, "rate_limit_exceeded", "upstream rate limited"},
	{"UnknownOperationException", 404, fault.Upstream, 404, "model_not_found", "upstream model not found"},
	{"ValidationError", 400, fault.Upstream, 400, "", ""},

	// Without a name, or with one that this version does not know, by status.
	{"", 301, fault.Upstream, 502, "", "upstream error"},
	{"", 400, fault.Upstream, 400, "", ""},
	{"", 401, fault.Upstream, 401, "", "upstream authentication failed"},
	{"", 403, fault.Upstream, 403, "", "upstream authentication failed"},
	{"", 404, fault.Upstream, 404, "model_not_found", "upstream model not found"},
	{"", 405, fault.Upstream, 405, "", "the upstream refused the request"},
	{"", 408, fault.Timeout, 504, "", "upstream timed out"},
	{"", 413, fault.Upstream, 413, "", "the upstream refused the request"},
	{"", 424, fault.Upstream, 502, "", "upstream error"},
	{"", 429, fault.Upstream, 429, "rate_limit_exceeded", "upstream rate limited"},
	{"", 500, fault.Upstream, 502, "", "upstream error"},
	{"", 502, fault.Upstream, 502, "", "upstream error"},
	{"", 503, fault.Upstream, 503, "overloaded", "upstream overloaded"},
	{"", 504, fault.Timeout, 504, "", "upstream timed out"},
	{"NovelException", 403, fault.Upstream, 403, "", "upstream authentication failed"},
	{"NovelException", 418, fault.Upstream, 418, "", "the upstream refused the request"},
}

// Every exception of the service model has a row above, so that one that a newer
// SDK brings is not forgotten.
func TestEveryExceptionOfTheServiceModelHasItsAnswer(t *testing.T) {
	tested := map[string]bool{}
	for _, e := range exceptions {
		tested[e.name] = true
	}
	for name := range answers {
		if !tested[name] {
			t.Errorf("%s is in the table of answers and not tested", name)
		}
	}
	n := 0
	for id, entry := range bedrockruntime.TypeRegistry.Entries {
		if _, ok := entry.New().(smithy.APIError); !ok {
			continue
		}
		n++
		if _, name, _ := strings.Cut(id, "#"); !tested[name] {
			t.Errorf("%s of the service model is not tested", name)
		}
	}
	if n < 12 {
		t.Errorf("only %d exceptions found in the service model", n)
	}
}

func TestExceptionsBeforeAnAnswer(t *testing.T) {
	const says = "messages.0: the input is bad, says " + secret
	body, err := json.Marshal(map[string]string{"message": says})
	if err != nil {
		t.Fatal(err)
	}
	coral, err := json.Marshal(map[string]string{"Message": says})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range exceptions {
		for _, form := range []struct {
			name   string
			header http.Header
			body   []byte
		}{
			{"in the header", http.Header{"X-Amzn-Errortype": {e.name}}, body},
			{"in the header, with a URL behind", http.Header{"X-Amzn-Errortype": {e.name + ":http://internal.amazon.com/coral/com.amazon.bedrock/"}}, coral},
			{"in the header, which wins over the body", http.Header{"X-Amzn-Errortype": {e.name}}, bytes.Replace(body, []byte("{"), []byte(`{"__type":"OtherException","code":"Other",`), 1)},
			{"in __type", http.Header{}, bytes.Replace(body, []byte("{"), []byte(`{"__type":"com.amazon.coral.service#`+e.name+`",`), 1)},
			{"in code", http.Header{}, bytes.Replace(body, []byte("{"), []byte(`{"code":"`+e.name+`",`), 1)},
		} {
			if e.name == "" && form.header.Get("X-Amzn-Errortype") != "" || e.name == "" && strings.Contains(form.name, "wins") {
				continue
			}
			form.header.Set("X-Amzn-Requestid", "req-1")
			c := newCall(t, userSays("hi"), target("amazon.nova-pro-v1:0"))
			f := c.reply(e.http, form.header).Fault(form.body)
			name := e.name + " " + http.StatusText(e.http) + " " + form.name
			wantMessage := e.message
			if wantMessage == "" {
				wantMessage = "messages.0: the input is bad, says [redacted]"
			}
			if f.Kind != e.kind || f.Status != e.status || f.Code != e.code || f.Message != wantMessage {
				t.Errorf("%s: %s %d %q %q; want %s %d %q %q", name, f.Kind, f.Status, f.Code, f.Message, e.kind, e.status, e.code, wantMessage)
			}
			var x *Exception
			if !errors.As(f, &x) || x.Type != e.name || x.Message != says || x.RequestID != "req-1" || x.Status != e.http {
				t.Errorf("%s: the log gets %+v", name, x)
			}
		}
	}
}

func TestExceptionsInsideAStream(t *testing.T) {
	const says = "messages.0: the input is bad, says " + secret
	payload, err := json.Marshal(map[string]string{"message": says})
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range []string{"amazon.nova-pro-v1:0", "anthropic.claude-3-5-sonnet-20241022-v2:0"} {
		for _, e := range exceptions {
			if e.name == "" || e.name == "NovelException" || e.status == 401 {
				continue
			}
			// A stream has no status: a name that is not in the table is a plain failure.
			if _, known := answers[e.name]; !known {
				e.status, e.code, e.kind, e.message = 502, "", fault.Upstream, "upstream error"
			}
			member := strings.ToLower(e.name[:1]) + e.name[1:]
			for _, f := range [][]byte{frame(t, "exception", member, string(payload)), frame(t, "exception", e.name, string(payload)), frame(t, "error", e.name, says)} {
				req := userSays("hi")
				req.Stream = true
				_, err := newCall(t, req, target(model)).reply(200, nil).Events(bytes.NewReader(f)).Next()
				var got *fault.Error
				if !errors.As(err, &got) {
					t.Fatalf("%s: %v", e.name, err)
				}
				wantMessage := e.message
				if wantMessage == "" {
					wantMessage = "messages.0: the input is bad, says [redacted]"
				}
				if got.Kind != e.kind || got.Status != e.status || got.Code != e.code || got.Message != wantMessage {
					t.Errorf("%s: %s %d %q %q; want %s %d %q %q", e.name, got.Kind, got.Status, got.Code, got.Message, e.kind, e.status, e.code, wantMessage)
				}
				var x *Exception
				if !errors.As(err, &x) || x.Message != says {
					t.Errorf("%s: the log gets %+v", e.name, x)
				}
			}
			// One that says nothing, or nothing that can be read, is what its name says.
			for _, payload := range []string{"", "junk", "null", "[]", `{"message":`} {
				req := userSays("hi")
				req.Stream = true
				_, err := newCall(t, req, target(model)).reply(200, nil).Events(bytes.NewReader(frame(t, "exception", member, payload))).Next()
				var got *fault.Error
				if !errors.As(err, &got) || got.Kind != e.kind || got.Status != e.status || e.message != "" && got.Message != e.message {
					t.Errorf("%s with the payload %q: %+v; want %s %d %q", e.name, payload, got, e.kind, e.status, e.message)
				}
			}
		}
	}
}

func TestAnthropicsErrors(t *testing.T) {
	for _, tt := range []struct {
		kind    string
		status  int
		code    string
		message string
	}{
		{"invalid_request_error", 400, "", "messages: no, [redacted]"},
		{"authentication_error", 401, "", "upstream authentication failed"},
		{"billing_error", 402, "", "the upstream refused the request"},
		{"permission_error", 403, "permission_denied", "upstream authentication failed"},
		{"not_found_error", 404, "model_not_found", "upstream model not found"},
		{"request_too_large", 413, "", "the upstream refused the request"},
		{"rate_limit_error", 429, "rate_limit_exceeded", "upstream rate limited"},
		{"api_error", 502, "", "upstream error"},
		{"timeout_error", 504, "", "upstream timed out"},
		{"overloaded_error", 503, "overloaded", "upstream overloaded"},
		{"novel_error", 502, "", "upstream error"},
	} {
		event, err := json.Marshal(map[string]any{"type": "error", "error": map[string]string{"type": tt.kind, "message": "messages: no, " + secret}})
		if err != nil {
			t.Fatal(err)
		}
		req := userSays("hi")
		req.Stream = true
		_, streamed := newCall(t, req, target("anthropic.claude-sonnet-4-5-20250929-v1:0")).reply(200, nil).Events(bytes.NewReader(chunk(t, string(event)))).Next()
		_, whole := newCall(t, userSays("hi"), target("anthropic.claude-sonnet-4-5-20250929-v1:0")).reply(200, http.Header{"Content-Type": {"application/json"}}).Whole(event)
		for _, err := range []error{streamed, whole} {
			var f *fault.Error
			if !errors.As(err, &f) || f.Status != tt.status || f.Code != tt.code || f.Message != tt.message {
				t.Errorf("%s: %v; want %d %q %q", tt.kind, err, tt.status, tt.code, tt.message)
			}
		}
	}
}

// What says no more than that a call failed is not what came of it: its status is.
func TestAnyFailureIsWhatItsStatusSays(t *testing.T) {
	for _, body := range []string{
		`{"error":{"message":"no","type":"server_error","code":"server_error","param":null}}`,
		`{"error":{"message":"no","type":"server_error","code":null,"param":null}}`,
		`{"error":{"message":"no","type":"x","code":"internal_server_error"}}`,
		`{"type":"error","error":{"type":"api_error","message":"no"},"request_id":"req_1"}`,
	} {
		for _, tt := range []struct {
			status, want int
			code         string
		}{
			{400, 400, ""},
			{401, 401, ""},
			{403, 403, ""},
			{404, 404, "model_not_found"},
			{408, 504, ""},
			{429, 429, "rate_limit_exceeded"},
			{500, 502, ""},
			{502, 502, ""},
			{503, 503, "overloaded"},
			{504, 504, ""},
			{529, 503, "overloaded"},
		} {
			c := newCall(t, userSays("hi"), target("openai.gpt-oss-120b"))
			f := c.reply(tt.status, http.Header{"Content-Type": {"application/json"}}).Fault([]byte(body))
			code := f.Code
			if code == "server_error" || code == "internal_server_error" {
				code = ""
			}
			if f.Status != tt.want || code != tt.code {
				t.Errorf("%d %s: %d %q; want %d %q", tt.status, body, f.Status, f.Code, tt.want, tt.code)
			}
		}
	}
}

func TestTooLongPrompt(t *testing.T) {
	for code, messages := range map[string][]string{
		"context_length_exceeded": {
			"Input is too long for requested model.",
			"prompt is too long: 208310 tokens > 200000 maximum",
			"The model returned the following errors: input length and `max_tokens` exceed context limit: 195000 + 8192 > 200000, decrease input length or `max_tokens` and try again",
			"The model returned the following errors: Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try again.",
			"Too many input tokens. Max input tokens: 8192, request input token count: 9001",
			"This model's maximum context length is 131072 tokens. However, your messages resulted in 140000 tokens. Please reduce the length of the messages.",
			"The decoder prompt (length 40000) is longer than the maximum model length of 32768.",
			"This model's maximum prompt length is 131072 but the request contains 200001 tokens.",
			"Your input exceeds the context window of this model. Please adjust your input and try again.",
			"invalid params, context window exceeds limit",
			"Invalid request: Your request exceeded model token limit: 262144",
			"prompt too long; exceeded max context length by 7 tokens",
			"too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000.",
		},
		"": {
			"'max_tokens' or 'max_completion_tokens' is too large: 200000. This model's maximum context length is 131072 tokens and your request has 12 input tokens (200000 > 131072 - 12).",
			"The maximum tokens you requested exceeds the model limit of 4096. Try again with a maximum tokens value that is lower than 4096.",
			"Malformed input request: expected maxLength: 64, actual: 70, please reformat your input and try again.",
		},
	} {
		for _, message := range messages {
			body, _ := json.Marshal(map[string]string{"message": message})
			c := newCall(t, userSays("hi"), target("amazon.nova-pro-v1:0"))
			if f := c.reply(400, http.Header{"X-Amzn-Errortype": {"ValidationException"}}).Fault(body); f.Code != code || f.Message != message {
				t.Errorf("%q: %q %q, want %q", message, f.Code, f.Message, code)
			}
		}
	}
}

func TestACallsOwnIdentifiersAreTakenOut(t *testing.T) {
	to := compileFor(&resource.Model{
		ModelName: "arn:aws:bedrock:us-west-2:123456789012:application-inference-profile/zz9plural",
		Bedrock:   resource.Bedrock{GuardrailConfig: &resource.GuardrailConfig{Identifier: "gr4q7x", Version: "1"}},
	}, &resource.ProviderKey{Credentials: resource.Static{Region: "home"}, APIBase: "https://bedrock.private.example:8443/x"})
	c := newCall(t, userSays("hi"), to)
	const says = "Profile zz9plural of key AKIDEXAMPLE at bedrock.private.example in home with guardrail gr4q7x failed, request r-17, messages.0 is bad."
	body, _ := json.Marshal(map[string]string{"message": says})
	f := c.reply(400, http.Header{"X-Amzn-Errortype": {"ValidationException"}, "X-Amzn-Requestid": {"r-17"}}).Fault(body)
	if want := "Profile [redacted] of key [redacted] at [redacted] in [redacted] with guardrail [redacted] failed, request [redacted], messages.0 is bad."; f.Message != want {
		t.Errorf("message %q", f.Message)
	}
}

// AWS may quote the header that signed the request: by itself, or any part of it.
func TestACallsSignatureIsTakenOut(t *testing.T) {
	c := newCall(t, userSays("hi"), target("amazon.nova-pro-v1:0"))
	temporary := token
	temporary.SessionToken = "FwoGZXIvYXdzEJrFwoGZXIvYXdz"
	s, err := c.Sign(temporary, signedAt)
	if err != nil {
		t.Fatal(err)
	}
	authorization := s.Header().Get("Authorization")
	_, signature, _ := strings.Cut(authorization, "Signature=")
	for _, says := range []string{
		authorization, signature, strings.ToUpper(signature), "Signature: " + signature, temporary.SessionToken.Reveal(),
		"x-amz-security-token:" + temporary.SessionToken.Reveal(),
	} {
		body, _ := json.Marshal(map[string]string{"message": "messages.0 is bad: '" + says + "' it was"})
		f := s.Reply(400, http.Header{"X-Amzn-Errortype": {"ValidationException"}}).Fault(body)
		if !strings.HasPrefix(f.Message, "messages.0 is bad: '") || !strings.HasSuffix(f.Message, "[redacted]' it was") {
			t.Errorf("%s: %q", says, f.Message)
		}
		for _, secret := range []string{signature, "AWS4", "content-type", token.AccessKeyID, temporary.SessionToken.Reveal()} {
			if strings.Contains(strings.ToLower(f.Message), strings.ToLower(secret)) {
				t.Errorf("%s: the caller reads %q", says, f.Message)
			}
		}
	}
}

func TestRetryAfterIsRelayed(t *testing.T) {
	for _, tt := range []struct{ sent, want string }{
		{"", ""}, {"7", "7"}, {" 7 ", "7"}, {"0", "1"}, {"-1", ""}, {"soon", ""}, {"1.5", ""}, {"Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT"},
	} {
		for status, relayed := range map[int]bool{429: true, 503: true, 400: false, 500: false} {
			c := newCall(t, userSays("hi"), target("amazon.nova-pro-v1:0"))
			want := tt.want
			if !relayed {
				want = ""
			}
			if got := c.reply(status, http.Header{"Retry-After": {tt.sent}}).Fault(nil).RetryAfter; got != want {
				t.Errorf("%d, Retry-After %q: %q, want %q", status, tt.sent, got, want)
			}
		}
	}
}

func TestHintsForTheOperator(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		name, kind, message string
		date                time.Time
		want                string
	}{
		{"expired", "ExpiredTokenException", "The security token included in the request is expired", now, "expired"},
		{"late", "InvalidSignatureException", "Signature expired: 20260102T030405Z is now earlier than 20260102T031005Z", now, "clock"},
		{"early", "InvalidSignatureException", "Signature not yet current: 20260102T030405Z", now, "clock"},
		{"a clock that is off by the Date header", "InvalidSignatureException", "no", now.Add(6 * time.Minute), "clock"},
		{"a clock that is right", "InvalidSignatureException", "no", now.Add(4 * time.Minute), ""},
	} {
		c := newCall(t, userSays("hi"), target("amazon.nova-pro-v1:0"))
		s, err := c.Sign(token, now)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := json.Marshal(map[string]string{"message": tt.message})
		f := s.Reply(403, http.Header{"X-Amzn-Errortype": {tt.kind}, "Date": {tt.date.Format(http.TimeFormat)}}).Fault(body)
		var e *Exception
		if !errors.As(f, &e) || (tt.want == "") != (e.Hint == "") || !strings.Contains(e.Hint, tt.want) {
			t.Errorf("%s: hint %q", tt.name, e.Hint)
		}
		if f.Message != "upstream authentication failed" {
			t.Errorf("%s: the caller sees %q", tt.name, f.Message)
		}
	}
}

// A 200 that is no answer is an upstream error: AWS answers some bad paths so.
func TestAnswersThatAreNone(t *testing.T) {
	plain, stream := http.Header{"Content-Type": {"application/json"}}, http.Header{"Content-Type": {"application/vnd.amazon.eventstream"}}
	for _, model := range []string{"amazon.nova-pro-v1:0", "anthropic.claude-3-5-sonnet-20241022-v2:0"} {
		for _, tt := range []struct {
			name   string
			header http.Header
			body   string
			status int
		}{
			{"an exception of Coral's", plain, `{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}`, 502},
			{"an exception in the body", plain, `{"__type":"ThrottlingException","message":"slow down"}`, 429},
			{"an exception in the header", http.Header{"Content-Type": {"application/json"}, "X-Amzn-Errortype": {"ThrottlingException"}}, `{}`, 429},
			{"an empty object", plain, `{}`, 502},
			{"null", plain, `null`, 502},
			{"a list", plain, `[]`, 502},
			{"nothing", plain, ``, 502},
			{"half a body", plain, `{"output":{"message":{"role":"assistant","content":[{"text":"a`, 502},
			{"HTML", http.Header{"Content-Type": {"text/html"}}, `<html>`, 502},
			{"no type", http.Header{}, `{}`, 502},
			{"an event stream that nobody asked for", stream, ``, 502},
		} {
			_, err := newCall(t, userSays("hi"), target(model)).reply(200, tt.header).Whole([]byte(tt.body))
			var f *fault.Error
			if !errors.As(err, &f) || f.Status != tt.status || f.Kind != fault.Upstream {
				t.Errorf("%s: %v, want %d", tt.name, err, tt.status)
			}
		}
	}
	for _, body := range []string{
		`{"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`,
		`{"output":{},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`,
		`{"output":{"message":{"role":"assistant","content":[{"text":"a"}]}},"usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`,
		`{"output":{"message":{"role":"assistant","content":[{"text":"a"}]}},"stopReason":"end_turn"}`,
		`{"output":{"message":{"role":"assistant","content":[{"text":"a"}]}},"stopReason":"malformed_tool_use","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`,
		`{"output":{"message":{"role":"assistant","content":[{"text":"a"}]}},"stopReason":"malformed_model_output","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`,
	} {
		_, err := newCall(t, userSays("hi"), target("amazon.nova-pro-v1:0")).reply(200, plain).Whole([]byte(body))
		var f *fault.Error
		if !errors.As(err, &f) || f.Status != 502 {
			t.Errorf("%s: %v, want 502", body, err)
		}
	}
	for _, body := range []string{
		`{"type":"message","id":"m","content":[],"usage":{"input_tokens":1,"output_tokens":1}}`,
		`{"type":"message","id":"m","content":[],"stop_reason":"end_turn"}`,
		`{"id":"m","content":[],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`,
	} {
		_, err := newCall(t, userSays("hi"), target("anthropic.claude-3-haiku-20240307-v1:0")).reply(200, plain).Whole([]byte(body))
		var f *fault.Error
		if !errors.As(err, &f) || f.Status != 502 {
			t.Errorf("%s: %v, want 502", body, err)
		}
	}
}

// What is used up for the day is not worth a client's retry: AWS tells it by the text of
// a throttling, before a stream and in it.
func TestQuotaOfADay(t *testing.T) {
	const quota, rate = "insufficient_quota", "rate_limit_exceeded"
	for _, tt := range []struct {
		name    string
		http    int
		message string
		code    string
	}{
		{"ThrottlingException", 429, "Too many tokens per day, please wait before trying again.", quota},
		{"ThrottlingException", 400, "Too many tokens per day, please wait before trying again.", quota},
		{"ThrottlingException", 429, "Too many requests per day for account 123456789012", quota},
		{"ThrottlingException", 429, "You have exceeded your daily token quota. Try again tomorrow.", quota},
		{"ThrottlingException", 429, "Your request was denied: the TOKENS PER DAY limit of this model is reached", quota},
		{"TooManyRequestsException", 429, "Daily quota reached.", quota},
		{"Throttling", 400, "tokens-per-day quota reached", quota},
		{"Throttling", 400, "the per-day quota is reached", quota},
		{"", 429, "Too many tokens per day", quota},
		{"NovelThrottling", 429, "Too many tokens per day", quota},
		{"", 400, "Too many tokens per day, please wait before trying again.", quota},
		{"ThrottlingException", 429, "Too many tokens, please wait before trying again.", rate},
		{"ThrottlingException", 429, "Too many requests, please wait before trying again.", rate},
		{"ThrottlingException", 429, "Too many tokens per minute", rate},
		{"ThrottlingException", 429, "", rate},
		{"ValidationException", 400, "Too many tokens per day is no parameter", ""},
		{"", 400, "the schema names 'tokens per day'", ""},
	} {
		body, err := json.Marshal(map[string]string{"message": tt.message})
		if err != nil {
			t.Fatal(err)
		}
		c := newCall(t, userSays("q"), target(nova))
		f := c.reply(tt.http, http.Header{"X-Amzn-Errortype": {tt.name}, "Content-Type": {"application/json"}, "Retry-After": {"30"}}).Fault(body)
		want := 429
		if tt.code == "" {
			want = 400
		}
		if f.Kind != fault.Upstream || f.Status != want || f.Code != tt.code || want == 429 && (f.Message != "upstream rate limited" || f.RetryAfter != "30") {
			t.Errorf("%s %d %q: %d %s %q, Retry-After %q; want %d %s", tt.name, tt.http, tt.message, f.Status, f.Code, f.Message, f.RetryAfter, want, tt.code)
		}
	}
}

// What a throttled model says of the delay is told to the caller, as a header would be: clients
// of Responses wait so long.
func TestDelayInWords(t *testing.T) {
	for message, want := range map[string]string{
		"Rate limit reached for gpt. Please try again in 11.054s.": "12",
		"please TRY AGAIN IN 20 seconds":                           "20",
		"try again in 350ms":                                       "1",
		"try again in 1500 ms.":                                    "2",
		"try again in a while":                                     "",
		"try again in 5 minutes":                                   "",
		"slow down":                                                "",
	} {
		if got := saidDelay(message); got != want {
			t.Errorf("%q: %q, want %q", message, got, want)
		}
	}
	c := newCall(t, userSays("q"), compile(&resource.Model{ModelName: "us.openai.gpt-5.6-sol", API: "responses"}))
	f := c.reply(http.StatusTooManyRequests, http.Header{"Content-Type": {"application/json"}}).Fault([]byte(`{"error":{"type":"tokens","code":"rate_limit_exceeded","message":"Please try again in 3.2s"}}`))
	if f.RetryAfter != "4" {
		t.Errorf("Retry-After %q", f.RetryAfter)
	}
}
