package bedrock

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/cmd/bedrocksim/sigv4"
	"aisix/extproc/chat"
	"aisix/extproc/identity"
)

var signedAt = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// onTheWire is the attempt as a server's parser reads it, after a proxy added and
// changed what proxies do.
func onTheWire(t *testing.T, s *Signed) *http.Request {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(http.MethodPost + " " + s.Path + " HTTP/1.1\r\nHost: " + s.URL.Host + "\r\n")
	b.WriteString("Content-Length: " + strconv.Itoa(len(s.Body())) + "\r\nX-Forwarded-Proto: https\r\nX-Request-Id: 1\r\nUser-Agent: envoy\r\n")
	for name, values := range s.Header() {
		for _, v := range values {
			b.WriteString(strings.ToLower(name) + ": " + v + "\r\n")
		}
	}
	b.WriteString("\r\n")
	b.Write(s.Body())
	r, err := http.ReadRequest(bufio.NewReader(&b))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The verifier shares no code with the signer or the SDK.
func TestSignaturesHoldForAnIndependentVerifier(t *testing.T) {
	long, temporary := token, token
	long.SessionToken = ""
	knobs := resource.Bedrock{
		GuardrailConfig:   &resource.GuardrailConfig{Identifier: "gr1", Version: "DRAFT", Trace: "enabled"},
		PerformanceConfig: &resource.Performance{Latency: "optimized"},
		ServiceTier:       &resource.ServiceTier{Type: "flex"},
		RequestMetadata:   map[string]string{"team": "a b", "x": "y"},
	}
	for _, tt := range []struct {
		name, model, endpoint string
		options               resource.Bedrock
		host, path            string
	}{
		{name: "a plain id", model: "mistral.mistral-large-2402", host: "bedrock-runtime.us-west-2.amazonaws.com", path: "/model/mistral.mistral-large-2402/converse"},
		{name: "an id with a colon", model: "amazon.nova-pro-v1:0", host: "bedrock-runtime.us-west-2.amazonaws.com", path: "/model/amazon.nova-pro-v1%3A0/converse"},
		{name: "an ARN with slashes", model: "arn:aws:bedrock:us-west-2:123456789012:application-inference-profile/ab12cd34ef56", host: "bedrock-runtime.us-west-2.amazonaws.com",
			path: "/model/arn%3Aaws%3Abedrock%3Aus-west-2%3A123456789012%3Aapplication-inference-profile%2Fab12cd34ef56/converse"},
		{name: "an inference profile of Claude's", model: "us.anthropic.claude-sonnet-4-5-20250929-v1:0", host: "bedrock-runtime.us-west-2.amazonaws.com", path: "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke"},
		{name: "Claude with knobs in headers", model: "anthropic.claude-3-haiku-20240307-v1:0", options: knobs, host: "bedrock-runtime.us-west-2.amazonaws.com", path: "/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke"},
		{name: "odd characters", model: "imported;x +ä%2F", host: "bedrock-runtime.us-west-2.amazonaws.com", path: "/model/imported%3Bx%20%2B%C3%A4%252F/converse"},
		{name: "a prefix, a port, a slash at the end", model: "amazon.nova-pro-v1:0", endpoint: "https://private.example:8443/a/b%2Fc//", host: "private.example:8443", path: "/a/b%2Fc/model/amazon.nova-pro-v1%3A0/converse"},
		{name: "a default port", model: "amazon.nova-pro-v1:0", endpoint: "https://private.example:443", host: "private.example", path: "/model/amazon.nova-pro-v1%3A0/converse"},
		{name: "another default port", model: "amazon.nova-pro-v1:0", endpoint: "http://private.example:80/", host: "private.example", path: "/model/amazon.nova-pro-v1%3A0/converse"},
		{name: "the other scheme's port", model: "amazon.nova-pro-v1:0", endpoint: "http://private.example:443", host: "private.example:443", path: "/model/amazon.nova-pro-v1%3A0/converse"},
		{name: "IPv6", model: "amazon.nova-pro-v1:0", endpoint: "http://[fd00::1]:8080", host: "[fd00::1]:8080", path: "/model/amazon.nova-pro-v1%3A0/converse"},
		{name: "IPv6, a default port", model: "amazon.nova-pro-v1:0", endpoint: "https://[fd00::1]:443/x", host: "[fd00::1]", path: "/x/model/amazon.nova-pro-v1%3A0/converse"},
	} {
		for _, stream := range []bool{false, true} {
			for _, keys := range []identity.Token{long, temporary} {
				to := compileFor(&resource.Model{ModelName: tt.model, Bedrock: tt.options}, &resource.ProviderKey{Credentials: creds, APIBase: tt.endpoint})
				req := userSays("hi")
				req.Stream = stream
				c := newCall(t, req, to)
				s, err := c.Sign(keys, signedAt)
				if err != nil {
					t.Fatal(err)
				}
				path := tt.path
				if stream {
					path = strings.ReplaceAll(strings.ReplaceAll(path, "/converse", "/converse-stream"), "/invoke", "/invoke-with-response-stream")
				}
				if s.URL.Host != tt.host || s.Path != path {
					t.Errorf("%s: %s %s; want %s %s", tt.name, s.URL.Host, s.Path, tt.host, path)
				}
				v := &sigv4.Verifier{
					Keys:    map[string][]sigv4.Key{"AKIDEXAMPLE": {{Secret: "secret", Token: string(keys.SessionToken.Reveal())}}},
					Service: "bedrock", Region: "us-west-2", Skew: 5 * time.Minute, Now: func() time.Time { return signedAt.Add(time.Minute) },
				}
				if _, err := v.Verify(onTheWire(t, s), s.Body()); err != nil {
					t.Errorf("%s: %v", tt.name, err)
				}
				for name := range s.Header() {
					if !slices.Contains([]string{"Authorization", "Content-Type", "Accept", "X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token"}, name) && !strings.HasPrefix(name, "X-Amzn-Bedrock-") {
						t.Errorf("%s: sends %s", tt.name, name)
					}
				}
				signed := "content-type;host;x-amz-content-sha256;x-amz-date"
				if keys.SessionToken != "" {
					signed += ";x-amz-security-token"
				}
				if a := s.Header().Get("Authorization"); tt.options.GuardrailConfig == nil && !strings.Contains(a, "SignedHeaders="+signed+",") && !strings.Contains(a, "SignedHeaders="+signed+";x-amzn-bedrock-accept,") {
					t.Errorf("%s: %s", tt.name, a)
				}
			}
		}
	}
}

func TestInvokeModelsKnobsAreHeaders(t *testing.T) {
	to := compile(&resource.Model{ModelName: "anthropic.claude-3-haiku-20240307-v1:0", Bedrock: resource.Bedrock{
		GuardrailConfig:   &resource.GuardrailConfig{Identifier: "gr1", Version: "DRAFT", Trace: "enabled_full", StreamMode: "async"},
		PerformanceConfig: &resource.Performance{Latency: "optimized"},
		ServiceTier:       &resource.ServiceTier{Type: "flex"},
		RequestMetadata:   map[string]string{"team": "a b"},
	}})
	for _, stream := range []bool{false, true} {
		req := userSays("hi")
		req.Stream = stream
		c := newCall(t, req, to)
		s, err := c.Sign(token, signedAt)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"X-Amzn-Bedrock-Guardrailidentifier":       "gr1",
			"X-Amzn-Bedrock-Guardrailversion":          "DRAFT",
			"X-Amzn-Bedrock-Trace":                     "ENABLED_FULL",
			"X-Amzn-Bedrock-Performanceconfig-Latency": "optimized",
			"X-Amzn-Bedrock-Service-Tier":              "flex",
			"X-Amzn-Bedrock-Request-Metadata":          `{"team":"a b"}`,
			"Content-Type":                             "application/json",
		} {
			if got := s.Header().Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
			if !strings.Contains(s.Header().Get("Authorization"), strings.ToLower(name)) {
				t.Errorf("%s is not signed", name)
			}
		}
		mode := strings.Contains(string(c.body), `"amazon-bedrock-guardrailConfig":{"streamProcessingMode":"ASYNCHRONOUS"}`)
		if mode != stream {
			t.Errorf("stream %v: body %s", stream, c.body)
		}
	}
}

