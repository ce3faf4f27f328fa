package chat

import (
	"time"

	"aisix/extproc/fault"
)

// Asked is what one call asks: one body, in its caller's dialect. It knows what was
// asked, and so how that must be answered.
type Asked interface {
	// Model is the alias, as the caller sent it.
	Model() string
	// Verbatim is what was asked as it came, for an upstream that speaks api: nil where the
	// caller speaks another one. It may be asked for before Request, instead of it, and for
	// one target after the other.
	Verbatim(api API) *Verbatim
	// Request gives the rest: every parameter is honoured or refused by a *fault.Error
	// that names it, and those in ignore are taken as absent. It is called once, before
	// the answer: what is asked is handed over, and of it an Asked keeps no more than
	// its answer needs, since the model may take minutes.
	Request(ignore []string) (*Request, error)
	// Forget lets go of what was kept for another target: no more is asked for but the answer.
	Forget()
	// Retold is a fault of what Request gave, found by who knows no dialect and told in the
	// words of chat completions, in those of the caller's.
	Retold(*fault.Error) *fault.Error
	// Whole is the answer to a request that is not a stream.
	Whole(Heading, *Response) ([]byte, error)
	// Stream begins the answer to one that is.
	Stream(Heading) Writer
}

// Heading is what an answer says beside what the model said.
type Heading struct {
	ID        string // unique, in no dialect's form: for an upstream without an id of its own
	RequestID string // ours, as in x-aisix-request-id
	Created   time.Time
}

// Writer writes one stream in a dialect. Its methods append to dst what is to be sent.
type Writer interface {
	// Append says what an event, of those that Order tells, means to the caller: nothing, or
	// more than one thing.
	Append(dst []byte, e Event) ([]byte, error)
	// Idle says nothing, so that a silence does not look like the end.
	Idle(dst []byte) []byte
	// Finish ends a good answer. The error is ErrNoStop or ErrNoUsage, with dst
	// unchanged: then Fault is what must be written.
	Finish(dst []byte) ([]byte, error)
	// Fault ends an answer that broke off.
	Fault(dst []byte, f *fault.Error) []byte
}

// Header is the header of a request, for the dialects that say something in it.
// Names are in any case.
type Header interface{ Values(name string) []string }

// Model is a model as a caller sees it.
type Model struct {
	ID      string // the alias, as the resource has it
	Created time.Time
	OwnedBy string
}
