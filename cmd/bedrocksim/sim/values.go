package sim

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// object is a decoded JSON object. Numbers are json.Number.
type object = map[string]any

// parse decodes one JSON value strictly: valid UTF-8, no repeated members,
// nothing behind it.
func parse(body []byte) (any, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v, err := parseValue(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("trailing data")
	}
	return v, nil
}

func parseValue(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o := object{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			if _, twice := o[name.(string)]; twice {
				return nil, fmt.Errorf("member %q twice", name)
			}
			if o[name.(string)], err = parseValue(d); err != nil {
				return nil, err
			}
		}
		_, err := d.Token()
		return o, err
	case json.Delim('['):
		l := []any{}
		for d.More() {
			v, err := parseValue(d)
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		_, err := d.Token()
		return l, err
	default:
		return t, nil
	}
}

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
