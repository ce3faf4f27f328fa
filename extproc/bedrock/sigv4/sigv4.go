// Package sigv4 signs requests by AWS's Signature Version 4, in the Authorization header
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
//
// It knows what a POST without a query needs, whose path was escaped for the signature
// before: so much is the same for all calls of a model. It knows no operation of AWS's.
// The SDK's signer does the same for any request, for five times the time and fifty
// allocations; tests hold this one to it. Caller: bedrock.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"
)

// Field is one header field; its name is in lower case.
type Field struct{ Key, Value string }

// ByName orders fields, as slices.SortFunc wants it.
func ByName(a, b Field) int { return strings.Compare(a.Key, b.Key) }

// Signer signs requests to one service. It keeps derived keys and is safe for concurrent
// use.
type Signer struct {
	Service string

	mu   sync.RWMutex
	keys map[owner]derived
}

// Credentials are whose signature it is, and in which region it counts.
type Credentials struct {
	AccessKeyID, Secret string
	SessionToken        string // "" for permanent ones
	Region              string
}

// Request is what is signed beside header fields.
type Request struct {
	Host string
	Path string // as it goes out, escaped once more: each % of an escaped byte is %25
	Body []byte
}

const (
	algorithm = "AWS4-HMAC-SHA256"
	second    = "20060102T150405Z"
	day       = len("20060102")
)

// Sign gives fields with those of the signature among them, in the order of their names.
// It takes over the slice. Signed are host, content-type and all that begin with x-amz,
// no two of which have one name; others go along unsigned.
func (s *Signer) Sign(fields []Field, r Request, c Credentials, now time.Time) []Field {
	date := now.UTC().Format(second)
	body := sha256.Sum256(r.Body)
	hash := string(hex.AppendEncode(make([]byte, 0, 2*sha256.Size), body[:]))
	fields = append(fields, Field{"x-amz-content-sha256", hash}, Field{"x-amz-date", date})
	if c.SessionToken != "" {
		fields = append(fields, Field{"x-amz-security-token", c.SessionToken})
	}
	slices.SortFunc(fields, ByName)

	// Most requests fit in here.
	var signedRoom, room [1024]byte
	signed := names(signedRoom[:0], fields)

	canonical := append(room[:0], "POST\n"...)
	canonical = append(canonical, r.Path...)
	canonical = append(canonical, "\n\n"...) // no query
	canonical = headers(canonical, fields, r.Host)
	canonical = append(canonical, '\n')
	canonical = append(canonical, signed...)
	canonical = append(canonical, '\n')
	canonical = append(canonical, hash...)
	request := sha256.Sum256(canonical)

	text := append(room[:0], algorithm+"\n"...)
	text = append(text, date...)
	text = append(text, '\n')
	text = s.scope(text, c.Region, date)
	text = append(text, '\n')
	text = hex.AppendEncode(text, request[:])
	key := s.key(c, date[:day])
	signature := mac(&key, text)

	value := append(room[:0], algorithm+" Credential="...)
	value = append(value, c.AccessKeyID...)
	value = append(value, '/')
	value = s.scope(value, c.Region, date)
	value = append(value, ", SignedHeaders="...)
	value = append(value, signed...)
	value = append(value, ", Signature="...)
	value = hex.AppendEncode(value, signature[:])
	authorization := Field{"authorization", string(value)}
	at, _ := slices.BinarySearchFunc(fields, authorization, ByName)
	return slices.Insert(fields, at, authorization)
}

// scope is the credential scope.
func (s *Signer) scope(dst []byte, region, date string) []byte {
	dst = append(dst, date[:day]...)
	dst = append(dst, '/')
	dst = append(dst, region...)
	dst = append(dst, '/')
	dst = append(dst, s.Service...)
	return append(dst, "/aws4_request"...)
}

const host = "host"

// isSigned reports whether a field is signed. What proxies add and change is not.
func isSigned(name string) bool { return name == "content-type" || strings.HasPrefix(name, "x-amz") }

// names are those of the signed fields, host at its place among them.
func names(dst []byte, fields []Field) []byte {
	begun, hosted := false, false
	add := func(name string) {
		if begun {
			dst = append(dst, ';')
		}
		dst, begun = append(dst, name...), true
	}
	for _, f := range fields {
		if !hosted && f.Key > host {
			add(host)
			hosted = true
		}
		if isSigned(f.Key) {
			add(f.Key)
		}
	}
	return dst // x-amz-date is behind host, always
}

// headers are the canonical ones.
func headers(dst []byte, fields []Field, hostname string) []byte {
	hosted := false
	for _, f := range fields {
		if !hosted && f.Key > host {
			dst = header(dst, host, hostname)
			hosted = true
		}
		if isSigned(f.Key) {
			dst = header(dst, f.Key, f.Value)
		}
	}
	return dst
}

// header is one: without spaces around its value, and with one where several stand.
func header(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ':')
	value = strings.TrimSpace(value)
	for {
		i := strings.Index(value, "  ")
		if i < 0 {
			break
		}
		dst = append(dst, value[:i+1]...)
		value = strings.TrimLeft(value[i:], " ")
	}
	dst = append(dst, value...)
	return append(dst, '\n')
}

// owner is whose key it is, and of which region.
type owner struct{ accessKeyID, region string }

// derived is a signing key: good for a day.
type derived struct {
	secret, day string
	key         [sha256.Size]byte
}

// maxKeys bounds how many derived keys are kept: more provider keys than most have.
const maxKeys = 1024

// key is the signing key of a day.
func (s *Signer) key(c Credentials, day string) [sha256.Size]byte {
	of := owner{c.AccessKeyID, c.Region}
	s.mu.RLock()
	d, ok := s.keys[of]
	s.mu.RUnlock()
	if ok && d.day == day && d.secret == c.Secret {
		return d.key
	}
	d = derived{secret: c.Secret, day: strings.Clone(day)}
	step := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	copy(d.key[:], step(step(step(step([]byte("AWS4"+c.Secret), day), c.Region), s.Service), "aws4_request"))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil || len(s.keys) >= maxKeys {
		s.keys = map[owner]derived{}
	}
	s.keys[of] = d
	return d.key
}

// mac is HMAC-SHA256 (RFC 2104) by a key that is shorter than a block: crypto/hmac's needs
// five allocations.
func mac(key *[sha256.Size]byte, text []byte) [sha256.Size]byte {
	var inner [sha256.BlockSize + 512]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner[:], key[:])
	copy(outer[:], key[:])
	for i := range sha256.BlockSize {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	sum := sha256.Sum256(append(inner[:sha256.BlockSize], text...))
	copy(outer[sha256.BlockSize:], sum[:])
	return sha256.Sum256(outer[:])
}
