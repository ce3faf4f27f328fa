package extproc

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"

	"aisix/extproc/admission"
	"aisix/extproc/bedrock"
	"aisix/extproc/chat"
	"aisix/extproc/exchange"
	"aisix/extproc/fault"
	"aisix/extproc/fetch"
	"aisix/extproc/ratelimit"
)

// admit is the first act: read, decode, resolve, authorize, reserve, fetch. The key
// was checked and counted before (authenticate, arrive), so that a bad one, and one
// that is at a limit, get their answer before any of the body was read.
func (s *Server) admit(ctx context.Context, c *call, d conversation) error {
	body, err := s.body(ctx, c)
	if err != nil {
		return err
	}
	// All that can be wrong with the request is said here, before any limit is touched.
	linked, err := s.translate(ctx, c, d, body)
	if err != nil {
		return err
	}
	if err := s.reserve(ctx, c); err != nil {
		return err
	}
	return s.fetchImages(ctx, c, linked)
}

// linked is a request that names images by URL: it was judged with stand-ins for
// them, and is encoded again when they are there. nil names none.
type linked struct {
	request *chat.Request
	model   *bedrock.Model
}

// translate makes the upstream's request of the body, which is in dialect d. Bodies are translated in
// turn, so many bytes at a time: it takes far more memory than the body has bytes.
func (s *Server) translate(ctx context.Context, c *call, d conversation, body *exchange.Body) (*linked, error) {
	model, leave, err := s.understand(ctx, c, d, body)
	defer leave()
	if err != nil {
		return nil, err
	}
	if c.plan != nil {
		return s.translateFirst(ctx, c)
	}
	return s.translateAt(ctx, c, model)
}

// translateAt makes the request of the model.
func (s *Server) translateAt(ctx context.Context, c *call, model *bedrock.Model) (*linked, error) {
	if v := c.asVerbatim(model); v != nil {
		return nil, s.adopt(c, v, model)
	}
	request, err := c.asRequest()
	if err != nil {
		return nil, err
	}
	c.facts.Stream, c.prompt = request.Stream, promptEstimate(request)
	if err := s.countModel(c); err != nil {
		return nil, err
	}
	if err := model.CheckImages(request); err != nil {
		return nil, c.retold(err)
	}
	prepared, err := s.Images.Prepare(request)
	if err != nil {
		return nil, c.retold(err)
	}
	if err := s.encode(ctx, c, prepared, model); err != nil {
		return nil, err
	}
	if prepared == request {
		return nil, nil
	}
	return &linked{request, model}, nil
}

// understand parses the body, when its turn has come, and finds the model that it asks. leave ends
// the turn.
func (s *Server) understand(ctx context.Context, c *call, d question, body *exchange.Body) (model *bedrock.Model, leave func(), err error) {
	plain, leave, err := s.open(ctx, c, body)
	if err != nil {
		return nil, leave, err
	}
	if c.asked, err = d.Parse(c.header, plain); err != nil {
		return nil, leave, err
	}
	model, err = s.find(c, c.asked.Model(), plain)
	return model, leave, err
}

// open unpacks the body when its turn has come. leave ends the turn.
func (s *Server) open(ctx context.Context, c *call, body *exchange.Body) (plain []byte, leave func(), err error) {
	taken := weight(c, body, s.Config.MaxBodyBytes)
	var pass admission.Pass
	leave = func() { pass.Leave() }
	if pass, err = s.enter(ctx, c, taken); err != nil {
		return nil, leave, err
	}
	if plain, err = s.decompress(c, body); err != nil {
		return nil, leave, err
	}
	if heavier := int64(len(plain)); heavier > taken {
		pass.Leave()
		pass, err = s.enter(ctx, c, heavier)
	}
	return plain, leave, err
}

// find finds the model of an alias, at the first of its targets. An unknown one and the
// allowlist outrank a request that is otherwise bad. plain is the body.
func (s *Server) find(c *call, alias string, plain []byte) (*bedrock.Model, error) {
	if err := c.resolve(alias); err != nil {
		return nil, err
	}
	c.budget = s.newBudget(c.facts.Time, c.match.Model)
	if c.plan = s.planned(c, plain); c.plan != nil {
		c.goTo(c.plan.order[0])
		return s.modelAt(c.plan, c.target)
	}
	return s.compiled(c.match.Model, c.match.ProviderKey, c.match.UpstreamID)
}

// encode encodes the request for the model, and counts what came of it.
func (s *Server) encode(ctx context.Context, c *call, request *chat.Request, model *bedrock.Model) (err error) {
	if c.upstream, err = bedrock.NewCall(ctx, request, model, s.Config.MaxBodyBytes); err == nil {
		c.held.Add(c.upstream.Size())
	}
	return c.retold(err)
}

// retold is what is wrong with a request for its model, in the words of the caller's dialect.
func (c *call) retold(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.InvalidRequest {
		return c.asked.Retold(f)
	}
	return err
}

// adopt takes a request that the upstream understands as it came.
func (s *Server) adopt(c *call, v *chat.Verbatim, model *bedrock.Model) (err error) {
	c.facts.Stream, c.prompt = v.Stream, v.Prompt
	if err := s.countModel(c); err != nil {
		return err
	}
	if c.upstream, err = bedrock.Adopt(v, model); err == nil {
		c.held.Add(c.upstream.Size())
	}
	return err
}

