package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"aisix/extproc/chat"
)

func repeat(n int, item func(i int) string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = item(i)
	}
	return strings.Join(items, ",")
}

// refers is a schema of a property that refers to what is under $defs.
func refers(ref, defs string) string {
	return `{"type":"object","properties":{"a":{"$ref":"` + ref + `"}},"$defs":{` + defs + `}}`
}

// References are followed as far as anybody writes them, and no further: a pointer
// of five million slashes ended the process, a chain of 40,000 took 13 seconds.
func TestReferencesAreBounded(t *testing.T) {
	pointer := func(tokens int) string { return "#" + strings.Repeat("/x", tokens) }
	chain := func(n int) string {
		return refers("#/$defs/0", repeat(n-1, func(i int) string { return fmt.Sprintf(`"%d":{"$ref":"#/$defs/%d"}`, i, i+1) })+fmt.Sprintf(`,"%d":{"type":"string"}`, n-1))
	}
	name := strings.Repeat("n", chat.MaxReference-len("#/$defs/"))
	for what, test := range map[string]struct {
		schema, want string
		err          error
	}{
		"the longest":            {refers("#/$defs/"+name, `"`+name+`":{"type":"string"}`), `{"type":"object","properties":{"a":{"type":"string"}}}`, nil},
		"a longer one":           {refers("#/$defs/"+name+"n", `"`+name+`n":{"type":"string"}`), "", errReference},
		"of the most tokens":     {refers(pointer(chat.MaxPointerTokens), ""), `{"type":"object","properties":{"a":{}}}`, nil},
		"of one more":            {refers(pointer(chat.MaxPointerTokens+1), ""), "", errPointer},
		"of slashes only":        {refers("#"+strings.Repeat("/", 5_200_000), ""), "", errReference},
		"to another document":    {refers("x"+strings.Repeat("/", chat.MaxPointerTokens+1), ""), "", errPointer},
		"the longest chain":      {chain(chat.MaxReferences), `{"type":"object","properties":{"a":{"type":"string"}}}`, nil},
		"a longer chain":         {chain(chat.MaxReferences + 1), "", errChain},
		"a ring":                 {refers("#/$defs/0", `"0":{"$ref":"#/$defs/1","title":"t"},"1":{"$ref":"#/$defs/0","title":"u"}`), `{"type":"object","properties":{"a":{"title":"t"}}}`, nil},
		"the most values":        {`{"type":"object","enum":[` + repeat(chat.MaxSchemaValues-5, func(int) string { return "1" }) + `]}`, `{"type":"object"}`, nil},
		"one more":               {`{"type":"object","enum":[` + repeat(chat.MaxSchemaValues-4, func(int) string { return "1" }) + `]}`, "", errTooMany},
		"below a number":         {refers("#/$defs/0/x", `"0":1`), `{"type":"object","properties":{"a":{}}}`, nil},
		"below a list of many":   {refers("#/$defs/0/", `"0":[`+repeat(20, func(int) string { return "{}" })+`]`), `{"type":"object","properties":{"a":{}}}`, nil},
		"into an object of many": {refers("#/$defs/19", repeat(20, func(i int) string { return fmt.Sprintf(`"%d":{"title":"%d"}`, i, i) })), `{"type":"object","properties":{"a":{"title":"19"}}}`, nil},
	} {
		got, err := Plain(t.Context(), json.RawMessage(test.schema), NewBudget(1<<20))
		if !errors.Is(err, test.err) || string(got) != test.want {
			t.Errorf("%s: %.200s, %v; want %s, %v", what, got, err, test.want, test.err)
		}
	}
}

// Each definition holds the next one twice: written out they are 2^40.
func TestPlainSchemaIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"type":"object","properties":{"a":{"$ref":"#/$defs/0"}},"$defs":{`)
	for i := range 40 {
		fmt.Fprintf(&b, `"%d":{"anyOf":[{"$ref":"#/$defs/%d"},{"$ref":"#/$defs/%d"}]},`, i, i+1, i+1)
	}
	b.WriteString(`"40":{}}}`)
	if _, err := Plain(t.Context(), json.RawMessage(b.String()), NewBudget(100_000)); err == nil {
		t.Error("want an error: the schema has no end")
	}
}

func TestDepthIsBounded(t *testing.T) {
	deep := `{"properties":{"a":` + strings.Repeat(`{"items":`, chat.MaxSchemaDepth) + `{}` + strings.Repeat(`}`, chat.MaxSchemaDepth) + `}}`
	for _, name := range []string{"native", "plain"} {
		if _, err := forms[name](json.RawMessage(deep)); !errors.Is(err, errTooDeep) {
			t.Errorf("%s: %v, want %v", name, err, errTooDeep)
		}
	}
}

// A long schema many levels deep is read once, not once for each level.
func TestSchemasAreReadOnce(t *testing.T) {
	long := `{"type":"string","description":"` + strings.Repeat("x", 1<<19) + `"}`
	for range 30 {
		long = `{"type":"object","properties":{"a":` + long + `}}`
	}
	n := allocated(func() {
		if _, err := Plain(t.Context(), json.RawMessage(long), NewBudget(0)); err != nil {
			t.Fatal(err)
		}
		if _, err := Native(json.RawMessage(long)); err != nil {
			t.Fatal(err)
		}
	})
	if n > 30*uint64(len(long)) {
		t.Errorf("%d bytes for a schema of %d", n, len(long))
	}
}

// Work grows with what is there, not with its square: twice as much costs about
// twice the bytes.
func TestSchemasAreLinear(t *testing.T) {
	for what, schema := range map[string]func(n int) string{
		"references": func(n int) string {
			return `{"type":"object","properties":{` + repeat(n, func(i int) string { return fmt.Sprintf(`"%d":{"$ref":"#/$defs/%d"}`, i, i) }) +
				`},"$defs":{` + repeat(n, func(i int) string { return fmt.Sprintf(`"%d":{}`, i) }) + `}}`
		},
		"members beside": func(n int) string {
			members := repeat(n, func(i int) string { return fmt.Sprintf(`"x%d":1`, i) })
			return `{"type":"object","properties":{"a":{"$ref":"#/$defs/b",` + members + `}},"$defs":{"b":{` + members + `}}}`
		},
		"levels": func(n int) string {
			s := `{"description":"` + strings.Repeat("x", n) + `"}`
			for range 30 {
				s = `{"type":"object","properties":{"a":` + s + `}}`
			}
			return s
		},
	} {
		few, many := 0, 0
		for _, n := range []int{5_000, 10_000} {
			few, many = many, int(allocated(func() {
				if _, err := Plain(t.Context(), json.RawMessage(schema(n)), NewBudget(10<<20)); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			}))
		}
		if many > 3*few {
			t.Errorf("%s: %d bytes, of twice as many %d", what, few, many)
		}
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