func TestEachAttemptIsSignedAnew(t *testing.T) {
	c := newCall(t, userSays("hi"), target("amazon.nova-pro-v1:0"))
	first, err := c.Sign(token, signedAt)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Sign(token, signedAt.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if first.Header().Get("Authorization") == second.Header().Get("Authorization") || second.Header().Get("X-Amz-Date") != "20260304T060607Z" {
		t.Errorf("second attempt: %v", second.Header())
	}
	if slices.ContainsFunc(c.header, func(f Field) bool { return f.Key == "authorization" }) {
		t.Error("a signature stays in the call")
	}
}

func TestCredentialsComeFromTheProviderKeyOnly(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "environment")
	t.Setenv("AWS_SESSION_TOKEN", "environment")
	t.Setenv("AWS_REGION", "eu-west-1")
	long := token
	long.SessionToken = ""
	c := newCall(t, &chat.Request{Messages: userSays("hi").Messages}, target("amazon.nova-pro-v1:0"))
	s, err := c.Sign(long, signedAt)
	if err != nil {
		t.Fatal(err)
	}
	if a := s.Header().Get("Authorization"); !strings.Contains(a, "Credential=AKIDEXAMPLE/20260304/us-west-2/bedrock/aws4_request") || s.Header().Get("X-Amz-Security-Token") != "" {
		t.Errorf("signed by %s", a)
	}
}
