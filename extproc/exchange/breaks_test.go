package exchange_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"aisix/extproc/exchange"
)

func sceneCallerLeavesEarly(s *scene) {
	arrived, left := make(chan struct{}), make(chan struct{})
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body)
		close(arrived)
		<-r.Context().Done()
		close(left)
	})
	s.handle(func(x *exchange.Exchange) error {
		if err := forward(x, host); err != nil {
			return err
		}
		_, err := x.Response(context.Background())
		<-x.Context().Done()
		return err
	})
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "POST", s.url, strings.NewReader("body"))
	go func() { <-arrived; cancel() }()
	if _, err := s.client.Do(req); err == nil {
		s.Error("the caller did not leave")
	}
	s.want(exchange.ErrReset, nil)
	s.await(left, "the upstream's request was not ended")
}

func sceneCallerLeavesLate(s *scene) {
	left := make(chan struct{})
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("event"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(left)
	})
	s.handle(func(x *exchange.Exchange) error { return relay(x, host) })
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "POST", s.url, strings.NewReader("body"))
	r, err := s.client.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	if _, err := io.ReadFull(r.Body, make([]byte, 5)); err != nil {
		s.Error(err)
	}
	cancel()
	r.Body.Close()
	s.want(exchange.ErrReset, nil)
	s.await(left, "the upstream's request was not ended")
}

func sceneUpstreamReset(s *scene) {
	for _, length := range []string{"", "100"} {
		sent := make(chan struct{})
		host := s.upstream(func(w http.ResponseWriter, r *http.Request) {
			if length != "" {
				w.Header().Set("content-length", length)
			}
			w.Write([]byte("half"))
			w.(http.Flusher).Flush()
			<-sent
			panic(http.ErrAbortHandler)
		})
		s.handle(func(x *exchange.Exchange) error { return relay(x, host) })
		req, _ := http.NewRequest("POST", s.url, strings.NewReader("body"))
		r, err := s.client.Do(req)
		if err != nil {
			s.Fatal(err)
		}
		b := make([]byte, 4)
		if _, err := io.ReadFull(r.Body, b); err != nil || string(b) != "HALF" {
			s.Error(string(b), err)
		}
		close(sent)
		if rest, err := io.ReadAll(r.Body); err == nil {
			s.Errorf("length %q: a clean end after %q", length, rest)
		}
		r.Body.Close()
		s.want(exchange.ErrReset, nil)
	}
}

func sceneUpstreamResetEarly(s *scene) {
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	s.localReply(host, "upstream_reset_before_response_started")
}

func sceneConnectRefused(s *scene) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	s.localReply(host, "upstream_reset_before_response_started")
}

// localReply wants Envoy's own answer with such details, and ours in its place.
func (s *scene) localReply(host, details string) {
	s.Helper()
	for _, how := range []string{"answer", "reject"} {
		s.handle(func(x *exchange.Exchange) error {
			if err := forward(x, host); err != nil {
				return err
			}
			r, err := x.Response(x.Context())
			if err != nil || !r.Local || r.Status != 502 || !strings.HasPrefix(r.Details, details) {
				return fmt.Errorf("%+v, %v", r, err)
			}
			if how == "reject" {
				return x.Reject(502, ours(), []byte("transport_error"))
			}
			return answer(x, 502, ours(), []byte("transport_error"))
		})
		r, b, err := s.do("POST", strings.NewReader("body"))
		if err != nil || r.StatusCode != 502 || string(b) != "transport_error" {
			s.Fatalf("%s: %v %q %v", how, r, b, err)
		}
		s.want(nil, nil)
	}
}

