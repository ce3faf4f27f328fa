package jsonedit

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestObject(t *testing.T) {
	for _, c := range []struct{ text, out, first, want string }{
		{`{"a":1,"b":2,"c":3}`, "b", "", `{"a":1,"c":3}`},
		{`{"a":1,"b":2,"c":3}`, "a", "", `{"b":2,"c":3}`},
		{`{"a":1,"b":2,"c":3}`, "ab", "", `{"c":3}`},
		{`{"a":1,"b":2,"c":3}`, "ac", "", `{"b":2}`},
		{`{"a":1,"b":2,"c":3}`, "bc", "", `{"a":1}`},
		{`{"a":1,"b":2,"c":3}`, "abc", "", `{}`},
		{`{"a":1,"b":2,"c":3}`, "abc", `"x":0`, `{"x":0}`},
		{`{"a":1,"b":2,"c":3}`, "a", `"x":0`, `{"x":0,"b":2,"c":3}`},
		{`{}`, "", `"x":0`, `{"x":0}`},
		{"\n{ \"a\" : \"}\\\"{\\\\\" , \"b\" : [ { } , \"]\" ] ,\n \"\\u0063\" : 1.50e+1 }\n", "b", `"x":0`, "\n{\"x\":0, \"a\" : \"}\\\"{\\\\\" ,\n \"\\u0063\" : 1.50e+1 }\n"},
		{"{ \"\\u0063\" : 1 , \"d\":[] }", "c", "", `{ "d":[] }`},
	} {
		text := Text(c.text)
		var e Edits
		e.Object(text, text.Root(), []byte(c.first), func(m Member) bool { return !bytes.Contains([]byte(c.out), []byte(m.Name)) })
		if got := string(e.Apply(text)); got != c.want {
			t.Errorf("%q without %q: %q, want %q", c.text, c.out, got, c.want)
		}
	}
}

func TestArrayInsideObject(t *testing.T) {
	text := Text(`{"m":[ 1, {"k":[true,null]} ,"x" ],"n":[]}`)
	items, _ := text.Member(text.Root(), "m")
	var e Edits
	e.Array(text, items, func(s Span) bool { return text.Kind(s) != '"' })
	inner := 0
	for s := range text.Items(items) {
		if list, ok := text.Member(s, "k"); ok {
			inner++
			e.Replace(list, []byte("0"))
		}
	}
	if got, want := string(e.Apply(text)), `{"m":[ 1, {"k":0} ],"n":[]}`; got != want || inner != 1 {
		t.Errorf("%s, want %s", got, want)
	}
}

// Whatever a text holds: no member is found that encoding/json does not see, each is, and
// without changes nothing changes.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{`{"a":{"b":[1,"}"]},"\u0063":"\\\""}`, ` [ {} ] `, `{"a"`, `{"a":"`, `{"a":1,}`, `"\\"`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		text := Text(b)
		found := map[string][]byte{}
		for m := range text.Members(text.Root()) {
			found[m.Name] = text.At(m.Value)
		}
		for range text.Items(text.Root()) {
		}
		var e Edits
		e.Object(text, text.Root(), []byte(`"first":1`), func(m Member) bool { return len(m.Name)%2 == 0 })
		changed := e.Apply(text)
		var want map[string]json.RawMessage
		if json.Unmarshal(b, &want) != nil || want == nil {
			return
		}
		if len(found) != len(want) {
			t.Fatalf("%d members, want %d", len(found), len(want))
		}
		for name, value := range want {
			if !bytes.Equal(found[name], value) {
				t.Errorf("%q: %s, want %s", name, found[name], value)
			}
		}
		if !json.Valid(changed) {
			t.Errorf("changed to %s", changed)
		}
	})
}
