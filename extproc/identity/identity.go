// Package identity turns a provider key into what a request to AWS proves itself
// by.
//
// It knows the kinds of credentials that a provider key may hold (static ones, so
// far) and what they come down to; it knows no signature (bedrock makes those) and
// no HTTP. Caller: extproc, once for each attempt.
package identity

import (
	"context"
	"fmt"

	"aisix/admin/resource"
)

// Token is what one attempt is signed with: AWS's access key, temporary with a
// session token.
type Token struct {
	AccessKeyID     string
	SecretAccessKey resource.Secret
	SessionToken    resource.Secret // "" for a permanent key
}

// Source gives tokens.
type Source struct{}

// Token is the token of provider key k. It does not wait: static credentials are at
// hand.
func (*Source) Token(_ context.Context, k *resource.ProviderKey) (Token, error) {
	switch c := k.Credentials.(type) {
	case resource.Static:
		return Token{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}, nil
	default:
		return Token{}, fmt.Errorf("identity: no token from %T", c)
	}
}
