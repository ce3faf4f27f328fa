package bedrock

import (
	"errors"
	"io"
	"net/http"
	"os"
	"slices"

	"aisix/extproc/chat"
	"aisix/extproc/fault"

	"github.com/aws/smithy-go"
)

// maxNotes is after how many notes on one answer the operator knows enough.
const maxNotes = 16

// Events reads an event stream as chat.Events. Not for concurrent use.
type Events struct {
	reply   *Reply
	source  source
	decoder decoder
	schema  *smithy.Schema // of the events
	codec   *eventCodec    // nil before the first frame that is the SDK's to decode
	ids     callIDs
	tagged  tagged
	restore restorer
	stops   stops
	tier    []chat.Event // of the header, until the first events
	failed  error
}

// decoder makes events of one operation's frames.
type decoder interface {
	// plain decodes a frame, or an event's data, without the SDK; ok is false where that
	// takes the SDK.
	plain(frame []byte) (events []chat.Event, ok bool, err error)
	// decode decodes what the SDK made of a frame.
	decode(event any) ([]chat.Event, error)
}

// Next decodes one frame into its events, which may be none, and are valid until the
// following call. It ends with io.EOF
// after a stop reason and at a frame boundary only; any other end, an exception
// frame, and a frame that can't be decoded are a *fault.Error that stays.
// os.ErrDeadlineExceeded of the reader comes back as it is: call again, nothing
// is lost.
func (e *Events) Next() ([]chat.Event, error) {
	if e.failed != nil {
		return nil, e.failed
	}
	frame, err := e.source.next()
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, err
	case err == io.EOF && e.stops.stopped:
		return nil, io.EOF
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return nil, e.fail(&fault.Error{Kind: fault.Upstream, Status: http.StatusBadGateway,
			Message: "the upstream's stream ended early", Err: io.ErrUnexpectedEOF})
	case errors.Is(err, errFrame):
		return nil, e.fail(undecodable(err))
	default:
		return nil, e.fail(&fault.Error{Kind: fault.Transport, Status: http.StatusBadGateway,
			Message: "the upstream connection broke", Err: err})
	}
	events, err := e.decode(frame)
	if err != nil {
		return nil, e.fail(err)
	}
	e.reply.begun = e.reply.begun || slices.ContainsFunc(events, speaks)
	e.reply.call.model.attribute(events)
	events, notes, err := e.stops.name(e.restore.events(e.tagged.events(e.ids.events(e.reply.call.model.counted(events))))) // last: it counts the calls that are the caller's
	if err != nil {
		return nil, e.fail(e.reply.decodeFault(err))
	}
	if len(e.reply.notes) < maxNotes {
		e.reply.notes = append(e.reply.notes, notes...)
	}
	if len(events) > 0 && len(e.tier) > 0 { // beside what is an answer, never alone
		events, e.tier = append(e.tier, events...), nil
	}
	return events, nil
}

// speaks reports whether an event may have a word of the model's.
func speaks(e chat.Event) bool {
	switch e := e.(type) {
	case chat.Start, chat.UsageSnapshot, chat.ServedTier:
		return false
	case *chat.Raw:
		return e.Seen > 0 || e.Name != "" && !e.Idle && !silent[e.Name]
	}
	return true
}

// silent are the events before the first word.
var silent = map[string]bool{"message_start": true, "response.created": true, "response.in_progress": true, "response.queued": true}

// decode gives what a frame says, as the service says it.
func (e *Events) decode(frame []byte) ([]chat.Event, error) {
	events, ok, err := e.decoder.plain(frame)
	if !ok {
		if e.codec == nil {
			e.codec = newEventCodec(e.schema)
		}
		event, fault := e.codec.decode(frame)
		if fault != nil {
			return nil, e.reply.streamFault(fault, frame)
		}
		events, err = e.decoder.decode(event)
	}
	if err != nil {
		return nil, e.reply.decodeFault(err)
	}
	return events, nil
}

// Buffered reports whether Next has a whole frame at hand and will not read.
func (e *Events) Buffered() bool { return e.failed == nil && e.source.buffered() }

func (e *Events) fail(err error) error {
	e.failed = err
	return err
}
