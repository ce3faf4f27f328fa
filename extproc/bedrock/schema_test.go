package bedrock

import (
	"bytes"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"aisix/extproc/chat"
)

func TestToolSchema(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`{}`, `{"type":"object"}`},
		{` { } `, `{"type":"object"}`},
		{`{"type":"object","b":1.50,"a":12345678901234567890}`, `{"type":"object","b":1.50,"a":12345678901234567890}`},
		{`{"properties":{"z":{},"a":{}}}`, `{"type":"object","properties":{"z":{},"a":{}}}`},
		{`{"$ref":"#/$defs/A","$defs":{"A":{"type":"object"}}}`, `{"type":"object","$ref":"#/$defs/A","$defs":{"A":{"type":"object"}}}`},
		{`{"description":"<d>","type":["object","null"],"x":1.0}`, `{"description":"<d>","type":"object","x":1.0}`},
		{`{"anyOf":[{"type":"object"}]}`, `{"type":"object","anyOf":[{"type":"object"}]}`},
	} {
		got, err := toolSchema(json.RawMessage(tt.in))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.in, got, err, tt.want)
		}
	}
	for in, want := range map[string]error{
		`true`: errNoObject, `[]`: errNoObject, `"x"`: errNoObject, `null`: errNoObject, `{`: errNoObject,
		`{"type":"array"}`: errNoRoot, `{"type":["string","null"]}`: errNoRoot, `{"type":null}`: errNoRoot, `{"type":1}`: errNoRoot,
	} {
		if _, err := toolSchema(json.RawMessage(in)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", in, err, want)
		}
	}
}

func TestNativeSchema(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"objects are closed, in order": {`{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"object"}},"required":["z"]}`,
			`{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"object","additionalProperties":false}},"required":["z"],"additionalProperties":false}`},
		"said to be closed": {`{"type":"object","additionalProperties":false,"properties":{}}`, `{"type":"object","additionalProperties":false,"properties":{}}`},
		"an object by its properties, or among types": {`{"properties":{"a":{"type":["object","null"]}}}`,
			`{"properties":{"a":{"type":["object","null"],"additionalProperties":false}},"additionalProperties":false}`},
		"keywords move into the description": {`{"type":"object","properties":{"n":{"type":"integer","description":"how many","minimum":1,"maximum":10},"s":{"type":"string","minLength":1,"pattern":"^a"}}}`,
			`{"type":"object","properties":{"n":{"type":"integer","description":"how many (minimum: 1, maximum: 10)"},"s":{"type":"string","pattern":"^a","description":"(minLength: 1)"}},"additionalProperties":false}`},
		"formats that it knows stay": {`{"type":"object","properties":{"a":{"type":"string","format":"date-time"},"b":{"type":"string","format":"binary"}}}`,
			`{"type":"object","properties":{"a":{"type":"string","format":"date-time"},"b":{"type":"string","description":"(format: \"binary\")"}},"additionalProperties":false}`},
		"lists of one stay": {`{"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3}`, `{"type":"array","items":{"type":"integer"},"minItems":1,"description":"(maxItems: 3)"}`},
		"oneOf is anyOf":    {`{"oneOf":[{"type":"object"},{"type":"null"}]}`, `{"anyOf":[{"type":"object","additionalProperties":false},{"type":"null"}]}`},
		"definitions too":   {`{"$ref":"#/$defs/A","$defs":{"A":{"type":"object","properties":{"x":{"exclusiveMinimum":0}}}}}`, `{"$ref":"#/$defs/A","$defs":{"A":{"type":"object","properties":{"x":{"description":"(exclusiveMinimum: 0)"}},"additionalProperties":false}}}`},
		"properties called like keywords": {`{"type":"object","properties":{"minimum":{"type":"string"},"not":{"type":"object"},"properties":{"type":"string"}}}`,
			`{"type":"object","properties":{"minimum":{"type":"string"},"not":{"type":"object","additionalProperties":false},"properties":{"type":"string"}},"additionalProperties":false}`},
		"data is left alone": {`{"enum":[{"type":"object","minimum":1}],"const":{"properties":{}},"default":{"type":"object"}}`, `{"enum":[{"type":"object","minimum":1}],"const":{"properties":{}},"default":{"type":"object"}}`},
		"what is no schema":  {`{"type":"object","properties":{"a":true,"b":{"anyOf":"x","items":[1]}}}`, `{"type":"object","properties":{"a":true,"b":{"anyOf":"x","items":[1]}},"additionalProperties":false}`},
	} {
		got, err := nativeSchema(json.RawMessage(tt.in))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v\nwant %s", name, got, err, tt.want)
		}
		if again, err := nativeSchema(got); err != nil || string(again) != string(got) {
			t.Errorf("%s: shaped twice it is %s, %v", name, again, err)
		}
	}
	for in, want := range map[string]error{
		`[]`: errNoObject, `true`: errNoObject, `{"a":`: errNoObject,
		`{"type":"object","additionalProperties":true}`:                                                        errOpen,
		`{"type":"object","properties":{"m":{"type":"object","additionalProperties":{"type":"x"}}}}`:           errOpen,
		strings.Repeat(`{"items":`, chat.MaxSchemaDepth+2) + `{}` + strings.Repeat(`}`, chat.MaxSchemaDepth+2): errTooDeep,
	} {
		if _, err := nativeSchema(json.RawMessage(in)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", in, err, want)
		}
	}
}

