// Package noop is an ext_proc server that decides nothing: what remains of a gateway
// when only the thinking is left out.
//
// It takes part in the phases that extproc takes part in, in full duplex both ways,
// holds the answer to the request's headers until the body has ended, and sends as
// many bytes as a gateway would: a signed request, the body as it came, an answer of
// OpenAI's. Of a message it reads the phase, the body and its end, no more. extproc's
// cost is told as a multiple of this one's.
package noop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

// Serve answers on l until that fails.
func Serve(l net.Listener) error {
	g := grpc.NewServer(
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(64<<20),
		grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(16<<20),
		grpc.ReadBufferSize(64<<10), grpc.WriteBufferSize(64<<10),
		grpc.NumStreamWorkers(16),
	)
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: "envoy.service.ext_proc.v3.ExternalProcessor",
		HandlerType: (*any)(nil),
		Streams:     []grpc.StreamDesc{{StreamName: "Process", Handler: process, ServerStreams: true, ClientStreams: true}},
	}, struct{}{})
	return g.Serve(l)
}

// process answers one request's messages.
func process(_ any, stream grpc.ServerStream) error {
	var r request
	var m message
	for {
		if err := stream.RecvMsg(&m); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		answers, err := r.answers(&m)
		m.buffer.Free()
		if err != nil {
			return err
		}
		for _, a := range answers {
			if err := stream.SendMsg(a); err != nil {
				return err
			}
		}
	}
}

// request is what must be remembered of one.
type request struct {
	body    *bytes.Buffer // while it comes
	streams bool
	passes  bool // the upstream's own events go to the caller
}

// streamAsked is how a caller asks for a stream; it is looked for at the body's start.
var streamAsked = []byte(`"stream":true`)

// answers are those to one message, ready to be sent.
func (r *request) answers(m *message) ([][]byte, error) {
	switch m.phase {
	case requestHeaders: // answered with the body's end
		return nil, nil
	case requestBody:
		if r.body == nil {
			r.body = bodies.Get().(*bytes.Buffer)
		}
		r.body.Write(m.body)
		if !m.end {
			return nil, nil
		}
		return r.forward(r.body.Bytes()), nil
	case responseHeaders:
		return [][]byte{replyHeaders[r.streams]}, nil
	case responseBody:
		return r.answerBody(m), nil
	case requestTrailers:
		return [][]byte{trailers}, nil
	case responseTrailers:
		return [][]byte{lastTrailers}, nil
	}
	return nil, fmt.Errorf("a message of phase %d", m.phase)
}

// forward sends the request on, with the body as it came.
func (r *request) forward(body []byte) [][]byte {
	start := body[:min(len(body), 100)]
	r.streams = bytes.Contains(start, streamAsked)
	path := pathWhole
	if r.streams {
		path = pathStream
	}
	for model, of := range passing {
		if bytes.Contains(start, []byte(model)) {
			path, r.passes = of, true
		}
	}
	answers := append([][]byte{signedFor(path, len(body))}, pieces(body)...)
	r.body.Reset()
	bodies.Put(r.body) // pieces has copied it
	r.body = nil
	return answers
}

// bodies have grown to the size of those that come.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (r *request) answerBody(m *message) [][]byte {
	switch {
	case r.passes:
		return [][]byte{wire(body(responseBody, m.body, m.end))}
	case !r.streams && m.end:
		return [][]byte{wholeAnswer}
	case !r.streams:
		return nil
	case !m.end:
		return [][]byte{chunkAnswer}
	case len(m.body) > 0:
		return [][]byte{lastAnswer}
	}
	return [][]byte{doneAnswer}
}

// signedFor makes a header answer once for each length of a body: a measurement has
// a handful.
func signedFor(path string, size int) []byte {
	type key struct {
		path string
		size int
	}
	if known, ok := signedAnswers.Load(key{path, size}); ok {
		return known.([]byte)
	}
	b := signed(path, size)
	signedAnswers.Store(key{path, size}, b)
	return b
}

// The upstream's paths: of Claude's answers, and of models whose streams pass as they come.
const (
	pathWhole  = "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/invoke"
	pathStream = pathWhole + "-with-response-stream"
)

var passing = map[string]string{`"mantle-`: "/anthropic/v1/messages", `"gpt-`: "/openai/v1/responses"}

var signedAnswers sync.Map

// codec sends bytes as they are, and reads of a ProcessingRequest what message has.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("marshal %T: want bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m := v.(*message)
	m.buffer = data.MaterializeToBuffer(mem.DefaultBufferPool())
	return m.parse(m.buffer.ReadOnlyData())
}
