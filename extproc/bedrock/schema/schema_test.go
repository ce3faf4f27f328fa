package schema

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
)

var update = flag.Bool("update", false, "write what becomes of the schemas in testdata")

const grow = 1 << 16

// aliases is an Alias that numbers names.
func aliases(names []string) map[string]string {
	taken, out := map[string]bool{}, map[string]string{}
	for _, n := range names {
		taken[n] = true
	}
	for _, n := range names {
		if _, done := out[n]; done || LegalName(n) {
			continue
		}
		alias := ""
		for i := 0; alias == "" || taken[alias]; i++ {
			alias = fmt.Sprintf("p%d", i)
		}
		out[n], taken[alias] = alias, true
	}
	return out
}

// forms are what a schema is rewritten into, by their file in testdata.
var forms = map[string]func(json.RawMessage) (json.RawMessage, error){
	"tool": func(raw json.RawMessage) (json.RawMessage, error) {
		in, err := Tool(raw, aliases)
		return in.Schema, err
	},
	"native": func(raw json.RawMessage) (json.RawMessage, error) {
		c, err := Native(raw)
		return c.Schema, err
	},
	"plain": func(raw json.RawMessage) (json.RawMessage, error) {
		return Plain(context.Background(), raw, NewBudget(grow))
	},
}

func TestCorpus(t *testing.T) {
	for name, form := range forms {
		var b strings.Builder
		for _, c := range corpus(t, name) {
			got := "! the schema "
			if out, err := form(json.RawMessage(c.in)); err != nil {
				got += err.Error()
			} else {
				got = string(out)
				if again, err := form(out); err != nil || string(again) != got {
					t.Errorf("%s, %s: shaped twice it is %s, %v", name, c.in, again, err)
				}
			}
			b.WriteString(c.above + c.in + "\n    " + got + "\n")
			if got != c.want && !*update {
				t.Errorf("%s, %s:\n got %s\nwant %s", name, c.in, got, c.want)
			}
		}
		if *update {
			if err := os.WriteFile(file(name), []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// entry is a schema, what becomes of it, and the comments above.
type entry struct{ above, in, want string }

func corpus(t testing.TB, name string) (entries []entry) {
	t.Helper()
	raw, err := os.ReadFile(file(name))
	if err != nil {
		t.Fatal(err)
	}
	var e entry
	for line := range strings.Lines(string(raw)) {
		text := strings.TrimSpace(line)
		switch {
		case text == "", strings.HasPrefix(text, "#"):
			e.above += line
		case strings.HasPrefix(line, " "):
			e.want = text
			entries = append(entries, e)
			e = entry{}
		default:
			e.in = text
		}
	}
	if len(entries) == 0 || e != (entry{}) {
		t.Fatalf("%s: no entries, or a schema without an answer: %q", name, e.in)
	}
	return entries
}

func file(name string) string { return filepath.Join("testdata", name+".txt") }

// FuzzSchema: no schema makes us panic; what comes out of one is a JSON object and
// weighs little more than what went in, whatever its references lead to.
func FuzzSchema(f *testing.F) {
	for _, s := range []string{
		` { } `, `{"type":"object","properties":{"a":{"minimum":1}}}`, `{"$ref":"#"}`, `{"$ref":"#/$defs/A","$defs":{"A":{"$ref":"#/$defs/B"},"B":{"$ref":"#/$defs/A"}}}`,
		`{"type":["object"],"oneOf":[{"items":{"not":{}}}],"definitions":{"x~/y":{"$ref":"#/definitions/x~0~1y"}}}`, `[1,"\ud800",null]`, `{"a":1,"a":2}`, `{"additionalProperties":{}}`,
		`{"properties":{"a":{"$ref":"#/$defs/0"}},"$defs":{"0":{"items":{"$ref":"#/$defs/1"},"not":{"$ref":"#/$defs/1"}},"1":{"items":{"$ref":"#/$defs/2"},"not":{"$ref":"#/$defs/2"}},"2":{"description":"xxxxxxxxxxxxxxxx"}}}`,
		`{"$ref":"#//////////////////////////////////////////////////////////////////","properties":{"r":{"$ref":"#/properties/r/x","x":{"$ref":"#"}}}}`,
		`{"properties":{"a":{"$ref":"#/$defs/b","x":1,"y":2,"z":3}},"$defs":{"b":{"$ref":"#/$defs/c","x":4},"c":{"z":{"$ref":1},"$ref":{}}},"not":{"enum":["\\\"\u0001"]}}`,
	} {
		f.Add([]byte(s))
	}
	for name := range forms {
		for _, c := range corpus(f, name) {
			f.Add([]byte(c.in))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var checked jsontext.Value
		if strict.Unmarshal(raw, &checked) != nil || len(raw) > 1<<16 {
			return // dialects see to the first
		}
		whole, err := parseTree(raw)
		if errors.Is(err, errTooDeep) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if again, err := parseTree(whole.json()); err != nil || !bytes.Equal(again.json(), whole.json()) {
			t.Errorf("%s became %s", whole.json(), again.json())
		}
		for name, most := range map[string]int{
			"tool":   16*len(raw) + chat.MaxExpansion, // names get longer, and references at the root are written out
			"native": 4*len(raw) + 64,                 // objects are closed, and keywords move
			"plain":  2*len(raw) + grow + 16,          // names get escapes of their own
		} {
			got, err := forms[name](raw)
			if err != nil {
				continue
			}
			if len(got) > most {
				t.Errorf("%d bytes became %d: %s became %s", len(raw), len(got), raw, got)
			}
			if name == "tool" {
				if again, err := forms[name](got); err != nil || !bytes.Equal(again, got) {
					t.Errorf("%s became %s, and that %s, %v", raw, got, again, err)
				}
			}
			if !json.Valid(got) || bytes.TrimSpace(got)[0] != '{' {
				t.Errorf("%s became %s", raw, got)
			}
		}
	})
}
