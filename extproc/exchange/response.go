package exchange

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"
)

// viaUpstream is response.code_details of an answer that an upstream gave.
const viaUpstream = "via_upstream"

// RejectDetails is response.code_details of what Reject answers, for access logs
// and for local_reply_config, which must leave these answers alone.
const RejectDetails = "aisix_reject"

// wholeLimit bounds an answer that can't be streamed, in bytes.
const wholeLimit = 32 << 20

// Response is the head of an answer, the upstream's or Envoy's own.
type Response struct {
	Status int
	Header Fields
	// EndOfStream: there is no body.
	EndOfStream bool
	// Local: Envoy made the answer by itself (no route, connect failure, reset,
	// timeout, buffer limit); Details says why. It is known by the attribute
	// response.code_details, or where the filter's configuration does not ask for it by
	// DetailsHeader.
	Local   bool
	Details string
}

// wholeAnswer is an answer of ours that goes out as an immediate response.
type wholeAnswer struct {
	status int
	header []KeyValue
	body   []byte
}

func (x *Exchange) holdResponse(m *message) {
	details := m.codeDetails
	if details == "" { // the attribute, which no upstream can set, comes first
		details = m.fields.Get(DetailsHeader)
	}
	x.response = Response{
		Status: statusOf(m.pseudo.status), Header: m.fields, EndOfStream: m.end,
		Local: details != "" && details != viaUpstream, Details: details,
	}
	x.pending = true
}

// Response waits for the head of the answer, until the deadline of reads. Legal after Forward,
// and at any time after ErrAnswered. Errors: ErrReset, the context's, os.ErrDeadlineExceeded.
func (x *Exchange) Response(ctx context.Context) (*Response, error) {
	if x.phase == phaseResponse {
		return &x.response, nil
	}
	if early := x.phase < phaseForwarded && x.pending; !early {
		if err := x.order("Response", phaseForwarded); err != nil {
			return nil, err
		}
	}
	for !x.pending {
		m, err := x.next(ctx, x.deadline.wait)
		if err != nil {
			return nil, err
		}
		switch m.kind {
		case responseHeaders:
			x.holdResponse(m)
		case requestTrailers: // behind a buffered body, or a repeated end
			x.holdRequestTrailers(m)
			if err := x.answerRequestTrailers(); err != nil {
				return nil, err
			}
		default: // the end of the request said once more
		}
	}
	x.responseEnded = x.response.EndOfStream
	x.phase = phaseResponse
	return &x.response, x.modeErr
}

// SetReadDeadline bounds Read, Response and Counted, as a net.Conn's does: the zero time is no bound,
// and a Read that waits notices. A passed deadline harms nothing: set another and
// read on.
func (x *Exchange) SetReadDeadline(t time.Time) error {
	x.deadline.move(t)
	return nil
}

// Read reads the body of the answer. io.EOF is its clean end (trailers too);
// os.ErrDeadlineExceeded a passed deadline; ErrReset an end without end of
// stream.
func (x *Exchange) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, x.order("Read", phaseResponse, phaseWriting)
	}
	if err := x.fill(); err != nil {
		return 0, err
	}
	n := copy(p, x.piece)
	x.piece = x.piece[n:]
	return n, nil
}

// Piece is Read without a copy: it gives what came of the body at once, which is the
// caller's to keep. Errors are Read's.
func (x *Exchange) Piece() ([]byte, error) {
	if err := x.fill(); err != nil {
		return nil, err
	}
	p := x.piece
	x.piece = nil
	return p, nil
}

