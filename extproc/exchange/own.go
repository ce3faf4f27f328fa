package exchange

import "google.golang.org/protobuf/encoding/protowire"

// Own is what Envoy's own answers to a request say of it once it has gone on: Envoy sees the
// upstream's path then, and none of the caller's headers. Where extproc is there it answers in
// their stead; Own is for the moment in which it is not. The zero value says nothing.
type Own struct {
	Door      string // in whose API's shape, DoorAnthropic; "" is OpenAI's
	RequestID string // "" has Envoy make one
}

// The dynamic metadata that says so; package envoy reads it, and TestWords holds the two together.
const (
	OwnNamespace  = "aisix"
	OwnDoor       = "door"
	OwnRequestID  = "request_id"
	DoorAnthropic = "anthropic"
)

// fieldDynamicMetadata is dynamic_metadata in ProcessingResponse.
const fieldDynamicMetadata = 8

// append writes it as a Struct that has one of the namespace's name.
func (o Own) append(b []byte) []byte {
	return member(b, OwnNamespace, func(b []byte) []byte {
		return nested(b, 5, func(b []byte) []byte { // struct_value
			for _, kv := range []KeyValue{{OwnDoor, o.Door}, {OwnRequestID, o.RequestID}} {
				if kv.Value != "" {
					b = member(b, kv.Key, func(b []byte) []byte { return appendText(b, 3, kv.Value) }) // string_value
				}
			}
			return b
		})
	})
}

// member writes an entry of a Struct's fields.
func member(b []byte, name string, value func([]byte) []byte) []byte {
	return nested(b, protowire.Number(1), func(b []byte) []byte {
		return nested(appendText(b, 1, name), 2, value)
	})
}
