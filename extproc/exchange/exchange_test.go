package exchange_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"aisix/extproc/exchange"
	"aisix/extproc/exchange/exchangetest"
)

const limit = 10 << 20

var background = context.Background()

// translate is a handler that tells the whole story: upper-case up, upper-case
// down.
func translate(stream extprocv3.ExternalProcessor_ProcessServer) error {
	x := exchange.New(stream)
	if err := converse(x); err != nil {
		x.Abort(err)
	}
	return x.Close()
}

func converse(x *exchange.Exchange) error {
	ctx := x.Context()
	h, err := x.Header(ctx)
	if err != nil {
		return err
	}
	var body []byte
	if !h.EndOfStream {
		b, err := x.ReadBody(ctx, exchange.Intake{Limit: limit})
		if err != nil {
			return err
		}
		body = b.Bytes()
	}
	err = x.Forward(ctx, exchange.Request{
		Host:   "bedrock.example",
		Path:   "/model/a%3Ab/invoke",
		Egress: "tls",
		Header: []exchange.KeyValue{{Key: "Content-Type", Value: "application/json"}},
		Body:   bytes.ToUpper(body),
	})
	if err != nil {
		return err
	}
	r, err := x.Response(ctx)
	if err != nil {
		return err
	}
	if err := x.Respond(r.Status, []exchange.KeyValue{{Key: "x-ours", Value: "1"}}); err != nil {
		return err
	}
	buf := make([]byte, 7)
	for {
		n, err := x.Read(buf)
		if err == io.EOF {
			return x.Finish(nil)
		}
		if err != nil {
			return err
		}
		if _, err := x.Write(bytes.ToUpper(buf[:n])); err != nil {
			return err
		}
	}
}

func TestConversation(t *testing.T) {
	long := strings.Repeat("abcdefghij", 300_000)
	for _, mode := range []filterv3.ProcessingMode_BodySendMode{exchangetest.FullDuplex, exchangetest.Buffered} {
		for _, body := range []*string{nil, new(string), ptr("hello"), &long} {
			for _, pieces := range []int{1 << 30, 3, 1 << 16} {
				if body == &long && pieces == 3 {
					continue
				}
				t.Run(fmt.Sprintf("%v/%d/%d", mode, length(body), pieces), func(t *testing.T) {
					e := exchangetest.Envoy{
						Mode: mode, Path: "/v1/chat/completions", Pieces: exchangetest.Every(pieces),
						Header: http.Header{"Authorization": {"Bearer sk"}, "Cookie": {"a", "b"}, "X-Aisix-Egress": {"plaintext"}, "X-Aisix-Host": {"elsewhere"}, "X-Forwarded-Proto": {"http"}},
						Upstream: func(f exchangetest.Forwarded) exchangetest.Reply {
							return exchangetest.Reply{Status: 201, Header: http.Header{"X-Amzn-Requestid": {"r"}}, Body: []byte("reply to a call")}
						},
					}
					if body != nil {
						e.Body = []byte(*body)
					}
					a := e.Run(background, t, translate)
					if a.Err != nil || a.Broken || a.Status != 201 || string(a.Body) != "REPLY TO A CALL" {
						t.Fatalf("answer: %d %q broken %v, %v", a.Status, a.Body, a.Broken, a.Err)
					}
					if len(a.Header) != 1 || a.Header.Get("x-ours") != "1" {
						t.Errorf("answer's header: %v", a.Header)
					}
					f := a.Forwarded
					if f == nil {
						t.Fatal("nothing was forwarded")
					}
					if f.Authority != "bedrock.example" || f.Path != "/model/a%3Ab/invoke" || f.Method != "POST" {
						t.Errorf("forwarded %s %s %s", f.Method, f.Authority, f.Path)
					}
					if !bytes.Equal(f.Body, bytes.ToUpper(e.Body)) {
						t.Errorf("forwarded a body of %d bytes, want %d", len(f.Body), len(e.Body))
					}
					// Envoy has no route for a request that lost its x-forwarded-proto.
					want := http.Header{"Content-Type": {"application/json"}, "X-Aisix-Egress": {"tls"}, "X-Forwarded-Proto": {"http"}}
					if body != nil {
						want.Set("content-length", fmt.Sprint(len(*body)))
					}
					if fmt.Sprint(f.Header) != fmt.Sprint(want) {
						t.Errorf("forwarded header %v, want %v", f.Header, want)
					}
				})
			}
		}
	}
}

