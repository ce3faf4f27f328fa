package openai

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/extproc/bedrock"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/identity"
)

// size is that of what may be long: what costs more than its bytes does so at any
// size, and a test under the race detector has not all day.
const size = 1 << 20

// What one body of n bytes may cost, whatever it holds: bytes allocated on the way
// from JSON to JSON, and bytes sent. A plain text costs six times its bytes, and
// one.
func mayAllocate(n int) uint64 { return 112<<20 + 8*uint64(n) }
func maySend(n int) int        { return 2*n + 2*chat.MaxExpansion }

// doubling is a schema that holds one definition 2^levels times once its
// references are written out.
func doubling(levels, description int) string {
	return `{"type":"object","properties":{"a":{"$ref":"#/$defs/0"}},"$defs":{` +
		list(levels, func(i int) string {
			return fmt.Sprintf(`"%d":{"type":"object","properties":{"a":{"$ref":"#/$defs/%d"},"b":{"$ref":"#/$defs/%d"}}}`, i, i+1, i+1)
		}) + `,"` + strconv.Itoa(levels) + `":{"description":"` + strings.Repeat("x", description) + `"}}}`
}

// chain is a schema of n references, each to the next.
func chain(n int) string {
	return `{"type":"object","properties":{"a":{"$ref":"#/$defs/0"}},"$defs":{` +
		list(n, func(i int) string { return fmt.Sprintf(`"%d":{"$ref":"#/$defs/%d"}`, i, i+1) }) + `,"` + strconv.Itoa(n) + `":{}}}`
}

// referring is a schema of n references to as many definitions.
func referring(n int) string {
	return `{"type":"object","properties":{` + list(n, func(i int) string { return fmt.Sprintf(`"%d":{"$ref":"#/$defs/%d"}`, i, i) }) +
		`},"$defs":{` + list(n, func(i int) string { return fmt.Sprintf(`"%d":{}`, i) }) + `}}`
}

// beside is a schema of one reference with n members beside it, to n others of the
// same names.
func beside(n int) string {
	members := list(n, func(i int) string { return fmt.Sprintf(`"x%d":1`, i) })
	return `{"type":"object","properties":{"a":{"$ref":"#/$defs/b",` + members + `}},"$defs":{"b":{` + members + `}}}`
}

func properties(n int) string {
	return `{"type":"object","properties":{` + list(n, func(i int) string { return fmt.Sprintf(`"p%d":{"type":"string"}`, i) }) + `}}`
}

// hostileSchemas are schemas that weigh little and cost much.
var hostileSchemas = sync.OnceValue(func() map[string]string {
	long := strings.Repeat("x", size)
	return map[string]string{
		"a pointer of slashes":      `{"type":"object","properties":{"r":{"$ref":"#` + strings.Repeat("/a", size/2) + `"}}}`,
		"a pointer at the root":     `{"type":"object","$ref":"#` + strings.Repeat("/a", 500) + `"}`,
		"doubling definitions":      doubling(15, 10_000),
		"doubling without text":     doubling(40, 0),
		"a chain":                   chain(20_000),
		"a short chain":             chain(10_000),
		"references to many":        referring(9_000),
		"members beside":            beside(12_000),
		"many properties":           properties(20_000),
		"some properties":           properties(12_000),
		"alternatives":              `{"type":"object","anyOf":[` + list(70_000, same(`{}`)) + `]}`,
		"an enum":                   `{"type":"object","properties":{"e":{"enum":[` + list(70_000, same("1")) + `]}}}`,
		"everything refers to all":  `{"type":"object","properties":{"a":{"$ref":"#"},"b":{"$ref":"#"},"c":{"$ref":"#"},"d":{"$ref":"#/properties/a"},"e":{"$ref":"#/properties/b"}}}`,
		"many levels of properties": strings.Repeat(`{"type":"object","properties":{"a":`, 100) + `{}` + strings.Repeat(`}}`, 100),
		"alternatives of many":      `{"oneOf":[` + list(30_000, same(`{"required":["a"]}`)) + `]}`,
		"alternatives of alike":     `{"allOf":[` + list(8_000, func(i int) string { return fmt.Sprintf(`{"properties":{"a":{"minimum":%d}}}`, i) }) + `]}`,
		"doubling alternatives": `{"allOf":[{"$ref":"#/$defs/0"}],"$defs":{` + list(40, func(i int) string {
			return fmt.Sprintf(`"%d":{"allOf":[{"$ref":"#/$defs/%d"},{"$ref":"#/$defs/%d"}]}`, i, i+1, i+1)
		}) + `,"40":{"properties":{"a":{"description":"` + strings.Repeat("x", 1000) + `"}}}}}`,
		"illegal names":           `{"type":"object","properties":{` + list(12_000, func(i int) string { return fmt.Sprintf(`"$%d":{}`, i) }) + `}}`,
		"one illegal name":        `{"type":"object","properties":{"` + strings.Repeat("é", 1<<16) + `":{}}}`,
		"a long text":             `{"type":"object","description":"` + long + `"}`,
		"a long text to be moved": `{"type":"object","not":{"const":"` + strings.Repeat(`\"`, len(long)/2) + `"}}`,
		"tags":                    `{"type":"object","properties":{"a":{"description":"` + strings.Repeat("<", len(long)) + `","minimum":1}}}`,
		"skipped members":         `{"type":"object","properties":{` + list(5_000, func(i int) string { return fmt.Sprintf(`"%d":{"$ref":"#/$defs/s"}`, i) }) + `},"$defs":{"s":{"$defs":{` + list(5_000, func(i int) string { return fmt.Sprintf(`"%d":{}`, i) }) + `}}}}`,
	}
})

