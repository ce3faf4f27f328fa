package exchange_test

import (
	"testing"
	"time"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"aisix/extproc/exchange"
	"aisix/extproc/exchange/exchangetest"
)

// said are what Envoy may send, in any order here.
var said = []func() *extprocv3.ProcessingRequest{
	func() *extprocv3.ProcessingRequest {
		return exchangetest.RequestHeaders(false, ":method", "POST", ":path", "/p")
	},
	func() *extprocv3.ProcessingRequest {
		return exchangetest.RequestHeaders(true, ":method", "GET", ":path", "/p")
	},
	func() *extprocv3.ProcessingRequest { return exchangetest.RequestBody([]byte("piece"), false) },
	func() *extprocv3.ProcessingRequest { return exchangetest.RequestBody([]byte("last"), true) },
	func() *extprocv3.ProcessingRequest { return exchangetest.RequestBody(nil, true) },
	func() *extprocv3.ProcessingRequest { return exchangetest.RequestTrailers("x-t", "1") },
	func() *extprocv3.ProcessingRequest { return exchangetest.ResponseHeaders(false, ":status", "200") },
	func() *extprocv3.ProcessingRequest { return exchangetest.ResponseHeaders(true, ":status", "x") },
	func() *extprocv3.ProcessingRequest { return exchangetest.ResponseBody([]byte("piece"), false) },
	func() *extprocv3.ProcessingRequest { return exchangetest.ResponseBody([]byte("last"), true) },
	func() *extprocv3.ProcessingRequest { return exchangetest.ResponseBody(nil, true) },
	func() *extprocv3.ProcessingRequest { return exchangetest.ResponseTrailers("x-t", "1") },
	func() *extprocv3.ProcessingRequest { return &extprocv3.ProcessingRequest{} },
	func() *extprocv3.ProcessingRequest {
		return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{}}
	},
}

// done are what a handler may do, in any order here.
var done = []func(x *exchange.Exchange) error{
	func(x *exchange.Exchange) error { _, err := x.Header(x.Context()); return err },
	func(x *exchange.Exchange) error {
		_, err := x.ReadBody(x.Context(), exchange.Intake{Limit: 12})
		return err
	},
	func(x *exchange.Exchange) error {
		return x.Forward(x.Context(), exchange.Request{Host: "h", Egress: "tls", Body: []byte("body")})
	},
	func(x *exchange.Exchange) error { return x.Forward(x.Context(), exchange.Request{}) },
	func(x *exchange.Exchange) error { _, err := x.Response(x.Context()); return err },
	func(x *exchange.Exchange) error { _, err := x.Read(make([]byte, 3)); return err },
	func(x *exchange.Exchange) error { return x.Respond(200, nil) },
	func(x *exchange.Exchange) error { _, err := x.Write([]byte("answer")); return err },
	func(x *exchange.Exchange) error { return x.Finish(nil) },
	func(x *exchange.Exchange) error { return answer(x, 200, nil, []byte("answer")) },
	func(x *exchange.Exchange) error { return x.Pass(x.Context(), nil) },
	func(x *exchange.Exchange) error { return x.Reject(400, nil, []byte("no")) },
	func(x *exchange.Exchange) error { x.Abort(nil); return nil },
	func(x *exchange.Exchange) error { return x.SetReadDeadline(time.Unix(1, 0)) },
	func(x *exchange.Exchange) error { return x.SetReadDeadline(time.Time{}) },
}

var modes = []filterv3.ProcessingMode_BodySendMode{exchangetest.FullDuplex, exchangetest.Buffered, filterv3.ProcessingMode_STREAMED}

