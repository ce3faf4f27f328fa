package extproc

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"

	"aisix/extproc/bedrock"
	"aisix/extproc/exchange"
	"aisix/extproc/fault"
	"aisix/extproc/ratelimit"
)

// admit is the first act: decode, resolve, authorize, fetch, reserve. The key was
// checked before (authenticate), so that a bad one gets its answer before any
// of the body was read.
func (s *Server) admit(ctx context.Context, c *call) error {
	body, err := s.body(ctx, c)
	if err != nil {
		return err
	}
	asked, err := c.dialect.parse(body)
	if err != nil {
		return err
	}
	// An unknown model and the allowlist outrank a request that is otherwise bad.
	if err := c.resolve(asked.model); err != nil {
		return err
	}
	if c.request, err = asked.request(c.match.Model.IgnoreParams); err != nil {
		return err
	}
	target, err := bedrock.NewTarget(c.match.Model, c.match.UpstreamID, c.match.ProviderKey)
	if err != nil {
		return err
	}
	if err := s.fetchImages(ctx, c, target); err != nil {
		return err
	}
	// All that can be wrong with the request is said here, before any limit is touched.
	if c.upstream, err = bedrock.NewCall(ctx, c.request, target, s.Config.MaxBodyBytes); err != nil {
		return err
	}
	return s.reserve(ctx, c)
}

// authenticate finds the caller's API key by the SHA-256 of its plaintext.
func (s *Server) authenticate(c *call) error {
	plaintext, ok := credential(c.header)
	if !ok {
		return unauthorized("", "missing or malformed API key; send it as \"Authorization: Bearer <key>\" or in x-api-key")
	}
	key, ok := c.snapshot.Key(sha256.Sum256([]byte(plaintext)))
	if !ok {
		return unauthorized("", "unknown API key")
	}
	if key.APIKey.Disabled {
		return unauthorized("api_key_disabled", "this API key is disabled")
	}
	if key.APIKey.ExpiresAt != nil && !c.started.Before(*key.APIKey.ExpiresAt) {
		return unauthorized("api_key_expired", "this API key has expired")
	}
	c.key = key
	return nil
}

func unauthorized(code, message string) error {
	return &fault.Error{Kind: fault.InvalidAPIKey, Status: http.StatusUnauthorized, Code: code, Message: message}
}

// credential reads the key off the headers: Authorization wins, and x-api-key
// counts only where there is no Authorization at all.
func credential(h *exchange.Header) (string, bool) {
	if auth := h.Get("authorization"); auth != "" {
		scheme, token, ok := strings.Cut(auth, " ")
		token = strings.TrimSpace(token)
		return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
	}
	key := h.Get("x-api-key")
	return key, key != ""
}

// body is the request's body, decoded, under the limit in both forms.
func (s *Server) body(ctx context.Context, c *call) ([]byte, error) {
	limit := s.Config.MaxBodyBytes
	body, err := c.x.ReadBody(ctx, limit)
	if errors.Is(err, exchange.ErrTooLarge) {
		return nil, tooLarge(limit)
	}
	if err != nil {
		return nil, err
	}
	var r io.Reader
	switch strings.ToLower(strings.TrimSpace(c.header.Get("content-encoding"))) {
	case "", "identity":
		return body, nil
	case "gzip":
		if r, err = gzip.NewReader(bytes.NewReader(body)); err != nil {
			return nil, fault.Invalid("", "the body is not the gzip that content-encoding says")
		}
	case "zstd":
		z, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderMaxMemory(uint64(limit)+1<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fault.Invalid("", "the body is not the zstd that content-encoding says")
		}
		defer z.Close()
		r = z
	default:
		return nil, &fault.Error{Kind: fault.InvalidRequest, Status: http.StatusUnsupportedMediaType, Message: "unsupported content-encoding; send gzip, zstd or none"}
	}
	plain, err := io.ReadAll(io.LimitReader(r, limit+1))
	if int64(len(plain)) > limit || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return nil, tooLarge(limit)
	}
	if err != nil {
		return nil, fault.Invalid("", "the compressed body is broken or cut short")
	}
	return plain, nil
}

func tooLarge(limit int64) error {
	return &fault.Error{Kind: fault.InvalidRequest, Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the body is over the limit of %d bytes", limit)}
}

// resolve finds the model of the alias, and checks the key's allowlist.
func (c *call) resolve(alias string) error {
	c.alias = alias
	match, ok := c.snapshot.Model(alias)
	if !ok {
		return &fault.Error{Kind: fault.ModelNotFound, Status: http.StatusNotFound, Param: "model", Message: "the model does not exist; GET /v1/models lists what this API key may use"}
	}
	c.match = match
	if !c.snapshot.Allowed(c.key, alias) {
		return &fault.Error{Kind: fault.PermissionDenied, Status: http.StatusForbidden, Param: "model", Message: "this API key may not use the model"}
	}
	return nil
}

// fetchImages gets the images that the request names by URL, unless the model is
// known to take none.
func (s *Server) fetchImages(ctx context.Context, c *call, target bedrock.Target) error {
	if err := bedrock.CheckImages(c.request, target); err != nil {
		return err
	}
	request, err := s.Images.Images(ctx, c.request)
	if err != nil {
		return err
	}
	c.request = request
	return nil
}

// reserve takes the limits of key and model: all or none, in one round trip.
func (s *Server) reserve(ctx context.Context, c *call) error {
	var buckets []ratelimit.Bucket
	if c.key.APIKey.RateLimit != nil {
		buckets = append(buckets, ratelimit.Bucket{Scope: "apikey:" + c.key.ID, Limit: *c.key.APIKey.RateLimit})
	}
	if c.match.Model.RateLimit != nil {
		buckets = append(buckets, ratelimit.Bucket{Scope: "model:" + c.match.ModelID, Limit: *c.match.Model.RateLimit})
	}
	if len(buckets) == 0 {
		return nil
	}
	r, err := s.Limiter.Reserve(ctx, s.NewID(), buckets, promptEstimate(c.request))
	var rejection *ratelimit.Rejection
	if errors.As(err, &rejection) {
		c.rejection, c.limits = rejection, keyValues(rejection.Headers)
		return rejection.Fault
	}
	if err != nil {
		return err
	}
	c.reservation, c.limits = r, keyValues(r.Headers())
	return nil
}
