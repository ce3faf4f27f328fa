package bedrock

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"aisix/extproc/bedrock/sigv4"
	"aisix/extproc/identity"
)

// Signed is one attempt of a Call: an HTTP POST, ready to go out. It never changes.
type Signed struct {
	URL    *url.URL // host and scheme to connect to
	Path   string   // goes out, escaped
	Fields []Field  // all header fields that go out beside the host, in the order of their names

	call  *Call
	keyID string    // of the signature; "" where there is none
	at    time.Time // when that was made
}

// Field is one header field; its name is in lower case.
type Field = sigv4.Field

// Body goes out; not to be changed.
func (s *Signed) Body() []byte { return s.call.body }

// Header is a copy of Fields.
func (s *Signed) Header() http.Header {
	h := make(http.Header, len(s.Fields))
	for _, f := range s.Fields {
		h.Add(f.Key, f.Value)
	}
	return h
}

// bearer is the API key that the attempt proves itself by, "" where it has a signature.
func (s *Signed) bearer() string {
	key, _ := strings.CutPrefix(s.field("authorization"), bearer)
	if s.keyID != "" {
		return ""
	}
	return key
}

// field is the value of a header field, "" where there is none.
func (s *Signed) field(name string) string {
	for _, f := range s.Fields {
		if f.Key == name {
			return f.Value
		}
	}
	return ""
}

const bearer = "Bearer " // before a Bedrock API key

// signers keep derived keys; safe for concurrent use.
var signers = [hosts]sigv4.Signer{runtimeHost: {Service: "bedrock"}, mantleHost: {Service: "bedrock-mantle"}}

// Sign makes one attempt. Its fields are content-type, InvokeModel's knobs, and the
// signature (authorization, x-amz-date, x-amz-content-sha256, and
// x-amz-security-token for temporary credentials), or authorization alone where the
// token is a bearer: a Bedrock API key. Signed are host, content-type and
// x-amz*: what Envoy and proxies may add or change stays out, content-length and
// accept too.
func (c *Call) Sign(token identity.Token, now time.Time) (*Signed, error) {
	const signature = 4 // fields, at most
	fields := append(make([]Field, 0, len(c.header)+signature), c.header...)
	if token.Bearer != "" {
		fields = append(fields, Field{Key: "authorization", Value: bearer + token.Bearer.Reveal()})
		slices.SortFunc(fields, sigv4.ByName)
		return &Signed{URL: c.address.url, Path: c.address.path, Fields: fields, call: c, at: now}, nil
	}
	fields = signers[c.model.host].Sign(fields, sigv4.Request{Host: c.address.url.Host, Path: c.address.canonical, Body: c.body}, sigv4.Credentials{
		AccessKeyID: token.AccessKeyID, Secret: token.SecretAccessKey.Reveal(), SessionToken: token.SessionToken.Reveal(), Region: c.model.Region,
	}, now)
	return &Signed{URL: c.address.url, Path: c.address.path, Fields: fields, call: c, keyID: token.AccessKeyID, at: now}, nil
}
