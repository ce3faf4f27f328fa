package bedrock

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// The end of the body ends the last event as a blank line does, where that is a whole one; what was
// cut is none. [DONE] needs neither.
func TestTheLastEventNeedsNoBlankLine(t *testing.T) {
	const begun = "event: a\ndata: {\"a\":1}\n\n"
	for _, tt := range []struct {
		body string
		want []string
		end  error
	}{
		{begun, []string{`{"a":1}`}, io.EOF},
		{begun + "event: b\ndata: {\"b\":2}\n", []string{`{"a":1}`, `{"b":2}`}, io.EOF},
		{begun + "event: b\ndata: {\"b\":2}", []string{`{"a":1}`, `{"b":2}`}, io.EOF},
		{begun + "data: {\r\ndata: \"b\":2}\r\n\r", []string{`{"a":1}`, `{"b":2}`}, io.EOF},
		{begun + "data: {\"b\":2}\r", []string{`{"a":1}`, `{"b":2}`}, io.EOF},
		{begun + "data: [DONE]", []string{`{"a":1}`}, io.EOF},
		{begun + "data:[DONE]\n", []string{`{"a":1}`}, io.EOF},
		{begun + "\n\n", []string{`{"a":1}`}, io.EOF},
		{begun + "event: b\n", []string{`{"a":1}`}, io.ErrUnexpectedEOF},
		{begun + "data: {\"b\":", []string{`{"a":1}`}, io.ErrUnexpectedEOF},
		{begun + "data: [DON", []string{`{"a":1}`}, io.ErrUnexpectedEOF},
		{begun + "dat", []string{`{"a":1}`}, io.ErrUnexpectedEOF},
	} {
		for _, one := range []bool{false, true} {
			var body io.Reader = strings.NewReader(tt.body)
			if one {
				body = iotest.OneByteReader(body)
			}
			s := &sseSource{body: piecesOf(body)}
			var got []string
			var err error
			for err == nil {
				var data []byte
				if data, err = s.next(); err == nil {
					got = append(got, string(data))
				}
			}
			if !slices.Equal(got, tt.want) || !errors.Is(err, tt.end) {
				t.Errorf("%q, byte by byte %v: %q, %v; want %q, %v", tt.body, one, got, err, tt.want, tt.end)
			}
		}
	}
}
