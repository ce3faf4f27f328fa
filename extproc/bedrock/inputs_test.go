package bedrock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/bedrock/schema"
	"aisix/extproc/chat"
)

// everyFamily are models of all families that take tools, known and unknown.
func everyFamily() []string {
	var ids []string
	for _, id := range append(realIDs, "novel.model-v1:0", "anthropic.claude-opus-9", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc") {
		if !denies(target(id).family.Capabilities.Tools) {
			ids = append(ids, id)
		}
	}
	return ids
}

// sentTool is a tool as it went out.
type sentTool struct {
	Name, Description string
	Strict            bool
	Schema            json.RawMessage
}

// sentTools reads the tools of a body of any kind.
func sentTools(t testing.TB, body []byte) []sentTool {
	t.Helper()
	var b struct {
		Tools []struct {
			Name, Description string
			Strict            bool
			Schema            json.RawMessage `json:"input_schema"`
			Parameters        json.RawMessage
			Function          struct {
				Name, Description string
				Strict            bool
				Parameters        json.RawMessage
			}
		}
		ToolConfig struct {
			Tools []struct {
				ToolSpec struct {
					Name, Description string
					Strict            bool
					InputSchema       struct{ JSON json.RawMessage }
				}
			}
		}
	}
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatal(err)
	}
	var out []sentTool
	for _, x := range b.Tools {
		switch f := x.Function; {
		case f.Name != "":
			out = append(out, sentTool{f.Name, f.Description, f.Strict, f.Parameters})
		case x.Parameters != nil:
			out = append(out, sentTool{x.Name, x.Description, x.Strict, x.Parameters})
		default:
			out = append(out, sentTool{x.Name, x.Description, x.Strict, x.Schema})
		}
	}
	for _, x := range b.ToolConfig.Tools {
		out = append(out, sentTool{x.ToolSpec.Name, x.ToolSpec.Description, x.ToolSpec.Strict, x.ToolSpec.InputSchema.JSON})
	}
	return out
}

// refusedBy says what Bedrock's Claude refuses in a tool's schema.
func refusedBy(raw json.RawMessage) string {
	var root map[string]any
	if json.Unmarshal(raw, &root) != nil {
		return "no object"
	}
	for _, name := range []string{"anyOf", "oneOf", "allOf", "$ref"} {
		if root[name] != nil {
			return name + " at the root"
		}
	}
	if root["type"] != "object" {
		return "the root's type"
	}
	return illegalProperty(root)
}

func illegalProperty(v any) string {
	switch v := v.(type) {
	case map[string]any:
		if p, ok := v["properties"].(map[string]any); ok {
			for name := range p {
				if !schema.LegalName(name) {
					return "the name " + name
				}
			}
		}
		for _, x := range v {
			if s := illegalProperty(x); s != "" {
				return s
			}
		}
	case []any:
		for _, x := range v {
			if s := illegalProperty(x); s != "" {
				return s
			}
		}
	}
	return ""
}