// countModel counts the call for the limits of its model: what this process knows of
// these spares the rest of the work.
func (s *Server) countModel(c *call) error {
	limit := c.match.Model.RateLimit
	if limit == nil || c.counted {
		return nil
	}
	c.counted = true // once, whatever the targets
	return s.count(c, ratelimit.Of("model", c.match.ModelID, limit))
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
	if key.APIKey.ExpiresAt != nil && !c.facts.Time.Before(*key.APIKey.ExpiresAt) {
		return unauthorized("api_key_expired", "this API key has expired")
	}
	c.key = key
	c.facts.KeyID, c.facts.TeamID, c.facts.UserID = key.ID, key.APIKey.TeamID, key.APIKey.UserID
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

// expansion is by how much a compressed body is taken to grow, before it is known.
const expansion = 10

// weight is what a body weighs in translation.
func weight(c *call, body *exchange.Body, limit int64) int64 {
	if c.encoding() == "" {
		return body.Size()
	}
	return min(expansion*body.Size(), limit)
}

// encoding is the body's content-encoding, "" where it has none.
func (c *call) encoding() string {
	encoding := strings.ToLower(strings.TrimSpace(c.header.Get("content-encoding")))
	if encoding == "identity" {
		return ""
	}
	return encoding
}

// decompress is the body as the caller meant it, under the limit in both forms.
func (s *Server) decompress(c *call, body *exchange.Body) ([]byte, error) {
	limit := s.Config.MaxBodyBytes
	var r io.Reader
	switch c.encoding() {
	case "":
		return body.Bytes(), nil
	case "gzip":
		z, err := gzip.NewReader(body.Reader())
		if err != nil {
			return nil, fault.Invalid("", "content-encoding is gzip, but the body is not valid gzip")
		}
		r = z
	case "zstd":
		z, err := zstd.NewReader(body.Reader(), zstd.WithDecoderMaxMemory(uint64(limit)+1<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fault.Invalid("", "content-encoding is zstd, but the body is not valid zstd")
		}
		defer z.Close()
		r = z
	default:
		return nil, &fault.Error{Kind: fault.InvalidRequest, Status: http.StatusUnsupportedMediaType, Message: "unsupported content-encoding; send gzip, zstd or none"}
	}
	plain, err := io.ReadAll(&counted{r: io.LimitReader(r, limit+1), take: c.take})
	var full *fault.Error
	switch {
	case errors.As(err, &full):
		return nil, full
	case int64(len(plain)) > limit || errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return nil, tooLarge(limit)
	case err != nil:
		return nil, fault.Invalid("", "the compressed body is corrupted or truncated")
	}
	return plain, nil
}

// counted counts what is read.
type counted struct {
	r    io.Reader
	take func(n int64) error
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 {
		if full := c.take(int64(n)); full != nil {
			return n, full
		}
	}
	return n, err
}

func tooLarge(limit int64) error {
	return &fault.Error{Kind: fault.InvalidRequest, Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the body exceeds the limit of %d bytes", limit)}
}

// resolve finds the model of the alias, and checks the key's allowlist.
func (c *call) resolve(alias string) error {
	c.facts.Alias = alias
	match, ok := c.snapshot.Model(alias)
	if !ok {
		return &fault.Error{Kind: fault.ModelNotFound, Status: http.StatusNotFound, Param: "model", Message: "the model does not exist; GET /v1/models lists what this API key may use"}
	}
	c.match = match
	f := &c.facts
	f.ModelAlias, f.ModelID, f.UpstreamModel = match.Alias, match.ModelID, match.UpstreamID
	f.Provider, f.ProviderKeyID = match.ProviderKey.Provider, match.ProviderKeyID
	if !c.snapshot.Allowed(c.key, alias) {
		return &fault.Error{Kind: fault.PermissionDenied, Status: http.StatusForbidden, Param: "model", Message: "this API key may not use the model"}
	}
	return nil
}

// reserve takes the limits of key and model that the call was counted in: all or
// none, in one round trip.
func (s *Server) reserve(ctx context.Context, c *call) error {
	if len(c.buckets) == 0 {
		return nil
	}
	r, err := s.Limiter.Reserve(ctx, c.buckets, ratelimit.Amount{Tokens: c.prompt})
	if err != nil {
		return c.limited(err)
	}
	c.reservation, c.limits = r, make([]exchange.KeyValue, 0, 6)
	r.Headers(func(name, value string) { c.limits = append(c.limits, exchange.KeyValue{Key: name, Value: value}) })
	return nil
}

// limited is the fault of a call that a limit refused; other errors are as they
// were.
func (c *call) limited(err error) error {
	var rejection *ratelimit.Rejection
	if errors.As(err, &rejection) {
		c.limits = keyValues(rejection.Headers)
		c.facts.LimitScope, c.facts.Limit = rejection.Scope.Kind, rejection.Limit // of which kind, not whose
		return rejection.Fault
	}
	return err
}

// fetchImages gets the images that the request names by URL: only now, since a
// caller who is refused has nothing fetched. One that can't be had costs the caller
// a request, but no tokens.
func (s *Server) fetchImages(ctx context.Context, c *call, l *linked) error {
	if l == nil {
		return nil
	}
	request, err := s.Images.Images(ctx, fetch.Caller{Key: c.key.ID, Take: c.take}, l.request)
	if err != nil {
		return c.retold(err)
	}
	pass, err := s.enter(ctx, c, c.held.Held())
	if err != nil {
		return err
	}
	defer pass.Leave()
	if c.plan != nil {
		c.plan.request = request
	}
	return s.encode(ctx, c, request, l.model)
}
