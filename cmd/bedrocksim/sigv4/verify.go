// Package sigv4 verifies AWS Signature Version 4 from scratch, as a service does
// it: from the bytes that arrived.
//
// It shares no code with the gateway's signer or the AWS SDK, so that a mistake
// there is found here. It knows nothing of Bedrock but the name it is told.
// Caller: bedrocksim's sim.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Key is the secret side of an access key.
type Key struct {
	Secret  string
	Token   string    // of temporary credentials; "" is a long-lived key
	Expired bool      // temporary credentials past their time
	Expires time.Time // when they will be; zero: never
}

// Verifier checks signatures against its keys.
type Verifier struct {
	Keys    map[string][]Key // by access key id; long-lived, or one for each token
	Service string           // the signing name, bedrock, where Verify is told none
	Region  string           // "" takes every region
	Skew    time.Duration    // how far the caller's clock may be off
	Now     func() time.Time

	mu    sync.RWMutex
	given map[string]Key // temporary credentials, by access key id
}

// Give makes temporary credentials good. What has expired long ago is forgotten.
func (v *Verifier) Give(id string, k Key) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.given == nil {
		v.given = map[string]Key{}
	}
	for old, k := range v.given {
		if v.Now().Sub(k.Expires) > time.Hour {
			delete(v.given, old)
		}
	}
	v.given[id] = k
}

// keys are those of an access key id.
func (v *Verifier) keys(id string) []Key {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if k, ok := v.given[id]; ok {
		return []Key{k}
	}
	return v.Keys[id]
}

// Signer is who signed a request.
type Signer struct {
	AccessKeyID string
	Region      string
	Service     string // the signing name in the scope
}

// Error is a refusal, with AWS's status, type and words.
type Error struct {
	Status  int
	Type    string
	Message string
}

func (e *Error) Error() string { return e.Type + ": " + e.Message }

func refuse(kind, format string, args ...any) *Error {
	return &Error{Status: http.StatusForbidden, Type: kind, Message: fmt.Sprintf(format, args...)}
}

const (
	algorithm  = "AWS4-HMAC-SHA256"
	timeFormat = "20060102T150405Z"
)

// credential is the parsed Authorization header.
type credential struct {
	keyID, date, region, service string
	signed                       []string
	signature                    string
}

func (c credential) scope() string {
	return c.date + "/" + c.region + "/" + c.service + "/aws4_request"
}

// Verify checks the signature of r, whose body was read already. Its scope has to name one of
// services; without any, the verifier's own. Every error is an *Error.
func (v *Verifier) Verify(r *http.Request, body []byte, services ...string) (Signer, error) {
	if len(services) == 0 {
		services = []string{v.Service}
	}
	c, err := parse(r.Header.Values("Authorization"))
	if err != nil {
		return Signer{}, err
	}
	signedAt, err := v.checkTime(r, c)
	if err != nil {
		return Signer{}, err
	}
	if err := v.checkScope(c, services); err != nil {
		return Signer{}, err
	}
	key, err := v.key(r, c.keyID)
	if err != nil {
		return Signer{}, err
	}
	if err := checkSignedHeaders(r, c); err != nil {
		return Signer{}, err
	}
	hash, err := payloadHash(r, body)
	if err != nil {
		return Signer{}, err
	}
	canonical := canonicalRequest(r, c.signed, hash)
	toSign := strings.Join([]string{algorithm, signedAt, c.scope(), hexSHA256([]byte(canonical))}, "\n")
	if !hmac.Equal([]byte(sign(key.Secret, c, toSign)), []byte(c.signature)) {
		return Signer{}, refuse("InvalidSignatureException",
			"The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.\n\nThe Canonical String for this request should have been\n'%s'\n\nThe String-to-Sign should have been\n'%s'\n", canonical, toSign)
	}
	return Signer{AccessKeyID: c.keyID, Region: c.region, Service: c.service}, nil
}

