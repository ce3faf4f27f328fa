package strict

import (
	"encoding/json"
	"errors"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

func TestStrict(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for body, good := range map[string]bool{
		`{"a":[1,-0.5e+3,true,false,null,"\u00e9\ud83d\ude00\/"]}`: true,
		" [1] \n":             true,
		nested(MaxDepth):      true,
		nested(MaxDepth + 1):  false,
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
		`"a\\"`:               true,
		`"a\"`:                false,
		"[\x00]":              false,
	} {
		var v jsontext.Value
		err := Unmarshal([]byte(body), &v)
		var e *Error
		if (err == nil) != good || err != nil && (!errors.As(err, &e) || e.Message == "") {
			t.Errorf("Unmarshal(%.60q) = %v, want good: %t", body, err, good)
		}
	}
}

// TestBounds: as many values as may be, and one more.
func TestBounds(t *testing.T) {
	zeros := func(n int) []byte { return []byte("[" + strings.Repeat("0,", n-1) + "0]") }
	members := func(n int) []byte {
		var b strings.Builder
		for i := range n {
			b.WriteString(`,"` + strconv.Itoa(i) + `":"[{,:"`)
		}
		return []byte("{" + b.String()[1:] + "}")
	}
	for name, test := range map[string]struct {
		most, more []byte
		path       string
	}{
		"items":   {zeros(MaxValues - 1), zeros(MaxValues), "[262143]"},
		"members": {members(MaxValues/2 - 1), members(MaxValues / 2), "131071"},
	} {
		var v jsontext.Value
		if err := Unmarshal(test.most, &v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var e *Error
		if err := Unmarshal(test.more, &v); !errors.As(err, &e) || e.Path != test.path || e.Message != "the body holds more than 262144 values and member names" {
			t.Errorf("%s: %+v", name, err)
		}
	}
	for n, good := range map[int]bool{MaxName: true, MaxName + 1: false} {
		var v jsontext.Value
		if err := Unmarshal([]byte(`{"`+strings.Repeat("n", n)+`":"`+strings.Repeat("v", MaxName+1)+`"}`), &v); (err == nil) != good {
			t.Errorf("a name of %d bytes: %v", n, err)
		}
	}
	var l List[Number]
	if err := Unmarshal(zeros(MaxItems), &l); err != nil || len(l) != MaxItems {
		t.Errorf("%d items: %v", len(l), err)
	}
	if err := Unmarshal(zeros(MaxItems+1), &l); err == nil || err.Error() != "the body must have at most 65536 items" {
		t.Errorf("one item too many: %v", err)
	}
}

// thing has one member of every kind.
type thing struct {
	Name    *string        `json:"name"`
	Text    string         `json:"text"`
	Flag    bool           `json:"flag"`
	Number  Number         `json:"number"`
	Whole   int            `json:"whole"`
	Raw     jsontext.Value `json:"raw"`
	Labels  map[string]int `json:"labels"`
	Any     Raw            `json:"any"`
	Object  RawObject      `json:"object"`
	Things  List[thing]    `json:"things"`
	Names   List[string]   `json:"names"`
	Sub     sub            `json:"sub"`
	Pointer *sub           `json:"pointer"`
	Skipped Ignored        `json:"skipped"`
	Unknown Unknown        `json:",embed"`
}

func (t *thing) Check() *Error {
	if t.Text == "bad" {
		return Errorf("/text", "must be good")
	}
	if err := t.Number.Within("/number", 0, 2); err != nil {
		return err
	}
	return OneOf("/name", t.Name, "a", "b")
}

// sub is an object with a required member, and no place for what it does not know.
type sub struct {
	Type string `json:"type"`
}

func (s *sub) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members sub
	return Object(dec, (*members)(s), s)
}

func (s *sub) Check() *Error {
	switch s.Type {
	case "":
		return Required("/type")
	case "odd":
		return Variant("/type", "must not be odd")
	}
	return nil
}

func TestPlaces(t *testing.T) {
	for body, want := range map[string]Error{
		"\"\xff\"":       {Message: "is not valid UTF-8 at byte 1"},
		`{"text":"`:      {Message: "is not valid JSON: it ends too soon"},
		`{"text":"\x"}`:  {Message: "is not valid JSON at byte 9", Detail: "invalid escape sequence `\\x` in string"},
		`null`:           {Message: "must be an object, not null"},
		`[]`:             {Message: "must be an object, not an array"},
		`{"text":5}`:     {Pointer: "/text", Path: "text", Message: "must be a string, not a number"},
		`{"flag":"x"}`:   {Pointer: "/flag", Path: "flag", Message: "must be a boolean, not a string"},
		`{"number":"5"}`: {Pointer: "/number", Path: "number", Message: "must be a number, not a string"},
		`{"number":[5]}`: {Pointer: "/number", Path: "number", Message: "must be a number, not an array"},
		`{"number":3}`:   {Pointer: "/number", Path: "number", Message: "must be between 0 and 2"},
		`{"whole":1.5}`:  {Pointer: "/whole", Path: "whole", Message: "must be an integer"},
		`{"whole":{}}`:   {Pointer: "/whole", Path: "whole", Message: "must be an integer, not an object"},
		`{"labels":[]}`:  {Pointer: "/labels", Path: "labels", Message: "must be an object, not an array"},
		`{"things":{}}`:  {Pointer: "/things", Path: "things", Message: "must be an array, not an object"},
		`{"name":"c"}`:   {Pointer: "/name", Path: "name", Message: "must be one of a, b"},
		`{"object":[1]}`: {Pointer: "/object", Path: "object", Message: "must be an object, not an array"},
		`{"what":1}`:     {Pointer: "/what", Path: "what", Message: "unknown member"},
		`{"":{}}`:        {Pointer: "/", Path: `""`, Message: "unknown member"},
		`{"things":[{},{"things":[{"text":5}]}]}`:                     {Pointer: "/things/1/things/0/text", Path: "things[1].things[0].text", Message: "must be a string, not a number"},
		`{"things":[{},{"text":"bad","things":[{}]}]}`:                {Pointer: "/things/1/text", Path: "things[1].text", Message: "must be good"},
		`{"things":[{},null]}`:                                        {Pointer: "/things/1", Path: "things[1]", Message: "must not be null"},
		`{"things":[{},[]]}`:                                          {Pointer: "/things/1", Path: "things[1]", Message: "must be an object, not an array"},
		`{"names":["a",null]}`:                                        {Pointer: "/names/1", Path: "names[1]", Message: "must not be null"},
		`{"labels":{"0":1,"1":"x"}}`:                                  {Pointer: "/labels/1", Path: "labels.1", Message: "must be an integer, not a string"},
		`{"labels":{"a/b~c":"x"}}`:                                    {Pointer: "/labels/a~1b~0c", Path: "labels.a/b~c", Message: "must be an integer, not a string"},
		`{"raw":{"a":[0,{"b":1,"b":2}]}}`:                             {Pointer: "/raw/a/1/b", Path: "raw.a[1].b", Message: "duplicate member"},
		`{"text":"a","text":"b"}`:                                     {Pointer: "/text", Path: "text", Message: "duplicate member"},
		`{"what":null,"what":null}`:                                   {Pointer: "/what", Path: "what", Message: "duplicate member"},
		`{"sub":{}}`:                                                  {Pointer: "/sub/type", Path: "sub.type", Message: "is required", kind: missing},
		`{"pointer":{"type":null}}`:                                   {Pointer: "/pointer/type", Path: "pointer.type", Message: "is required", kind: missing},
		`{"sub":{"type":"a","what":null}}`:                            {Pointer: "/sub/what", Path: "sub.what", Message: "unknown member"},
		`{"sub":{"type":"odd","what":1}}`:                             {Pointer: "/sub/type", Path: "sub.type", Message: "must not be odd", kind: variant},
		`{"things":[{"sub":{"type":"odd","what":1}}]}`:                {Pointer: "/things/0/sub/type", Path: "things[0].sub.type", Message: "must not be odd", kind: variant},
		`{"sub":{"what":1,"type":"odd"}}`:                             {Pointer: "/sub/what", Path: "sub.what", Message: "unknown member"},
		`{"text":1,"` + strings.Repeat("é", 100) + `":1}`:             {Pointer: "/text", Path: "text", Message: "must be a string, not a number"},
		`{"` + strings.Repeat("é", 100) + `":1}`:                      {Pointer: "/" + strings.Repeat("é", 32) + "…", Path: strings.Repeat("é", 32) + "…", Message: "unknown member"},
		`{"things":[` + strings.Repeat(`{},`, 1200) + `{"text":[]}]}`: {Pointer: "/things/1200/text", Path: "things[1200].text", Message: "must be a string, not an array"},
	} {
		var v thing
		err := Unmarshal([]byte(body), &v)
		var got *Error
		if !errors.As(err, &got) {
			t.Errorf("%.80s: %v, want an Error", body, err)
			continue
		}
		if diff := cmp.Diff(want, *got, cmp.AllowUnexported(Error{})); diff != "" {
			t.Errorf("%.80s:\n%s", body, diff)
		}
	}
}

// TestNothing: null is the same as an absent member.
func TestNothing(t *testing.T) {
	for _, body := range []string{`{}`,
		`{"name":null,"text":null,"flag":null,"number":null,"whole":null,"labels":null,"any":null,"object":null,"things":null,"names":null,"sub":null,"pointer":null,"skipped":null}`} {
		var v thing
		if err := Unmarshal([]byte(body), &v); err != nil {
			t.Errorf("%s: %v", body, err)
		} else if diff := cmp.Diff(thing{}, v, cmp.AllowUnexported(thing{})); diff != "" {
			t.Errorf("%s:\n%s", body, diff)
		}
	}
	var v thing
	if err := Unmarshal([]byte(`{"what":null,"skipped":{"any":[1]},"things":[],"any": [ 1.0],"object":{ }}`), &v); err != nil || !v.Skipped || v.Things == nil ||
		string(v.Any) != `[ 1.0]` || string(v.Object) != `{ }` {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestNumber(t *testing.T) {
	for text, want := range map[Number]int64{"5": 5, "5.0": 5, "1e2": 100, "-0.0": 0, "9223372036854775807": 9223372036854775807, "-9223372036854775808": -9223372036854775808} {
		if got, ok := text.Int(); !ok || got != want {
			t.Errorf("Int of %s = %d, %t", text, got, ok)
		}
	}
	for _, text := range []Number{"", "5.5", "1e-1", "9223372036854775808", "1e99", "1e999"} {
		if got, ok := text.Int(); ok {
			t.Errorf("Int of %s = %d", text, got)
		}
	}
	if f, ok := Number("1e999").Float(); ok {
		t.Errorf("Float of 1e999 = %g", f)
	}
	for _, test := range []struct {
		err  *Error
		want string
	}{
		{Number("").Within("/n", 0, 1), ""},
		{Number("1e-1").Within("/n", 0, 1), ""},
		{Number("1.1").Within("/n", 0, 1), "/n: must be between 0 and 1"},
		{Number("1e999").Within("/n", 0, 1), "/n: must be between 0 and 1"},
		{Number("").IntWithin("/n", 1, 3), ""},
		{Number("3.0").IntWithin("/n", 1, 3), ""},
		{Number("4").IntWithin("/n", 1, 3), "/n: must be between 1 and 3"},
		{Number("0").IntWithin("/n", 1, 1<<31-1), "/n: must be at least 1"},
		{Number("1.5").IntWithin("/n", 1, 3), "/n: must be an integer"},
		{Number("3000000000").IntWithin("/n", 1, 1<<31-1), "/n: must be at most 2147483647"},
		{Number("1e30").IntWithin("/n", 1, 1<<31-1), "/n: must be at most 2147483647"},
		{Number("1e999").IntWithin("/n", 1, 1<<31-1), "/n: must be at most 2147483647"},
		{Number("-1e30").IntWithin("/n", 1, 1<<31-1), "/n: must be at least 1"},
		{Number("1e30").IntWithin("/n", 1, 3), "/n: must be between 1 and 3"},
	} {
		if got := ""; test.err != nil {
			got = test.err.Error()
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		} else if test.want != "" {
			t.Errorf("no error, want %q", test.want)
		}
	}
}

func TestPeek(t *testing.T) {
	var v struct {
		Name string `json:"name"`
	}
	if err := Peek([]byte(`{"what":[1],"name":"a"}`), &v); err != nil || v.Name != "a" {
		t.Errorf("%+v, %v", v, err)
	}
	for _, body := range []string{`{"what":[1],"name":"a"} x`, `{"name":"a","what":{"a":1,"a":1}}`, `{"name":5}`} {
		if err := Peek([]byte(body), &v); err == nil {
			t.Errorf("%s: no error", body)
		}
	}
}

// stricter is why we refuse what encoding/json takes.
var stricter = []string{"not valid UTF-8", "surrogate", "escape sequence", "duplicate member", "nests deeper than", "holds more than", "member name of", "not null"}

// FuzzUnmarshal holds Unmarshal against encoding/json: what we accept it accepts, and
// reads the same; what we refuse it refuses, but for what we are stricter about. No
// body makes a typed read panic, and what that refuses has a place.
func FuzzUnmarshal(f *testing.F) {
	for _, s := range []string{`{"a":[1,"x\n\ud83d\ude00",{"b":null}]}`, `[1e5,-0.1]`, `{"a":1,"a":2}`, `"\ud800"`, "\"\xff\"", `[[[[`, `{"":""}`, "\ufeff{}",
		`[NaN]`, `{} {}`, `-0`, `1E+2`, `"\u0000"`, `"\\"`, `["\\\"",{"a":"\""}]`,
		`{"name":"a","text":"b","flag":true,"number":1e0,"whole":5,"raw":[{}],"labels":{"x":1},"any":1,"object":{"a":[]},"things":[{"sub":{"type":"odd","x":1}}],"names":["n"],"sub":{"type":"t"},"pointer":{"type":"p"},"skipped":{},"what":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var typed thing
		var refused *Error
		if err := Unmarshal(body, &typed); errors.As(err, &refused) {
			if refused.Message == "" || len(refused.Message) > 200 || len(refused.Path) > 600 || refused.Detail != "" && refused.Pointer != "" {
				t.Fatalf("%q: %+v", body, refused)
			}
		} else if err != nil {
			t.Fatalf("%q: %v is no Error", body, err)
		}
		var raw jsontext.Value
		err := Unmarshal(body, &raw)
		if errors.As(err, &refused) {
			if json.Valid(body) && !slices.ContainsFunc(stricter, func(why string) bool { return strings.Contains(refused.Message+refused.Detail, why) }) {
				t.Fatalf("refused %q, encoding/json takes it: %v", body, err)
			}
			return
		}
		var got, want any
		if err := json.Unmarshal(body, &want); err != nil {
			if strings.Contains(err.Error(), "cannot unmarshal number") {
				return
			}
			t.Fatalf("took %q, encoding/json does not: %v", body, err)
		}
		if err := Unmarshal(body, &got); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q (-encoding/json +strict):\n%s", body, diff)
		}
	})
}

// body is a chat request of 530 bytes.
const body = `{"model":"claude-bedrock","messages":[{"role":"system","content":"You are a helpful assistant for a travel agency. Answer in at most three sentences, and never mention a competitor."},{"role":"user","content":"What is the best time of the year to go to Bonn with two children, and what should we not miss there?"},{"role":"assistant","content":"Late spring: the cherry blossoms of the old town are gone by May, but the Rhine is at its best."},{"role":"user","content":"And in winter?"}],"temperature":0.7,"max_tokens":512,"stream":true}`

type request struct {
	Model       *string       `json:"model"`
	Messages    List[message] `json:"messages"`
	Temperature Number        `json:"temperature"`
	MaxTokens   Number        `json:"max_tokens"`
	Stream      bool          `json:"stream"`
	Unknown     Unknown       `json:",embed"`
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// worst are bodies that take most memory for their length.
func worst() map[string][]byte {
	many := func(head, item, tail string, n int) []byte {
		return []byte(head + strings.Repeat(item+",", n-1) + item + tail)
	}
	var names strings.Builder
	for i := range MaxValues/2 - 8 {
		names.WriteString(`,"` + strconv.Itoa(i) + `":null`)
	}
	return map[string][]byte{
		"empty items":   many(`{"messages":[`, `{}`, `]}`, MaxItems),
		"unknown nulls": []byte(`{"model":"m"` + names.String() + `}`),
		"one string":    []byte(`{"model":"` + strings.Repeat("a", 4<<20) + `"}`),
		"escapes":       []byte(`{"model":"` + strings.Repeat(`\"`, 2<<20) + `"}`),
		"long name":     []byte(`{"` + strings.Repeat("n", MaxName-1) + `":[` + strings.Repeat(" ", 4<<20) + `]}`),
		"longer name":   []byte(`{"` + strings.Repeat("n", 4<<20) + `":1}`),
		"escaped names": []byte(`{"m":"m"` + strings.ReplaceAll(names.String(), `,"`, `,"\u0061`) + `}`),
		"deep":          []byte(strings.Repeat("[", 4<<20)),
		"too many":      many("[", "1", "]", 2<<20),
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	bodies := worst()
	bodies["530 bytes"] = []byte(body)
	for name, body := range bodies {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				var r request
				_ = Unmarshal(body, &r) // some are refused
			}
		})
	}
}

// TestMemory holds what a hostile body may allocate.
func TestMemory(t *testing.T) {
	for name, body := range worst() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var r request
		_ = Unmarshal(body, &r) // some are refused
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 48<<20 {
			t.Errorf("%s: %d bytes", name, n)
		}
	}
}
