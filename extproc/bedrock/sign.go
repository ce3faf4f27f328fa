package bedrock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"

	"aisix/admin/resource"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The service name in the credential scope.
const signingName = "bedrock"

// signer keeps derived keys; safe for concurrent use.
var signer = v4.NewSigner()

// Sign is the signature headers of one attempt: Authorization, X-Amz-Date,
// X-Amz-Content-Sha256, and X-Amz-Security-Token for temporary credentials.
// Signed are host, date, token, content-sha256 and content-type only: what Envoy
// and proxies may change stays out. Each attempt is signed anew.
func (c *Call) Sign(creds resource.Credentials, now time.Time) (http.Header, error) {
	sum := sha256.Sum256(c.body)
	hash := hex.EncodeToString(sum[:])
	u := *c.url
	req := &http.Request{
		Method: c.Method(),
		URL:    &u,
		Host:   u.Host,
		Header: http.Header{
			"Content-Type":         {c.header.Get("Content-Type")},
			"X-Amz-Content-Sha256": {hash},
		},
	}
	region := c.target.Region
	if region == "" {
		region = creds.Region
	}
	err := signer.SignHTTP(context.Background(), aws.Credentials{
		AccessKeyID:     creds.AccessKeyID,
		SecretAccessKey: creds.SecretAccessKey.Reveal(),
		SessionToken:    creds.SessionToken.Reveal(),
	}, req, hash, signingName, region, now)
	if err != nil {
		return nil, err
	}
	c.keyID, c.signed = creds.AccessKeyID, now
	req.Header.Del("Content-Type")
	return req.Header, nil
}
