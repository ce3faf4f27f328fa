package exchange_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"aisix/extproc/exchange"
)

func TestEnvoy(t *testing.T) {
	g := startGateway(t)
	scenes := []struct {
		name string
		play func(s *scene)
	}{
		{"translates bodies of 3 MB both ways", sceneTranslate},
		{"an empty body", sceneEmptyBody},
		{"no body", sceneNoBody},
		{"a request that is not forwarded leaves by no route", sceneNoRoute},
		{"rejects straight after the headers of a large upload", sceneRejectEarly},
		{"rejects a body over the limit", sceneTooLarge},
		{"rejects while the upstream is silent", sceneTimeout},
		{"rejects in place of a reply", sceneRejectReply},
		{"answers before the reply has ended", sceneAnswerEarly},
		{"gives a body to a reply without one", sceneReplyWithoutBody},
		{"a deadline passes and reading goes on", sceneDeadline},
		{"trailers both ways", sceneTrailers},
		{"the caller leaves while the upstream thinks", sceneCallerLeavesEarly},
		{"the caller leaves in the middle of a stream", sceneCallerLeavesLate},
		{"the upstream resets in the middle", sceneUpstreamReset},
		{"the upstream resets before its headers", sceneUpstreamResetEarly},
		{"connect refused is a local response", sceneConnectRefused},
		{"a local response can be passed on", scenePass},
		{"abort", sceneAbort},
		{"Envoy's own answer once we are gone", sceneOwn},
		{"an answer that was not finished is broken", sceneUnfinished},
		{"Envoy answers while the body is read", sceneEnvoyAnswers},
		{"a caller who stops in the middle of a body", sceneHalfBody},
		{"a body that is far too large", sceneFlood},
		{"a handler that does not read", sceneSlowHandler},
		{"a caller who does not read", sceneSlowCaller},
		{"a body passes, where Envoy counts", scenePasses},
		{"an answer that no upstream's is under", sceneAlone},
		{"nothing is left of many that broke", sceneLeftovers},
	}
	for _, mode := range []string{"FULL_DUPLEX_STREAMED", "BUFFERED", "counting"} {
		for _, sc := range scenes {
			t.Run(mode+"/"+sc.name, func(t *testing.T) {
				tr := &http.Transport{}
				defer tr.CloseIdleConnections()
				s := &scene{T: t, gateway: g, mode: mode, client: &http.Client{Transport: tr, Timeout: 30 * time.Second}}
				s.url = "http://" + g.envoys[mode].Address(t, "callers") + "/v1/chat/completions"
				sc.play(s)
				if len(g.results) > 0 {
					t.Errorf("a stream too many: %+v", <-g.results)
				}
			})
		}
	}
}

func sceneTranslate(s *scene) {
	big := bytes.Repeat([]byte("abcdefghij"), 300_000)
	type seen struct {
		header  http.Header
		host    string
		uri     string
		length  int64
		body    []byte
		chunked []string
	}
	got := make(chan seen, 1)
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- seen{r.Header, r.Host, r.RequestURI, r.ContentLength, b, r.TransferEncoding}
		w.Header().Set("X-Amzn-Requestid", "r")
		w.WriteHeader(201)
		w.Write(big)
	})
	address := make(chan netip.Addr, 1)
	s.handle(func(x *exchange.Exchange) error {
		err := relay(x, host)
		h, _ := x.Header(x.Context())
		address <- h.ClientAddress
		return err
	})
	r, b, err := s.do("POST", bytes.NewReader(big), "Authorization", "Bearer sk", "Cookie", "a=b", "X-Amz-Date", "1", "X-Aisix-Egress", "plaintext", "X-Request-Id", "1")
	if err != nil {
		s.Fatal(err)
	}
	if r.StatusCode != 201 || !bytes.Equal(b, bytes.ToUpper(big)) || r.Header.Get("x-ours") != "1" || r.Header.Get("x-amzn-requestid") != "" {
		s.Errorf("answer: %d, %d bytes, %v", r.StatusCode, len(b), r.Header)
	}
	var u seen
	select {
	case u = <-got:
	default:
		s.Error("the upstream was not called")
	}
	if u.host != host || u.uri != "/model/a%3Ab/invoke?x=y" || !bytes.Equal(u.body, bytes.ToUpper(big)) || u.length != int64(len(big)) || u.chunked != nil {
		s.Errorf("upstream saw %s %s, %d bytes, length %d, %v", u.host, u.uri, len(u.body), u.length, u.chunked)
	}
	for name := range u.header {
		switch name {
		case "Content-Type", "Content-Length", "Authorization":
		default:
			s.Errorf("upstream saw %s: %s", name, u.header[name])
		}
	}
	if u.header.Get("authorization") != "AWS4" {
		s.Errorf("authorization %q", u.header["Authorization"])
	}
	if a := <-address; !a.IsLoopback() {
		s.Errorf("client address %v", a)
	}
	s.want(nil, nil)
}

