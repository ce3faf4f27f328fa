package plainjson

import (
	"encoding/json"
	"reflect"
	"strconv"
	"testing"
)

// value reads any plain value as encoding/json would.
func value(r *Reader) any {
	r.space()
	if r.at == len(r.b) {
		r.Fail()
		return nil
	}
	switch r.b[r.at] {
	case '{':
		object := map[string]any{}
		r.Object(func(name []byte) { object[string(name)] = value(r) })
		return object
	case '[':
		array := []any{}
		r.Array(func() { array = append(array, value(r)) })
		return array
	case '"':
		return r.Text()
	case '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		from := *r
		if n := r.Count(); !r.bad {
			return float64(n)
		}
		*r = from
	case 'n':
		if r.Null() {
			return nil
		}
	}
	raw := r.Raw()
	switch string(raw) {
	case "true":
		return true
	case "false":
		return false
	}
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		r.Fail()
	}
	return n
}

var read = []string{
	`{}`, `[]`, ` {"a" : [ 1 , 0 , -1.5, 12.25 ] , "b":{"c":null,"d":true,"e":false}}` + "\n",
	`"a\"b\\c\/d\b\f\n\r\t\u00e9\uD83D\ude00é😀\u0000"`, `""`, `[""]`, `999999999`, `1000000000`, `0`, `-0`, `{"":1}`,
}

func TestRead(t *testing.T) {
	for _, s := range read {
		r := New([]byte(s))
		got := value(&r)
		var want any
		if err := json.Unmarshal([]byte(s), &want); err != nil || !r.End() || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, want %#v, %v", s, got, want, err)
		}
	}
}

var unread = []string{
	``, ` `, `{`, `[`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `[1,]`, `[,1]`, `{"a":1 "b":2}`, `{"a":1,"a":2}`, `{"a\u0062":1}`, `{a:1}`,
	`"`, `"a`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\ud800"`, `"\ud800\u0041"`, `"\udc00"`, "\"\n\"", "\"\xff\"", `nul`, `truee`, `1 2`,
	`01`, `-`, `1.`, `.5`, `1e5`, `1E5`, `+1`, `00`, `12345678901234567890`, `NaN`, `{"a":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}`,
}

// What is not plain is not read, whether it is JSON or not.
func TestUnread(t *testing.T) {
	for _, s := range unread {
		r := New([]byte(s))
		if got := value(&r); r.End() {
			t.Errorf("%s: %#v", s, got)
		}
	}
}

func TestCounts(t *testing.T) {
	for s, ok := range map[string]bool{"0": true, "7": true, "999999999": true, "1000000000": false, "00": false, "1.0": false, "1e1": false, "-1": false, `"1"`: false, "": false} {
		r := New([]byte(s))
		if n := r.Count(); r.End() != ok || ok && strconv.Itoa(n) != s {
			t.Errorf("%s: %d, %t", s, n, !r.bad)
		}
	}
}

// What is read is what encoding/json reads.
func FuzzRead(f *testing.F) {
	for _, s := range append(read, unread...) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := New(b)
		got := value(&r)
		skipped := New(b)
		if skipped.Skip(); r.End() && !skipped.End() {
			t.Errorf("%q is read, and can't be skipped", b)
		}
		if !skipped.End() {
			return
		}
		var want any
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if r.End() && !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %#v, want %#v", b, got, want)
		}
	})
}
