package bedrock

import (
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/document"

	"aisix/extproc/chat"
	js "aisix/extproc/jsonappend"
)

// jsonWriter writes the SDK's types as JSON into one buffer. It is to those types what
// the SDK's own serializer is (restjson1's), which makes an HTTP request, an encoder of
// headers and three copies of the body beside it; TestJSONWriter holds it to that one.
//
// Of the operations' inputs it writes the members of the body: what the service model
// binds elsewhere (modelId, to the path) is to be left unset.
type jsonWriter struct {
	b       []byte
	objects [32]bool // open objects (true) and lists
	depth   int
	encoded []*byte // where blobs begin that are in base64 already
}

var _ smithy.ShapeSerializer = (*jsonWriter)(nil)

// Bytes is what was written.
func (w *jsonWriter) Bytes() []byte { return w.b }

// begin writes what stands before a value: a comma, and in an object the member's name.
func (w *jsonWriter) begin(member *smithy.Schema) {
	if n := len(w.b); n == 0 || w.b[n-1] == ':' {
		return // the name is there
	}
	if w.objects[w.depth] {
		w.b = js.Name(w.b, member.MemberName())
	} else {
		w.b = js.Comma(w.b)
	}
}

func (w *jsonWriter) open(member *smithy.Schema, c byte) {
	w.begin(member)
	w.b = append(w.b, c)
	w.depth++
	w.objects[w.depth] = c == '{'
}

func (w *jsonWriter) close(c byte) {
	w.b = append(w.b, c)
	w.depth--
}

func (w *jsonWriter) WriteStruct(s *smithy.Schema) { w.open(s, '{') }
func (w *jsonWriter) CloseStruct()                 { w.close('}') }
func (w *jsonWriter) WriteMap(s *smithy.Schema)    { w.open(s, '{') }
func (w *jsonWriter) CloseMap()                    { w.close('}') }
func (w *jsonWriter) WriteList(s *smithy.Schema)   { w.open(s, '[') }
func (w *jsonWriter) CloseList()                   { w.close(']') }

// WriteUnion opens a union, whose value comes next.
func (w *jsonWriter) WriteUnion(s, variant *smithy.Schema) {
	w.open(s, '{')
	w.b = js.Name(w.b, variant.MemberName())
}

func (w *jsonWriter) CloseUnion() { w.close('}') }

func (w *jsonWriter) WriteKey(_ *smithy.Schema, key string) {
	w.b = append(js.String(js.Comma(w.b), key), ':')
}

func (w *jsonWriter) WriteString(s *smithy.Schema, v string) {
	w.begin(s)
	w.b = js.String(w.b, v)
}

func (w *jsonWriter) WriteBool(s *smithy.Schema, v bool) {
	w.begin(s)
	w.b = strconv.AppendBool(w.b, v)
}

func (w *jsonWriter) WriteInt8(s *smithy.Schema, v int8)   { w.WriteInt64(s, int64(v)) }
func (w *jsonWriter) WriteInt16(s *smithy.Schema, v int16) { w.WriteInt64(s, int64(v)) }
func (w *jsonWriter) WriteInt32(s *smithy.Schema, v int32) { w.WriteInt64(s, int64(v)) }

func (w *jsonWriter) WriteInt64(s *smithy.Schema, v int64) {
	w.begin(s)
	w.b = strconv.AppendInt(w.b, v, 10)
}

func (w *jsonWriter) WriteFloat32(s *smithy.Schema, v float32) {
	w.begin(s)
	w.b = js.Float(w.b, float64(v), 32)
}

func (w *jsonWriter) WriteFloat64(s *smithy.Schema, v float64) {
	w.begin(s)
	w.b = js.Float(w.b, v, 64)
}

func (w *jsonWriter) WriteBlob(s *smithy.Schema, v []byte) {
	w.begin(s)
	if len(v) > 0 && slices.Contains(w.encoded, &v[0]) {
		w.b = append(append(append(w.b, '"'), v...), '"')
		return
	}
	w.b = js.Base64(w.b, v)
}

// expect has images of the blocks written as they are whose bytes are in base64: the SDK
// has no place to say so.
func (w *jsonWriter) expect(blocks []chat.Block) {
	for _, b := range blocks {
		switch b := b.(type) {
		case chat.Image:
			if len(b.Base64) > 0 {
				w.encoded = append(w.encoded, &b.Base64[0])
			}
		case chat.ToolResult:
			w.expect(b.Blocks)
		}
	}
}

// WriteDocument writes a document of ours as it is.
func (w *jsonWriter) WriteDocument(s *smithy.Schema, v document.Value) {
	w.begin(s)
	if d, ok := v.(*document.Opaque); ok {
		if raw, ok := d.Value.(rawDocument); ok {
			w.b = append(w.b, raw.raw...)
			return
		}
	}
	w.b = append(w.b, "null"...)
}

func (w *jsonWriter) WriteNil(s *smithy.Schema) {
	w.begin(s)
	w.b = append(w.b, "null"...)
}

// No input of ours has one of these.

func (w *jsonWriter) WriteBigInt(s *smithy.Schema, _ *big.Int)     { w.WriteNil(s) }
func (w *jsonWriter) WriteBigFloat(s *smithy.Schema, _ *big.Float) { w.WriteNil(s) }
func (w *jsonWriter) WriteTime(s *smithy.Schema, _ time.Time)      { w.WriteNil(s) }