func sceneEmptyBody(s *scene) {
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("ok")) })
	s.handle(func(x *exchange.Exchange) error { return relay(x, host) })
	r, b, err := s.do("POST", http.NoBody)
	if err != nil || r.StatusCode != 200 || string(b) != "OK" {
		s.Fatalf("%v %q %v", r, b, err)
	}
	s.want(nil, nil)
	// A chunked body may be empty too: then there is an end of stream of its own.
	r, b, err = s.do("POST", struct{ io.Reader }{strings.NewReader("")})
	if err != nil || r.StatusCode != 200 || string(b) != "OK" {
		s.Fatalf("%v %q %v", r, b, err)
	}
	s.want(nil, nil)
}

func sceneNoBody(s *scene) {
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(r.Method)) })
	s.handle(func(x *exchange.Exchange) error {
		h, err := x.Header(x.Context())
		if err != nil || !h.EndOfStream {
			return fmt.Errorf("%+v, %v", h, err)
		}
		return relay(x, host)
	})
	r, b, err := s.do("GET", nil)
	if err != nil || r.StatusCode != 200 || string(b) != "GET" {
		s.Fatalf("%v %q %v", r, b, err)
	}
	s.want(nil, nil)
}

func sceneNoRoute(s *scene) {
	s.handle(func(x *exchange.Exchange) error {
		ctx := x.Context()
		if _, err := x.Header(ctx); err != nil {
			return err
		}
		if _, err := x.ReadBody(ctx, exchange.Intake{Limit: limit}); err != nil {
			return err
		}
		if err := x.Forward(ctx, exchange.Request{Host: "127.0.0.1:1", Body: []byte("x")}); err != nil {
			return err
		}
		r, err := x.Response(ctx)
		if err != nil || !r.Local || r.Details != "direct_response" {
			return fmt.Errorf("%+v, %v", r, err)
		}
		return x.Pass(ctx, nil)
	})
	r, b, err := s.do("POST", strings.NewReader("body"), "X-Aisix-Egress", "plaintext")
	if err != nil || r.StatusCode != 404 || !strings.Contains(string(b), "no route matches this request") {
		s.Fatalf("%v %q %v", r, b, err)
	}
	s.want(nil, nil)
}

func sceneRejectEarly(s *scene) {
	s.handle(func(x *exchange.Exchange) error {
		if _, err := x.Header(x.Context()); err != nil {
			return err
		}
		return x.Reject(401, ours("Content-Type", "application/json"), []byte(`{"error":{}}`))
	})
	for _, size := range []int{900_000, 30 << 20} {
		r, b, err := s.do("POST", bytes.NewReader(make([]byte, size)))
		if size > 1<<20 && err != nil && strings.Contains(err.Error(), "write: ") {
			s.Logf("a client that can't read while it writes: %v", err) // Envoy closes the connection; net/http may see that first
			s.want(nil, nil)
			continue
		}
		if err != nil || r.StatusCode != 401 || string(b) != `{"error":{}}` || r.Header.Get("content-type") != "application/json" || r.Header.Get("x-aisix-request-id") != "i" {
			s.Fatalf("%v %q %v", r, b, err)
		}
		s.want(nil, nil)
	}
}

func sceneTooLarge(s *scene) {
	s.handle(func(x *exchange.Exchange) error {
		if _, err := x.Header(x.Context()); err != nil {
			return err
		}
		if _, err := x.ReadBody(x.Context(), exchange.Intake{Limit: 100_000}); err != exchange.ErrTooLarge {
			return fmt.Errorf("ReadBody: %v", err)
		}
		return x.Reject(413, ours(), nil)
	})
	for _, body := range []io.Reader{bytes.NewReader(make([]byte, 200_000)), struct{ io.Reader }{bytes.NewReader(make([]byte, 200_000))}} {
		r, _, err := s.do("POST", body)
		if err != nil || r.StatusCode != 413 {
			s.Fatalf("%v %v", r, err)
		}
		s.want(nil, nil)
	}
}

func sceneTimeout(s *scene) {
	left := make(chan struct{})
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body)
		<-r.Context().Done()
		close(left)
	})
	s.handle(func(x *exchange.Exchange) error {
		if err := forward(x, host); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(x.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := x.Response(ctx); !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("Response: %v", err)
		}
		return x.Reject(504, ours(), []byte("late"))
	})
	r, b, err := s.do("POST", strings.NewReader("body"))
	if err != nil || r.StatusCode != 504 || string(b) != "late" {
		s.Fatalf("%v %q %v", r, b, err)
	}
	s.want(nil, nil)
	s.await(left, "the upstream's request was not ended")
}

