package exchange_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"aisix/extproc/exchange"
	"aisix/extproc/exchange/exchangetest"
)

// process serves one stream with a handler.
func process(f func(*exchange.Exchange) error) func(extprocv3.ExternalProcessor_ProcessServer) error {
	return func(stream extprocv3.ExternalProcessor_ProcessServer) error {
		x := exchange.New(stream)
		if err := f(x); err != nil {
			x.Abort(err)
		}
		return x.Close()
	}
}

// alone reads the request and answers with pieces, without an upstream.
func alone(x *exchange.Exchange, status int, pieces ...string) error {
	ctx := x.Context()
	if _, err := x.Header(ctx); err != nil {
		return err
	}
	if _, err := x.ReadBody(ctx, exchange.Intake{Limit: limit}); err != nil {
		return err
	}
	if err := x.Respond(status, ours("content-type", "text/event-stream")); err != nil {
		return err
	}
	for _, p := range pieces {
		if _, err := x.Write([]byte(p)); err != nil {
			return err
		}
	}
	return nil
}

// An answer that no upstream's is under goes out piece by piece in full duplex, and whole where
// the body was buffered; what has one piece goes out as one message.
func TestAlone(t *testing.T) {
	for _, mode := range []exchangetest.Envoy{{Mode: exchangetest.FullDuplex}, {Mode: exchangetest.Buffered}} {
		for _, pieces := range [][]string{nil, {"one"}, {"one", "two"}} {
			for _, last := range []string{"", "end"} {
				mode.Path, mode.Body = "/v1/chat/completions", []byte("{}")
				a := mode.Run(background, t, process(func(x *exchange.Exchange) error {
					if err := alone(x, 200, pieces...); err != nil {
						return err
					}
					return x.Finish([]byte(last))
				}))
				streamed := mode.Mode == exchangetest.FullDuplex && len(pieces) > 0
				if a.Err != nil || a.Broken || a.Status != 200 || string(a.Body) != strings.Join(pieces, "")+last || a.Streamed != streamed || a.Immediate == streamed || a.Forwarded != nil {
					t.Errorf("%v, %d pieces, last %q: %+v", mode.Mode, len(pieces), last, a)
				}
				if a.Header.Get("content-type") != "text/event-stream" {
					t.Errorf("%v", a.Header)
				}
			}
		}
	}
	// Before anything was written a fault takes its place; after it, only a break.
	for _, wrote := range []bool{false, true} {
		a := exchangetest.Envoy{Path: "/", Body: []byte("{}")}.Run(background, t, process(func(x *exchange.Exchange) error {
			var pieces []string
			if wrote {
				pieces = []string{"half"}
			}
			if err := alone(x, 200, pieces...); err != nil {
				return err
			}
			if err := x.Reject(504, nil, []byte("late")); (err != nil) != wrote || err != nil && !errors.Is(err, exchange.ErrOrder) {
				t.Errorf("Reject: %v", err)
			}
			return nil
		}))
		if wrote != a.Broken || !wrote && (a.Status != 504 || string(a.Body) != "late") {
			t.Errorf("wrote %v: %+v", wrote, a)
		}
	}
}

// sceneAlone is the same in front of a real Envoy.
func sceneAlone(s *scene) {
	streams := s.mode != "BUFFERED"
	on := make(chan struct{})
	says := func(x *exchange.Exchange) error {
		if err := alone(x, 200, "one "); err != nil {
			return err
		}
		if x.Streams() != streams {
			return fmt.Errorf("Streams: %v", x.Streams())
		}
		if streams {
			select {
			case <-on: // the caller has the first piece
			case <-x.Context().Done():
				return context.Cause(x.Context())
			}
		}
		if _, err := x.Write(bytes.Repeat([]byte("x"), 3<<20)); err != nil {
			return err
		}
		return x.Finish([]byte(" end"))
	}
	s.handle(says)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	q, _ := http.NewRequestWithContext(ctx, "POST", s.url, strings.NewReader("body"))
	r, err := s.client.Do(q)
	if err != nil {
		s.Fatal(err)
	}
	first := make([]byte, 4)
	if _, err := io.ReadFull(r.Body, first); err != nil || string(first) != "one " {
		s.Fatalf("%q %v", first, err)
	}
	close(on)
	rest, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || len(rest) != 3<<20+4 || !bytes.HasSuffix(rest, []byte("x end")) {
		s.Errorf("%d bytes, %v", len(rest), err)
	}
	if r.StatusCode != 200 || r.Header.Get("content-type") != "text/event-stream" || r.Header.Get("x-aisix-request-id") != "i" || r.Header.Get("x-aisix-details") != "" {
		s.Errorf("%d %v", r.StatusCode, r.Header)
	}
	s.want(nil, nil)
	if !streams {
		return
	}

	// A long request, and one with trailers, are read to their end and answered as well; what the answer's
	// connection carries next is served.
	for _, body := range []string{strings.Repeat("x", 3<<20), "short"} {
		s.handle(func(x *exchange.Exchange) error {
			if err := alone(x, 200, "one "); err != nil {
				return err
			}
			return x.Finish([]byte("two"))
		})
		q, _ := http.NewRequest("POST", s.url, struct{ io.Reader }{strings.NewReader(body)})
		q.Trailer = http.Header{"X-Trailer": {"t"}}
		r, err := s.client.Do(q)
		if err != nil {
			s.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		if r.Body.Close(); err != nil || string(b) != "one two" {
			s.Errorf("%q %v", b, err)
		}
		s.want(nil, nil)
	}

	// The caller leaves, before anything was said and in mid-answer.
	for _, pieces := range [][]string{nil, {"half"}} {
		here := make(chan struct{})
		s.handle(func(x *exchange.Exchange) error {
			err := alone(x, 200, pieces...)
			close(here)
			if err != nil {
				return err
			}
			<-x.Context().Done()
			return context.Cause(x.Context())
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		req, _ := http.NewRequestWithContext(ctx, "POST", s.url, strings.NewReader("body"))
		go func() {
			select {
			case <-here:
			case <-ctx.Done():
			}
			cancel()
		}()
		if r, err := s.client.Do(req); err == nil {
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
		}
		s.want(exchange.ErrReset, nil)
	}

	// An answer that is given up is broken off.
	cut := errors.New("cut")
	s.handle(func(x *exchange.Exchange) error {
		if err := alone(x, 200, "half"); err != nil {
			return err
		}
		x.Abort(cut)
		return cut
	})
	if r, b, err := s.do("POST", strings.NewReader("body")); err == nil {
		s.Errorf("a clean end: %v %q", r, b)
	}
	s.want(cut, errAny)
}
