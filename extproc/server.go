// Package extproc is the data plane: it serves Envoy's ext_proc protocol, and
// with it OpenAI's API answered from AWS Bedrock.
//
// It knows the story of one call: it arrives (authenticate, count), and then there
// are three acts, admit (decode, resolve, authorize, encode, reserve), attempt (sign,
// send, decode) and settle (commit tokens, release, record); and the
// table of operations. It knows no JSON of OpenAI's or AWS's (openai, bedrock), no
// ext_proc message (exchange) and no Redis (ratelimit, usage). cmd/extproc wires
// and runs it.
package extproc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"

	"aisix/admin/snapshot"
	"aisix/extproc/chat"
	"aisix/extproc/egress"
	"aisix/extproc/exchange"
	"aisix/extproc/fault"
	"aisix/extproc/fetch"
	"aisix/extproc/identity"
	"aisix/extproc/ratelimit"
	"aisix/extproc/routing"
	"aisix/extproc/usage"
)

// Config is what the process decides for all calls.
type Config struct {
	MaxBodyBytes int64         // of a request's body, compressed and not
	KeepAlive    time.Duration // longest silence of a stream before a comment line; 0 sends none
	// What a model resource does not say: the deadline of the whole call, and the
	// longest gap before the first chunk and between chunks.
	Timeout, StreamTimeout time.Duration

	// What the process takes on at a time; 0 is no bound.
	MaxCalls         int64 // calls in flight
	CallsPerKey      int64 // of one key that has no limit on concurrency
	MaxBufferedBytes int64 // of bodies, and of what is made of them
	MaxTranslating   int64 // bytes of bodies in translation at a time

	// EnvoyReconnects: where the caller's own request goes on, Envoy makes a connection that fails anew
	// by itself.
	EnvoyReconnects bool

	// MaxDelay is how late the process and Envoy may get to each other's messages before
	// new calls are refused; 0 is no bound.
	MaxDelay time.Duration

	TranslationWait time.Duration // longest wait for a body's turn; 0 is 10 s
	ErrorWait       time.Duration // longest wait for the body of a reply that is no answer; 0 is 2 s
	// A body must bring MinBodyRate bytes a second, on the average of each BodyWindow;
	// 0 asks for nothing.
	MinBodyRate int64
	BodyWindow  time.Duration
}

// snapshots gives the resources in force, nil before the first were read, and tells
// whether Redis has lost them.
type snapshots interface {
	Load() *snapshot.Snapshot
	Lost() bool
}

// limiter reserves the limits of a call, and counts it in this process from its
// headers on.
type limiter interface {
	Arrive(buckets []ratelimit.Bucket) (*ratelimit.Arrival, error)
	Reserve(ctx context.Context, buckets []ratelimit.Bucket, amount ratelimit.Amount) (*ratelimit.Reservation, error)
}

// images gets the images that a request names by URL, or refuses to. Prepare gives
// the request with stand-ins for them, or the request itself where there are none.
type images interface {
	Prepare(r *chat.Request) (*chat.Request, error)
	Images(ctx context.Context, by fetch.Caller, r *chat.Request) (*chat.Request, error)
}

// recorder takes note of every finished call, without blocking.
type recorder interface{ Record(*usage.Facts) }

// Parts are what a Server is made of.
type Parts struct {
	Config     Config
	Snapshots  snapshots
	Limiter    limiter
	Images     images           // nil refuses them
	Egress     *egress.Client   // nil: what takes several upstream calls is refused
	Identities *identity.Source // nil grants provider keys nothing of the host's
	Recorder   recorder
	Log        *slog.Logger
	Board      *routing.Board   // nil: of targets that fail, nobody else hears
	Now        func() time.Time // nil is time.Now
	NewID      func() string    // nil makes UUIDs
}

// Server serves ext_proc.
type Server struct {
	extprocv3.UnimplementedExternalProcessorServer
	Parts

	table    table
	board    *routing.Board
	targets  targets
	changed  *changed
	lacking  *lru.Cache[string, struct{}] // ids of models that were said to lack the egress listener
	room     room
	draining atomic.Bool
	unready  atomic.Bool // what /readyz last said
}

