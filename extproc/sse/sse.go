// Package sse writes server-sent events.
//
// It knows the framing of text/event-stream (a data line, a comment line, the
// blank line behind) and the headers of such an answer. It knows nothing of
// what is inside: the dialects append their JSON between Open and Close. It
// keeps no state and does no I/O.
package sse

import (
	"net/http"
	"strings"
)

// ContentType is the media type of an event stream.
const ContentType = "text/event-stream; charset=utf-8"

// Header gives the headers of an answer that is an event stream: no cache and
// no buffering proxy may hold an event back.
func Header() http.Header {
	return http.Header{
		"Content-Type":      {ContentType},
		"Cache-Control":     {"no-cache"},
		"X-Accel-Buffering": {"no"},
	}
}

// Named begins an event that has a name, and its data: what Open does for one without. The
// name holds no line break.
func Named(dst []byte, name string) []byte {
	dst = append(append(dst, "event: "...), name...)
	return Open(append(dst, '\n'))
}

// Open begins an event's data. What is appended until Close must not hold a
// line break (JSON without indentation never does).
func Open(dst []byte) []byte { return append(dst, "data: "...) }

// Close ends the event that Open began.
func Close(dst []byte) []byte { return append(dst, "\n\n"...) }

// Data appends one event whose data is payload, which holds no line break.
func Data(dst, payload []byte) []byte { return Close(append(Open(dst), payload...)) }

// Comment appends a comment, which readers ignore: it keeps the connection
// alive while there is nothing to say.
func Comment(dst []byte, text string) []byte {
	dst = append(dst, ": "...)
	dst = append(dst, strings.NewReplacer("\r", " ", "\n", " ").Replace(text)...)
	return Close(dst)
}
