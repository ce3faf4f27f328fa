package identity

import (
	"testing"

	"aisix/admin/resource"
)

func TestToken(t *testing.T) {
	key := &resource.ProviderKey{Credentials: resource.Static{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", SessionToken: "session", Region: "us-west-2"}}
	token, err := new(Source).Token(t.Context(), key)
	if want := (Token{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", SessionToken: "session"}); err != nil || token != want {
		t.Errorf("%+v, %v", token, err)
	}
}

// A kind of credentials that has no case here is an error, and no request unsigned.
func TestNoToken(t *testing.T) {
	if token, err := new(Source).Token(t.Context(), &resource.ProviderKey{}); err == nil {
		t.Errorf("%+v", token)
	}
}