var awkwardSchemas = map[string]string{
	"anyOf":                 `{"anyOf":[{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]},{"type":"object","properties":{"b":{"type":"string"}},"required":["b"]}]}`,
	"oneOf beside a type":   `{"type":"object","oneOf":[{"properties":{"a":{"type":"string"}}},{"properties":{"b":{"type":"string"}}}]}`,
	"allOf":                 `{"type":"object","allOf":[{"properties":{"a":{"type":"string"}}},{"properties":{"b":{"type":"string"}}}]}`,
	"a reference":           `{"$ref":"#/$defs/A","$defs":{"A":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}}}}}`,
	"a reference to oneOf":  `{"$ref":"#/definitions/A","definitions":{"A":{"oneOf":[{"$ref":"#/definitions/B"},{"type":"object","properties":{"b":{"type":"string"}}}]},"B":{"type":"object","properties":{"a":{"type":"string"}}}}}`,
	"names":                 `{"type":"object","properties":{"$filter":{"type":"string"},"with space":{"type":"string"},"名前":{"type":"string"},"a":{"type":"string"},"b":{"type":"object","properties":{"@id":{"type":"string"}}},"` + strings.Repeat("n", 65) + `":{"type":"string"}},"required":["$filter"]}`,
	"names far in":          `{"type":"object","properties":{"a":{"type":"array","items":{"anyOf":[{"type":"object","properties":{"$filter":{"type":"string"}}},{"$ref":"#/$defs/D"}]}},"b":{"type":"string"}},"$defs":{"D":{"type":"object","properties":{"a/b":{"type":"string"}},"required":["a/b"]}}}`,
	"names in alternatives": `{"oneOf":[{"type":"object","properties":{"$filter":{"type":"string"},"a":{"type":"string"}},"required":["$filter"]},{"type":"object","properties":{"b":{"type":"string"}}}]}`,
	"no type":               `{"properties":{"a":{"properties":{"c":{"type":"string"}}},"b":{"type":"string"}}}`,
	"two types":             `{"type":["object","null"],"properties":{"a":{"type":"string"},"b":{"type":"string"}}}`,
}

// What Bedrock's Claude refuses in a schema is made legal, for every family, strict or
// not, streamed or not; and nothing is lost.
func TestAwkwardSchemasAreMadeLegal(t *testing.T) {
	for _, id := range everyFamily() {
		for name, raw := range awkwardSchemas {
			for _, strict := range []bool{false, true} {
				r := asks(chat.ToolChoice{}, chat.Tool{Name: "f", Schema: json.RawMessage(raw), Strict: strict})
				r.Stream = strict
				tools := sentTools(t, newCall(t, r, target(id)).body)
				if s := refusedBy(tools[0].Schema); s != "" || len(tools) != 1 {
					t.Errorf("%s, %s: %s in %s", id, name, s, tools[0].Schema)
				}
				var sent struct{ Properties map[string]any }
				if json.Unmarshal(tools[0].Schema, &sent) != nil || sent.Properties["a"] == nil || sent.Properties["b"] == nil {
					t.Errorf("%s, %s: lost in %s", id, name, tools[0].Schema)
				}
				r = userSays("q")
				r.Format, r.Stream = &chat.Format{Name: "n", Schema: json.RawMessage(raw), Strict: strict}, strict
				for _, tool := range sentTools(t, newCall(t, r, target(id)).body) {
					if s := refusedBy(tool.Schema); s != "" {
						t.Errorf("%s, format of %s: %s in %s", id, name, s, tool.Schema)
					}
				}
			}
		}
	}
}