// fill waits for a piece of the answer's body, unless one is at hand.
func (x *Exchange) fill() error {
	if err := x.order("Read", phaseResponse, phaseWriting); err != nil {
		return err
	}
	if err := x.gather(); err != nil {
		return err
	}
	for len(x.piece) == 0 {
		if x.responseEnded {
			return io.EOF
		}
		if x.deadline.passed() {
			return errDeadline
		}
		m, err := x.next(x.ctx, x.deadline.wait)
		if err != nil {
			return err
		}
		switch m.kind {
		case responseBody:
			x.piece, x.responseEnded = m.body, m.end || x.gathered
			m.body = nil // a stream may stand still for minutes
		case responseTrailers:
			x.responseTrailers = &trailers{m.fields}
			x.responseEnded = true
		case requestTrailers:
			x.holdRequestTrailers(m)
			if err := x.answerRequestTrailers(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Buffered is how many bytes Read can give without waiting.
func (x *Exchange) Buffered() int { return len(x.piece) }

// Respond begins our answer: the caller sees status and the fields of header, and
// none of the upstream's that is not listed. It picks how: where the upstream's
// headers are held and a body follows them, they go out with the first Write or Finish,
// and each Write goes out at once; so it is where nothing was answered yet, in full duplex (Alone). Else Envoy takes an answer whole only (it has said that the
// upstream's ended, or there is none): then nothing goes out before Finish, as an
// immediate response. Legal from Header on.
func (x *Exchange) Respond(status int, header []KeyValue) error {
	if err := x.order("Respond", phaseHeader, phaseBody, phaseForwarded, phaseResponse); err != nil {
		return err
	}
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	held := x.phase == phaseResponse && x.bodyFollows()
	x.alone = x.Alone()
	x.phase = phaseWriting
	if !held {
		x.responseEnded = true
		x.whole = &wholeAnswer{status: status, header: header}
		return nil
	}
	x.heading = x.head.begin(responseHeaders)
	for _, kv := range header {
		x.heading.put(kv)
	}
	x.heading.put(KeyValue{":status", strconv.Itoa(status)})
	x.heading.removeOthers(x.response.Header)
	return nil
}

// Streams reports whether an answer goes out as it is written: the upstream's headers are held,
// and a body follows them, or it goes out alone.
func (x *Exchange) Streams() bool {
	if x.alone || x.Alone() {
		return true
	}
	return (x.phase == phaseResponse || x.phase == phaseWriting) && x.whole == nil && x.bodyFollows()
}

// bodyFollows reports whether the upstream's headers, once they are here, are followed by a body
// piece by piece, so that an answer may be made of it.
func (x *Exchange) bodyFollows() bool { return !x.response.EndOfStream && !x.left && !x.gathered }

// Leave is for an answer that is not made of the upstream's, which is read to its end and
// dropped. One that does not end within d stands in the way of ours: Envoy would break the
// caller's connection at our end, so that ours goes out whole, as an immediate response.
func (x *Exchange) Leave(d time.Duration) {
	if x.phase != phaseResponse {
		return
	}
	x.deadline.move(time.Now().Add(d))
	for {
		x.piece = nil
		if err := x.fill(); err != nil {
			break
		}
	}
	x.deadline.move(time.Time{})
	x.left = !x.responseEnded
}

// Write sends a piece of the answer to the caller. p may be reused once it
// returns.
func (x *Exchange) Write(p []byte) (int, error) {
	if err := x.order("Write", phaseWriting); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if x.alone {
		x.beginAlone()
	}
	if x.whole != nil {
		if len(x.whole.body)+len(p) > wholeLimit {
			return 0, ErrTooLarge
		}
		x.whole.body = append(x.whole.body, p...)
		return len(p), nil
	}
	if err := x.sendPieces(x.takeHeading(), x.bodies(), p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Finish ends the answer with its last bytes, which may be none or all; what the
// upstream may still send is dropped. Calling it again does nothing.
func (x *Exchange) Finish(last []byte) error {
	if x.phase == phaseDone && x.aborted == nil {
		return nil
	}
	if err := x.order("Finish", phaseWriting); err != nil {
		return err
	}
	return x.finish(last)
}

// finish sends the last bytes and the end.
func (x *Exchange) finish(last []byte) error {
	x.phase = phaseDone
	if x.whole != nil {
		return x.immediate(x.whole.status, x.whole.header, append(x.whole.body, last...))
	}
	if err := x.sendPieces(x.takeHeading(), x.bodies(), last, x.responseTrailers == nil); err != nil || x.responseTrailers == nil {
		return err
	}
	return x.sendLast(nil, x.responseTrailers.emptied(responseTrailers))
}

// takeHeading is the answer to the response's headers where it has not gone out, else nil.
func (x *Exchange) takeHeading() *answer {
	h := x.heading
	x.heading = nil
	return h
}

// Pass gives the caller the answer as it is, with header set on it: for answers
// that Envoy made by itself and that have the right shape already. It waits for
// the answer's body, up to its end.
func (x *Exchange) Pass(ctx context.Context, header []KeyValue) error {
	if _, err := x.Response(ctx); err != nil {
		return err
	}
	if err := x.send(mutation(responseHeaders, header, nil)); err != nil {
		return err
	}
	x.phase = phaseWriting
	if x.response.EndOfStream || x.bodyless {
		x.phase = phaseDone
		return nil
	}
	stop := context.AfterFunc(ctx, func() { x.deadline.move(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 16<<10)
	for {
		n, err := x.Read(buf)
		if err == io.EOF {
			return x.finish(nil)
		}
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
		if _, err := x.Write(buf[:n]); err != nil {
			return err
		}
	}
}

// Reject has Envoy answer the caller with this and nothing else, and drop what
// the upstream may be doing: for faults. Legal as long as nothing went out.
func (x *Exchange) Reject(status int, header []KeyValue, body []byte) error {
	unsent := x.phase < phaseWriting || x.phase == phaseWriting && x.whole != nil
	if !unsent {
		return fmt.Errorf("%w: Reject %v", ErrOrder, x.phase)
	}
	x.phase = phaseDone
	return x.immediate(status, header, body)
}

func (x *Exchange) immediate(status int, header []KeyValue, body []byte) error {
	a := mutation(immediate, header, nil)
	a.status, a.body, a.details = status, body, RejectDetails
	return x.sendLast(nil, a)
}
