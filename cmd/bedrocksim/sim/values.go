package sim

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// object is a decoded JSON object. Numbers are json.Number.
type object = map[string]any

// parse decodes one JSON value strictly: valid UTF-8, no duplicate members,
// nothing after it.
func parse(body []byte) (v any, err error) {
	err = jsonv2.Unmarshal(body, &v, numbersAsWritten)
	return v, err
}

// numbersAsWritten keeps digits: a float64 would hide that a gateway has changed 1.50 to 1.5.
var numbersAsWritten = jsonv2.WithUnmarshalers(jsonv2.UnmarshalFromFunc(func(d *jsontext.Decoder, v *any) error {
	if d.PeekKind() != '0' {
		return errors.ErrUnsupported // the default
	}
	n, err := d.ReadValue()
	*v = json.Number(n)
	return err
}))

// imageKind tells an image by its first bytes; "" is none that Bedrock takes.
func imageKind(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")):
		return "png"
	case bytes.HasPrefix(b, []byte("\xff\xd8\xff")):
		return "jpeg"
	case bytes.HasPrefix(b, []byte("GIF87a")), bytes.HasPrefix(b, []byte("GIF89a")):
		return "gif"
	case len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP":
		return "webp"
	}
	return ""
}

// Readers of checked JSON: the zero value where a member is absent.

// child follows names down nested objects; nil where one is absent or no object.
func child(v any, names ...string) any {
	for _, name := range names {
		o, _ := v.(object)
		v = o[name]
	}
	return v
}

func str(v any, names ...string) string {
	s, _ := child(v, names...).(string)
	return s
}

func items(v any, names ...string) []any {
	l, _ := child(v, names...).([]any)
	return l
}

// whole is 0 for what is no integer, or one that int64 does not hold.
func whole(v any, names ...string) int {
	n, _ := child(v, names...).(json.Number)
	i, _ := n.Int64()
	return int(i)
}

func bytesOf(v any, names ...string) []byte {
	b, _ := base64.StdEncoding.DecodeString(str(v, names...))
	return b
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