// What Envoy answers by itself where we have sent a request on, and are gone, is in the shape
// of the door that it came by, with the call's id.
func sceneOwn(s *scene) {
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200) })
	for _, door := range []string{"", exchange.DoorAnthropic} {
		s.handle(func(x *exchange.Exchange) error {
			ctx := x.Context()
			if _, err := x.Header(ctx); err != nil {
				return err
			}
			body, err := x.ReadBody(ctx, exchange.Intake{Limit: limit})
			if err != nil {
				return err
			}
			err = x.Forward(ctx, exchange.Request{Host: host, Path: "/model/m/invoke", Egress: "plaintext", Body: body.Bytes(), Own: exchange.Own{Door: door, RequestID: "the-call"}})
			if err != nil {
				return err
			}
			_, err = x.Response(ctx)
			x.Abort(errAny)
			return err
		})
		r, b, err := s.do("POST", strings.NewReader("body"))
		if err != nil {
			s.Fatal(err)
		}
		s.want(nil, errAny)
		if r.StatusCode < 500 || r.Header.Get("x-aisix-request-id") != "the-call" || (r.Header.Get("request-id") == "the-call") != (door != "") {
			s.Errorf("%q: %v %s", door, r, b)
		}
		if strings.Contains(string(b), `"type":"error"`) != (door != "") || strings.Contains(string(b), `"request_id":"the-call"`) != (door != "") {
			s.Errorf("%q: %s", door, b)
		}
	}
}

func scenePass(s *scene) {
	s.handle(func(x *exchange.Exchange) error {
		if err := forward(x, "127.0.0.1:1"); err != nil {
			return err
		}
		return x.Pass(x.Context(), []exchange.KeyValue{{Key: "x-aisix-request-id", Value: "i"}})
	})
	r, b, err := s.do("POST", strings.NewReader("body"))
	if err != nil || r.StatusCode != 502 || len(b) == 0 || r.Header.Get("x-aisix-request-id") != "i" {
		s.Fatalf("%v %q %v", r, b, err)
	}
	s.want(nil, nil)
}

func sceneAbort(s *scene) {
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("body")) })
	cut := errors.New("cut")
	s.handle(func(x *exchange.Exchange) error {
		if err := forward(x, host); err != nil {
			return err
		}
		if _, err := x.Response(x.Context()); err != nil {
			return err
		}
		if err := x.Respond(200, nil); err != nil {
			return err
		}
		if _, err := x.Write([]byte("half")); err != nil {
			return err
		}
		x.Abort(cut)
		return cut
	})
	if r, b, err := s.do("POST", strings.NewReader("body")); err == nil {
		s.Errorf("a clean end: %v %q", r, b)
	}
	s.want(cut, errAny)

	s.handle(func(x *exchange.Exchange) error { x.Abort(nil); return nil })
	r, b, err := s.do("POST", strings.NewReader("body"))
	if err != nil || r.StatusCode != 503 {
		s.Errorf("%v %q %v", r, b, err)
	}
	s.want(nil, errAny)
}

func sceneUnfinished(s *scene) {
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("body")) })
	s.handle(func(x *exchange.Exchange) error {
		if err := forward(x, host); err != nil {
			return err
		}
		if _, err := x.Response(x.Context()); err != nil {
			return err
		}
		return x.Respond(200, nil)
	})
	// Broken off, or an error of Envoy's where it had not passed our header on yet.
	if r, b, err := s.do("POST", strings.NewReader("body")); err == nil && r.StatusCode != 503 {
		s.Errorf("a clean end: %v %q", r, b)
	}
	s.want(nil, errAny)
}

// bufferLimit is what testdata/buffered.yaml lets Envoy hold of a body.
const bufferLimit = 10 << 20

// In BUFFERED mode a body over the buffer limit has Envoy answer 413 while the
// handler waits for the body. In full duplex a body has no such limit.
func sceneEnvoyAnswers(s *scene) {
	if s.mode != "BUFFERED" {
		s.Skip("only a buffered body can overflow")
	}
	s.handle(func(x *exchange.Exchange) error {
		if _, err := x.Header(x.Context()); err != nil {
			return err
		}
		if _, err := x.ReadBody(x.Context(), exchange.Intake{Limit: 1 << 30}); !errors.Is(err, exchange.ErrAnswered) {
			return fmt.Errorf("ReadBody: %v", err)
		}
		r, err := x.Response(x.Context())
		if err != nil || !r.Local || r.Status != 413 {
			return fmt.Errorf("%+v, %v", r, err)
		}
		return x.Pass(x.Context(), nil)
	})
	r, b, err := s.do("POST", bytes.NewReader(make([]byte, bufferLimit+1<<20)))
	if err != nil || r.StatusCode != 413 {
		s.Errorf("%v %q %v", r, b, err)
	}
	s.want(nil, nil)
}