// New builds a server.
func New(p Parts) *Server {
	s := &Server{Parts: p, targets: newTargets(), changed: newChanged(), room: newRoom(p.Config)}
	s.lacking, _ = lru.New[string, struct{}](maxCaptured) // fails without a size only
	s.table = s.operations()
	if s.Config.TranslationWait <= 0 {
		s.Config.TranslationWait = translationWait
	}
	if s.Config.ErrorWait <= 0 {
		s.Config.ErrorWait = errorWait
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.board = p.Board; s.board == nil {
		s.board = routing.NewBoard(s.Now)
	}
	if s.Images == nil {
		s.Images = fetch.New(fetch.Config{})
	}
	if s.Identities == nil {
		s.Identities = identity.New(identity.Options{Log: p.Log})
	}
	if s.NewID == nil {
		s.NewID = uuid.NewString
	}
	return s
}

// Drain makes the server not ready: calls go on, balancers look elsewhere.
func (s *Server) Drain() { s.draining.Store(true) }

// Ready reports whether a snapshot is in force and the process is not stopping.
func (s *Server) Ready() bool { return s.Snapshots.Load() != nil && !s.draining.Load() }

// Process serves one ext_proc stream: one HTTP request and its response.
func (s *Server) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	x := exchange.New(stream)
	s.handle(x.Context(), x) // Envoy's end of the stream ends all waits
	return x.Close()
}

// handle serves one request, whatever becomes of it.
func (s *Server) handle(ctx context.Context, x *exchange.Exchange) {
	h, err := x.Header(ctx)
	if errors.Is(err, exchange.ErrAnswered) {
		_ = x.Pass(ctx, nil) // a filter before ours has refused it
		return
	}
	if err != nil {
		if errors.Is(err, exchange.ErrMode) {
			s.Log.Error("this Envoy's ext_proc filter is not set up for the gateway", "error", err)
		}
		x.Abort(err)
		return
	}
	c := s.newCall(x, h)
	defer s.settle(c)
	if err := s.guard(ctx, c); err != nil {
		s.fail(ctx, c, err)
	}
}

// guard serves the call, and turns a panic into an error: one call must not end
// the sidecar for everyone.
func (s *Server) guard(ctx context.Context, c *call) (err error) {
	defer func() {
		var p panicked
		c.facts.Panicked = errors.As(err, &p) // here, or in a goroutine of the call's
	}()
	defer recovered(&err)
	return s.serve(ctx, c)
}

// panicked is the error that a panic is turned into.
type panicked string

func (p panicked) Error() string { return string(p) }

// recovered turns a panic into an error, where it is deferred.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = panicked(fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
	}
}

// serve finds out what is asked, and by whom.
func (s *Server) serve(ctx context.Context, c *call) error {
	op, unknown := s.operation(c)
	c.facts.Operation, c.dialect, c.probe = op.name, op.dialect, op.open
	if op.open {
		return op.run(ctx, c)
	}
	// Who has no key does not learn what there is.
	if c.snapshot = s.Snapshots.Load(); c.snapshot == nil {
		return unavailable("the gateway has not read its configuration yet")
	}
	c.facts.IsKey = c.isKey
	if err := s.authenticate(c); err != nil {
		return err
	}
	if unknown != nil {
		return unknown
	}
	return op.run(ctx, c)
}

func unavailable(message string) error {
	return &fault.Error{Kind: fault.GatewayUnavailable, Status: http.StatusServiceUnavailable, RetryAfter: "1", Message: message}
}

// converse asks a model for an answer, in dialect d.
func (s *Server) converse(d conversation) operation {
	return operation{name: "converse", dialect: d, run: func(ctx context.Context, c *call) error {
		c.facts.Dialect = d.Name()
		if err := s.arrive(c); err != nil {
			return err
		}
		if err := s.admit(ctx, c, d); err != nil {
			return err
		}
		s.chooseWay(c)
		err := s.tryAll(ctx, c, s.converseOnce)
		if err != nil && c.facts.Stream && !c.began && !c.isGone(ctx, err) && (c.promised || d.InStream(fault.From(err))) {
			return s.failedStream(c, fault.From(err))
		}
		return err
	}}
}

// fail tells the caller what went wrong, as far as it still can be told.
func (s *Server) fail(ctx context.Context, c *call, err error) {
	if errors.Is(err, exchange.ErrAnswered) {
		s.pass(ctx, c)
		return
	}
	if c.isGone(ctx, err) {
		c.left = true
		s.Log.Debug("Envoy ended the stream", "request_id", c.facts.RequestID, "error", context.Cause(c.x.Context()))
		return
	}
	f := fault.From(err)
	c.failed(f)
	if c.promised || c.reject(f) != nil {
		c.x.Abort(err)
	}
}

// pass lets an answer through that Envoy made by itself while it read the
// request: it came too slowly, or was not HTTP any more. It has our shape
// already (local_reply_config).
func (s *Server) pass(ctx context.Context, c *call) {
	r, err := c.x.Response(ctx)
	if err == nil {
		c.facts.Status = r.Status
		c.failed(&fault.Error{Kind: fault.InvalidRequest, Status: r.Status, Err: errors.New("envoy answered: " + r.Details)})
		err = c.x.Pass(ctx, c.headers(""))
	}
	c.left = err != nil
}
