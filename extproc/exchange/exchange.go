package exchange

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Errors that a handler may want to tell apart.
var (
	// ErrReset: Envoy ended the stream before the answer was complete. The caller
	// left, or the upstream broke off in the middle of its body: Envoy does not
	// say which.
	ErrReset = errors.New("exchange: Envoy ended the stream")
	// ErrTooLarge: a body is longer than the limit.
	ErrTooLarge = errors.New("exchange: body too large")
	// ErrSlow: a body comes more slowly than Intake asks for.
	ErrSlow = errors.New("exchange: body too slow")
	// ErrAnswered: Envoy has answered the caller by itself while the request was
	// still being read. Response gives that answer; Pass or Reject deal with it.
	ErrAnswered = errors.New("exchange: Envoy answered by itself")
	// ErrMode: the mesh runs a body mode that can't carry a translation.
	ErrMode = errors.New("exchange: unsupported body mode")
	// ErrOrder: a method was called out of order.
	ErrOrder = errors.New("exchange: call out of order")
	// ErrNoBody: a request that came without a body can't be given one.
	ErrNoBody = errors.New("exchange: the request has no body to replace")
	// ErrNoHost: an egress without a host would send the signature wherever the
	// caller's own Host says.
	ErrNoHost = errors.New("exchange: an egress needs a host")
)

// phase is how far the conversation has come. It only grows.
type phase int

const (
	phaseStart     phase = iota // nothing received
	phaseHeader                 // the request's headers are here, their answer is held
	phaseBody                   // the request's body is here too
	phaseForwarded              // the request went on to the upstream
	phaseResponse               // the response's headers are here, their answer is held
	phaseWriting                // the caller got response headers from us
	phaseDone                   // the caller got all of it, or the exchange was aborted
)

var phaseNames = [...]string{"before the header", "after the header", "after the body", "after Forward", "after Response", "after Respond", "at the end"}

func (p phase) String() string { return phaseNames[p] }

// Exchange is one HTTP request and response.
type Exchange struct {
	ctx    context.Context // done when the stream ended, or by Close
	cancel context.CancelCauseFunc
	stream stream
	closed atomic.Bool // by Close

	phase   phase
	aborted error
	message message // the last of Envoy's: what is kept of it is kept elsewhere

	// set by the first message
	started  bool
	buffered bool  // the request body is BUFFERED
	streamed bool  // it is STREAMED, until we say otherwise
	bodyless bool  // the response's body does not come
	gathered bool  // it does, whole
	modeErr  error // a mode that we can't work with

	// the request
	header          Header
	headersAnswered bool      // BUFFERED: the headers were answered to get the body
	bodySeen        bool      // there was at least one body message
	body            *Body     // of the request, as far as it has come
	requestEnded    bool      // end of stream or trailers were seen
	requestTrailers *trailers // held, answered by Forward; nil when there are none to answer
	forwarded       bool      // Forward has answered the request
	pending         bool      // response headers came, perhaps before they were asked for

	// the response
	response         Response
	piece            []byte       // the rest of the last body message
	responseEnded    bool         // end of stream or trailers were seen
	left             bool         // by Leave, before it had ended
	responseTrailers *trailers    // held, answered by the end of our answer
	whole            *wholeAnswer // ours goes out as an immediate response, by Finish
	alone            bool         // or, from the first Write on, as one that streams
	heading          *answer      // the answer to the response's headers, until the first Write or Finish
	head             answer       // of the request, then of the response
	room             answerRoom   // head's
	sending          answer       // the piece that goes out: none waits
	deadline         deadline
}

// answerRoom is what most answers to headers take: no room of their own.
type answerRoom struct {
	set    [16]KeyValue
	remove [16]string
}

// New starts the exchange of a stream, which package rpc serves. Close must be called
// before the stream's handler returns.
func New(stream extprocv3.ExternalProcessor_ProcessServer) *Exchange {
	x := &Exchange{stream: below(stream), body: newBody()}
	x.head.set, x.head.remove = x.room.set[:0], x.room.remove[:0]
	// The stream's own context ends only when nothing can be sent any more; this one as
	// soon as Envoy has nothing more to say.
	x.ctx, x.cancel = context.WithCancelCause(context.Background())
	x.stream.OnEnd(func(err error) { x.cancel(reset(err)) })
	return x
}

// stream is what package rpc serves, which says what the methods do: messages are waited
// for beside other things, and several are sent at once.
type stream interface {
	Poll(into any) (bool, error)
	Ready() <-chan struct{}
	OnEnd(f func(error))
	SendMsg(m any) error
	SendBoth(first, second any) error
	SendLast(first, second any) error
}

// below is the stream below what protoc-gen-go-grpc made of it.
func below(s extprocv3.ExternalProcessor_ProcessServer) stream {
	if g, ok := s.(*grpc.GenericServerStream[extprocv3.ProcessingRequest, extprocv3.ProcessingResponse]); ok {
		return g.ServerStream.(stream)
	}
	return s.(stream)
}

