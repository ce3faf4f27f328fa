package bedrock

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
)

// awsIdentifiers are one of each kind that must not reach a caller.
var awsIdentifiers = []string{
	"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-5-sonnet-20241022-v2:0",
	"arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:provisioned-model/abc123def456",
	"arn:aws:iam::123456789012:user/alice",
	"arn:aws:sts::123456789012:assumed-role/gateway/session",
	"123456789012",
	"1234-5678-9012",
	"us-east-1", "ap-southeast-2", "us-gov-west-1", "cn-northwest-1", "eusc-de-east-1", "us-isob-east-1", "mx-central-1",
	"https://bedrock-runtime.eu-central-1.amazonaws.com/model/x/converse",
	"bedrock-runtime-fips.us-east-1.amazonaws.com",
	"bedrock-runtime.us-east-1.api.aws",
	"vpce-0a1b2c3d4e5f6a7b8-abcdefgh.bedrock-runtime.vpce.amazonaws.com",
	"AKIAIOSFODNN7EXAMPLE",
	"ASIAIOSFODNN7EXAMPLE",
	"123e4567-e89b-12d3-a456-426614174000",
	"1-5759e988-bd862e3fe1be46a994272793",
	"use1-az4",
}

// Messages as Bedrock writes them; the names of fields must survive.
func TestRedactionKeepsWhatTheCallerDidWrong(t *testing.T) {
	for _, message := range []string{
		"temperature: range: 0..1",
		"messages.1.content.0: Invalid `signature` in `thinking` block",
		"The model returned the following errors: messages.1.content.0.tool_result: unexpected `tool_use_id` found in `tool_result` blocks: toolu_bdrk_01A2b3C4d5E6f7G8h9J0k1L2. Each `tool_result` block must have a corresponding `tool_use` block in the previous message.",
		"The model returned the following errors: tools.0.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft 2020-12",
		"The model returned the following errors: messages: text content blocks must be non-empty",
		"The model returned the following errors: max_tokens: 200000 > 8192, which is the maximum allowed number of output tokens for claude-3-5-sonnet-20241022",
		"The model returned the following errors: `temperature` and `top_p` cannot both be specified for this model. Please use only one.",
		"Malformed input request: #/messages/0: extraneous key [x] is not permitted, please reformat your input and try again.",
		"Malformed input request: #/messages/0/content/1/toolResult/content/0: expected minLength: 1, actual: 0, please reformat your input and try again.",
		"1 validation error detected: Value '[]' at 'messages.1.member.content' failed to satisfy constraint: Member must have length greater than or equal to 1",
		"2 validation errors detected: Value '-1' at 'inferenceConfig.maxTokens' failed to satisfy constraint: Member must have value greater than or equal to 1; Value '7.5' at 'inferenceConfig.topP' failed to satisfy constraint: Member must have value less than or equal to 1",
		"1 validation error detected: Value 'a b' at 'toolConfig.tools.1.member.toolSpec.name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+",
		"The toolConfig field must be defined when using toolUse and toolResult content blocks.",
		"A conversation must start with a user message. Try again with a conversation that starts with a user message.",
		"This model doesn't support tool use.",
		"This model doesn't support the toolConfig.toolChoice.any field. Remove toolConfig.toolChoice.any and try again.",
		"Input is too long for requested model.",
		"prompt is too long: 208310 tokens > 200000 maximum",
		"input length and `max_tokens` exceed context limit: 195000 + 8192 > 200000, decrease input length or `max_tokens` and try again",
		"Invocation of model ID anthropic.claude-3-5-sonnet-20241022-v2:0 with on-demand throughput isn’t supported. Retry your request with the ID or ARN of an inference profile that contains this model.",
		"The provided model identifier is invalid.",
		"messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 7340032 bytes > 5242880 bytes",
		"You invoked an unsupported model or your request did not allow prompt caching. See the documentation for more information.",
		"Operation not allowed",
		"Value 'être déjà vu 模型 👩‍💻' at 'messages' is not useful",
		"the document is in the far north of our western accessibility records, accumulated according to us",
		"guardrail was enabled: project, asia pacific and accommodation are words",
	} {
		r := redactor{secrets: []string{"", "bedrock-runtime.us-west-2.amazonaws.com", "AKIDEXAMPLE", "us-west-2"}}
		if got := r.message(message); got != message {
			t.Errorf("lost something:\n got %q\nwant %q", got, message)
		}
	}
}

