package sim

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
)

// An AWS event stream frame: total length, headers' length, CRC of those two, headers, payload, CRC
// of all of it. Headers here are strings, type 7.

const stringHeader = 7

// frame encodes one (smithy.io, Amazon Event Stream specification). All numbers are big endian; the
// first checksum is of the eight bytes before it, the second of all before it.
func frame(payload []byte, headers ...string) []byte {
	var h []byte
	for i := 0; i < len(headers); i += 2 {
		name, value := headers[i], headers[i+1]
		h = append(append(h, byte(len(name))), name...)
		h = append(binary.BigEndian.AppendUint16(append(h, stringHeader), uint16(len(value))), value...)
	}
	total := 12 + len(h) + len(payload) + 4
	b := make([]byte, 0, total)
	b = binary.BigEndian.AppendUint32(b, uint32(total))
	b = binary.BigEndian.AppendUint32(b, uint32(len(h)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, h...), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// eventFrame is a good event; its name is in a header, not in the payload.
func eventFrame(kind string, payload object) []byte {
	payload["p"] = padding()
	return frame(marshal(payload), ":event-type", kind, ":content-type", "application/json", ":message-type", "event")
}

// exceptionFrame is an error that the service's model knows; after it the stream ends. Its name
// begins with a small letter there, as members of a union do.
func exceptionFrame(f *fault) []byte {
	return frame(f.body(), ":exception-type", lowerFirst(f.kind), ":content-type", "application/json", ":message-type", "exception")
}

// errorFrame is an error that the model does not know: code and message in headers, no payload.
func errorFrame(code, message string) []byte {
	return frame(nil, ":error-code", code, ":error-message", message, ":message-type", "error")
}

// padding is the member p that AWS adds to every event, so that the length of a frame tells nothing
// about the text in it.
func padding() string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return letters[:1+rand.IntN(len(letters))]
}