func ptr(s string) *string { return &s }

func length(s *string) int {
	if s == nil {
		return -1
	}
	return len(*s)
}

// begin is a stream whose exchange has seen its header.
func begin(t *testing.T, end bool, kv ...string) (*exchangetest.Stream, *exchange.Exchange) {
	t.Helper()
	s := exchangetest.New(t)
	x := exchange.New(s)
	t.Cleanup(func() { x.Close(); s.Reset() })
	kv = append([]string{":method", "POST", ":path", "/p", ":authority", "a"}, kv...)
	s.Put(exchangetest.First(exchangetest.RequestHeaders(end, kv...), exchangetest.FullDuplex))
	if _, err := x.Header(background); err != nil {
		t.Fatal(err)
	}
	return s, x
}

// answered is a stream whose exchange has seen a response's header.
func answered(t *testing.T, end bool) (*exchangetest.Stream, *exchange.Exchange) {
	t.Helper()
	s, x := begin(t, true)
	if err := x.Forward(background, exchange.Request{}); err != nil {
		t.Fatal(err)
	}
	s.Next()
	s.Put(exchangetest.ResponseHeaders(end, ":status", "200", "x-amzn-a", "1"))
	if _, err := x.Response(background); err != nil {
		t.Fatal(err)
	}
	return s, x
}

func TestHeader(t *testing.T) {
	for _, c := range []struct {
		name, source, external, forwarded, want string
	}{
		{"attribute", "192.0.2.1:80", "203.0.113.7", "198.51.100.1", "192.0.2.1"},
		{"attribute without port", "192.0.2.1", "203.0.113.7", "", "192.0.2.1"},
		{"IPv6", "[2001:db8::1]:80", "", "", "2001:db8::1"},
		{"mapped IPv4", "[::ffff:192.0.2.1]:80", "", "", "192.0.2.1"},
		{"x-envoy-external-address", "", "2001:db8::1", "203.0.113.9, 198.51.100.1", "2001:db8::1"},
		{"last of x-forwarded-for", "", "", "203.0.113.9, 198.51.100.1", "198.51.100.1"},
		{"nonsense", "pipe", "far away", "unknown", "invalid IP"},
		{"nothing", "", "", "", "invalid IP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := exchangetest.New(t)
			x := exchange.New(s)
			defer x.Close()
			kv := []string{":method", "GET", ":path", "/v1/models?a=b", ":authority", "gw", ":scheme", "https", "x-two", "1", "x-two", "2"}
			for _, name := range []struct{ key, value string }{{"x-forwarded-for", c.forwarded}, {"x-envoy-external-address", c.external}} {
				if name.value != "" {
					kv = append(kv, name.key, name.value)
				}
			}
			s.Put(exchangetest.Attribute(exchangetest.RequestHeaders(true, kv...), "source.address", c.source))
			h, err := x.Header(background)
			if err != nil {
				t.Fatal(err)
			}
			if h.Method != "GET" || h.Path != "/v1/models?a=b" || h.Authority != "gw" || h.Scheme != "https" || !h.EndOfStream {
				t.Errorf("header %+v", h)
			}
			if h.Get("X-Two") != "1" || len(h.Values("x-two")) != 2 || h.Get("x-none") != "" || len(h.HTTP()["X-Two"]) != 2 {
				t.Errorf("fields %v", h.Fields)
			}
			if h.ClientAddress.String() != c.want {
				t.Errorf("client address %v, want %s", h.ClientAddress, c.want)
			}
		})
	}
}