// answerOf writes one tool use, or a text, as each of the four operations does, and gives the answer.
func answerOf(t testing.TB, c *Call, tool, text string) *chat.Response {
	t.Helper()
	var fragments []string
	for s := text; s != ""; {
		n := min(3, len(s))
		for n < len(s) && s[n]&0xC0 == 0x80 {
			n++
		}
		fragments, s = append(fragments, s[:n]), s[n:]
	}
	quoted := func(s string) string { return string(marshal(s)) }
	var events []chat.Event
	if !c.stream {
		var body string
		switch {
		case c.api.anthropic() && tool != "":
			body = `{"type":"message","id":"m","content":[{"type":"tool_use","id":"t","name":"` + tool + `","input":` + text + `}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":1}}`
		case c.api.anthropic():
			body = `{"type":"message","id":"m","content":[{"type":"text","text":` + quoted(text) + `}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`
		case tool != "":
			body = `{"output":{"message":{"role":"assistant","content":[{"toolUse":{"toolUseId":"t","name":"` + tool + `","input":` + text + `}}]}},"stopReason":"tool_use","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}}`
		default:
			body = `{"output":{"message":{"role":"assistant","content":[{"text":` + quoted(text) + `}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}}`
		}
		var err error
		if events, err = c.reply(200, http.Header{"Content-Type": {"application/json"}}).Whole([]byte(body)); err != nil {
			t.Fatal(err)
		}
	} else {
		var frames []byte
		say := func(name, converse, invoke string) {
			if c.api.anthropic() {
				frames = append(frames, chunk(t, invoke)...)
			} else if converse != "" {
				frames = append(frames, frame(t, "event", name, converse)...)
			}
		}
		stop := "end_turn"
		say("messageStart", `{"role":"assistant"}`, `{"type":"message_start","message":{"id":"m","usage":{"input_tokens":1,"output_tokens":1}}}`)
		if tool != "" {
			stop = "tool_use"
			say("contentBlockStart", `{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"t","name":"`+tool+`"}}}`, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"`+tool+`","input":{}}}`)
		} else {
			say("", "", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`)
		}
		for _, s := range fragments {
			if tool != "" {
				say("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"toolUse":{"input":`+quoted(s)+`}}}`, `{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":`+quoted(s)+`}}`)
			} else {
				say("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":`+quoted(s)+`}}`, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":`+quoted(s)+`}}`)
			}
		}
		say("contentBlockStop", `{"contentBlockIndex":0}`, `{"type":"content_block_stop","index":0}`)
		say("messageStop", `{"stopReason":"`+stop+`"}`, `{"type":"message_delta","delta":{"stop_reason":"`+stop+`"},"usage":{"output_tokens":1}}`)
		say("metadata", `{"usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2},"metrics":{"latencyMs":1}}`, `{"type":"message_stop"}`)
		stream := c.reply(200, nil).Events(bytes.NewReader(frames))
		for {
			some, err := stream.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, some...)
		}
	}
	answer, err := chat.Collect(events)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// Arguments come back by the caller's names, past ones go out by the model's, and what
// is called so elsewhere (values, other tools) stays.
func TestPropertyNamesBothWays(t *testing.T) {
	for _, id := range []string{claudeModel, converseModel, "us.meta.llama3-3-70b-instruct-v1:0", "anthropic.claude-sonnet-4-5-20250929-v1:0", "mistral.mistral-large-2407-v1:0"} {
		for _, stream := range []bool{false, true} {
			past := `{"$filter":"$filter","b":{"@id":1.50}}`
			r := asks(chat.ToolChoice{}, chat.Tool{Name: "odata query", Schema: json.RawMessage(awkwardSchemas["names"])}, chat.Tool{Name: "g"})
			r.Stream = stream
			r.Messages = append(r.Messages,
				chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.ToolUse{ID: "c1", Name: "odata query", Input: json.RawMessage(past)}, chat.ToolUse{ID: "c2", Name: "g", Input: json.RawMessage(`{"$filter":1}`)}}},
				chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "c1"}, chat.ToolResult{ID: "c2"}}})
			c := newCall(t, r, target(id))
			tool := sentTools(t, c.body)[0]
			alias := map[string]string{}
			for is, was := range c.fields[tool.Name] {
				alias[was] = is
				if !strings.Contains(string(tool.Schema), `"`+is+`"`) {
					t.Errorf("%s: no %s in %s", id, is, tool.Schema)
				}
			}
			if len(alias) != 5 {
				t.Fatalf("%s: %v", id, alias)
			}
			written := fmt.Sprintf(`{"%s":"$filter","b":{"%s":1.50}}`, alias["$filter"], alias["@id"])
			if body := string(c.body); !strings.Contains(body, written) || !strings.Contains(body, `{"$filter":1}`) || strings.Contains(body, past) {
				t.Errorf("%s: no %s in %s", id, written, body)
			}
			answer := answerOf(t, c, tool.Name, written)
			if use := answer.Blocks[0].(chat.ToolUse); use.Name != "odata query" || string(use.Input) != past {
				t.Errorf("%s, stream %t: %+v", id, stream, use)
			}
			again := newCall(t, r, target(id))
			if !bytes.Equal(again.body, c.body) {
				t.Errorf("%s: the same request goes out differently", id)
			}
		}
	}
}

