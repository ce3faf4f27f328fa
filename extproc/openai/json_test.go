package openai

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"aisix/extproc/fault"
)

func TestParseIsStrict(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for body, good := range map[string]bool{
		`{"a":[1,-0.5e+3,true,false,null,"\u00e9\ud83d\ude00\/"]}`: true,
		" [1] \n":             true,
		nested(256):           true,
		nested(257):           false,
		nested(100_000):       false,
		`{"a":1,"a":2}`:       false,
		`{"a":1,"\u0061":2}`:  false,
		`{"x":{"a":1,"a":1}}`: false,
		"{\"a\":\"\xff\"}":    false,
		"{\"a\":\"\x01\"}":    false,
		`"\ud83d"`:            false,
		`"\ud83dx"`:           false,
		`"\ude00"`:            false,
		`"\x"`:                false,
		`"\u12"`:              false,
		`01`:                  false,
		`1.`:                  false,
		`.5`:                  false,
		`+1`:                  false,
		`1e`:                  false,
		`-`:                   false,
		`tru`:                 false,
		`[1,]`:                false,
		`[1 2]`:               false,
		`{"a":1,}`:            false,
		`{"a" 1}`:             false,
		`{a:1}`:               false,
		`{} {}`:               false,
		`NaN`:                 false,
		"\ufeff{}":            false,
		`// c`:                false,
		``:                    false,
		`"`:                   false,
		`"a`:                  false,
		"[\x00]":              false,
	} {
		_, err := parse([]byte(body))
		var f *fault.Error
		if (err == nil) != good || err != nil && (!errors.As(err, &f) || f.Status != 400) {
			t.Errorf("parse(%.60q) = %v, want good: %t", body, err, good)
		}
	}
}

func TestParseFindsTwins(t *testing.T) {
	var body strings.Builder
	body.WriteString(`{"in":{`)
	for i := range 40 {
		body.WriteString(`"m` + strconv.Itoa(i) + `":0,`)
	}
	body.WriteString(`"m37":1}}`)
	_, err := parse([]byte(body.String()))
	if f := fault.From(err); err == nil || f.Param != "in.m37" {
		t.Errorf("parse = %v, want a fault with param in.m37", err)
	}
}

func TestPath(t *testing.T) {
	root, err := parse([]byte(`{"a":[{"b":1},[[],[2,"x"]]],"c":{"d":{}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{"1": "a[0].b", "2": "a[1][1][0]", `"x"`: "a[1][1][1]", "{}": "c.d", "[]": "a[1][0]"} {
		for i, n := range root.doc.nodes {
			if v := (value{root.doc, i}); n.kind != objectKind && string(v.raw()) == at || string(v.raw()) == at && at == "{}" {
				if got := v.path(); got != want {
					t.Errorf("path of %s = %q, want %q", at, got, want)
				}
			}
		}
	}
	if got := root.path(); got != "" {
		t.Errorf("path of the root = %q", got)
	}
}

// stricter is why we refuse what encoding/json takes.
var stricter = []string{"not valid UTF-8", "unpaired surrogate", "is there twice", "nests deeper than", "holds more than"}

// FuzzParse holds the parser against encoding/json: what we accept it accepts,
// with the same strings; what we refuse it refuses, but for what we say we are
// stricter about.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,"x\n\ud83d\ude00",{"b":null}]}`, `[1e5,-0.1]`, `{"a":1,"a":2}`, `"\ud800"`, "\"\xff\"", `[[[[`, `{"":""}`, "\ufeff{}", `[NaN]`, `{} {}`, `-0`, `1E+2`, `"\u0000"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		root, err := parse(body)
		if err != nil {
			refused := fault.From(err)
			if refused.Status != 400 {
				t.Fatalf("%v is no 400", err)
			}
			if json.Valid(body) && !slices.ContainsFunc(stricter, func(why string) bool { return strings.Contains(refused.Message, why) }) {
				t.Fatalf("parse refused %q, encoding/json takes it: %v", body, err)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("parse took %q, encoding/json does not", body)
		}
		for i, n := range root.doc.nodes {
			v := value{root.doc, i}
			if len(root.doc.nodes) < 1000 {
				v.path()
			}
			if n.kind != stringKind {
				continue
			}
			var want string
			if err := json.Unmarshal(v.raw(), &want); err != nil {
				t.Fatalf("%q: %v", v.raw(), err)
			}
			if got := string(v.bytes()); got != want {
				t.Fatalf("%q reads as %q, want %q", v.raw(), got, want)
			}
		}
	})
}

// FuzzAppendString holds appendString against encoding/json.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a\"b\\c\n\r\t\x00\x1f\x7f", "é\u2028😀\ufffd", "\xff\xc3", "<&>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := appendString([]byte("x"), s)
		var got string
		if err := json.Unmarshal(out[1:], &got); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		std, _ := json.Marshal(s)
		var want string
		if err := json.Unmarshal(std, &want); err != nil {
			t.Fatal(err)
		}
		if got != want || strings.ContainsAny(string(out), "\n\r\u2028\u2029") {
			t.Fatalf("appendString(%q) = %s", s, out)
		}
	})
}