// A long schema many levels deep is read once, not once for each level.
func TestSchemasAreReadOnce(t *testing.T) {
	long := `{"type":"string","description":"` + strings.Repeat("x", 1<<19) + `"}`
	for range 30 {
		long = `{"type":"object","properties":{"a":` + long + `}}`
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := plainSchema(t.Context(), json.RawMessage(long), &budget{}); err != nil {
		t.Fatal(err)
	}
	if _, err := nativeSchema(json.RawMessage(long)); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 30*uint64(len(long)) {
		t.Errorf("%d bytes for a schema of %d", n, len(long))
	}
}

// FuzzSchema: no schema makes us panic; what comes out of one is a JSON object and
// weighs little more than what went in, whatever its references lead to.
func FuzzSchema(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"type":"object","properties":{"a":{"minimum":1}}}`, `{"$ref":"#"}`, `{"$ref":"#/$defs/A","$defs":{"A":{"$ref":"#/$defs/B"},"B":{"$ref":"#/$defs/A"}}}`,
		`{"type":["object"],"oneOf":[{"items":{"not":{}}}],"definitions":{"x~/y":{"$ref":"#/definitions/x~0~1y"}}}`, `[1,"\ud800",null]`, `{"a":1,"a":2}`, `{"additionalProperties":{}}`,
		`{"properties":{"a":{"$ref":"#/$defs/0"}},"$defs":{"0":{"items":{"$ref":"#/$defs/1"},"not":{"$ref":"#/$defs/1"}},"1":{"items":{"$ref":"#/$defs/2"},"not":{"$ref":"#/$defs/2"}},"2":{"description":"xxxxxxxxxxxxxxxx"}}}`,
		`{"$ref":"#//////////////////////////////////////////////////////////////////","properties":{"r":{"$ref":"#/properties/r/x","x":{"$ref":"#"}}}}`,
		`{"properties":{"a":{"$ref":"#/$defs/b","x":1,"y":2,"z":3}},"$defs":{"b":{"$ref":"#/$defs/c","x":4},"c":{"z":{"$ref":1},"$ref":{}}},"not":{"enum":["\\\"\u0001"]}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) || len(raw) > 1<<16 {
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
		const grow = 1 << 16
		plain := func(raw json.RawMessage) (json.RawMessage, error) {
			return plainSchema(t.Context(), raw, &budget{most: grow, left: grow})
		}
		for _, x := range []struct {
			shape func(json.RawMessage) (json.RawMessage, error)
			most  int
		}{
			{toolSchema, len(raw) + 16},     // {"type":"object",
			{nativeSchema, 4*len(raw) + 64}, // objects are closed, and keywords move
			{plain, 2*len(raw) + grow + 16}, // names get escapes of their own
		} {
			got, err := x.shape(raw)
			if err != nil {
				continue
			}
			if len(got) > x.most {
				t.Errorf("%d bytes became %d: %s became %s", len(raw), len(got), raw, got)
			}
			if !json.Valid(got) || bytes.TrimSpace(got)[0] != '{' {
				t.Errorf("%s became %s", raw, got)
			}
		}
	})
}
