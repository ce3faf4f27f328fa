package openai

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// body is a chat request with these members more.
func body(members string) string {
	return `{"model":"m","messages":[{"role":"user","content":"hi"}]` + members + `}`
}

// request is what body("") decodes to.
func request() *chat.Request {
	return &chat.Request{
		Messages: []chat.Message{{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: "hi"}}, Param: "messages[0]"}},
	}
}

func TestParameters(t *testing.T) {
	half, seed, no := 0.5, int64(-3), false
	n := 9
	plain := func(*chat.Request) {}
	for _, test := range []struct {
		members string
		want    func(*chat.Request)
	}{
		// Absent, null and default values are the same.
		{``, plain},
		{`,"audio":null,"frequency_penalty":null,"function_call":null,"functions":null,"logit_bias":null,"logprobs":null,"max_completion_tokens":null,
		  "max_tokens":null,"metadata":null,"modalities":null,"moderation":null,"n":null,"parallel_tool_calls":null,"prediction":null,"presence_penalty":null,
		  "prompt_cache_key":null,"prompt_cache_options":null,"prompt_cache_retention":null,"reasoning_effort":null,"response_format":null,
		  "safety_identifier":null,"seed":null,"service_tier":null,"stop":null,"store":null,"stream":null,"stream_options":null,"temperature":null,
		  "tool_choice":null,"tools":null,"top_logprobs":null,"top_p":null,"user":null,"verbosity":null,"web_search_options":null,
		  "guardrailConfig":null,"thinking":null,"top_k":null`, plain},
		{`,"frequency_penalty":0,"presence_penalty":0.0,"function_call":"none","functions":[],"logit_bias":{},"logprobs":false,"top_logprobs":0,
		  "metadata":{},"modalities":["text"],"n":1,"parallel_tool_calls":true,"response_format":{"type":"text"},"store":false,"stream":false,
		  "stream_options":{"include_usage":false,"include_obfuscation":true},"stop":[],"tools":[],"verbosity":"medium","prompt_cache_retention":"in_memory",
		  "prompt_cache_options":{"mode":"implicit","ttl":"30m"},"prompt_cache_key":"k"`, plain},
		// Honoured.
		{`,"max_tokens":9`, func(r *chat.Request) { r.MaxTokens = &n }},
		{`,"max_tokens":9.0`, func(r *chat.Request) { r.MaxTokens = &n }},
		{`,"max_completion_tokens":9,"max_tokens":100`, func(r *chat.Request) { r.MaxTokens = &n }},
		{`,"temperature":0.5,"top_p":5e-1`, func(r *chat.Request) { r.Temperature, r.TopP = &half, &half }},
		{`,"frequency_penalty":0.5,"presence_penalty":0.5`, func(r *chat.Request) { r.FrequencyPenalty, r.PresencePenalty = &half, &half }},
		{`,"seed":-3`, func(r *chat.Request) { r.Seed = &seed }},
		{`,"stop":"x"`, func(r *chat.Request) { r.Stop = []string{"x"} }},
		{`,"stop":""`, plain},
		{`,"stop":[" ","\n","x\n","y"]`, func(r *chat.Request) { r.Stop = []string{"x\n", "y"} }},
		{`,"parallel_tool_calls":false`, func(r *chat.Request) { r.ParallelToolCalls = &no }},
		{`,"user":"u"`, func(r *chat.Request) { r.User = "u" }},
		{`,"safety_identifier":"s","user":"u"`, func(r *chat.Request) { r.User = "s" }},
		{`,"metadata":{"a":"b"}`, func(r *chat.Request) { r.Metadata = map[string]string{"a": "b"} }},
		{`,"service_tier":"flex"`, func(r *chat.Request) { r.ServiceTier = "flex" }},
		{`,"service_tier":"reserved"`, func(r *chat.Request) { r.ServiceTier = "reserved" }},
		{`,"service_tier":"fast"`, func(r *chat.Request) { r.ServiceTier = "priority" }},
		{`,"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}`, func(r *chat.Request) { r.Stream = true }},
		{`,"reasoning_effort":"max"`, func(r *chat.Request) { r.Reasoning = &chat.Reasoning{Effort: "max"} }},
		{`,"verbosity":"low"`, func(r *chat.Request) { r.Verbosity = "low" }},
		{`,"thinking":{"type":"enabled", "budget_tokens":2000}`, func(r *chat.Request) {
			r.Reasoning = &chat.Reasoning{Thinking: json.RawMessage(`{"type":"enabled", "budget_tokens":2000}`)}
		}},
		{`,"response_format":{"type":"json_object"}`, func(r *chat.Request) { r.Format = &chat.Format{} }},
		{`,"response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d","strict":true,"schema":{"type":"object"}}}`, func(r *chat.Request) {
			r.Format = &chat.Format{Name: "n", Description: "d", Strict: true, Schema: json.RawMessage(`{"type":"object"}`), Param: "response_format.json_schema.schema"}
		}},
		{`,"top_k":5,"guardrailConfig":{"guardrailIdentifier":"g"},"performanceConfig":{"latency":"optimized"},"serviceTier":{"type":"flex"},
		  "additionalModelRequestFields":{"k":1e2},"requestMetadata":{"a":"b"},"anthropic_beta":["x"]`, func(r *chat.Request) {
			r.Extensions = map[string]json.RawMessage{
				"top_k": json.RawMessage(`5`), "guardrailConfig": json.RawMessage(`{"guardrailIdentifier":"g"}`), "performanceConfig": json.RawMessage(`{"latency":"optimized"}`),
				"serviceTier": json.RawMessage(`{"type":"flex"}`), "additionalModelRequestFields": json.RawMessage(`{"k":1e2}`),
				"requestMetadata": json.RawMessage(`{"a":"b"}`), "anthropic_beta": json.RawMessage(`["x"]`),
			}
		}},
		{`,"prompt_cache_options":{"mode":"explicit"}`, plain}, // Bedrock makes no cache point by itself
		// Tools.
		{`,"tools":[{"type":"function","function":{"name":"f","description":"d","strict":true,"parameters":{"type":"object","required":["a"]}},"cache_control":{"type":"ephemeral","ttl":"1h"}},
		  {"type":"function","function":{"name":"g.h","parameters":{},"cache_control":{"type":"ephemeral"}}}],"tool_choice":"auto"`, func(r *chat.Request) {
			r.Tools = []chat.Tool{
				{Name: "f", Description: "d", Strict: true, Schema: json.RawMessage(`{"type":"object","required":["a"]}`), Param: "tools[0].function.parameters", Cache: &chat.CachePoint{TTL: "1h"}},
				{Name: "g.h", Schema: json.RawMessage(`{"type":"object","properties":{}}`), Param: "tools[1].function.parameters", Cache: &chat.CachePoint{}},
			}
			r.ToolChoice.Mode = chat.ToolChoiceAuto
		}},
		{`,"tool_choice":"none"`, func(r *chat.Request) { r.ToolChoice.Mode = chat.ToolChoiceNone }},
		{`,"tools":[{"type":"function","function":{"type":"function","name":"f","parameters":{"type":"object"}}}]`, func(r *chat.Request) { // it says its type again
			r.Tools = []chat.Tool{{Name: "f", Schema: json.RawMessage(`{"type":"object"}`), Param: "tools[0].function.parameters"}}
		}},
		{`,"tool_choice":"required"` + tools, withTools(chat.ToolChoice{Mode: chat.ToolChoiceAny})},
		{`,"tool_choice":{"type":"function","function":{"name":"g"}}` + tools, withTools(chat.ToolChoice{Mode: chat.ToolChoiceTool, Name: "g"})},
		{`,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"g"}}]}}` + tools,
			withTools(chat.ToolChoice{Mode: chat.ToolChoiceAny, Only: []string{"g"}})},
		{`,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"f"}}]}}` + tools,
			withTools(chat.ToolChoice{Mode: chat.ToolChoiceAuto, Only: []string{"f"}})},
	} {
		got, err := Chat{}.Decode([]byte(body(test.members)))
		if err != nil {
			t.Errorf("%s: %v", test.members, err)
			continue
		}
		want := request()
		test.want(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", test.members, diff)
		}
	}
}

