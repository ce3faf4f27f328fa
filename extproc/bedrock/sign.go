package bedrock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"aisix/admin/resource"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The service name in the credential scope.
const signingName = "bedrock"

// signer keeps derived keys; safe for concurrent use.
var signer = v4.NewSigner()

// Sign makes the headers of one attempt, all that go out beside the host:
// content-type, InvokeModel's knobs, and the signature (Authorization,
// X-Amz-Date, X-Amz-Content-Sha256, and X-Amz-Security-Token for temporary
// credentials). Signed are host, content-type and x-amz*: what Envoy and proxies
// may add or change stays out, content-length and accept too. Each attempt is
// signed anew.
func (c *Call) Sign(creds resource.Credentials, now time.Time) (http.Header, error) {
	keys, ok := creds.(resource.Static)
	if !ok {
		return nil, fmt.Errorf("no way to sign with %T", creds)
	}
	sum := sha256.Sum256(c.body)
	hash := hex.EncodeToString(sum[:])
	u := *c.url
	req := &http.Request{
		Method: c.Method(),
		URL:    &u,
		Host:   u.Host,
		Header: http.Header{"X-Amz-Content-Sha256": {hash}},
	}
	for name, values := range c.header {
		if name == "Content-Type" || strings.HasPrefix(name, "X-Amz") {
			req.Header[name] = values
		}
	}
	region := c.target.Region
	if region == "" {
		region = keys.Region
	}
	err := signer.SignHTTP(context.Background(), aws.Credentials{
		AccessKeyID:     keys.AccessKeyID,
		SecretAccessKey: keys.SecretAccessKey.Reveal(),
		SessionToken:    keys.SessionToken.Reveal(),
	}, req, hash, signingName, region, now)
	if err != nil {
		return nil, err
	}
	c.keyID, c.signed = keys.AccessKeyID, now
	for name, values := range c.header {
		req.Header[name] = values
	}
	return req.Header, nil
}