// hostileBodies are the others.
func hostileBodies() map[string]string {
	answered := func(n int, name func(i int) string) string {
		return asking(hi+`,{"role":"assistant","tool_calls":[`+list(n, func(i int) string {
			return fmt.Sprintf(`{"id":"%d","type":"function","function":{"name":"%s"}}`, i, name(i))
		})+`]},`+list(n, func(i int) string { return fmt.Sprintf(`{"role":"tool","tool_call_id":"%d","content":"x"}`, i) }), "")
	}
	file := func(name, data string) string {
		return `{"type":"file","file":{"filename":"` + name + `","file_data":"` + data + `"}}`
	}
	mark := `,"cache_control":{"type":"ephemeral"}`
	return map[string]string{
		"one long text":           asking(`{"role":"user","content":"`+strings.Repeat("x", size)+`"}`, ""),
		"escapes":                 asking(`{"role":"user","content":"`+strings.Repeat(`\u0001`, size/6)+`"}`, ""),
		"line separators":         asking(`{"role":"user","content":"`+strings.Repeat("\u2028", size/6)+`"}`, ""),
		"values":                  `{"model":"m","messages":[` + list(size/2, same("1")) + `]}`,
		"messages of one side":    asking(list(chat.MaxMessages/2, same(hi)), ""),
		"turns":                   asking(list(chat.MaxMessages/4, same(hi+`,{"role":"assistant","content":"x"}`)), ""),
		"parts":                   asking(`{"role":"user","content":[`+list(chat.MaxParts/2, same(`{"type":"text","text":"x"`+mark+`}`))+`]}`, ""),
		"all properties":          withTool(properties(131_000), true),
		"all tools":               asking(hi, `,"tools":[`+list(149_000, func(i int) string { return `{"type":"function","function":{"name":"f` + strconv.Itoa(i) + `"}}` })+`]`),
		"many tools":              asking(hi, `,"tools":[`+list(chat.MaxTools/2, func(i int) string { return `{"type":"function","function":{"name":"é` + strconv.Itoa(i) + `"}}` })+`]`),
		"illegal names":           answered(58_000, func(i int) string { return "é" + strconv.Itoa(i) }),
		"many illegal names":      answered(chat.MaxToolCalls/2, func(i int) string { return "é" + strconv.Itoa(i) }),
		"a long name":             answered(1, func(int) string { return strings.Repeat("é", size/2) }),
		"a long id":               asking(hi+`,{"role":"tool","tool_call_id":"`+strings.Repeat("x", size)+`","content":"x"}`, ""),
		"tags in arguments":       asking(hi+`,{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"`+strings.Repeat("<", size)+`"}}]},{"role":"tool","tool_call_id":"a","content":"x"}`, ""),
		"a document of controls":  asking(`{"role":"user","content":[`+file("a.txt", base64.StdEncoding.EncodeToString(make([]byte, size)))+`]}`, ""),
		"documents of one name":   asking(`{"role":"user","content":[`+list(chat.MaxParts/2, same(file("a.txt", "YQ==")))+`]}`, ""),
		"documents of long names": asking(`{"role":"user","content":[`+list(chat.MaxParts/2, func(i int) string { return file(fmt.Sprintf("%s%05d.txt", strings.Repeat("x", 195), i/2), "YQ==") })+`]}`, ""),
		"stop sequences":          asking(hi, `,"stop":[`+list(200_000, same(`"x"`))+`]`),
		"labels":                  asking(hi, `,"metadata":{`+list(100_000, func(i int) string { return `"k` + strconv.Itoa(i) + `":"v"` })+`}`),
		"an image":                asking(`{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,`+base64.StdEncoding.EncodeToString([]byte(png+strings.Repeat("x", size)))+`%3D"}}]}`, ""),
	}
}