const tools = `,"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]`

func withTools(c chat.ToolChoice) func(*chat.Request) {
	return func(r *chat.Request) {
		r.Tools = []chat.Tool{{Name: "f", Schema: json.RawMessage(anyObject)}, {Name: "g", Schema: json.RawMessage(anyObject)}}
		r.ToolChoice = c
	}
}

func TestParametersRefused(t *testing.T) {
	for _, test := range []struct{ members, param string }{
		{`,"what":1`, "what"},
		{`,"what":{"ever":null}`, "what"},
		{`,"audio":{"voice":"x","format":"wav"}`, "audio"},
		{`,"frequency_penalty":2.1`, "frequency_penalty"},
		{`,"presence_penalty":"1"`, "presence_penalty"},
		{`,"function_call":"auto"`, "function_call"},
		{`,"function_call":{"name":"f"}`, "function_call"},
		{`,"functions":[{"name":"f"}]`, "functions"},
		{`,"logit_bias":{"1":1}`, "logit_bias"},
		{`,"logprobs":true`, "logprobs"},
		{`,"top_logprobs":2`, "top_logprobs"},
		{`,"max_completion_tokens":0`, "max_completion_tokens"},
		{`,"max_completion_tokens":5,"max_tokens":-1`, "max_tokens"},
		{`,"max_tokens":1.5`, "max_tokens"},
		{`,"max_tokens":1e99`, "max_tokens"},
		{`,"max_tokens":true`, "max_tokens"},
		{`,"metadata":{"a":1}`, "metadata.a"},
		{`,"metadata":[]`, "metadata"},
		{`,"modalities":["text","audio"]`, "modalities[1]"},
		{`,"moderation":{"model":"x"}`, "moderation"},
		{`,"n":2`, "n"},
		{`,"n":0`, "n"},
		{`,"n":"1"`, "n"},
		{`,"parallel_tool_calls":"no"`, "parallel_tool_calls"},
		{`,"prediction":{"type":"content","content":"x"}`, "prediction"},
		{`,"prompt_cache_key":1`, "prompt_cache_key"},
		{`,"prompt_cache_options":{"ttl":"1h"}`, "prompt_cache_options.ttl"},
		{`,"prompt_cache_retention":"24h"`, "prompt_cache_retention"},
		{`,"reasoning_effort":"huge"`, "reasoning_effort"},
		{`,"response_format":"json"`, "response_format"},
		{`,"response_format":{}`, "response_format.type"},
		{`,"response_format":{"type":"xml"}`, "response_format.type"},
		{`,"response_format":{"type":"json_schema"}`, "response_format.json_schema"},
		{`,"response_format":{"type":"json_schema","json_schema":{"schema":{}}}`, "response_format.json_schema.name"},
		{`,"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":[]}}`, "response_format.json_schema.schema"},
		{`,"safety_identifier":5`, "safety_identifier"},
		{`,"seed":1.5`, "seed"},
		{`,"service_tier":"scale"`, "service_tier"},
		{`,"stop":[1]`, "stop[0]"},
		{`,"stop":{}`, "stop"},
		{`,"store":true`, "store"},
		{`,"stream":"yes"`, "stream"},
		{`,"stream_options":{"include":true}`, "stream_options.include"},
		{`,"temperature":3`, "temperature"},
		{`,"temperature":-0.1`, "temperature"},
		{`,"temperature":1e999`, "temperature"},
		{`,"top_p":1.1`, "top_p"},
		{`,"thinking":true`, "thinking"},
		{`,"user":{}`, "user"},
		{`,"verbosity":"brief"`, "verbosity"},
		{`,"web_search_options":{}`, "web_search_options"},
		{`,"tools":{}`, "tools"},
		{`,"tools":[1]`, "tools[0]"},
		{`,"tools":[{"function":{"name":"f"}}]`, "tools[0].type"},
		{`,"tools":[{"type":"custom","custom":{"name":"f"}}]`, "tools[0].type"},
		{`,"tools":[{"type":"function"}]`, "tools[0].function"},
		{`,"tools":[{"type":"function","function":{}}]`, "tools[0].function.name"},
		{`,"tools":[{"type":"function","function":{"name":""}}]`, "tools[0].function.name"},
		{`,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"string"}}}]`, "tools[0].function.parameters"},
		{`,"tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{},"type":["null"]}}}]`, "tools[0].function.parameters"},
		{`,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":["string","null"]}}}]`, "tools[0].function.parameters"},
		{`,"tools":[{"type":"function","function":{"name":"f","args":{}}}]`, "tools[0].function.args"},
		{`,"tools":[{"type":"function","function":{"name":"f"},"cache_control":{"type":"ephemeral","ttl":"2h"}}]`, "tools[0].cache_control.ttl"},
		{`,"tools":[{"type":"function","function":{"name":"f"},"cache_control":{}}]`, "tools[0].cache_control.type"},
		{`,"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"f"}}]`, "tools[1].function.name"},
		{`,"tool_choice":"any"`, "tool_choice"},
		{`,"tool_choice":"required"`, "tool_choice"},
		{`,"tool_choice":1`, "tool_choice"},
		{`,"tool_choice":{"function":{"name":"f"}}` + tools, "tool_choice.type"},
		{`,"tool_choice":{"type":"custom","custom":{"name":"f"}}` + tools, "tool_choice.type"},
		{`,"tool_choice":{"type":"function","function":{"name":"x"}}` + tools, "tool_choice.function.name"},
		{`,"tool_choice":{"type":"function"}` + tools, "tool_choice.function"},
		{`,"tool_choice":{"type":"allowed_tools"}` + tools, "tool_choice.allowed_tools"},
		{`,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}` + tools, "tool_choice.allowed_tools.tools"},
		{`,"tool_choice":{"type":"allowed_tools","allowed_tools":{"tools":[{"type":"function","function":{"name":"f"}}]}}` + tools, "tool_choice.allowed_tools.mode"},
		{`,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"x"}}]}}` + tools,
			"tool_choice.allowed_tools.tools[0].function.name"},
	} {
		if f := refusal(t, body(test.members)); f.Param != test.param {
			t.Errorf("%s: param %q (%s), want %q", test.members, f.Param, f.Message, test.param)
		}
	}
}

