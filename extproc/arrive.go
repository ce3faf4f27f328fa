package extproc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"aisix/extproc/admission"
	"aisix/extproc/exchange"
	"aisix/extproc/fault"
	"aisix/extproc/ratelimit"
)

// translationWait is how long a body waits for its turn to be translated, where
// the Config does not say.
const translationWait = 10 * time.Second

// room is what the process takes on at a time, shared by the keys.
type room struct {
	calls *admission.Shared
	bytes *admission.Shared
	work  *admission.Work
	// pressure is how late everything is, where all the others have room.
	pressure *admission.Pressure
}

func newRoom(c Config) room {
	return room{calls: admission.NewShared(c.MaxCalls), bytes: admission.NewShared(c.MaxBufferedBytes), work: admission.NewWork(c.MaxTranslating, runtime.GOMAXPROCS(0)), pressure: admission.NewPressure(c.MaxDelay)}
}

// Load is how much the process has taken on: calls in flight, and bytes of bodies
// that it holds.
func (s *Server) Load() (calls, bytes int64) { return s.room.calls.Used(), s.room.bytes.Used() }

// Refusing is the share of new calls that is refused now because everything is late.
func (s *Server) Refusing() float64 { return s.room.pressure.Share(s.Now()) }

// arrive counts the call from its headers on: for the limits of its key, which
// answer here without a round trip where this process knows the key to be at one,
// and against what the process takes on. Nothing of its body has been read.
func (s *Server) arrive(c *call) error {
	if s.room.pressure.Refuse(c.facts.Time) {
		return overloaded("the gateway has more requests than it can answer in time")
	}
	c.place, c.held = s.room.calls.Account(c.key.ID), s.room.bytes.Account(c.key.ID)
	most := s.Config.CallsPerKey
	if limit := c.key.APIKey.RateLimit; limit != nil {
		if limit.Concurrency != nil {
			most = 0 // its own limit counts
		}
		if err := s.count(c, ratelimit.Of("apikey", c.key.ID, limit)); err != nil {
			return err
		}
	}
	switch c.place.TakeUpTo(1, most) {
	case admission.ErrShare:
		return c.limited(tooMany(c.key.ID, most))
	case admission.ErrFull:
		return overloaded("the gateway has too many calls in flight")
	}
	return c.take(c.header.Size())
}

// tooMany refuses a key without a limit of its own on concurrency as such a limit
// would.
func tooMany(key string, most int64) *ratelimit.Rejection {
	return &ratelimit.Rejection{
		Fault: &fault.Error{Kind: fault.RateLimited, Status: http.StatusTooManyRequests, RetryAfter: "1",
			Message: fmt.Sprintf("Rate limit reached for this API key: the gateway takes %d of its requests at a time. Please try again in 1 s.", most)},
		Headers: http.Header{
			"X-Ratelimit-Limit-Requests":     {strconv.FormatInt(most, 10)},
			"X-Ratelimit-Remaining-Requests": {"0"},
			"X-Ratelimit-Reset-Requests":     {time.Second.String()},
		},
		Scope: ratelimit.Scope{Kind: "apikey", ID: key}, Limit: "concurrency",
	}
}

// count has the limiter count the call in a bucket, in this process alone; reserve
// asks for the same one.
func (s *Server) count(c *call, bucket ratelimit.Bucket) error {
	buckets := c.bucket(bucket)
	if len(buckets) == 0 {
		return nil
	}
	arrival, err := s.Limiter.Arrive(buckets)
	if err != nil {
		return c.limited(err)
	}
	c.arrivals, c.buckets = append(c.arrivals, arrival), append(c.buckets, buckets...)
	return nil
}

// take counts bytes that are about to be held for the call.
func (c *call) take(n int64) error {
	if !c.held.Take(n) {
		return overloaded("the gateway holds too many bytes of requests and answers")
	}
	return nil
}

// body waits for the request's body. It is counted as it comes, and has to keep
// a pace.
func (s *Server) body(ctx context.Context, c *call) (*exchange.Body, error) {
	limit := s.Config.MaxBodyBytes
	if n := c.header.ContentLength(); n <= limit && !c.held.Fits(n) {
		return nil, overloaded("the gateway has no room for a body of this size at the moment")
	}
	least := int64(math.Ceil(float64(s.Config.MinBodyRate) * s.Config.BodyWindow.Seconds()))
	body, err := c.x.ReadBody(ctx, exchange.Intake{Limit: limit, Took: c.take, Least: least, Window: s.Config.BodyWindow})
	switch {
	case errors.Is(err, exchange.ErrTooLarge):
		return nil, tooLarge(limit)
	case errors.Is(err, exchange.ErrSlow):
		return nil, &fault.Error{Kind: fault.InvalidRequest, Status: http.StatusRequestTimeout,
			Message: fmt.Sprintf("the body arrived too slowly: fewer than %d bytes in %v", least, s.Config.BodyWindow)}
	}
	if err == nil {
		c.held.Set(c.header.Size() + body.Size()) // what Envoy buffers was counted as announced
	}
	return body, err
}

// enter waits for the call's turn to have so many bytes translated.
func (s *Server) enter(ctx context.Context, c *call, bytes int64) (admission.Pass, error) {
	patience := s.Config.TranslationWait
	if left := s.Config.Timeout - s.Now().Sub(c.facts.Time); left < patience {
		patience = left
	}
	pass, err := s.room.work.Enter(ctx, c.key.ID, bytes, patience)
	if errors.Is(err, admission.ErrFull) {
		err = overloaded("the gateway is busy with other requests")
	}
	return pass, err
}

func overloaded(message string) error {
	return &fault.Error{Kind: fault.Overloaded, Status: http.StatusServiceUnavailable, RetryAfter: "1", Message: message}
}
