package noop

import (
	"bytes"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"
)

func parsed(t *testing.T, m *extprocv3.ProcessingRequest) *message {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var got message
	if err := got.parse(b); err != nil {
		t.Fatal(err)
	}
	for cut := range b { // no panic, whatever is missing
		got := message{}
		got.parse(b[:cut]) //nolint:errcheck // some cuts are whole messages
	}
	return &got
}

func requestPiece(b string, end bool) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: &extprocv3.HttpBody{Body: []byte(b), EndOfStream: end}}}
}

func responsePiece(b string, end bool) *extprocv3.ProcessingRequest {
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: &extprocv3.HttpBody{Body: []byte(b), EndOfStream: end}}}
}

// A request with a stream, message by message, as Envoy sends them.
func TestARequest(t *testing.T) {
	var r request
	const first, second = `{"stream":true,"model":"m",`, `"messages":[]}`
	for _, step := range []struct {
		in   *extprocv3.ProcessingRequest
		want int // answers
	}{
		{&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{}}}, 0},
		{requestPiece(first, false), 0},
		{requestPiece(second, false), 0},
		{requestPiece("", true), 2},
		{&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &extprocv3.HttpHeaders{}}}, 1},
		{responsePiece("frame", false), 1},
		{responsePiece("", true), 1},
	} {
		answers, err := r.answers(parsed(t, step.in))
		if err != nil || len(answers) != step.want {
			t.Fatalf("%v: %d answers, %v", step.in, len(answers), err)
		}
		for i, a := range answers {
			var m extprocv3.ProcessingResponse
			if err := proto.Unmarshal(a, &m); err != nil {
				t.Fatal(err)
			}
			if i == 1 { // of the request: the body as it came
				s := m.GetRequestBody().GetResponse().GetBodyMutation().GetStreamedResponse()
				if string(s.GetBody()) != first+second || !s.GetEndOfStream() {
					t.Errorf("forwarded %v", s)
				}
			}
		}
	}
	if !r.streams || r.body != nil {
		t.Errorf("%+v", r)
	}
	if _, err := r.answers(&message{}); err == nil {
		t.Error("a message of no phase was answered")
	}
}

func TestALargeBodyIsSentInPieces(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), pieceSize/4)
	var got []byte
	messages := pieces(body)
	for i, b := range messages {
		var m extprocv3.ProcessingResponse
		if err := proto.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		s := m.GetRequestBody().GetResponse().GetBodyMutation().GetStreamedResponse()
		if len(s.GetBody()) > pieceSize || s.GetEndOfStream() != (i == len(messages)-1) {
			t.Errorf("piece %d: %d bytes, end %v", i, len(s.GetBody()), s.GetEndOfStream())
		}
		got = append(got, s.GetBody()...)
	}
	if !bytes.Equal(got, body) || len(messages) != 3 {
		t.Errorf("%d bytes of %d, in %d pieces", len(got), len(body), len(messages))
	}
}
