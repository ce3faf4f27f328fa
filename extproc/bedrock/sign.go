package bedrock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"time"

	"aisix/extproc/identity"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The service name in the credential scope.
const signingName = "bedrock"

// signer keeps derived keys; safe for concurrent use.
var signer = v4.NewSigner()

// Signed is one attempt of a Call: an HTTP POST, ready to go out. It never changes.
type Signed struct {
	URL    *url.URL    // host and scheme to connect to; EscapedPath goes out
	Header http.Header // all fields that go out beside the host

	call  *Call
	keyID string    // of the signature
	at    time.Time // when that was made
}

// Body goes out; not to be changed.
func (s *Signed) Body() []byte { return s.call.body }

// Sign makes one attempt. Its header holds content-type, InvokeModel's knobs, and the
// signature (Authorization, X-Amz-Date, X-Amz-Content-Sha256, and
// X-Amz-Security-Token for temporary credentials). Signed are host, content-type and
// x-amz*: what Envoy and proxies may add or change stays out, content-length and
// accept too.
func (c *Call) Sign(token identity.Token, now time.Time) (*Signed, error) {
	sum := sha256.Sum256(c.body)
	hash := hex.EncodeToString(sum[:])
	u := *c.url // the signer's own: it may write to it
	req := &http.Request{
		Method: http.MethodPost,
		URL:    &u,
		Host:   u.Host,
		Header: http.Header{"X-Amz-Content-Sha256": {hash}},
	}
	for name, values := range c.header {
		if name == "Content-Type" || strings.HasPrefix(name, "X-Amz") {
			req.Header[name] = values
		}
	}
	err := signer.SignHTTP(context.Background(), aws.Credentials{
		AccessKeyID:     token.AccessKeyID,
		SecretAccessKey: token.SecretAccessKey.Reveal(),
		SessionToken:    token.SessionToken.Reveal(),
	}, req, hash, signingName, c.model.Region, now)
	if err != nil {
		return nil, err
	}
	for name, values := range c.header {
		req.Header[name] = values
	}
	return &Signed{URL: c.url, Header: req.Header, call: c, keyID: token.AccessKeyID, at: now}, nil
}
