package sigv4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func verifier() *Verifier {
	return &Verifier{
		Keys: map[string][]Key{
			"AKID":    {{Secret: "secret"}},
			"ASIA":    {{Secret: "temporary", Token: "token"}},
			"EXPIRED": {{Secret: "late", Token: "old", Expired: true}},
		},
		Service: "bedrock", Skew: 5 * time.Minute, Now: func() time.Time { return now },
	}
}

// signed is a request as the SDK's own signer signs it: the reference that the
// verifier is held to.
func signed(t *testing.T, path, body string, creds aws.Credentials, at time.Time) *http.Request {
	t.Helper()
	r := httptest.NewRequest("POST", "http://127.0.0.1:3010"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	sum := sha256.Sum256([]byte(body))
	err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hex.EncodeToString(sum[:]), "bedrock", "us-west-2", at)
	if err != nil {
		t.Fatal(err)
	}
	r.RequestURI = path
	return r
}

func TestVerifyTakesWhatTheSDKSigns(t *testing.T) {
	for _, path := range []string{
		"/model/amazon.nova-pro-v1/converse",
		"/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/invoke",
		"/model/arn%3Aaws%3Abedrock%3Aus-west-2%3A123456789012%3Ainference-profile%2Fus.meta.llama3-3-70b-instruct-v1%3A0/converse-stream",
		"/private/prefix/model/x%20y/converse?b=2&a=1%2F2",
	} {
		for _, creds := range []aws.Credentials{{AccessKeyID: "AKID", SecretAccessKey: "secret"}, {AccessKeyID: "ASIA", SecretAccessKey: "temporary", SessionToken: "token"}} {
			s, err := verifier().Verify(signed(t, path, `{"a":1}`, creds, now), []byte(`{"a":1}`))
			if err != nil || s.AccessKeyID != creds.AccessKeyID || s.Region != "us-west-2" {
				t.Errorf("%s: %+v, %v", path, s, err)
			}
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	good := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}
	const path = "/model/anthropic.claude-v2%3A1/invoke"
	for _, c := range []struct {
		name, want string
		creds      aws.Credentials
		at         time.Time
		change     func(*http.Request)
		body       string // "" is the one signed
	}{
		{name: "no signature", want: "MissingAuthenticationTokenException", change: func(r *http.Request) { r.Header.Del("Authorization") }},
		{name: "a caller's bearer", want: "IncompleteSignatureException", change: func(r *http.Request) { r.Header.Set("Authorization", "Bearer sk-x") }},
		{name: "both", want: "IncompleteSignatureException", change: func(r *http.Request) { r.Header.Add("Authorization", "Bearer sk-x") }},
		{name: "no date", want: "IncompleteSignatureException", change: func(r *http.Request) { r.Header.Del("X-Amz-Date") }},
		{name: "unknown key", want: "UnrecognizedClientException", creds: aws.Credentials{AccessKeyID: "NOBODY", SecretAccessKey: "secret"}},
		{name: "wrong secret", want: "InvalidSignatureException", creds: aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "wrong"}},
		{name: "token of a long-lived key", want: "UnrecognizedClientException", creds: aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret", SessionToken: "x"}},
		{name: "wrong token", want: "UnrecognizedClientException", creds: aws.Credentials{AccessKeyID: "ASIA", SecretAccessKey: "temporary", SessionToken: "x"}},
		{name: "no token", want: "UnrecognizedClientException", creds: aws.Credentials{AccessKeyID: "ASIA", SecretAccessKey: "temporary"}},
		{name: "expired", want: "ExpiredTokenException", creds: aws.Credentials{AccessKeyID: "EXPIRED", SecretAccessKey: "late", SessionToken: "old"}},
		{name: "clock behind", want: "InvalidSignatureException", at: now.Add(-6 * time.Minute)},
		{name: "clock ahead", want: "InvalidSignatureException", at: now.Add(6 * time.Minute)},
		{name: "body changed", want: "InvalidSignatureException", body: `{"a":2}`},
		{name: "path changed", want: "InvalidSignatureException", change: func(r *http.Request) { r.RequestURI = "/model/anthropic.claude-v2%3A2/invoke" }},
		{name: "path decoded on the way", want: "InvalidSignatureException", change: func(r *http.Request) {
			r.RequestURI = "/model/arn%3Aaws/x/invoke"
		}},
		{name: "host changed", want: "InvalidSignatureException", change: func(r *http.Request) { r.Host = "elsewhere" }},
		{name: "signed header changed", want: "InvalidSignatureException", change: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }},
		{name: "unsigned x-amz header", want: "InvalidSignatureException", change: func(r *http.Request) { r.Header.Set("X-Amz-Meta", "x") }},
		{name: "wrong hash stated", want: "InvalidSignatureException", change: func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.creds.AccessKeyID == "" {
				c.creds = good
			}
			if c.at.IsZero() {
				c.at = now
			}
			r := signed(t, path, `{"a":1}`, c.creds, c.at)
			if c.change != nil {
				c.change(r)
			}
			if c.body == "" {
				c.body = `{"a":1}`
			}
			_, err := verifier().Verify(r, []byte(c.body))
			var e *Error
			if !errors.As(err, &e) || e.Type != c.want || e.Status != 403 {
				t.Errorf("err = %v, want %s", err, c.want)
			}
		})
	}
}

func TestVerifyKeepsToItsRegion(t *testing.T) {
	v := verifier()
	v.Region = "eu-west-1"
	if _, err := v.Verify(signed(t, "/x", "", aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}, now), nil); err == nil {
		t.Error("a signature for us-west-2 passed in eu-west-1")
	}
}

func TestCanonicalPathEncodesOnceMore(t *testing.T) {
	for in, want := range map[string]string{
		"": "/", "/": "/", "/model/a-b_c.d~e": "/model/a-b_c.d~e",
		"/model/v2%3A0/invoke":    "/model/v2%253A0/invoke",
		"/model/arn%2Fx/invoke":   "/model/arn%252Fx/invoke",
		"/model/raw:colon/invoke": "/model/raw%3Acolon/invoke",
	} {
		if got := CanonicalPath(in); got != want {
			t.Errorf("CanonicalPath(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKID/20260304/us-west-2/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=00", "20260304T050607Z", []byte("{}"))
	f.Add("AWS4-HMAC-SHA256 Credential=////, SignedHeaders=, Signature=", "", []byte(nil))
	f.Fuzz(func(t *testing.T, auth, date string, body []byte) {
		r := &http.Request{Method: "POST", RequestURI: "/model/x/converse", Host: "h", Header: http.Header{"Authorization": {auth}, "X-Amz-Date": {date}}}
		r.Body = http.NoBody
		if _, err := verifier().Verify(r, bytes.Clone(body)); err == nil {
			t.Errorf("a made-up signature passed: %q", auth)
		}
	})
}