func (s *scene) await(c <-chan struct{}, otherwise string) {
	s.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		s.Error(otherwise)
	}
}

func sceneRejectReply(s *scene) {
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.Write([]byte("an exception in a 200"))
	})
	s.handle(func(x *exchange.Exchange) error {
		if err := forward(x, host); err != nil {
			return err
		}
		if _, err := x.Response(x.Context()); err != nil {
			return err
		}
		if _, err := x.Read(make([]byte, 5)); err != nil {
			return err
		}
		return x.Reject(429, ours("retry-after", "1"), []byte("slow down"))
	})
	r, b, err := s.do("POST", strings.NewReader("body"))
	if err != nil || r.StatusCode != 429 || string(b) != "slow down" || r.Header.Get("retry-after") != "1" {
		s.Fatalf("%v %q %v", r, b, err)
	}
	s.want(nil, nil)
}

// An answer of ours may end while the upstream still sends: a second attempt's,
// or an error that is known from the status.
func sceneAnswerEarly(s *scene) {
	for _, endless := range []bool{false, true} {
		host := s.upstream(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(429)
			w.Write(make([]byte, 1000))
			if endless {
				w.(http.Flusher).Flush()
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 1<<16)); err != nil {
						return
					}
				}
			}
		})
		s.handle(func(x *exchange.Exchange) error {
			if err := forward(x, host); err != nil {
				return err
			}
			if _, err := x.Response(x.Context()); err != nil {
				return err
			}
			return answer(x, 200, ours("content-length", "4"), []byte("ours"))
		})
		r, b, err := s.do("POST", strings.NewReader("body"))
		if err != nil || r.StatusCode != 200 || string(b) != "ours" {
			s.Fatalf("endless %v: %v %q %v", endless, r, b, err)
		}
		s.want(nil, nil)
	}
}

func sceneReplyWithoutBody(s *scene) {
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) })
	s.handle(func(x *exchange.Exchange) error {
		if err := forward(x, host); err != nil {
			return err
		}
		r, err := x.Response(x.Context())
		if err != nil || !r.EndOfStream {
			return fmt.Errorf("%+v, %v", r, err)
		}
		return answer(x, 403, ours("content-type", "application/json"), []byte("{}"))
	})
	r, b, err := s.do("POST", strings.NewReader("body"))
	if err != nil || r.StatusCode != 403 || string(b) != "{}" || r.Header.Get("content-type") != "application/json" {
		s.Fatalf("%v %q %v", r, b, err)
	}
	s.want(nil, nil)
}

func sceneDeadline(s *scene) {
	more := make(chan struct{})
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("one "))
		w.(http.Flusher).Flush()
		<-more
		w.Write([]byte("two"))
	})
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
		buf := make([]byte, 100)
		passed := 0
		for {
			x.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
			n, err := x.Read(buf)
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded):
				if passed++; passed == 2 {
					close(more)
				}
				x.Write([]byte(": keep-alive "))
			case err == io.EOF && passed < 2:
				return errors.New("no deadline passed")
			case err == io.EOF:
				return x.Finish(nil)
			case err != nil:
				return err
			default:
				x.Write(buf[:n])
			}
		}
	})
	r, b, err := s.do("POST", strings.NewReader("body"))
	if err != nil || r.StatusCode != 200 || strings.ReplaceAll(string(b), ": keep-alive ", "") != "one two" {
		s.Fatalf("%v %q %v", r, b, err)
	}
	s.want(nil, nil)
}

func sceneTrailers(s *scene) {
	up := make(chan http.Header, 1)
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		up <- r.Trailer
		w.Header().Set("Trailer", "X-Down")
		w.Write(b)
		w.Header().Set("X-Down", "1")
	})
	s.handle(func(x *exchange.Exchange) error { return relay(x, host) })
	req, err := http.NewRequest("POST", s.url, struct{ io.Reader }{strings.NewReader("body")})
	if err != nil {
		s.Fatal(err)
	}
	req.Trailer = http.Header{"X-Up": {"1"}}
	r, err := s.client.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer r.Body.Close()
	if b, err := io.ReadAll(r.Body); err != nil || r.StatusCode != 200 || string(b) != "BODY" {
		s.Fatalf("%d %q %v", r.StatusCode, b, err)
	}
	if len(r.Trailer) != 0 {
		s.Errorf("the caller saw trailers %v", r.Trailer)
	}
	select {
	case u := <-up:
		if s.mode == "FULL_DUPLEX_STREAMED" && len(u) != 0 { // BUFFERED: the filter is not shown any
			s.Errorf("the upstream saw trailers %v", u)
		}
	default:
		s.Error("the upstream was not called")
	}
	s.want(nil, nil)
}
