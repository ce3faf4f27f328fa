package noop

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// phase is the number of its field in ProcessingRequest.
type phase protowire.Number

const (
	requestHeaders   phase = 2
	responseHeaders  phase = 3
	requestBody      phase = 4
	responseBody     phase = 5
	requestTrailers  phase = 6
	responseTrailers phase = 7
)

// message is what is read of a ProcessingRequest. body is part of buffer.
type message struct {
	phase  phase
	body   []byte
	end    bool
	buffer mem.Buffer
}

// parse reads the phase, and of an HttpBody body (1) and end_of_stream (2).
func (m *message) parse(b []byte) error {
	m.phase, m.body, m.end = 0, nil, false
	return fields(b, func(n protowire.Number, value []byte, _ uint64) error {
		p := phase(n)
		if p < requestHeaders || p > responseTrailers {
			return nil
		}
		m.phase = p
		if p != requestBody && p != responseBody {
			return nil
		}
		return fields(value, func(n protowire.Number, value []byte, number uint64) error {
			switch n {
			case 1:
				m.body = value
			case 2:
				m.end = number != 0
			}
			return nil
		})
	})
}

// fields gives each field's bytes or number.
func fields(b []byte, give func(n protowire.Number, value []byte, number uint64) error) error {
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		var value []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			value, size = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(b)
		default:
			size = protowire.ConsumeFieldValue(n, kind, b)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		if err := give(n, value, number); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}