func TestModesThatCannotWork(t *testing.T) {
	for _, mode := range []filterv3.ProcessingMode_BodySendMode{filterv3.ProcessingMode_NONE, filterv3.ProcessingMode_STREAMED, filterv3.ProcessingMode_BUFFERED_PARTIAL} {
		s := exchangetest.New(t)
		x := exchange.New(s)
		s.Put(exchangetest.First(exchangetest.RequestHeaders(false), mode))
		if _, err := x.Header(background); !errors.Is(err, exchange.ErrMode) {
			t.Errorf("request %v: %v", mode, err)
		}
		if err := x.Reject(500, nil, nil); err != nil { // the caller still gets an answer
			t.Errorf("request %v: %v", mode, err)
		}
		x.Close()

		s = exchangetest.New(t)
		x = exchange.New(s)
		m := exchangetest.First(exchangetest.RequestHeaders(false), exchangetest.FullDuplex)
		m.ProtocolConfig.ResponseBodyMode = mode
		s.Put(m)
		if _, err := x.Header(background); !errors.Is(err, exchange.ErrMode) {
			t.Errorf("response %v: %v", mode, err)
		}
		x.Close()
	}
}

func TestBodyLimit(t *testing.T) {
	t.Run("known by content-length", func(t *testing.T) {
		_, x := begin(t, false, "content-length", "11")
		if _, err := x.ReadBody(background, exchange.Intake{Limit: 10}); err != exchange.ErrTooLarge {
			t.Error(err)
		}
	})
	t.Run("counted", func(t *testing.T) {
		s, x := begin(t, false)
		go func() {
			s.Put(exchangetest.RequestBody(make([]byte, 6), false))
			s.Put(exchangetest.RequestBody(make([]byte, 5), false))
		}()
		if _, err := x.ReadBody(background, exchange.Intake{Limit: 10}); err != exchange.ErrTooLarge {
			t.Error(err)
		}
		if err := x.Reject(413, nil, []byte("{}")); err != nil {
			t.Error(err)
		}
		if s.Next().GetImmediateResponse().GetStatus().GetCode() != 413 {
			t.Error("no 413")
		}
	})
	t.Run("just so", func(t *testing.T) {
		s, x := begin(t, false, "content-length", "10")
		go func() {
			s.Put(exchangetest.RequestBody(make([]byte, 10), false))
			s.Put(exchangetest.RequestBody(nil, true))
		}()
		if b, err := x.ReadBody(background, exchange.Intake{Limit: 10}); err != nil || b.Size() != 10 {
			t.Error(b, err)
		}
	})
}

