package bedrock

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// pieces writes text to f in fragments of n bytes.
func pieces(f filter, text string, n int) string {
	var out []byte
	for len(text) > 0 {
		k := min(n, len(text))
		out, text = f.write(out, text[:k]), text[k:]
	}
	return string(f.rest(out))
}

func TestKeys(t *testing.T) {
	names := map[string]string{"filter_1": "$filter", "u": "ü", "q": `a"b\c`, "e": "", "long": strings.Repeat("x", 100)}
	for in, want := range map[string]string{
		`{"filter_1":1,"x":{"filter_1":[{"filter_1":"filter_1"}]}}`: `{"$filter":1,"x":{"$filter":[{"$filter":"filter_1"}]}}`,
		` { "u" : "u" , "e" : [ "u" , "e" ] } `:                     ` { "ü" : "u" , "" : [ "u" , "e" ] } `,
		`{"q":"\"u\":{\"u\":1","long":1.50}`:                        `{"a\"b\\c":"\"u\":{\"u\":1","` + strings.Repeat("x", 100) + `":1.50}`,
		`{"\u0075":1}`:                                              `{"ü":1}`, // one name, however it is written
		`{"\u00e9":1,"` + strings.Repeat("y", 999) + `":2}`:         `{"\u00e9":1,"` + strings.Repeat("y", 999) + `":2}`,
		`["u",{"u":["u",{"u":"u"},"u"]}]`:                           `["u",{"ü":["u",{"ü":"u"},"u"]}]`,
		`{"u":`:                                                     `{"ü":`, // cut off
		`{"u`:                                                       `{"u`,
		`u "u" }}]] {`:                                              `u "u" }}]] {`,
		``:                                                          ``,
	} {
		for _, n := range []int{1, 2, 3, 7, 1000} {
			if got := pieces(newKeys(names), in, n); got != want {
				t.Errorf("%s by %d bytes is %s, want %s", in, n, got, want)
			}
		}
	}
}

// FuzzKeys: any cut gives what the whole gives; there and back again is the same JSON;
// and no more is held back than a name.
func FuzzKeys(f *testing.F) {
	for _, s := range []string{`{"$filter":{"a b":["$filter"]}}`, `{"a\"":"\\\"","$filter":null}`, `{"a":"{\"$filter\":1}"}`, "{", `"`, `{"\u0024filter":1}`, `{"": [{}, {"":1}]}`} {
		f.Add(s, 3)
	}
	there := propertyAliases([]string{"$filter", "a b", "", "ü", "plain"})
	back := inverse(there)
	f.Fuzz(func(t *testing.T, text string, n int) {
		n = 1 + max(n, -n)&15
		whole := pieces(newKeys(there), text, len(text)+1)
		if got := pieces(newKeys(there), text, n); got != whole {
			t.Errorf("%q by %d bytes is %q, whole it is %q", text, n, got, whole)
		}
		var was, is bytes.Buffer
		if json.Compact(&was, []byte(text)) != nil {
			return
		}
		again := pieces(newKeys(back), whole, n)
		if !json.Valid([]byte(whole)) || json.Compact(&is, []byte(again)) != nil {
			t.Fatalf("%q became %q, %q", text, whole, again)
		}
		if !sameJSON(was.Bytes(), is.Bytes()) {
			t.Errorf("%q came back as %q", text, again)
		}
	})
}

func sameJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}

func TestPropertyAliases(t *testing.T) {
	names := []string{"$filter", "filter", "模型", "模 型", "", " ", "a b", "a_b", "a-b", "a.b", strings.Repeat("n", 65), strings.Repeat("n", 66), "$filter"}
	aliases := propertyAliases(names)
	var wire []string
	for _, n := range names[:len(names)-1] {
		alias, ok := aliases[n]
		if legal := slices.Contains([]string{"filter", "a_b", "a-b", "a.b"}, n); legal == ok {
			t.Errorf("%q: alias %q", n, alias)
		}
		if ok {
			n = alias
		}
		if len(n) == 0 || len(n) > 64 || slices.Contains(wire, n) {
			t.Errorf("%q is no name, or one of two", n)
		}
		wire = append(wire, n)
	}
}