// The content of structured output is what the caller's schema says, in either form,
// also where the model took the schema for the one that it stands in.
func TestStructuredOutputOfAlternatives(t *testing.T) {
	const want = `{"$filter":"x","a":1}`
	for id, native := range map[string]bool{"anthropic.claude-sonnet-4-5-20250929-v1:0": true, "qwen.qwen3-32b-v1:0": true, "anthropic.claude-3-5-sonnet-20241022-v2:0": false, converseModel: false} {
		for _, stream := range []bool{false, true} {
			r := userSays("q")
			r.Stream = stream
			r.Format = &chat.Format{Name: "n", Schema: json.RawMessage(`{"oneOf":[{"type":"object","properties":{"$filter":{"type":"string"},"a":{"type":"integer"}},"required":["$filter","a"]},{"$ref":"#/$defs/B"}],"$defs":{"B":{"type":"object","properties":{"b":{"$ref":"#/oneOf/0"}},"required":["b"]}}}`)}
			c := newCall(t, r, target(id))
			tool := ""
			if tools := sentTools(t, c.body); len(tools) > 0 {
				tool = tools[0].Name
			}
			if native != (tool == "") || id != converseModel && !strings.Contains(string(c.body), "#/properties/answer/") {
				t.Errorf("%s: %s", id, c.body)
			}
			alias := c.answer.Names["$filter"]
			for _, text := range []string{fmt.Sprintf(`{"answer":{"%s":"x","a":1}}`, alias), fmt.Sprintf(`{"%s":"x","a":1}`, alias)} {
				answer := answerOf(t, c, tool, text)
				if len(answer.Blocks) != 1 || answer.Blocks[0] != (chat.Text{Text: want}) || answer.Stop != chat.EndTurn {
					t.Errorf("%s, stream %t: %s is %+v", id, stream, text, answer)
				}
			}
		}
	}
}

// strictSchema has so many optional properties and unions.
func strictSchema(optional, unions int) json.RawMessage {
	var p, required []string
	for i := range max(optional, unions) {
		kind := `"string"`
		if i < unions {
			kind = `["string","null"]`
		}
		p = append(p, fmt.Sprintf(`"p%d":{"type":%s}`, i, kind))
		if i >= optional {
			required = append(required, fmt.Sprintf(`"p%d"`, i))
		}
	}
	return json.RawMessage(`{"type":"object","properties":{"l":{"type":"array","items":{"$ref":"#/$defs/D"}}},"required":["l"],"$defs":{"D":{"type":"object","properties":{` + strings.Join(append(p, `"z":{"type":"string"}`), ",") + `},"required":[` + strings.Join(append(required, `"z"`), ",") + `]}}}`)
}

func strictTools(n int, schemas ...json.RawMessage) []chat.Tool {
	var out []chat.Tool
	for i := range n {
		raw := strictSchema(0, 0)
		if i < len(schemas) {
			raw = schemas[i]
		}
		out = append(out, chat.Tool{Name: fmt.Sprintf("f%d", i), Strict: true, Schema: raw})
	}
	return out
}

