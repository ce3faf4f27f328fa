package exchange

import (
	"errors"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// The messages of ext_proc, as far as this package reads and writes them, straight
// from and to the wire (envoy/service/ext_proc/v3/external_processor.proto): the types
// that protoc-gen-go makes cost more than all else here does. TestMessages and two fuzz
// targets hold both to those types.

// kind is what a message is about: field numbers of ProcessingRequest's and of
// ProcessingResponse's oneof are one apart.
type kind int

const (
	noKind           kind = 0 // of flow control alone, or of a later version
	requestHeaders   kind = 2
	responseHeaders  kind = 3
	requestBody      kind = 4
	responseBody     kind = 5
	requestTrailers  kind = 6
	responseTrailers kind = 7
	immediate        kind = 8 // ours only, as the next
	immediateStream  kind = 12
)

// Other field numbers of ProcessingRequest.
const (
	fieldMetadata       = 8
	fieldAttributes     = 9
	fieldProtocolConfig = 11
)

// message is one of Envoy's (ProcessingRequest).
type message struct {
	kind   kind
	fields Fields // of headers and trailers
	pseudo pseudoFields
	body   []byte // shares the wire's bytes
	end    bool

	// Attributes, of which there are two that this package asks for.
	sourceAddress string
	codeDetails   string

	modes                     bool // protocol_config is there
	requestMode, responseMode int32

	counted *Counted // in the metadata
}

// pseudoFields are HTTP/2's fields with a colon.
type pseudoFields struct{ method, scheme, authority, path, status string }

var errMessage = errors.New("exchange: a message that is no ProcessingRequest")

// Decode reads a message from the wire, whose bytes are the message's from now on.
func (m *message) Decode(b []byte) error {
	*m = message{}
	return eachField(b, func(number protowire.Number, value []byte, _ uint64) error {
		switch number {
		case protowire.Number(requestHeaders), protowire.Number(responseHeaders):
			m.kind = kind(number)
			return m.headers(value)
		case protowire.Number(requestBody), protowire.Number(responseBody):
			m.kind = kind(number)
			return eachField(value, func(number protowire.Number, value []byte, n uint64) error {
				switch number {
				case 1:
					m.body = value
				case 2:
					m.end = n != 0
				}
				return nil
			})
		case protowire.Number(requestTrailers), protowire.Number(responseTrailers):
			m.kind = kind(number)
			return m.headers(value)
		case fieldMetadata:
			return m.metadata(value)
		case fieldAttributes:
			return m.attributes(value)
		case fieldProtocolConfig:
			m.modes = true
			return eachField(value, func(number protowire.Number, _ []byte, n uint64) error {
				switch number {
				case 1:
					m.requestMode = int32(n)
				case 2:
					m.responseMode = int32(n)
				}
				return nil
			})
		}
		return nil
	})
}

// field is one field of a message: where its bytes stand in it, or its number where it is
// a varint. Fields of other types are nothing that is read here.
type field struct {
	number   protowire.Number
	from, to int
	n        uint64
}

// nextField reads the field at b[at:]; after is where the next one begins.
func nextField(b []byte, at int) (f field, after int, err error) {
	number, kind, size := protowire.ConsumeTag(b[at:])
	if size < 0 {
		return field{}, 0, errMessage
	}
	at += size
	f = field{number: number, from: at, to: at}
	switch kind {
	case protowire.BytesType:
		var value []byte
		value, size = protowire.ConsumeBytes(b[at:])
		f.to = at + size
		f.from = f.to - len(value)
	case protowire.VarintType:
		f.n, size = protowire.ConsumeVarint(b[at:])
	default:
		size = protowire.ConsumeFieldValue(number, kind, b[at:])
		f.number = 0
	}
	if size < 0 {
		return field{}, 0, errMessage
	}
	return f, at + size, nil
}

// eachField calls f for each field of a message.
func eachField(b []byte, f func(number protowire.Number, value []byte, n uint64) error) error {
	for at := 0; at < len(b); {
		x, after, err := nextField(b, at)
		if err != nil {
			return err
		}
		if err := f(x.number, b[x.from:x.to], x.n); err != nil {
			return err
		}
		at = after
	}
	return nil
}

// headers reads HttpHeaders, and HttpTrailers, which is the same with less. Names and
// values are parts of one string.
func (m *message) headers(b []byte) error {
	return eachField(b, func(number protowire.Number, value []byte, n uint64) error {
		switch number {
		case 1:
			return m.headerMap(value)
		case 3:
			m.end = n != 0
		}
		return nil
	})
}

func (m *message) headerMap(b []byte) error {
	all := string(b)
	if m.fields == nil {
		m.fields = make(Fields, 0, len(b)/40+4) // about as long as most are
	}
	for at := 0; at < len(b); {
		header, after, err := nextField(b, at)
		if err != nil {
			return err
		}
		at = after
		if header.number != 1 {
			continue
		}
		var key, value, raw string
		for at := header.from; at < header.to; {
			x, after, err := nextField(b[:header.to], at)
			if err != nil {
				return err
			}
			at = after
			switch x.number {
			case 1:
				key = all[x.from:x.to]
			case 2:
				value = all[x.from:x.to]
			case 3:
				raw = all[x.from:x.to]
			}
		}
		if raw != "" { // Envoy puts values here; the other is for fakes and older versions
			value = raw
		}
		m.field(key, value)
	}
	return nil
}

func (m *message) field(key, value string) {
	if !strings.HasPrefix(key, ":") {
		m.fields = append(m.fields, KeyValue{strings.ToLower(key), value})
		return
	}
	switch key {
	case ":method":
		m.pseudo.method = value
	case ":scheme":
		m.pseudo.scheme = value
	case ":authority":
		m.pseudo.authority = value
	case ":path":
		m.pseudo.path = value
	case ":status":
		m.pseudo.status = value
	}
}

// attributes reads an entry of the map from a filter's name to a Struct, whose own
// entries go from a name to a Value.
func (m *message) attributes(b []byte) error {
	name, filter, err := entry(b)
	if err != nil || name != attributes {
		return err
	}
	return eachField(filter, func(number protowire.Number, value []byte, _ uint64) error {
		if number != 1 {
			return nil
		}
		name, value, err := entry(value)
		if err != nil {
			return err
		}
		return eachField(value, func(number protowire.Number, text []byte, _ uint64) error {
			if number != 3 { // string_value
				return nil
			}
			switch name {
			case attributeSource:
				m.sourceAddress = string(text)
			case attributeDetails:
				m.codeDetails = string(text)
			}
			return nil
		})
	})
}

// entry is one of a map: key and value.
func entry(b []byte) (key string, value []byte, err error) {
	err = eachField(b, func(number protowire.Number, v []byte, _ uint64) error {
		switch number {
		case 1:
			key = string(v)
		case 2:
			value = v
		}
		return nil
	})
	return key, value, err
}

// answer is one of ours (ProcessingResponse).
type answer struct {
	kind   kind // what it answers, or immediate
	set    []KeyValue
	remove []string
	clear  bool // the route cache

	body     []byte
	bodyKind bodyKind
	end      bool // of a streamed body

	modes *modes // from here on; nil leaves them as they are

	own Own // from here on, where it says something

	status  int // of an immediate response
	details string
}

// bodyKind is how an answer changes a body.
type bodyKind int

const (
	sameBody     bodyKind = iota
	wholeBody             // in place of a buffered one; an empty one is cleared by name
	streamedBody          // a piece
)

// overwrite is HeaderValueOption's OVERWRITE_IF_EXISTS_OR_ADD: the default of Envoy is
// to append, and then a caller's own copy of a header that steers routing stays beside
// ours.
const overwrite = 2

// Append writes the message as it goes on the wire.
func (a *answer) Append(b []byte) []byte {
	if a.modes != nil {
		b = nested(b, fieldModes, a.modes.append)
	}
	if a.own != (Own{}) {
		b = nested(b, fieldDynamicMetadata, a.own.append)
	}
	number := protowire.Number(a.kind - 1)
	switch a.kind {
	case noKind:
		return b
	case immediate:
		return nested(b, number, func(b []byte) []byte {
			b = nested(b, 1, func(b []byte) []byte { return appendVarint(b, 1, uint64(a.status)) })
			b = nested(b, 2, a.mutation)
			b = appendBytes(b, 3, a.body)
			return appendText(b, 5, a.details)
		})
	case immediateStream:
		return nested(b, number, a.immediateStream)
	case requestTrailers, responseTrailers:
		return nested(b, number, func(b []byte) []byte { return nested(b, 1, a.mutation) })
	}
	// What all of it weighs has to be known before what holds it.
	body, mutation := a.bodySize(), a.mutationSize()
	size := 0
	if mutation > 0 {
		size = protowire.SizeTag(2) + protowire.SizeBytes(mutation)
	}
	if a.bodyKind != sameBody {
		size += protowire.SizeTag(3) + protowire.SizeBytes(body)
	}
	if a.clear {
		size += 2
	}
	b = appendTag(b, number, protowire.BytesType)
	b = appendLength(b, uint64(protowire.SizeTag(1)+protowire.SizeBytes(size)))
	b = appendTag(b, 1, protowire.BytesType)
	b = appendLength(b, uint64(size))
	if mutation > 0 {
		b = appendTag(b, 2, protowire.BytesType)
		b = appendLength(b, uint64(mutation))
		b = a.mutation(b)
	}
	if a.bodyKind != sameBody {
		b = appendTag(b, 3, protowire.BytesType)
		b = appendLength(b, uint64(body))
		b = a.appendBody(b)
	}
	if a.clear {
		b = appendVarint(b, 5, 1)
	}
	return b
}

// bodySize is the length of the BodyMutation that appendBody writes.
func (a *answer) bodySize() int {
	switch {
	case a.bodyKind == wholeBody && len(a.body) == 0:
		return 2
	case a.bodyKind == wholeBody:
		return protowire.SizeTag(1) + protowire.SizeBytes(len(a.body))
	default:
		return protowire.SizeTag(3) + protowire.SizeBytes(a.pieceSize())
	}
}

func (a *answer) pieceSize() (n int) {
	if len(a.body) > 0 {
		n += protowire.SizeTag(1) + protowire.SizeBytes(len(a.body))
	}
	if a.end {
		n += 2
	}
	return n
}

func (a *answer) appendBody(b []byte) []byte {
	switch {
	case a.bodyKind == wholeBody && len(a.body) == 0:
		return appendVarint(b, 2, 1) // clear_body
	case a.bodyKind == wholeBody:
		return appendBytes(b, 1, a.body)
	}
	return a.appendPiece(appendTag(b, 3, protowire.BytesType))
}

// appendPiece writes a StreamedBodyResponse, after its tag.
func (a *answer) appendPiece(b []byte) []byte {
	b = appendLength(b, uint64(a.pieceSize()))
	if len(a.body) > 0 {
		b = appendBytes(b, 1, a.body)
	}
	if a.end {
		b = appendVarint(b, 2, 1)
	}
	return b
}

// headerSize is the length of the HeaderValue of a field.
func (kv *KeyValue) headerSize() int {
	return 2 + protowire.SizeBytes(len(kv.Key)) + protowire.SizeBytes(len(kv.Value))
}

// mutationSize is the length of the HeaderMutation that mutation writes.
func (a *answer) mutationSize() (n int) {
	for i := range a.set {
		n += 1 + protowire.SizeBytes(3+protowire.SizeBytes(a.set[i].headerSize()))
	}
	for _, key := range a.remove {
		n += 1 + protowire.SizeBytes(len(key))
	}
	return n
}

// mutation writes a HeaderMutation.
func (a *answer) mutation(b []byte) []byte {
	for i := range a.set {
		kv := &a.set[i]
		header := kv.headerSize()
		b = appendTag(b, 1, protowire.BytesType)
		b = appendLength(b, uint64(3+protowire.SizeBytes(header)))
		b = appendTag(b, 1, protowire.BytesType)
		b = appendLength(b, uint64(header))
		b = appendText(b, 1, kv.Key)
		b = appendText(b, 3, kv.Value)
		b = appendVarint(b, 3, overwrite)
	}
	for _, key := range a.remove {
		b = appendText(b, 2, key)
	}
	return b
}

// nested writes a field that is a message.
func nested(b []byte, number protowire.Number, write func([]byte) []byte) []byte {
	b = appendTag(b, number, protowire.BytesType)
	at := len(b)
	b = write(append(b, 0)) // most are short: then this byte is their length
	size := len(b) - at - 1
	if more := protowire.SizeVarint(uint64(size)) - 1; more > 0 {
		b = append(b, make([]byte, more)...)
		copy(b[at+1+more:], b[at+1:at+1+size])
	}
	appendLength(b[:at], uint64(size))
	return b
}

// appendTag writes the tag of a field. All of ours are below 16: a byte.
func appendTag(b []byte, number protowire.Number, kind protowire.Type) []byte {
	return append(b, byte(number)<<3|byte(kind))
}

// appendLength writes a number, which is mostly a small one.
func appendLength(b []byte, n uint64) []byte {
	if n < 1<<7 {
		return append(b, byte(n))
	}
	return protowire.AppendVarint(b, n)
}

func appendVarint(b []byte, number protowire.Number, n uint64) []byte {
	return appendLength(appendTag(b, number, protowire.VarintType), n)
}

func appendBytes(b []byte, number protowire.Number, value []byte) []byte {
	return append(appendLength(appendTag(b, number, protowire.BytesType), uint64(len(value))), value...)
}

func appendText(b []byte, number protowire.Number, value string) []byte {
	return append(appendLength(appendTag(b, number, protowire.BytesType), uint64(len(value))), value...)
}

// statusOf is a response's status, 0 where it is none.
func statusOf(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}