// TestEveryParameterOfOpenAI has the members of openai-python 3.54.0
// (types/chat/completion_create_params.py): each is in the table.
func TestEveryParameterOfOpenAI(t *testing.T) {
	for _, name := range []string{
		"messages", "model", "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens",
		"metadata", "modalities", "moderation", "n", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_options",
		"prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
		"stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
	} {
		if parameters[name] == nil {
			t.Errorf("%s is not decided", name)
		}
	}
}

func TestIgnoredParameters(t *testing.T) {
	b, err := Chat{}.Parse(nil, []byte(`{"model":"m","n":4,"what":1,"temperature":"hot","messages":[{"role":"user","name":"bob","content":"hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Request([]string{"n", "what", "temperature", "name", "messages"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(request(), got); diff != "" {
		t.Error(diff)
	}
}

// TestIgnoredMembers: a name with dots reaches into objects and into each object of a list,
// the conversation itself stays, and what is no object is refused as it is.
func TestIgnoredMembers(t *testing.T) {
	names := []string{"messages.reasoning_details", "messages.content.extra", "messages.content.image_url.size", "messages.tool_calls.function.x", "tools.function.x", "metadata.a",
		"messages.role", "messages.content", "messages.tool_calls", "messages.tool_call_id", "dotted.name", "stream_options.what.ever", "messages", "user.x", "absent.x"}
	ask := func(text string) (*chat.Request, error) {
		a, err := Chat{}.Parse(nil, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return a.Request(names)
	}
	_, err := ask(`{"model":"m","dotted.name":1,"metadata":{"a":1},"user":"u","stream_options":{"what":{"ever":1}},"tools":[{"type":"function","function":{"name":"f","x":1}}],"messages":[
		{"role":"user","content":[{"type":"text","text":"a","extra":{"a":[1]}},{"type":"image_url","image_url":{"url":"https://a/b","size":"L"}}],"reasoning_details":[1]},
		{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"b\":1,\"a\":1.0}","x":1}}],"reasoning_details":{}},
		{"role":"tool","tool_call_id":"c","content":"<r>","reasoning_details":"x"}]}`)
	if err == nil {
		t.Fatal("stream_options.what was taken")
	}
	if f := fault.From(err); f.Param != "stream_options.what" {
		t.Fatalf("%v, want the member that is not named", err)
	}
	names = append(names, "stream_options.what")
	got, err := ask(`{"model":"m","dotted.name":1,"metadata":{"a":1},"user":"u","stream_options":{"what":{"ever":1}},"tools":[{"type":"function","function":{"name":"f","x":1}}],"messages":[
		{"role":"user","content":[{"type":"text","text":"a","extra":{"a":[1]}},{"type":"image_url","image_url":{"url":"https://a/b","size":"L"}}],"reasoning_details":[1]},
		{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"b\":1,\"a\":1.0}","x":1}}],"reasoning_details":{}},
		{"role":"tool","tool_call_id":"c","content":"<r>","reasoning_details":"x"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Chat{}.Decode([]byte(`{"model":"m","user":"u","tools":[{"type":"function","function":{"name":"f"}}],"messages":[
		{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://a/b"}}]},
		{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"b\":1,\"a\":1.0}"}}]},
		{"role":"tool","tool_call_id":"c","content":"<r>"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for text, param := range map[string]string{
		`{"model":"m","messages":[5,{"role":"user","content":"a"}]}`:                       "messages[0]",
		`{"model":"m","messages":{"reasoning_details":1}}`:                                 "messages",
		`{"model":"m","messages":[{"role":"user","content":"a","other":1}]}`:               "messages[0].other",
		`{"model":"m","messages":[{"role":"user","content":[{"type":"text","other":1}]}]}`: "messages[0].content[0].text",
	} {
		if _, err := ask(text); err == nil || fault.From(err).Param != param {
			t.Errorf("%s: %v, want a 400 for %s", text, err, param)
		}
	}
}

// TestParseComesBeforeValidation: an unknown model is told before a bad parameter.
func TestParseComesBeforeValidation(t *testing.T) {
	b, err := Chat{}.Parse(nil, []byte(`{"n":2,"messages":5,"model":"x"}`))
	if err != nil || b.Model() != "x" {
		t.Errorf("Parse = %+v, %v; want model x", b, err)
	}
}

// TestDecodeIsLinear: what grows with the body must not grow with its square,
// neither here nor in the encoders behind: with ten times as many (a body may hold
// that) these took from seconds to many minutes while it did.
func TestDecodeIsLinear(t *testing.T) {
	const many = 3_000
	functions := join(many, func(i int) string { return `{"type":"function","function":{"name":"f` + itoa(i) + `"}}` })
	user := func(parts string) string {
		return `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x"},` + parts + `]}]}`
	}
	for name, b := range map[string]string{
		"tools":     body(`,"tools":[` + functions + `]`),
		"images":    user(join(many, func(int) string { return imagePart("https://a/b") })),
		"documents": user(join(many, func(int) string { return filePart("a.txt", "eA==") })),
		"marks":     user(join(many, func(int) string { return `{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}` })),
		"members":   body(`,"additionalModelRequestFields":{` + join(many, func(i int) string { return `"m` + itoa(i) + `":1` }) + `}`),
		"messages":  `{"model":"m","messages":[` + join(many, func(int) string { return `{"role":"user","content":"x"}` }) + `]}`,
		"calls": `{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[` +
			join(many, func(i int) string {
				return `{"id":"c` + itoa(i) + `","type":"function","function":{"name":"f.` + itoa(i) + `","arguments":""}}`
			}) + `]},` +
			join(many, func(i int) string { return `{"role":"tool","tool_call_id":"c` + itoa(many-1-i) + `","content":"x"}` }) + `]}`,
		"allowed": body(`,"tools":[` + functions + `],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[` + functions + `]}}`),
	} {
		r, err := Chat{}.Decode([]byte(b))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, model := range []string{"anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.nova-pro-v1:0"} {
			if _, f := encode(t, model, r); f != nil && name != "images" {
				t.Errorf("%s, %s: %v", name, model, f)
			}
		}
	}
}

func join(n int, f func(int) string) string {
	out := make([]byte, 0, n*48)
	for i := range n {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, f(i)...)
	}
	return string(out)
}

func itoa(i int) string { return strconv.Itoa(i) }

func TestCountIsBounded(t *testing.T) {
	if f := refusal(t, body(`,"max_tokens":2147483648`)); f.Param != "max_tokens" {
		t.Errorf("param %q", f.Param)
	}
}