func parse(values []string) (credential, error) {
	if len(values) == 0 {
		return credential{}, refuse("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	if len(values) > 1 {
		return credential{}, refuse("IncompleteSignatureException", "More than one Authorization header.")
	}
	rest, ok := strings.CutPrefix(values[0], algorithm+" ")
	if !ok {
		return credential{}, refuse("IncompleteSignatureException", "Authorization header requires '%s'.", algorithm)
	}
	var c credential
	seen := map[string]bool{}
	for _, part := range strings.Split(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || seen[name] || value == "" {
			return credential{}, refuse("IncompleteSignatureException", "'%s' not a valid key=value pair (missing equal-sign or repeated) in Authorization header.", part)
		}
		seen[name] = true
		switch name {
		case "Credential":
			scope := strings.Split(value, "/")
			if len(scope) != 5 || scope[4] != "aws4_request" {
				return credential{}, refuse("IncompleteSignatureException", "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'.", value)
			}
			c.keyID, c.date, c.region, c.service = scope[0], scope[1], scope[2], scope[3]
		case "SignedHeaders":
			c.signed = strings.Split(value, ";")
		case "Signature":
			c.signature = value
		default:
			return credential{}, refuse("IncompleteSignatureException", "'%s' is not a parameter of the Authorization header.", name)
		}
	}
	for _, name := range []string{"Credential", "SignedHeaders", "Signature"} {
		if !seen[name] {
			return credential{}, refuse("IncompleteSignatureException", "Authorization header requires '%s' parameter.", name)
		}
	}
	return c, nil
}

// checkTime gives the time of signing as it was written.
func (v *Verifier) checkTime(r *http.Request, c credential) (string, error) {
	written := r.Header.Values("X-Amz-Date")
	if len(written) != 1 {
		return "", refuse("IncompleteSignatureException", "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	at, err := time.Parse(timeFormat, written[0])
	if err != nil {
		return "", refuse("IncompleteSignatureException", "Date must be in ISO-8601 'basic format'. Got '%s'.", written[0])
	}
	if at.Format("20060102") != c.date {
		return "", refuse("InvalidSignatureException", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s'.", c.date, at.Format("20060102"))
	}
	now := v.Now().UTC()
	if at.Before(now.Add(-v.Skew)) {
		return "", refuse("InvalidSignatureException", "Signature expired: %s is now earlier than %s (%s - %d min.)",
			written[0], now.Add(-v.Skew).Format(timeFormat), now.Format(timeFormat), int(v.Skew.Minutes()))
	}
	if at.After(now.Add(v.Skew)) {
		return "", refuse("InvalidSignatureException", "Signature not yet current: %s is still later than %s (%s + %d min.)",
			written[0], now.Add(v.Skew).Format(timeFormat), now.Format(timeFormat), int(v.Skew.Minutes()))
	}
	return written[0], nil
}

func (v *Verifier) checkScope(c credential, services []string) error {
	if !slices.Contains(services, c.service) {
		return refuse("InvalidSignatureException", "Credential should be scoped to correct service: '%s'. ", services[0])
	}
	if c.region == "" || v.Region != "" && c.region != v.Region {
		return refuse("InvalidSignatureException", "Credential should be scoped to a valid region. ")
	}
	return nil
}

// key is the one that goes with the request's access key id and token.
func (v *Verifier) key(r *http.Request, id string) (Key, error) {
	tokens := r.Header.Values("X-Amz-Security-Token")
	for _, k := range v.keys(id) {
		if len(tokens) == 0 && k.Token == "" || len(tokens) == 1 && tokens[0] == k.Token && k.Token != "" {
			if k.Expired || !k.Expires.IsZero() && !v.Now().Before(k.Expires) {
				return Key{}, refuse("ExpiredTokenException", "The security token included in the request is expired")
			}
			return k, nil
		}
	}
	return Key{}, refuse("UnrecognizedClientException", "The security token included in the request is invalid.")
}

// checkSignedHeaders wants host and every x-amz-* header signed, each once, in
// order.
func checkSignedHeaders(r *http.Request, c credential) error {
	if !slices.IsSorted(c.signed) || len(slices.Compact(slices.Clone(c.signed))) != len(c.signed) {
		return refuse("InvalidSignatureException", "SignedHeaders is not a sorted list of different names.")
	}
	if !slices.Contains(c.signed, "host") {
		return refuse("InvalidSignatureException", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	for name := range r.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-amz-") && !slices.Contains(c.signed, name) {
			return refuse("InvalidSignatureException", "There were headers present in the request which were not signed: %s", name)
		}
	}
	return nil
}

// payloadHash is the hash that was signed. A header that states another hash
// than the body's is refused, UNSIGNED-PAYLOAD too.
func payloadHash(r *http.Request, body []byte) (string, error) {
	hash := hexSHA256(body)
	if stated := r.Header.Values("X-Amz-Content-Sha256"); len(stated) > 1 || len(stated) == 1 && stated[0] != hash {
		return "", refuse("InvalidSignatureException", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	return hash, nil
}

func canonicalRequest(r *http.Request, signed []string, hash string) string {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	if i := strings.Index(path, "://"); i >= 0 { // absolute form
		path = path[i+3:]
		path = path[max(strings.IndexByte(path, '/'), 0):]
	}
	var b strings.Builder
	b.WriteString(r.Method + "\n" + CanonicalPath(path) + "\n" + canonicalQuery(query) + "\n")
	for _, name := range signed {
		b.WriteString(name + ":" + headerValue(r, name) + "\n")
	}
	b.WriteString("\n" + strings.Join(signed, ";") + "\n" + hash)
	return b.String()
}

// headerValue is a header as it is signed: values joined by commas, white space
// collapsed.
func headerValue(r *http.Request, name string) string {
	var values []string
	switch name {
	case "host":
		values = []string{r.Host}
	case "content-length": // net/http keeps it out of Header
		values = []string{strconv.FormatInt(r.ContentLength, 10)}
	default:
		values = slices.Clone(r.Header.Values(name))
	}
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}

// CanonicalPath encodes each segment of a path once more, as every service but
// S3 wants it: %3A becomes %253A.
func CanonicalPath(path string) string {
	if path == "" {
		return "/"
	}
	var b strings.Builder
	for i := range len(path) {
		if path[i] == '/' {
			b.WriteByte('/')
		} else {
			b.WriteString(encode(path[i]))
		}
	}
	return b.String()
}

func canonicalQuery(raw string) string {
	var pairs []string
	for _, p := range strings.Split(raw, "&") {
		if p == "" {
			continue
		}
		name, value, _ := strings.Cut(p, "=")
		pairs = append(pairs, reencode(name)+"="+reencode(value))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

func reencode(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		s = plain
	}
	var b strings.Builder
	for i := range len(s) {
		b.WriteString(encode(s[i]))
	}
	return b.String()
}

func encode(c byte) string {
	if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
		return string(c)
	}
	return fmt.Sprintf("%%%02X", c)
}

func sign(secret string, c credential, toSign string) string {
	key := mac([]byte("AWS4"+secret), c.date)
	key = mac(key, c.region)
	key = mac(key, c.service)
	key = mac(key, "aws4_request")
	return hex.EncodeToString(mac(key, toSign))
}

func mac(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
