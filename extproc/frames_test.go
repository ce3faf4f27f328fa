package extproc_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"testing"

	"aisix/extproc/exchange/exchangetest"
)

// reply reads what a case's upstream answers: reply.json, reply.events or reply.sse, under
// the head of reply.head where there is one.
func reply(t *testing.T, dir string) exchangetest.Reply { return replyNamed(t, dir, "reply") }

// replyNamed is reply of files of another name.
func replyNamed(t *testing.T, dir, name string) exchangetest.Reply {
	t.Helper()
	r := exchangetest.Reply{Header: http.Header{"X-Amzn-Requestid": {"aws-request-id"}}}
	if events := read(t, dir, name+".events"); events != "" {
		r.Header.Set("Content-Type", "application/vnd.amazon.eventstream")
		r.Body = frames(t, events)
	} else if stream := read(t, dir, name+".sse"); stream != "" {
		r.Header.Set("Content-Type", "text/event-stream")
		r.Body = []byte(stream)
	} else {
		r.Header.Set("Content-Type", "application/json")
		r.Body = []byte(read(t, dir, name+".json"))
	}
	if head := read(t, dir, name+".head"); head != "" {
		in := textproto.NewReader(bufio.NewReader(strings.NewReader(head + "\n")))
		line, err := in.ReadLine()
		if err != nil {
			t.Fatal(err)
		}
		if r.Status, err = strconv.Atoi(line); err != nil {
			t.Fatalf("a head begins with a status: %v", err)
		}
		fields, err := in.ReadMIMEHeader()
		if err != nil {
			t.Fatal(err)
		}
		for field, values := range fields {
			r.Header[field] = values
		}
	}
	return r
}

// frames encodes reply.events as AWS does.
func frames(t *testing.T, events string) []byte {
	t.Helper()
	var body []byte
	last := 0 // where the last frame begins
	for i, line := range strings.Split(strings.TrimSpace(events), "\n") {
		var e struct {
			Type    string
			Payload json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("reply.events:%d: %v", i+1, err)
		}
		switch e.Type {
		case "cut": // in the middle of the last frame
			return body[:(last+len(body))/2]
		case "corrupt": // a bit of the last frame's payload
			body[len(body)-5] ^= 1
		default:
			last = len(body)
			body = appendFrame(body, e.Type, e.Payload)
		}
	}
	return body
}

// appendFrame appends one frame. A type that ends in Exception is an exception
// frame; "error" is an unmodeled error, of {"code","message"}. Of InvokeModel's
// chunks a line shows what is inside, Anthropic's event.
func appendFrame(dst []byte, kind string, payload json.RawMessage) []byte {
	var header []byte
	set := func(name, value string) {
		header = append(header, byte(len(name)))
		header = append(header, name...)
		header = append(header, 7) // a string
		header = binary.BigEndian.AppendUint16(header, uint16(len(value)))
		header = append(header, value...)
	}
	switch {
	case kind == "error":
		var e struct{ Code, Message string }
		if err := json.Unmarshal(payload, &e); err != nil {
			panic(err)
		}
		set(":message-type", "error")
		set(":error-code", e.Code)
		set(":error-message", e.Message)
		payload = nil
	case strings.HasSuffix(kind, "Exception"):
		set(":message-type", "exception")
		set(":exception-type", kind)
		set(":content-type", "application/json")
	default:
		set(":message-type", "event")
		set(":event-type", kind)
		set(":content-type", "application/json")
	}
	if kind == "chunk" && !bytes.Contains(payload, []byte(`"bytes"`)) {
		payload, _ = json.Marshal(map[string]any{"bytes": []byte(payload), "p": "abcdefgh"})
	}
	at := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(16+len(header)+len(payload)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(header)))
	dst = binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[at:]))
	dst = append(append(dst, header...), payload...)
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[at:]))
}
