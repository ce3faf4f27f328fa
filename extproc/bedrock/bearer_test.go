package bedrock

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/identity"
)

const apiKey = "ABSKQmVkcm9ja0FQSUtleS1hYmNkLWF0LTEyMzQ1Njc4OTAxMg"

// A Bedrock API key goes out as a bearer, on either host, and nothing of a signature.
func TestAPIKeyIsABearer(t *testing.T) {
	for _, model := range []string{"amazon.nova-pro-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"} {
		c := newCall(t, userSays("hi"), compileFor(&resource.Model{ModelName: model}, &resource.ProviderKey{Credentials: creds}))
		s, err := c.Sign(identity.Token{Bearer: apiKey}, signedAt)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Header().Values("Authorization"); !slices.Equal(got, []string{"Bearer " + apiKey}) {
			t.Errorf("authorization %q", got)
		}
		for _, f := range s.Fields {
			if strings.HasPrefix(f.Key, "x-amz-") && !strings.HasPrefix(f.Key, "x-amzn-") {
				t.Errorf("%s goes out without a signature", f.Key)
			}
		}
		if !slices.IsSortedFunc(s.Fields, func(a, b Field) int { return strings.Compare(a.Key, b.Key) }) {
			t.Errorf("not in the order of their names: %v", s.Fields)
		}
	}
}

// What an upstream repeats of the key is in no answer, and in no log.
func TestAPIKeyDoesNotShow(t *testing.T) {
	c := newCall(t, userSays("hi"), compileFor(&resource.Model{ModelName: "amazon.nova-pro-v1:0"}, &resource.ProviderKey{Credentials: creds}))
	for _, key := range []string{apiKey, "k3y"} {
		s, err := c.Sign(identity.Token{Bearer: resource.Secret(key)}, signedAt)
		if err != nil {
			t.Fatal(err)
		}
		for _, status := range []int{400, 401, 403, 404, 429, 500, 503} {
			for _, body := range []string{`{"message":"got Authorization: Bearer ` + key + ` from you"}`, `got ` + key, `{"error":{"message":"key ` + key + `","type":"` + key + `","code":"` + key + `","param":"` + key + `"}}`} {
				f := s.Reply(status, http.Header{"Content-Type": {"application/json"}}).Fault([]byte(body))
				if strings.Contains(f.Message+f.Code+f.Param, key) || strings.Contains(f.Error(), key) {
					t.Errorf("%d %s: %v", status, body, f)
				}
			}
		}
	}
}