func TestRedaction(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"The model arn:aws:bedrock:us-east-1:123456789012:foundation-model/x isn't supported, sorry.", "The model [redacted] isn't supported, sorry."},
		{"Account 123456789012 in us-east-1.", "Account [redacted] in [redacted]."},
		{"see private.example:8443 for more", "see [redacted] for more"},
		{"see PRIVATE.example:8443/x for more", "see [redacted] for more"},
		{"key AKID%45XAMPLE is unknown", canned},

		// Account ids beside text and taken apart.
		{"account=123456789012;", canned},
		{"of account=123456789012;", "of [redacted];"},
		{"acct123456789012x is unknown", "[redacted] is unknown"},
		{"account 1234-5678-9012 is unknown", "account [redacted] is unknown"},
		{"account 1234 5678 9012 is unknown", "account [redacted] is unknown"},
		{"account 1234.5678.9012 is unknown", "account [redacted] is unknown"},
		{"account 123-456-789-012 is unknown", "account [redacted] is unknown"},
		{"account １２３４５６７８９０１２ is unknown", "account [redacted] is unknown"},
		{"account 1234\u200b56789012 is unknown", "account [redacted] is unknown"},

		// Regions in prose, by another spelling and by name.
		{"try the region eu_west_1 instead", "try the region [redacted] instead"},
		{"try the region us east 1 instead", "try the region [redacted] instead"},
		{"try (useast1) instead", "try ([redacted]) instead"},
		{"try US East (N. Virginia), or Europe (Frankfurt)", "try [redacted], or [redacted]"},
		{"try us‑east‑1 instead", "try [redacted] instead"},
		{"try us-\u200beast-1 instead", "try [redacted] instead"},
		{"try us%2Deast%2D1 instead", canned},
		{`try us\u002deast\u002d1 instead`, canned},

		// ARNs.
		{"resource ARN:AWS:Bedrock:x is unknown", "resource [redacted] is unknown"},
		{"resource arn%3Aaws%3Abedrock is unknown", "resource [redacted] is unknown"},
		{"resource arn%253Aaws%253Abedrock is unknown", canned},
		{"resource &#97;rn&colon;aws is unknown", canned},
		{"resource arn：aws：bedrock is unknown", "resource [redacted] is unknown"},
		{"resource (arn:aws:x), is unknown", "resource ([redacted]), is unknown"},
		{`{"resource":"arn:aws:bedrock:us-east-1:123456789012:x","kind":"y"}`, `{"resource":"[redacted]","kind":"y"}`},
		{"profile application-inference-profile/ab12cd34 is gone", "profile [redacted] is gone"},
		{"resource a r n : a w s : bedrock is unknown", canned},
		{"region us - east - 1 is unknown", canned},

		{"host 10.0.12.7:443 is away", "host [redacted] is away"},
		{"host [fd00:0:0:0:0:0:0:17]:443 is away", "host [[redacted] is away"},
		{"request 9b2d63a64f9c4c0e8d3f0b7a1c2d3e4f failed", "request [redacted] failed"},
		{"token IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLXdlc3QtMiJHMEUCIQD1 expired", "token [redacted] expired"},

		{"arn:aws:x", canned},
		{"", canned},
		{"caf\xe9", canned},
		{strings.Repeat("x", maxCleaned+1), canned},
		{"head " + strings.Repeat("middle ", 1000) + "tail", ""},
	} {
		r := redactor{secrets: []string{"", "private.example:8443", "private.example", "AKIDEXAMPLE"}}
		got := r.message(tt.in)
		if tt.want == "" {
			if len(got) > maxMessage+10 || !strings.HasPrefix(got, "head middle ") || !strings.HasSuffix(got, " middle tail") || !strings.Contains(got, " […] ") {
				t.Errorf("a long message became %q", got)
			}
			continue
		}
		if got != tt.want {
			t.Errorf("message(%q)\n got %q\nwant %q", tt.in, got, tt.want)
		}
	}
}

func TestRedactionOfIdentifiersInEverySentence(t *testing.T) {
	for i, id := range awsIdentifiers {
		for j, form := range []func(string) string{
			func(s string) string { return s }, strings.ToUpper, url.QueryEscape,
			func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
			func(s string) string { return "x" + s + "y" },
			func(s string) string { return strings.ReplaceAll(s, "-", "\u2010") },
			func(s string) string { return strings.Join(strings.Split(s, ""), "\u200d") },
			func(s string) string { return strings.Join(strings.Split(s, ""), "\u0301") },
			wide,
		} {
			around := [][2]string{{"Model ", " is not there."}, {"Model '", "' is not there"}, {"(", "), says the service"}, {"id=", "; try again"}, {"<", "> says no"}, {"the model\n", "\nis not there"}}[(i+j)%6]
			in := around[0] + form(id) + around[1]
			if got := (redactor{}).message(in); leaks(got, id) {
				t.Errorf("message(%q) = %q", in, got)
			}
		}
	}
}

// wide are the full-width forms of s.
func wide(s string) string {
	return strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f {
			return r + 0xfee0
		}
		return r
	}, s)
}

// leaks tells whether the letters and digits of id still stand in got one behind
// the other. It knows nothing of how the redactor looks for them.
func leaks(got, id string) bool {
	return strings.Contains(bare(got), bare(id))
}

func bare(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0xff01 && r <= 0xff5e {
			r -= 0xfee0
		}
		if r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

func FuzzRedact(f *testing.F) {
	for i := range awsIdentifiers {
		f.Add(i, "Model ", " is not there")
		f.Add(i, "x", "y")
		f.Add(i, "9", "0-")
		f.Add(i, "\"", "\u200b")
		f.Add(i, "%", "%3")
		f.Add(i, "\\u00", "&#")
	}
	f.Fuzz(func(t *testing.T, n int, before, after string) {
		id := awsIdentifiers[uint(n)%uint(len(awsIdentifiers))]
		if leaks(before, id) || leaks(after, id) || leaks(canned, id) {
			return
		}
		r := redactor{}
		got := r.message(before + id + after)
		if strings.Contains(got, id) {
			t.Errorf("%q shows %q", got, id)
		}
		if again := r.message(got); got != canned && again != got && again != canned {
			t.Errorf("%q, cleaned again, is %q", got, again)
		}
	})
}
