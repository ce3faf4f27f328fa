package exchange

import (
	"context"
	"fmt"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/encoding/protowire"
)

// An Envoy that counts tokens lets a body pass that we need not see. It is configured for
// request bodies STREAMED and response bodies NONE; what a call needs is said call by call.

// usageNamespace is where Envoy puts what it has counted (envoy.data.ai.v3.TokenUsage).
const usageNamespace = "envoy.ai.token_usage"

// Counted is what Envoy has counted of an answer; nil is not known.
type Counted struct {
	Input, Output, CacheRead, CacheWrite, Reasoning *int // Input has all that was read, from the cache and to it too
}

// fieldModes is mode_override in ProcessingResponse.
const fieldModes = 9

// modes is a ProcessingMode with all headers and trailers sent, and request bodies in full
// duplex.
type modes struct {
	response filterv3.ProcessingMode_BodySendMode
}

func (m *modes) append(b []byte) []byte {
	for number, mode := range []int32{
		1: int32(filterv3.ProcessingMode_SEND), 2: int32(filterv3.ProcessingMode_SEND),
		3: int32(filterv3.ProcessingMode_FULL_DUPLEX_STREAMED), 4: int32(m.response),
		5: int32(filterv3.ProcessingMode_SEND), 6: int32(filterv3.ProcessingMode_SEND),
	} {
		if mode != 0 {
			b = appendVarint(b, protowire.Number(number), uint64(mode))
		}
	}
	return b
}

// duplex turns to full duplex, ahead of the request's body.
func (x *Exchange) duplex() error {
	x.streamed = false
	return x.send(&answer{modes: &modes{filterv3.ProcessingMode_NONE}})
}

// Counts reports whether Envoy counts, so that the body of an answer may pass.
func (x *Exchange) Counts() bool { return x.bodyless }

// Passes reports whether the answer's body goes to the caller by itself, once LetPass says so.
func (x *Exchange) Passes() bool {
	return x.bodyless && !x.gathered && x.phase == phaseResponse && !x.response.EndOfStream
}

// gather has Envoy hand over the whole body of an answer that was to pass and is not what
// it should be; the caller then gets an answer whole.
func (x *Exchange) gather() error {
	if !x.bodyless || x.gathered || x.response.EndOfStream || x.phase != phaseResponse {
		return nil
	}
	x.gathered = true
	return x.send(&answer{kind: responseHeaders, modes: &modes{filterv3.ProcessingMode_BUFFERED}})
}

// LetPass gives the caller status and header (as Respond does), and the upstream's body as it
// is. Counted waits for its end.
func (x *Exchange) LetPass(status int, header []KeyValue) error {
	if !x.Passes() {
		return fmt.Errorf("%w: LetPass %v", ErrOrder, x.phase)
	}
	if err := x.Respond(status, header); err != nil {
		return err
	}
	return x.send(x.takeHeading())
}

// Counted waits for the end of a body that passes, until the deadline of reads. The caller sees
// that end after Finish. An answer that Envoy could not count ends in ErrReset, as one that is cut
// does. Other errors: the context's, os.ErrDeadlineExceeded.
func (x *Exchange) Counted(ctx context.Context) (Counted, error) {
	if err := x.order("Counted", phaseWriting); err != nil {
		return Counted{}, err
	}
	for {
		m, err := x.next(ctx, x.deadline.wait)
		if err != nil {
			return Counted{}, err
		}
		switch m.kind {
		case responseTrailers:
			x.responseTrailers = &trailers{m.fields}
			x.responseEnded = true
			if m.counted == nil {
				return Counted{}, nil
			}
			return *m.counted, nil
		case requestTrailers:
			x.holdRequestTrailers(m)
			if err := x.answerRequestTrailers(); err != nil {
				return Counted{}, err
			}
		}
	}
}

// metadata reads a Metadata, of which one entry of typed_filter_metadata counts.
func (m *message) metadata(b []byte) error {
	return eachField(b, func(number protowire.Number, value []byte, _ uint64) error {
		if number != 2 {
			return nil
		}
		name, any, err := entry(value)
		if err != nil || name != usageNamespace {
			return err
		}
		_, usage, err := entry(any) // type_url and value have the numbers of an entry's key and value
		if err != nil {
			return err
		}
		m.counted = &Counted{}
		return m.counted.read(usage)
	})
}

// read reads a TokenUsage.
func (c *Counted) read(b []byte) error {
	return eachField(b, func(number protowire.Number, value []byte, _ uint64) error {
		switch number {
		case 3:
			return wrapped(&c.Input, value)
		case 4:
			return wrapped(&c.Output, value)
		case 6:
			return eachField(value, func(number protowire.Number, value []byte, _ uint64) error {
				switch number {
				case 1:
					return wrapped(&c.CacheRead, value)
				case 2:
					return wrapped(&c.CacheWrite, value)
				}
				return nil
			})
		case 7:
			return eachField(value, func(number protowire.Number, value []byte, _ uint64) error {
				if number == 1 {
					return wrapped(&c.Reasoning, value)
				}
				return nil
			})
		}
		return nil
	})
}

// wrapped reads a UInt64Value.
func wrapped(into **int, b []byte) error {
	var v int
	*into = &v
	return eachField(b, func(number protowire.Number, _ []byte, n uint64) error {
		if number == 1 {
			v = int(min(n, 1<<50))
		}
		return nil
	})
}
