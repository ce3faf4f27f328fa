package openai

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// TestUsageIsAskedFor: the caller says whether a stream ends with the token counts, and
// the operator may have that ignored. Once Request was called, nothing else stays of
// the body: the model may take minutes.
func TestUsageIsAskedFor(t *testing.T) {
	for _, test := range []struct {
		members string
		ignore  []string
		want    bool
	}{
		{`,"stream":true,"stream_options":{"include_usage":true}`, nil, true},
		{`,"stream":true,"stream_options":{"include_usage":true}`, []string{"n"}, true},
		{`,"stream":true,"stream_options":{"include_usage":true}`, []string{"stream_options"}, false},
		{`,"stream":true,"stream_options":{"include_usage":false}`, nil, false},
		{`,"stream":true,"stream_options":null`, nil, false},
		{`,"stream":true`, nil, false},
	} {
		a, err := Chat{}.Parse(nil, []byte(body(test.members)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Request(test.ignore); err != nil {
			t.Fatal(err)
		}
		if a := *a.(*asked); a.text != nil || a.request != nil {
			t.Errorf("%s: %+v still holds the body", test.members, a)
		}
		s := a.Stream(chat.Heading{ID: "1"})
		out, _ := s.Append(nil, chat.TextDelta{Text: "a"})
		out, _ = s.Append(out, chat.Stop{Reason: chat.EndTurn})
		out, _ = s.Append(out, chat.UsageSnapshot{Usage: chat.Usage{Input: count(3), Output: count(4)}})
		out, err = s.Finish(out)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(out), `"total_tokens":7`); got != test.want || strings.Contains(string(out), `"usage":null`) != test.want {
			t.Errorf("%s, ignoring %q: %s", test.members, test.ignore, out)
		}
	}
}

// TestIdleSaysNothing: a comment, which is no event.
func TestIdleSaysNothing(t *testing.T) {
	if got := string((&asked{model: "m"}).Stream(chat.Heading{}).Idle(nil)); got != ": waiting\n\n" {
		t.Errorf("%q", got)
	}
}

// TestEveryKindHasAType: a fault without one would say "".
func TestEveryKindHasAType(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../fault/fault.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	kinds := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Kind" {
			kinds++
			word, _ := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if types[fault.Kind(word)] == "" {
				t.Errorf("%s has no type", spec.Names[0])
			}
		}
		return true
	})
	if kinds == 0 || kinds != len(types) {
		t.Errorf("%d kinds, %d types", kinds, len(types))
	}
}