// Bedrock's bounds on strict schemas: over all of a request.
func TestStrictLimits(t *testing.T) {
	const open = `{"type":"object","properties":{"meta":{"type":"object"}}}`
	for name, test := range map[string]struct {
		tools          []chat.Tool
		format         json.RawMessage
		strict, native bool // all tools are strict; the format is native
		noted          string
	}{
		"20 tools":                         {strictTools(20), nil, true, false, ""},
		"21 tools":                         {strictTools(21), nil, false, false, "21 strict tools"},
		"24 optional properties":           {strictTools(2, strictSchema(12, 0), strictSchema(12, 0)), nil, true, false, ""},
		"25 optional properties":           {strictTools(2, strictSchema(12, 0), strictSchema(13, 0)), nil, false, false, "25 optional properties"},
		"16 unions":                        {strictTools(2, strictSchema(0, 8), strictSchema(0, 8)), nil, true, false, ""},
		"17 unions":                        {strictTools(2, strictSchema(0, 8), strictSchema(0, 9)), nil, false, false, "17 unions"},
		"a format of 24":                   {nil, strictSchema(24, 16), true, true, ""},
		"a format of 25":                   {nil, strictSchema(25, 0), true, false, "by a tool"},
		"a format of 17 unions":            {nil, strictSchema(0, 17), true, false, "by a tool"},
		"a format and tools, 24 in all":    {strictTools(1, strictSchema(12, 0)), strictSchema(12, 0), true, true, ""},
		"a format and tools, 25 in all":    {strictTools(1, strictSchema(12, 0)), strictSchema(13, 0), false, true, "no tool is strict"},
		"a format beyond, tools are not":   {strictTools(1, strictSchema(12, 0)), strictSchema(25, 0), true, false, "by a tool"},
		"an open schema is not strict":     {strictTools(1, json.RawMessage(open)), nil, false, false, "1 strict tools are not strict"},
		"an open format":                   {nil, json.RawMessage(open), true, false, "not strict"},
		"one that the caller did not mean": {[]chat.Tool{{Name: "f", Schema: strictSchema(1, 1)}}, nil, false, false, ""},
	} {
		unlimited := &resource.Model{ModelName: "novel.model-v1:0", Bedrock: resource.Bedrock{Capabilities: &resource.Capabilities{StrictTools: ptr(true), StructuredOutput: "native"}}}
		for model, m := range map[string]*Model{"claude 4.5": target("global.anthropic.claude-sonnet-4-5-20250929-v1:0"), "claude 4.6": target("anthropic.claude-opus-4-6-v1"), "a resource": compile(unlimited)} {
			r := asks(chat.ToolChoice{}, test.tools...)
			if test.format != nil {
				r.Format = &chat.Format{Name: "n", Schema: test.format, Strict: true}
			}
			c := newCall(t, r, m)
			native := strings.Contains(string(c.body), `"json_schema"`) || strings.Contains(string(c.body), `"jsonSchema"`)
			if native != test.native {
				t.Errorf("%s, %s: native %t", model, name, native)
			}
			for i, tool := range sentTools(t, c.body) {
				ours := i >= len(test.tools)
				if tool.Strict != (test.strict && !ours) {
					t.Errorf("%s, %s: %s is strict: %t", model, name, tool.Name, tool.Strict)
				}
				if !tool.Strict && strings.Contains(string(tool.Schema), `"additionalProperties":false`) {
					t.Errorf("%s, %s: closed: %s", model, name, tool.Schema)
				}
			}
			if notes := strings.Join(c.Notes(), "\n"); !strings.Contains(notes, test.noted) || test.noted == "" && notes != "" {
				t.Errorf("%s, %s: notes %q, want %q", model, name, notes, test.noted)
			}
		}
	}
}

// Strict and native go only to models that a row knows to take them.
func TestStrictOnlyWhereItIsKnown(t *testing.T) {
	for _, id := range everyFamily() {
		r := asks(chat.ToolChoice{}, strictTools(1)...)
		r.Format = &chat.Format{Name: "n", Schema: strictSchema(1, 1), Strict: true}
		m := target(id)
		c := newCall(t, r, m)
		for _, tool := range sentTools(t, c.body) {
			if want := has(m.family.Capabilities.StrictTools); tool.Name != outputTool && tool.Strict != want {
				t.Errorf("%s: %s is strict: %t, want %t", id, tool.Name, tool.Strict, want)
			}
		}
		if got, want := bytes.Contains(c.body, []byte("json_output")), m.family.Capabilities.StructuredOutput != "native"; got != want {
			t.Errorf("%s: by a tool %t, want %t", id, got, want)
		}
	}
	for _, id := range []string{"anthropic.claude-opus-4-7", "us.anthropic.claude-opus-4-8", "anthropic.claude-sonnet-5", "us.anthropic.claude-fable-5-1", "anthropic.claude-opus-9", "novel.model-v1:0"} {
		if c := target(id).family.Capabilities; has(c.StrictTools) || c.StructuredOutput == "native" {
			t.Errorf("%s is said to take strict", id)
		}
	}
}
