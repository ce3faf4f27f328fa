package sigv4

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go/encoding/httpbinding"
)

// sdk is what the SDK's signer makes of a request: the fields that go out.
func sdk(t *testing.T, fields []Field, u *url.URL, body []byte, c Credentials, now time.Time) []Field {
	t.Helper()
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	req := &http.Request{Method: http.MethodPost, URL: u, Host: u.Host, Header: http.Header{"X-Amz-Content-Sha256": {hash}}}
	var out []Field
	for _, f := range fields {
		if isSigned(f.Key) {
			req.Header.Set(f.Key, f.Value)
		} else {
			out = append(out, f)
		}
	}
	err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.Secret, SessionToken: c.SessionToken}, req, hash, "bedrock", c.Region, now)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range req.Header {
		for _, v := range values {
			out = append(out, Field{strings.ToLower(name), v})
		}
	}
	slices.SortFunc(out, ByName)
	return out
}

func TestAsTheSDKSigns(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	signer := Signer{Service: "bedrock"} // one for all: keys of some are kept, those of others made
	for i := range 5000 {
		raw := pick("", "/prefix", "/a/b%2Fc") + "/model/" + pick("amazon.nova-pro-v1%3A0", "mistral.x", "arn%3Aaws%3Abedrock%3A%2Fab12", "imported%3Bx%20%2B%C3%A4%252F", "a~b_c-d.e") + pick("/converse", "/invoke-with-response-stream")
		path, err := url.PathUnescape(raw)
		if err != nil {
			t.Fatal(err)
		}
		u := &url.URL{Scheme: "https", Host: pick("bedrock-runtime.us-west-2.amazonaws.com", "private.example:8443", "[fd00::1]:8080", "h"), Path: path, RawPath: raw}
		fields := []Field{{"content-type", "application/json"}}
		for _, f := range []Field{
			{"accept", "application/json"}, {"x-amzn-bedrock-accept", "application/json"},
			{"x-amzn-bedrock-guardrailversion", pick("", "1", "DRAFT")}, {"x-amzn-bedrock-trace", pick("ENABLED", " two  spaces ", "\t a\t ", "   ", "a   b    c", "ü  ")},
			{"x-amzn-bedrock-request-metadata", fmt.Sprintf(`{"team":"%s"}`, pick("a", "a b", "a  b", strings.Repeat("long  ", 200)))},
		} {
			if r.IntN(2) == 0 {
				fields = append(fields, f)
			}
		}
		r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
		c := Credentials{AccessKeyID: pick("AKIDEXAMPLE", "AKIDOTHER"), Secret: pick("secret", strings.Repeat("s", 100)), SessionToken: pick("", "session", strings.Repeat("t/+=", 400)), Region: pick("us-west-2", "eu-central-1", "cn-north-1")}
		now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3600*(r.IntN(20)-10))).Add(time.Duration(r.IntN(72)) * time.Hour)
		body := []byte(strings.Repeat("x", r.IntN(2)*r.IntN(300)))
		want := sdk(t, fields, u, body, c, now)
		got := signer.Sign(slices.Clone(fields), Request{Host: u.Host, Path: httpbinding.EscapePath(u.EscapedPath(), false), Body: body}, c, now)
		if !slices.Equal(got, want) {
			t.Fatalf("%d: %s\n got %v\nwant %v", i, u, got, want)
		}
	}
}

// A secret that changes under one access key, and a new day, have a new key; no more keys
// are kept than so many.
func TestKeys(t *testing.T) {
	s := Signer{Service: "bedrock"}
	seen := map[[sha256.Size]byte]bool{}
	for _, c := range []struct{ id, secret, region, day string }{
		{"a", "s", "r", "20260304"}, {"a", "s2", "r", "20260304"}, {"a", "s", "r", "20260304"}, {"a", "s", "r", "20260305"}, {"a", "s", "r2", "20260305"}, {"b", "s", "r2", "20260305"},
	} {
		seen[s.key(Credentials{AccessKeyID: c.id, Secret: c.secret, Region: c.region}, c.day)] = true
	}
	if len(seen) != 4 { // the third is the first one's, the last the one's before
		t.Errorf("%d keys", len(seen))
	}
	for i := range 3 * maxKeys {
		s.key(Credentials{AccessKeyID: fmt.Sprint(i), Secret: "s"}, "20260304")
	}
	if len(s.keys) > maxKeys {
		t.Errorf("%d keys are kept", len(s.keys))
	}
}

func TestConcurrentUse(t *testing.T) {
	s := Signer{Service: "bedrock"}
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				c := Credentials{AccessKeyID: fmt.Sprint(i % 2), Secret: fmt.Sprint(j % 3), Region: "r"}
				first := s.Sign(nil, Request{Host: "h", Path: "/"}, c, now)
				fresh := Signer{Service: "bedrock"}
				if again := fresh.Sign(nil, Request{Host: "h", Path: "/"}, c, now); !slices.Equal(first, again) {
					t.Errorf("%v, then %v", first, again)
				}
			}
		})
	}
	wg.Wait()
}

// A signature takes four allocations: its three texts, and room for the fields.
func TestAllocations(t *testing.T) {
	s := Signer{Service: "bedrock"}
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	c := Credentials{AccessKeyID: "AKIDEXAMPLE", Secret: "secret", SessionToken: strings.Repeat("t", 300), Region: "us-west-2"}
	body := make([]byte, 1<<10)
	if n := testing.AllocsPerRun(100, func() {
		fields := append(make([]Field, 0, 8), Field{"content-type", "application/json"})
		s.Sign(fields, Request{Host: "bedrock-runtime.us-west-2.amazonaws.com", Path: "/model/amazon.nova-pro-v1%253A0/converse", Body: body}, c, now)
	}); n > 4 {
		t.Errorf("%v allocations", n)
	}
}
