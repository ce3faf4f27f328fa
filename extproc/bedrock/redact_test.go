package bedrock

import (
	"strings"
	"testing"
)

// awsIdentifiers are one of each kind that must not reach a caller.
var awsIdentifiers = []string{
	"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude",
	"arn%3Aaws%3Abedrock",
	"123456789012",
	"1234-5678-9012",
	"us-east-1",
	"ap-southeast-2",
	"us-gov-west-1",
	"https://bedrock-runtime.eu-west-1.amazonaws.com/model/x",
	"bedrock-runtime.eu-west-1.amazonaws.com",
	"vpce-0a1b2c3d4e5f.bedrock-runtime.vpce.amazonaws.com",
	"AKIAIOSFODNN7EXAMPLE",
	"ASIAIOSFODNN7EXAMPLE",
	"123e4567-e89b-12d3-a456-426614174000",
}

func TestRedactionKeepsWhatTheCallerDidWrong(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"temperature: range: 0..1", "temperature: range: 0..1"},
		{"messages.1.content.0: Invalid `signature` in `thinking` block", "messages.1.content.0: Invalid `signature` in `thinking` block"},
		{"The model arn:aws:bedrock:us-east-1:123456789012:foundation-model/x isn't supported, sorry.", "The model [redacted] isn't supported, sorry."},
		{"Account 123456789012 in us-east-1.", "Account [redacted] in [redacted]."},
		{"max_tokens: 200000 > 8192, which is the maximum allowed number of output tokens for claude-3", "max_tokens: 200000 > 8192, which is the maximum allowed number of output tokens for claude-3"},
		{"see private.example:8443 for more", "see [redacted] for more"},
		{"account 1234 5678 9012 has no access", canned},
		{"us-\u200beast-1", canned},
		{"arn:aws:x", canned},
		{"", canned},
		{strings.Repeat("x", maxMessage+1), canned},
	} {
		r := redactor{secrets: []string{"", "private.example:8443"}}
		if got := r.message(tt.in); got != tt.want {
			t.Errorf("message(%q)\n got %q\nwant %q", tt.in, got, tt.want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	for i := range awsIdentifiers {
		f.Add(i, "Model ", " is not there")
		f.Add(i, "x", "y")
		f.Add(i, "9", "0-")
		f.Add(i, "\"", "\u200b")
	}
	f.Fuzz(func(t *testing.T, n int, before, after string) {
		id := awsIdentifiers[uint(n)%uint(len(awsIdentifiers))]
		got := redactor{}.message(before + id + after)
		if strings.Contains(canned, strings.TrimSpace(got)) || strings.Contains(redacted, got) {
			return
		}
		if strings.Contains(got, id) {
			t.Errorf("%q shows %q", got, id)
		}
		if trace.MatchString(got) {
			t.Errorf("%q has a trace of an identifier", got)
		}
	})
}