// reset is ErrReset with what gRPC said, for the log.
func reset(err error) error { return fmt.Errorf("%w: %v", ErrReset, err) }

var errClosed = reset(errors.New("closed"))

// Context is done when Envoy has ended the stream, because the caller left, the
// upstream broke off or all is over, and after Close. Its cause is an ErrReset.
func (x *Exchange) Context() context.Context { return x.ctx }

// Close ends the exchange and returns what the stream's handler has to return.
// It is nil when the caller got a whole answer or Envoy ended the stream first,
// and an error otherwise: on that Envoy breaks the caller's connection, or
// answers a 500 where no header went out, so that an answer cut short never looks
// whole. Close may be called again; only the first call counts.
func (x *Exchange) Close() error {
	if x.closed.Swap(true) {
		return nil
	}
	gone := x.ctx.Err() != nil
	x.cancel(errClosed)
	x.deadline.stop()
	switch {
	case x.aborted != nil:
		return status.Error(codes.Aborted, "exchange aborted") // the reason is for our log, not for Envoy's
	case x.phase == phaseDone || gone:
		return nil
	default:
		return status.Error(codes.Aborted, "exchange ended before its answer did")
	}
}

// Abort breaks the caller's connection: Close returns an error, and Envoy resets
// the caller's stream (or answers a 500 by itself where no header went out). After
// a Finish or Reject it does nothing.
func (x *Exchange) Abort(err error) {
	if x.phase == phaseDone {
		return
	}
	if err == nil {
		err = errors.New("exchange: aborted")
	}
	x.aborted = err
	x.phase = phaseDone
}

// here is the message that is here already, nil where none is. It is valid until the next one.
func (x *Exchange) here() (*message, error) {
	m := &x.message
	ok, err := x.stream.Poll(m)
	if err != nil {
		err = reset(err)
		x.cancel(err) // OnEnd may be about to
		return nil, err
	}
	if !ok {
		return nil, nil
	}
	if !x.started {
		x.started = true
		x.setModes(m)
	}
	return m, nil
}

// next waits for a message, which is valid until the following one. A message that is here
// wins over an ended context. expired, which may be nil, gives what is closed when it is too late;
// it is not asked where a message is here.
func (x *Exchange) next(ctx context.Context, expired func() <-chan struct{}) (*message, error) {
	var late <-chan struct{}
	for {
		if m, err := x.here(); m != nil || err != nil {
			return m, err
		}
		if late == nil && expired != nil {
			late = expired()
		}
		select {
		case <-x.stream.Ready():
			continue
		case <-late:
			return nil, errDeadline
		case <-ctx.Done():
		case <-x.ctx.Done():
		}
		m, err := x.here()
		switch {
		case m != nil || err != nil:
			return m, err
		case x.ctx.Err() != nil:
			return nil, context.Cause(x.ctx)
		}
		return nil, context.Cause(ctx)
	}
}

// setModes takes the body modes from the stream's first message.
func (x *Exchange) setModes(m *message) {
	if !m.modes {
		return // an Envoy that does not say: what our own configuration has
	}
	switch mode := filterv3.ProcessingMode_BodySendMode(m.requestMode); mode {
	case filterv3.ProcessingMode_FULL_DUPLEX_STREAMED:
	case filterv3.ProcessingMode_BUFFERED:
		x.buffered = true
	case filterv3.ProcessingMode_STREAMED:
		if filterv3.ProcessingMode_BodySendMode(m.responseMode) == filterv3.ProcessingMode_NONE {
			x.streamed, x.bodyless = true, true
			return
		}
		fallthrough
	default:
		x.modeErr = fmt.Errorf("%w: request_body_mode %v", ErrMode, mode)
		return
	}
	if mode := filterv3.ProcessingMode_BodySendMode(m.responseMode); mode != filterv3.ProcessingMode_FULL_DUPLEX_STREAMED {
		x.modeErr = fmt.Errorf("%w: response_body_mode %v", ErrMode, mode)
	}
}

// send sends a message.
func (x *Exchange) send(a *answer) error { return x.sent(x.stream.SendMsg(a)) }

// sendAfter sends a message after another one, which may be nil.
func (x *Exchange) sendAfter(first, second *answer) error {
	if first == nil {
		return x.send(second)
	}
	return x.sent(x.stream.SendBoth(first, second))
}

// sendLast is sendAfter, after which there is nothing more to say: it ends the stream.
func (x *Exchange) sendLast(first, second *answer) error {
	if first == nil {
		return x.sent(x.stream.SendLast(nil, second))
	}
	return x.sent(x.stream.SendLast(first, second))
}

// sent is what became of a message.
func (x *Exchange) sent(err error) error {
	if err != nil {
		err = reset(err)
		x.cancel(err)
	}
	return err
}

// order refuses a call unless the phase is one of those allowed.
func (x *Exchange) order(call string, allowed ...phase) error {
	for _, p := range allowed {
		if x.phase == p {
			return nil
		}
	}
	return fmt.Errorf("%w: %s %v", ErrOrder, call, x.phase)
}
