package jsonappend

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzStringOnALine reads what String wrote as encoding/json reads its own, and finds no end
// of a line in it: a server-sent event is one.
func FuzzStringOnALine(f *testing.F) {
	for _, s := range []string{"", "a\"b\\c\n\r\t\x00\x1f\x7f", "é\u2028😀\ufffd", "\xff\xc3", "<&>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := String([]byte("x"), s)
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
			t.Fatalf("String(%q) = %s", s, out)
		}
	})
}
