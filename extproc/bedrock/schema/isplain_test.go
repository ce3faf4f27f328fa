package schema

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// schemaOf is compact, and often plain.
func schemaOf(r *rand.Rand, depth int) string {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	var members []string
	add := func(name, value string) { members = append(members, `"`+name+`":`+value) }
	for range 1 + r.IntN(4) {
		switch inner := func() string { return schemaOf(r, depth+1) }; r.IntN(14) {
		case 0, 1, 2:
			add("type", pick(`"object"`, `"string"`, `["object","null"]`))
		case 3:
			add("description", pick(`"a text"`, `"with \"$ref\" in it: { [ , \\"`, `"ä  b"`))
		case 4, 5, 6:
			if depth < 4 {
				add("properties", `{"`+pick("a", "type", "b.c", "ä", `x\u0041`)+`":`+inner()+`,"`+pick("z", "items", "$defs")+`":`+inner()+`}`)
			}
		case 7:
			add("required", pick(`["a"]`, `["a", "b"]`, `[]`))
		case 8:
			add("items", pick(`{}`, `{"type":"integer"}`, `[{"type":"null"},true]`))
		case 9:
			add("enum", pick(`["x","$ref"]`, `[1.50,null]`, `[{"$ref":"#"}]`))
		case 10:
			add("additionalProperties", pick("true", "false", `{"type":"string"}`))
		case 11:
			add("title", pick(`"t"`, "null"))
		case 12:
			if r.IntN(4) == 0 {
				add("$ref", pick(`"#"`, `"#/properties/a"`, `"#/$defs/A"`))
			}
		case 13:
			add(pick("$schema", "$defs", "anyOf"), pick(`{"A":{"type":"integer"}}`, `[{"type":"string"}]`, `"http://x"`))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// What is taken for plain at a look is what the whole way gives, byte for byte.
func TestIsPlain(t *testing.T) {
	plains := 0
	for seed := range uint64(20000) {
		raw := json.RawMessage(schemaOf(rand.New(rand.NewPCG(seed, 1)), 0))
		if isPlain(raw) {
			plains++
			hold(t, raw)
		}
	}
	if plains < 1000 {
		t.Errorf("only %d were plain", plains)
	}
	if usual := `{"type":"object","properties":{"city":{"type":"string","enum":["a b"]},"n":{"type":"array","items":{"type":"integer"}}},"required":["city"],"additionalProperties":false}`; !isPlain([]byte(usual)) {
		t.Errorf("not plain: %s", usual)
	}
}

func hold(t *testing.T, raw json.RawMessage) {
	t.Helper()
	want, err := plain(context.Background(), raw, NewBudget(grow))
	if err != nil || string(want) != string(raw) {
		t.Errorf("taken for plain: %s\nbecomes %s, %v", raw, want, err)
	}
}

func FuzzIsPlain(f *testing.F) {
	f.Add([]byte(`{"type":"object","properties":{"a":{"type":"string"}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if utf8.Valid(raw) && json.Valid(raw) && isPlain(raw) { // dialects see to the first two
			hold(t, raw)
		}
	})
}