// FuzzOrder: whatever Envoy sends and whatever the handler does, in whatever
// order, nothing panics, nothing waits past the end of the stream, and what goes
// to Envoy is in order.
func FuzzOrder(f *testing.F) {
	f.Add([]byte{0, 2, 4, 6, 8, 10}, []byte{0, 1, 2, 4, 6, 5, 7, 8}, uint8(0))          // as it should be
	f.Add([]byte{0, 3, 7}, []byte{0, 1, 2, 4, 9}, uint8(1))                             // buffered, an answer without a body
	f.Add([]byte{1, 6, 9}, []byte{0, 3, 4, 6, 5, 8}, uint8(0))                          // no body
	f.Add([]byte{6, 9}, []byte{0, 10}, uint8(0))                                        // Envoy answers by itself
	f.Add([]byte{0, 2, 5, 6, 8, 11}, []byte{0, 1, 2, 4, 5, 6, 7, 8}, uint8(0))          // trailers
	f.Add([]byte{0, 2, 3, 3, 4, 5, 6, 10, 10, 11}, []byte{0, 1, 2, 4, 6, 8}, uint8(0))  // ends said again
	f.Add([]byte{8, 8, 13, 0, 0}, []byte{0, 0, 4, 10, 11}, uint8(0))                    // nonsense
	f.Add([]byte{0, 2, 6}, []byte{0, 1, 10}, uint8(0x80))                               // answered in the middle of the body, then reset
	f.Add([]byte{0, 2}, []byte{0, 11, 11, 12, 8}, uint8(2))                             // a mode that can't work
	f.Add([]byte{0, 4, 6, 8, 10}, []byte{0, 1, 3, 4, 13, 5, 14, 5, 12, 8, 7}, uint8(0)) // deadlines, and an abort
	f.Fuzz(func(t *testing.T, messages, calls []byte, how uint8) {
		if len(messages) > 64 || len(calls) > 64 {
			return
		}
		s := exchangetest.New(t)
		x := exchange.New(s)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for i, m := range messages {
				r := said[int(m)%len(said)]()
				if i == 0 {
					exchangetest.First(r, modes[int(how&0x7f)%len(modes)])
				}
				if !s.TryPut(r, time.Second) {
					break
				}
			}
			if how&0x80 != 0 {
				s.Reset()
			} else {
				s.CloseSend()
			}
		}()
		var o order
		returned := make(chan struct{})
		go func() {
			defer close(returned)
			for _, c := range calls {
				done[int(c)%len(done)](x)
			}
			x.Close()
			s.Reset() // as gRPC does when the handler returns
		}()
		select {
		case <-returned:
		case <-time.After(10 * time.Second):
			t.Fatalf("hangs: messages %v, calls %v, %#x\n%s", messages, calls, how, running())
		}
		<-ended
		for m := s.Sent(); m != nil; m = s.Sent() {
			o.take(t, m)
		}
	})
}

// order is what may come next.
type order struct{ asked, answered, over bool }

func (o *order) take(t *testing.T, m *extprocv3.ProcessingResponse) {
	t.Helper()
	if o.over {
		t.Errorf("%T after the end", m.GetResponse())
	}
	switch r := m.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_RequestHeaders:
		if o.asked || o.answered {
			t.Error("an answer to request headers too many")
		}
		o.asked = true
	case *extprocv3.ProcessingResponse_RequestBody, *extprocv3.ProcessingResponse_RequestTrailers:
		if !o.asked {
			t.Errorf("%T before the headers", r)
		}
	case *extprocv3.ProcessingResponse_ResponseHeaders:
		if o.answered {
			t.Error("an answer to response headers too many")
		}
		o.answered = true
	case *extprocv3.ProcessingResponse_ResponseBody:
		if !o.answered {
			t.Error("a response body before its headers")
		}
		o.over = r.ResponseBody.GetResponse().GetBodyMutation().GetStreamedResponse().GetEndOfStream()
	case *extprocv3.ProcessingResponse_ResponseTrailers:
		o.over = true
	case *extprocv3.ProcessingResponse_ImmediateResponse:
		if o.answered {
			t.Error("an immediate response behind headers")
		}
		o.over = true
	}
}