// A body may come in any pieces, and ReadBody reads on where a deadline cut it
// off.
func TestBodyInPieces(t *testing.T) {
	s, x := begin(t, false)
	large := bytes.Repeat([]byte("l"), 8<<10)
	var want []byte
	put := func(b []byte, end bool) {
		want = append(want, b...)
		s.Put(exchangetest.RequestBody(b, end))
	}
	cut, cancel := context.WithCancel(background)
	go func() {
		for range 3 {
			put([]byte("ab"), false)
			put(large, false)
			put(nil, false)
			put([]byte("c"), false)
		}
		cancel()
	}()
	if _, err := x.ReadBody(cut, exchange.Intake{Limit: limit}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	go put([]byte("end"), true)
	b, err := x.ReadBody(background, exchange.Intake{Limit: limit})
	if err != nil || !bytes.Equal(b.Bytes(), want) || b.Size() != int64(len(want)) {
		t.Fatalf("%v, want %d bytes: %v", b, len(want), err)
	}
	if again, err := io.ReadAll(b.Reader()); err != nil || !bytes.Equal(again, want) {
		t.Errorf("read again: %d bytes, %v", len(again), err)
	}
}

func TestEgressNeedsHost(t *testing.T) {
	s, x := begin(t, true)
	if err := x.Forward(background, exchange.Request{Egress: "tls"}); !errors.Is(err, exchange.ErrNoHost) {
		t.Error(err)
	}
	s.Quiet()
}

func TestNoBodyCannotBeReplaced(t *testing.T) {
	s, x := begin(t, true)
	if b, err := x.ReadBody(background, exchange.Intake{Limit: limit}); err != nil || b.Bytes() != nil {
		t.Fatal(b, err)
	}
	if err := x.Forward(background, exchange.Request{Body: []byte("x")}); !errors.Is(err, exchange.ErrNoBody) {
		t.Error(err)
	}
	s.Quiet()
	if err := x.Forward(background, exchange.Request{}); err != nil {
		t.Error(err)
	}
	if s.Next().GetRequestHeaders() == nil {
		t.Error("headers not answered")
	}
	s.Quiet() // a body message would be "spurious", and a 500
}

func TestRequestTrailers(t *testing.T) {
	s, x := begin(t, false)
	go func() {
		s.Put(exchangetest.RequestBody([]byte("a"), false))
		s.Put(exchangetest.RequestTrailers("x-t", "1"))
	}()
	if b, err := x.ReadBody(background, exchange.Intake{Limit: limit}); err != nil || string(b.Bytes()) != "a" {
		t.Fatal(b, err)
	}
	if err := x.Forward(background, exchange.Request{Body: []byte("b")}); err != nil {
		t.Fatal(err)
	}
	s.Next()
	if p := s.Next().GetRequestBody().GetResponse().GetBodyMutation().GetStreamedResponse(); string(p.GetBody()) != "b" || p.GetEndOfStream() {
		t.Errorf("body %v", p)
	}
	if m := s.Next().GetRequestTrailers().GetHeaderMutation(); len(m.GetRemoveHeaders()) != 1 || m.GetRemoveHeaders()[0] != "x-t" {
		t.Errorf("trailers %v", m)
	}
	s.Quiet()
}

func TestRepeatedEndOfRequestIsHarmless(t *testing.T) {
	s, x := begin(t, false)
	go func() {
		s.Put(exchangetest.RequestBody([]byte("a"), true))
		s.Put(exchangetest.RequestBody(nil, true))
		s.Put(exchangetest.RequestBody([]byte("a"), true)) // envoy #46237: the last piece once more, bytes and all
		s.Put(exchangetest.RequestTrailers("x-t", "1"))
		s.Put(&extprocv3.ProcessingRequest{}) // flow control, or what later versions send
		s.Put(exchangetest.ResponseHeaders(true, ":status", "204"))
	}()
	if _, err := x.ReadBody(background, exchange.Intake{Limit: limit}); err != nil {
		t.Fatal(err)
	}
	if err := x.Forward(background, exchange.Request{}); err != nil {
		t.Fatal(err)
	}
	r, err := x.Response(background)
	if err != nil || r.Status != 204 {
		t.Fatal(r, err)
	}
	s.Next()
	s.Next()
	if s.Next().GetRequestTrailers() == nil {
		t.Error("trailers not answered")
	}
}

func TestLocalReply(t *testing.T) {
	const reset = "upstream_reset_before_response_started{connection_failure}"
	for _, c := range []struct {
		attribute, header, details string
		local                      bool
	}{
		{"via_upstream", "", "via_upstream", false},
		{"", "", "", false},
		{reset, "", reset, true},
		{"", reset, reset, true},
		{"via_upstream", reset, "via_upstream", false}, // the upstream's word
	} {
		s, x := begin(t, true)
		if err := x.Forward(background, exchange.Request{}); err != nil {
			t.Fatal(err)
		}
		header := []string{":status", "503"}
		if c.header != "" {
			header = append(header, exchange.DetailsHeader, c.header)
		}
		m := exchangetest.ResponseHeaders(false, header...)
		if c.attribute != "" {
			exchangetest.Attribute(m, "response.code_details", c.attribute)
		}
		s.Put(m)
		r, err := x.Response(background)
		if err != nil || r.Status != 503 || r.Local != c.local || r.Details != c.details {
			t.Errorf("%+v: %+v, %v", c, r, err)
		}
		again, err := x.Response(background)
		if err != nil || again != r {
			t.Errorf("%+v: asked again: %v, %v", c, again, err)
		}
	}
}

func TestEnvoyAnswersWhileTheRequestIsRead(t *testing.T) {
	for _, where := range []string{"header", "body"} {
		t.Run(where, func(t *testing.T) {
			s := exchangetest.New(t)
			x := exchange.New(s)
			defer x.Close()
			first := exchangetest.ResponseHeaders(false, ":status", "408", "content-type", "application/json")
			var err error
			if where == "header" {
				s.Put(exchangetest.First(first, exchangetest.FullDuplex))
				_, err = x.Header(background)
			} else {
				s.Put(exchangetest.RequestHeaders(false, ":method", "POST"))
				if _, err := x.Header(background); err != nil {
					t.Fatal(err)
				}
				go s.Put(first)
				_, err = x.ReadBody(background, exchange.Intake{Limit: limit})
			}
			if !errors.Is(err, exchange.ErrAnswered) {
				t.Fatal(err)
			}
			go func() {
				s.Put(exchangetest.ResponseBody([]byte("{}"), false))
				s.Put(exchangetest.ResponseBody(nil, true))
			}()
			if err := x.Pass(background, []exchange.KeyValue{{Key: "x-id", Value: "i"}}); err != nil {
				t.Fatal(err)
			}
			h := s.Next().GetResponseHeaders().GetResponse().GetHeaderMutation()
			if len(h.GetSetHeaders()) != 1 || len(h.GetRemoveHeaders()) != 0 {
				t.Errorf("header %v", h)
			}
			if p := s.Next().GetResponseBody().GetResponse().GetBodyMutation().GetStreamedResponse(); string(p.GetBody()) != "{}" {
				t.Errorf("body %v", p)
			}
			if p := s.Next().GetResponseBody().GetResponse().GetBodyMutation().GetStreamedResponse(); !p.GetEndOfStream() {
				t.Errorf("end %v", p)
			}
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReadDeadline(t *testing.T) {
	s, x := answered(t, false)
	buf := make([]byte, 10)
	past := time.Unix(1, 0)
	x.SetReadDeadline(past)
	for range 2 {
		if _, err := x.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	x.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := x.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	x.SetReadDeadline(time.Time{})
	go s.Put(exchangetest.ResponseBody([]byte("abc"), false))
	if n, err := x.Read(buf[:2]); err != nil || n != 2 || x.Buffered() != 1 {
		t.Fatal(n, err)
	}
	x.SetReadDeadline(past) // what is here already is given
	if n, err := x.Read(buf); err != nil || n != 1 {
		t.Fatal(n, err)
	}

	// A deadline that is moved while a read waits counts for that read.
	x.SetReadDeadline(time.Now().Add(time.Hour))
	done := make(chan error)
	go func() { _, err := x.Read(buf); done <- err }()
	x.SetReadDeadline(past)
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	x.SetReadDeadline(time.Now().Add(time.Hour))
	go s.Put(exchangetest.ResponseBody(nil, true))
	for range 2 {
		if _, err := x.Read(buf); err != io.EOF {
			t.Fatal(err)
		}
	}
}

func TestContextEndsWaits(t *testing.T) {
	_, x := begin(t, false)
	ctx, cancel := context.WithCancel(background)
	cancel()
	if _, err := x.ReadBody(ctx, exchange.Intake{Limit: limit}); !errors.Is(err, context.Canceled) || errors.Is(err, exchange.ErrReset) {
		t.Error(err)
	}
}

func TestEndWithoutEndOfStream(t *testing.T) {
	for name, end := range map[string]func(*exchangetest.Stream){"reset": (*exchangetest.Stream).Reset, "close": (*exchangetest.Stream).CloseSend} {
		t.Run(name, func(t *testing.T) {
			s, x := answered(t, false)
			go func() {
				s.Put(exchangetest.ResponseBody([]byte("abc"), false))
				end(s)
			}()
			b, err := io.ReadAll(x)
			if !errors.Is(err, exchange.ErrReset) {
				t.Errorf("%q, %v", b, err)
			}
			<-x.Context().Done()
			if !errors.Is(context.Cause(x.Context()), exchange.ErrReset) {
				t.Error(context.Cause(x.Context()))
			}
			if err := x.Close(); err != nil { // nobody is left to be told
				t.Error(err)
			}
		})
	}
}

func TestCallerLeaves(t *testing.T) {
	s, x := begin(t, true)
	if err := x.Forward(background, exchange.Request{}); err != nil {
		t.Fatal(err)
	}
	go s.Reset()
	if _, err := x.Response(x.Context()); !errors.Is(err, exchange.ErrReset) {
		t.Error(err)
	}
	<-x.Context().Done()
	if err := x.Reject(504, nil, nil); !errors.Is(err, exchange.ErrReset) {
		t.Error(err)
	}
}

func TestBackPressure(t *testing.T) {
	s, x := answered(t, false)
	s.Put(exchangetest.ResponseBody([]byte("a"), false)) // in the receiver's hand
	if s.TryPut(exchangetest.ResponseBody([]byte("b"), false), 20*time.Millisecond) {
		t.Error("a second message was taken before the first was read")
	}
	if _, err := x.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	s.Put(exchangetest.ResponseBody([]byte("b"), false))
}

func TestResponseTrailers(t *testing.T) {
	s, x := answered(t, false)
	go func() {
		s.Put(exchangetest.ResponseBody([]byte("a"), false))
		s.Put(exchangetest.ResponseTrailers("x-t", "1"))
	}()
	if b, err := io.ReadAll(x); err != nil || string(b) != "a" {
		t.Fatal(b, err)
	}
	if err := answer(x, 200, nil, []byte("b")); err != nil {
		t.Fatal(err)
	}
	h := s.Next().GetResponseHeaders().GetResponse().GetHeaderMutation()
	if r := h.GetRemoveHeaders(); len(r) != 1 || r[0] != "x-amzn-a" {
		t.Errorf("header %v", h)
	}
	if p := s.Next().GetResponseBody().GetResponse().GetBodyMutation().GetStreamedResponse(); string(p.GetBody()) != "b" || p.GetEndOfStream() {
		t.Errorf("body %v", p)
	}
	if m := s.Next().GetResponseTrailers().GetHeaderMutation(); len(m.GetRemoveHeaders()) != 1 {
		t.Errorf("trailers %v", m)
	}
	if err := x.Finish(nil); err != nil {
		t.Error(err)
	}
	s.Quiet()
}

func TestAnswerInPlaceOfOneWithoutBody(t *testing.T) {
	s, x := answered(t, true)
	if _, err := x.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
	if err := x.Respond(403, []exchange.KeyValue{{Key: "content-type", Value: "application/json"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Write([]byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Write([]byte("}")); err != nil {
		t.Fatal(err)
	}
	s.Quiet()
	if err := x.Finish(nil); err != nil {
		t.Fatal(err)
	}
	r := s.Next().GetImmediateResponse()
	if r.GetStatus().GetCode() != 403 || string(r.GetBody()) != "{}" || r.GetDetails() != exchange.RejectDetails {
		t.Errorf("%v", r)
	}
}

// An answer that needs no upstream has the same face, at any time before one.
func TestAnswerWithoutUpstream(t *testing.T) {
	for name, exchanged := range map[string]func(t *testing.T) (*exchangetest.Stream, *exchange.Exchange){
		"the body is still to come": func(t *testing.T) (*exchangetest.Stream, *exchange.Exchange) { return begin(t, false) },
		"a request without a body":  func(t *testing.T) (*exchangetest.Stream, *exchange.Exchange) { return begin(t, true) },
	} {
		t.Run(name, func(t *testing.T) {
			s, x := exchanged(t)
			if err := answer(x, 200, []exchange.KeyValue{{Key: "content-type", Value: "application/json"}}, []byte("{}")); err != nil {
				t.Fatal(err)
			}
			r := s.Next().GetImmediateResponse()
			if r.GetStatus().GetCode() != 200 || string(r.GetBody()) != "{}" || r.GetDetails() != exchange.RejectDetails {
				t.Errorf("%v", r)
			}
			if _, err := x.Read(make([]byte, 1)); !errors.Is(err, exchange.ErrOrder) {
				t.Errorf("a body to read: %v", err)
			}
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// answer answers at once.
func answer(x *exchange.Exchange, status int, header []exchange.KeyValue, body []byte) error {
	if err := x.Respond(status, header); err != nil {
		return err
	}
	return x.Finish(body)
}

func TestWriteCopies(t *testing.T) {
	s, x := answered(t, false)
	if err := x.Respond(200, nil); err != nil {
		t.Fatal(err)
	}
	s.Quiet() // it goes out with the first piece
	big := bytes.Repeat([]byte("x"), 1<<20+5)
	if n, err := x.Write(big); err != nil || n != len(big) {
		t.Fatal(n, err)
	}
	clear(big)
	if s.Next().GetResponseHeaders() == nil {
		t.Error("the headers are not the first to go out")
	}
	var got []byte
	for range 2 {
		p := s.Next().GetResponseBody().GetResponse().GetBodyMutation().GetStreamedResponse()
		if p.GetEndOfStream() {
			t.Error("the end came early")
		}
		got = append(got, p.GetBody()...)
	}
	if len(got) != len(big) || bytes.IndexByte(got, 0) >= 0 {
		t.Error("wrong bytes")
	}
}

func TestAbort(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(x *exchange.Exchange)
		fail bool
	}{
		"abort":             {func(x *exchange.Exchange) { x.Abort(errors.New("secret detail")) }, true},
		"abort of nothing":  {func(x *exchange.Exchange) { x.Abort(nil) }, true},
		"no answer":         {func(x *exchange.Exchange) {}, true},
		"half an answer":    {func(x *exchange.Exchange) { x.Respond(200, nil) }, true},
		"rejected":          {func(x *exchange.Exchange) { x.Reject(401, nil, nil) }, false},
		"abort after end":   {func(x *exchange.Exchange) { answer(x, 200, nil, nil); x.Abort(nil) }, false},
		"finished":          {func(x *exchange.Exchange) { answer(x, 200, nil, nil) }, false},
		"abort then finish": {func(x *exchange.Exchange) { x.Respond(200, nil); x.Abort(nil); x.Finish(nil) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, x := answered(t, false)
			c.do(x)
			err := x.Close()
			if (err != nil) != c.fail {
				t.Error(err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Error("the reason went to Envoy")
			}
			if err := x.Close(); err != nil {
				t.Error("closed twice:", err)
			}
			<-x.Context().Done()
		})
	}
}

func TestOrder(t *testing.T) {
	refused := func(t *testing.T, what string, err error) {
		t.Helper()
		if !errors.Is(err, exchange.ErrOrder) {
			t.Errorf("%s: %v", what, err)
		}
	}
	t.Run("after the header", func(t *testing.T) {
		s, x := begin(t, false)
		refused(t, "Forward", x.Forward(background, exchange.Request{}))
		_, err := x.Response(background)
		refused(t, "Response", err)
		_, err = x.Read(make([]byte, 1))
		refused(t, "Read", err)
		_, err = x.Write([]byte("a"))
		refused(t, "Write", err)
		refused(t, "Finish", x.Finish(nil))
		s.Quiet()
	})
	t.Run("after Respond", func(t *testing.T) {
		s, x := answered(t, false)
		if err := x.Respond(200, nil); err != nil {
			t.Fatal(err)
		}
		_, err := x.ReadBody(background, exchange.Intake{Limit: limit})
		refused(t, "ReadBody", err)
		refused(t, "Forward", x.Forward(background, exchange.Request{}))
		refused(t, "Respond", x.Respond(200, nil))
		refused(t, "Reject", x.Reject(500, nil, nil))
		_, err = x.Response(background)
		refused(t, "Response", err)
		s.Quiet()
	})
	t.Run("after Reject", func(t *testing.T) {
		s, x := begin(t, true)
		if err := x.Reject(401, nil, nil); err != nil {
			t.Fatal(err)
		}
		s.Next()
		refused(t, "Reject", x.Reject(401, nil, nil))
		refused(t, "Forward", x.Forward(background, exchange.Request{}))
		if h, err := x.Header(background); err != nil || h.Method != "POST" {
			t.Error("the header can be read at any time:", err)
		}
		s.Quiet()
	})
}

// A stream whose end shows first when something is sent ended all the same.
func TestSendSeesTheEnd(t *testing.T) {
	for range 100 {
		s, x := answered(t, false)
		s.Reset()
		if err := x.Respond(200, nil); !errors.Is(err, exchange.ErrReset) {
			t.Fatal(err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