// cost is what a body cost.
type cost struct {
	allocated uint64
	sent      int
	fault     *fault.Error
}

// spend decodes and encodes a body, and counts.
func spend(t testing.TB, model, body string) cost {
	t.Helper()
	target, err := bedrock.Compile(&resource.Model{}, model, &resource.ProviderKey{Credentials: resource.Static{Region: "us-east-1"}})
	if err != nil {
		t.Fatal(err)
	}
	raw := []byte(body)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := Chat{}.Decode(raw)
	var c *bedrock.Call
	if err == nil {
		c, err = bedrock.NewCall(context.Background(), r, target, 10<<20)
	}
	runtime.ReadMemStats(&after)
	spent := cost{allocated: after.TotalAlloc - before.TotalAlloc}
	switch {
	case err == nil:
		signed, err := c.Sign(identity.Token{}, time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		spent.sent = len(signed.Body())
	case !errors.As(err, &spent.fault):
		t.Fatal(err)
	}
	return spent
}

// check fails unless a body was taken or refused at a bearable cost, in clear words.
func (c cost) check(t *testing.T, model, body string) {
	t.Helper()
	if c.allocated > mayAllocate(len(body)) {
		t.Errorf("%s: %d bytes allocated for a body of %d", model, c.allocated, len(body))
	}
	if c.sent > maySend(len(body)) {
		t.Errorf("%s: %d bytes sent for a body of %d", model, c.sent, len(body))
	}
	if f := c.fault; f != nil && (f.Status != 400 || f.Param == "" || len(f.Param) > 600 || len(f.Message) > 2000) {
		t.Errorf("%s: %v, param %q; want a 400 that names the member", model, f, f.Param)
	}
}

// Whatever a schema holds, of a tool or of structured output, it is refused by
// name, or sent at a bearable cost.
func TestHostileSchemas(t *testing.T) {
	const nova, claude, gpt = "amazon.nova-pro-v1:0", "anthropic.claude-opus-4-6-v1", "qwen.qwen3-coder-30b-a3b-v1:0"
	// What a model says that takes plain schemas, and one that takes strict ones.
	plain := map[string]string{
		"a pointer of slashes": "1024 bytes", "a pointer at the root": "64 tokens", "doubling definitions": "1048576 bytes", "doubling without text": "1048576 bytes",
		"a short chain": "64 $refs", "a chain": "65536 values", "many properties": "65536 values", "alternatives": "65536 values", "an enum": "65536 values",
		"many levels of properties": "64 levels",
	}
	strict := map[string]string{
		"a pointer of slashes": "1048576 bytes", "a chain": "65536 values", "references to many": "10000 properties", "many properties": "65536 values", "some properties": "10000 properties",
		"alternatives": "65536 values", "an enum": "65536 values", "many levels of properties": "64 levels", "a long text": "1048576 bytes", "a long text to be moved": "1048576 bytes", "tags": "1048576 bytes",
	}
	// Structured output of nothing but a description is asked for in words, of any length.
	native := maps.Clone(strict)
	delete(native, "a long text")
	for name, schema := range hostileSchemas() {
		for _, test := range []struct {
			model, body, param string
			want               map[string]string
		}{
			{nova, withTool(schema, false), "tools[0].function.parameters", plain},
			{nova, withFormat(schema), "response_format.json_schema.schema", plain},
			{claude, withTool(schema, true), "tools[0].function.parameters", strict},
			{gpt, withFormat(schema), "response_format.json_schema.schema", native},
		} {
			c := spend(t, test.model, test.body)
			c.check(t, test.model+", "+name, test.body)
			want, refused := test.want[name]
			if refused && c.fault == nil || c.fault != nil && (c.fault.Param != test.param || !strings.Contains(c.fault.Message, want)) {
				t.Errorf("%s, %s: %v, want a 400 for %s that says %q", test.model, name, c.fault, test.param, want)
			}
		}
	}
}

func TestHostileBodies(t *testing.T) {
	for name, body := range hostileBodies() {
		for _, model := range []string{"amazon.nova-pro-v1:0", "anthropic.claude-opus-4-6-v1"} {
			spend(t, model, body).check(t, model+", "+name, body)
		}
	}
}

// BenchmarkHostile is what the worst bodies cost; -benchmem shows the bytes.
func BenchmarkHostile(b *testing.B) {
	bodies := hostileBodies()
	for name, schema := range hostileSchemas() {
		bodies["schema, "+name] = withTool(schema, true)
	}
	for name, body := range bodies {
		for _, model := range []string{"amazon.nova-pro-v1:0", "anthropic.claude-opus-4-6-v1"} {
			b.Run(model+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					spend(b, model, body)
				}
			})
		}
	}
}
