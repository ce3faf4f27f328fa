package sim

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// A refusal is a good body with one thing changed, and what is said of it.
type refusal struct {
	model string // "" is the shape's usual one
	path  string
	value string // JSON; "" takes the member out
	want  string // in the message
}

var converseRefusals = []refusal{
	// unknown members and wrong types
	{path: "stream", value: `true`, want: "stream: Extra inputs are not permitted"},
	{path: "messages.0.name", value: `"x"`, want: "messages.0.name: Extra inputs"},
	{path: "messages.0.content.0.type", value: `"text"`, want: "exactly one member"},
	{path: "inferenceConfig.max_tokens", value: `1`, want: "Extra inputs"},
	{path: "inferenceConfig.maxTokens", value: `"1"`, want: "integer"},
	{path: "inferenceConfig.maxTokens", value: `0`, want: "inferenceConfig.maxTokens"},
	{path: "inferenceConfig.maxTokens", value: `1.5`, want: "integer"},
	{path: "inferenceConfig.temperature", value: `1.1`, want: "between 0 and 1"},
	{path: "messages.0.content", value: `"text"`, want: "valid list"},
	{path: "messages.0.content.0.text", value: `7`, want: "valid string"},
	{path: "messages.0.role", value: `"tool"`, want: "user, assistant"},
	{path: "serviceTier.type", value: `"auto"`, want: "priority"},
	{path: "requestMetadata.team", value: `"a;b"`, want: "pattern"},
	{path: "requestMetadata", value: `{}`, want: "between 1 and 16"},
	{path: "guardrailConfig.streamProcessingMode", value: `"sync"`, want: "Extra inputs"},
	{path: "guardrailConfig.guardrailVersion", want: "must both be set"},
	// conversation
	{path: "messages", value: `[]`, want: "must start with a user message"},
	{path: "messages.0.role", value: `"assistant"`, want: "must start with a user message"},
	{path: "messages.1.role", value: `"user"`, want: "must alternate"},
	{path: "messages.0.content", value: `[]`, want: "is empty"},
	{path: "messages.0.content.0.text", value: `" \n"`, want: "is blank"},
	{path: "messages.0.content.0.text", value: `""`, want: "is blank"},
	{path: "system.0.text", value: `" "`, want: "is blank"},
	{path: "system.0.text", value: `""`, want: "between 1 and"},
	{path: "messages.1.content.2.toolUse.name", value: `"get weather"`, want: "pattern"},
	{path: "messages.1.content.2.toolUse.name", value: `"` + strings.Repeat("x", 65) + `"`, want: "between 1 and 64"},
	{path: "messages.1.content.2.toolUse.toolUseId", value: `"a 1"`, want: "pattern"},
	{path: "messages.1.content.2.toolUse.input", value: `"{}"`, want: "should be an object"},
	{path: "messages.1.content.1", value: `{"image":{"format":"png","source":{"bytes":"iVBORw0KGgo="}}}`, want: "only allowed in messages of role user"},
	{path: "messages.2.content.2", value: `{"toolUse":{"toolUseId":"b","name":"x","input":{}}}`, want: "only allowed in messages of role assistant"},
	// pairs
	{path: "messages.2.content.1", want: "Expected toolResult blocks at messages.2.content for the following Ids: a2"},
	{path: "messages.2.content.0.toolResult.toolUseId", value: `"a3"`, want: "for the following Ids: a1"},
	{path: "messages.2.content.1.toolResult.toolUseId", value: `"a1"`, want: "duplicate Ids: a1"},
	{path: "messages.1.content.3.toolUse.toolUseId", value: `"a1"`, want: "duplicate Ids: a1"},
	{path: "messages.1.content.3", want: "exceeds the number of toolUse blocks"},
	{path: "messages.2", want: "Expected toolResult blocks"},
	{path: "toolConfig", want: "toolConfig field must be defined"},
	{path: "messages.2.content.0.toolResult.content", value: `[]`, want: "is empty"},
	{path: "messages.2.content.0.toolResult.content.0.text", value: `""`, want: "is blank"},
	{path: "messages.2.content.1.toolResult.content.0.json", value: `[1]`, want: "should be an object"},
	{path: "messages.3", value: `{"role":"assistant","content":[{"text":"Well, "}]}`, want: "trailing whitespace"},
	// tools
	{path: "toolConfig.tools", value: `[]`, want: "between 1 and"},
	{path: "toolConfig.tools.0.toolSpec.name", value: `"a.b"`, want: "pattern"},
	{path: "toolConfig.tools.0.toolSpec.description", value: `""`, want: "between 1 and"},
	{path: "toolConfig.tools.0.toolSpec.inputSchema.json", value: `true`, want: "should be an object"},
	{path: "toolConfig.tools.0.toolSpec.inputSchema.json.type", value: `"array"`, want: "following: object"},
	{path: "toolConfig.tools.0.toolSpec.inputSchema.json.type", want: "following: object"},
	{path: "toolConfig.tools.0.toolSpec.inputSchema.json.properties", value: `[]`, want: "draft 2020-12"},
	{path: "toolConfig.tools.0.toolSpec.inputSchema", want: "Field required"},
	{path: "toolConfig.tools.1", value: `{"toolSpec":{"name":"weather","inputSchema":{"json":{"type":"object"}}}}`, want: "must be unique"},
	{path: "toolConfig.toolChoice", value: `{"tool":{"name":"other"}}`, want: "not one of the tools"},
	{path: "toolConfig.toolChoice", value: `{"auto":{},"any":{}}`, want: "exactly one member"},
	// images and documents
	{path: "messages.0.content.1.image.format", value: `"jpg"`, want: "png, jpeg, gif, webp"},
	{path: "messages.0.content.1.image.format", value: `"gif"`, want: "not a valid gif image"},
	{path: "messages.0.content.1.image.source.bytes", value: `"%"`, want: "base64"},
	{path: "messages.0.content.1.image.source.bytes", value: `""`, want: "base64"},
	{path: "messages.0.content.2.document.name", value: `"report.pdf"`, want: "pattern"},
	{path: "messages.0.content.2.document.name", value: `"two  spaces"`, want: "pattern"},
	{path: "messages.0.content.0", want: "needs a text block"},
	{path: "messages.0.content.3", value: `{"document":{"format":"txt","name":"report (2)","source":{"text":"x"}}}`, want: "must be unique"},
	// structured output
	{path: "outputConfig", value: `{"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":{"type":"object"}}}}}`, want: "string of JSON"},
	{path: "outputConfig", value: `{"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":"{\"type\":\"object\"}"}}}}`, want: "additionalProperties"},
	// cache points
	{path: "system.0", want: "nothing before it to cache"},
	{path: "messages.2.content.3", value: `{"cachePoint":{"type":"ephemeral"}}`, want: "default"},
	// what a model does not take
	{model: "amazon.titan-text-express-v1", path: "inferenceConfig", want: "doesn't support system messages"},
	{model: "meta.llama3-8b-instruct-v1:0", path: "system", want: "doesn't support tool use"},
	{model: llama, path: "toolConfig.toolChoice", value: `{"any":{}}`, want: "toolConfig.toolChoice.any"},
	{model: llama, path: "inferenceConfig", want: "AccessDeniedException"}, // prompt caching
	{model: nova, path: "toolConfig.tools.1", value: `{"cachePoint":{"type":"default"}}`, want: "#/toolConfig/tools/1: extraneous key [cachePoint]"},
	{model: "anthropic.claude-sonnet-4-5-20250929-v1:0", path: "inferenceConfig.topP", value: `0.5`, want: "cannot both be specified"},
}

var messagesRefusals = []refusal{
	{path: "model", value: `"claude"`, want: "model: Extra inputs are not permitted"},
	{path: "stream", value: `true`, want: "stream: Extra inputs"},
	{path: "anthropic_version", want: "anthropic_version: Field required"},
	{path: "anthropic_version", value: `"2023-06-01"`, want: "bedrock-2023-05-31"},
	{path: "max_tokens", want: "max_tokens: Field required"},
	{path: "max_tokens", value: `0`, want: "max_tokens"},
	{path: "temperature", value: `2`, want: "between 0 and 1"},
	{path: "messages", value: `[]`, want: "between 1 and"},
	{path: "messages.0.role", value: `"system"`, want: "Unexpected role"},
	{path: "messages.0.role", value: `"assistant"`, want: "first message must use"},
	{path: "messages.1.role", value: `"user"`, want: "roles must alternate"},
	{path: "messages.0.content", value: `[]`, want: "non-empty content"},
	{path: "messages.0.content", value: `""`, want: "non-empty"},
	{path: "messages.0.content", value: `" "`, want: "non-whitespace"},
	{path: "messages.0.content.0.text", value: `"\t"`, want: "non-whitespace"},
	{path: "messages.0.content.0.foo", value: `1`, want: "Extra inputs"},
	{path: "messages.0.content.0.type", value: `"image_url"`, want: "does not match any of the expected tags"},
	{path: "messages.0.content.1.source.media_type", value: `"image/jpg"`, want: "image/jpeg"},
	{path: "messages.0.content.1.source.media_type", value: `"image/gif"`, want: "does not match the provided media type"},
	{path: "system", value: `""`, want: "non-empty"},
	{path: "system.0.text", value: `" "`, want: "non-empty"},
	{path: "stop_sequences", value: `[" "]`, want: "non-whitespace"},
	{path: "messages.2.content.1.content.0.text", value: `""`, want: "non-empty"},
	{path: "messages.2.content.1", want: "`tool_use` ids were found without `tool_result` blocks immediately after: a1"},
	{path: "messages.2", want: "without `tool_result` blocks"},
	{path: "messages.2.content.0.tool_use_id", value: `"a9"`, want: "unexpected `tool_use_id`"},
	{path: "messages.2.content.0.tool_use_id", value: `"a1"`, want: "multiple `tool_result` blocks"},
	{path: "messages.1.content.4.id", value: `"a1"`, want: "ids must be unique"},
	{path: "messages.2.content", value: `[{"type":"text","text":"So?"},{"type":"tool_result","tool_use_id":"a1","content":"x"},{"type":"tool_result","tool_use_id":"a2","content":"x"}]`, want: "immediately after"},
	{path: "messages.1.content.3.name", value: `"a b"`, want: "pattern"},
	{path: "messages.1.content.3.input", value: `"{}"`, want: "should be an object"},
	{path: "messages.1.content.0.signature", want: "Field required"},
	{path: "messages.1.content.0.signature", value: `"%"`, want: "Invalid `signature`"},
	{path: "messages.1.content.2", value: `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}}`, want: "not permitted in messages of role assistant"},
	{path: "messages.3", value: `{"role":"assistant","content":"Well, "}`, want: "trailing whitespace"},
	{path: "tools.0.input_schema.type", value: `"string"`, want: "following: object"},
	{path: "tools.0.name", value: `"a.b"`, want: "pattern"},
	{path: "tools.1", value: `{"name":"weather","input_schema":{"type":"object"}}`, want: "Tool names must be unique"},
	{path: "tools", want: "only be specified while providing tools"},
	{path: "tool_choice", value: `{"type":"tool","name":"other"}`, want: "not found in provided tools"},
	{path: "tool_choice", value: `{"type":"required"}`, want: "expected tags"},
	{path: "system.0.cache_control.ttl", value: `"5m"`, want: ""}, // legal: see the test
	{path: "messages.2.content.2.cache_control.ttl", value: `"1h"`, want: ""},
	{path: "tools.0.cache_control", value: `{"type":"ephemeral"}`, want: "must not come after"},
	{path: "thinking", value: `{"type":"enabled","budget_tokens":1000}`, want: "between 1024"},
	{path: "thinking", value: `{"type":"enabled","budget_tokens":4096}`, want: "must be greater than"},
	{path: "thinking", value: `{"type":"enabled","budget_tokens":2000}`, want: "`temperature` may only be set to 1"},
	{path: "metadata.user", value: `"x"`, want: "Extra inputs"},
	{path: "output_config", value: `{"format":{"type":"json_schema","schema":{"type":"object"}}}`, want: "additionalProperties"},
	{model: nova, path: "metadata", want: "extraneous key"},
	{model: "anthropic.claude-haiku-4-5-20251001-v1:0", path: "top_p", value: `0.5`, want: "cannot both be specified"},
}

func TestRefusals(t *testing.T) {
	s := start(t)
	for _, shape := range []struct {
		operation, file, model string
		refusals               []refusal
	}{
		{"converse", "testdata/converse.json", claude, converseRefusals},
		{"invoke", "testdata/messages.json", claude, messagesRefusals},
	} {
		good, err := os.ReadFile(shape.file)
		if err != nil {
			t.Fatal(err)
		}
		if r := s.post(t, shape.model, shape.operation, good); r.StatusCode != 200 {
			kind, message := refused(t, r)
			t.Fatalf("%s is refused: %s %s", shape.file, kind, message)
		}
		for _, c := range shape.refusals {
			t.Run(shape.operation+" "+c.path+" "+c.value, func(t *testing.T) {
				r := s.post(t, or(c.model, shape.model), shape.operation, change(t, good, c.path, c.value))
				if c.want == "" {
					if r.StatusCode != 200 {
						kind, message := refused(t, r)
						t.Errorf("%s: %s", kind, message)
					}
					return
				}
				kind, message := refused(t, r)
				wantKind, wantStatus := "ValidationException", 400
				if c.want == "AccessDeniedException" {
					wantKind, wantStatus = c.want, 403
				}
				if r.StatusCode != wantStatus || kind != wantKind || !strings.Contains(kind+": "+message, c.want) {
					t.Errorf("%s %s: %s", r.Status, kind, message)
				}
			})
		}
	}
}

func TestAStreamTakesItsOwnGuardrailMode(t *testing.T) {
	good, err := os.ReadFile("testdata/converse.json")
	if err != nil {
		t.Fatal(err)
	}
	body := change(t, good, "guardrailConfig.streamProcessingMode", `"async"`)
	if r := start(t).post(t, claude, "converse-stream", body); r.StatusCode != 200 {
		t.Error(r.Status)
	}
}

func TestWhatIsNoJSONIsRefused(t *testing.T) {
	s := start(t)
	for _, body := range []string{``, `{`, `{} {}`, `{"messages":[],"messages":[]}`, "{\"a\":\"\xff\"}", `[]`, `null`} {
		for _, operation := range []string{"converse", "invoke"} {
			if kind, _ := refused(t, s.post(t, claude, operation, []byte(body))); kind != "ValidationException" {
				t.Errorf("%s %q: %s", operation, body, kind)
			}
		}
	}
	if kind, _ := refused(t, s.post(t, nova, "converse", marshal(object{}), "Content-Type", "text/plain")); kind != "ValidationException" {
		t.Errorf("text/plain: %s", kind)
	}
}

func TestInvokeHeadersAreChecked(t *testing.T) {
	s := start(t)
	for _, c := range []struct{ name, value, want string }{
		{"X-Amzn-Bedrock-GuardrailIdentifier", "abc", "must both be set"},
		{"X-Amzn-Bedrock-Trace", "on", "ENABLED"},
		{"X-Amzn-Bedrock-PerformanceConfig-Latency", "fast", "standard"},
		{"X-Amzn-Bedrock-Service-Tier", "auto", "priority"},
		{"X-Amzn-Bedrock-Request-Metadata", "{", "JSON object"},
		{"X-Amzn-Bedrock-Request-Metadata", `{"a":1}`, "string"},
		{"X-Amzn-Bedrock-Request-Metadata", `{"a":"b"}`, ""},
	} {
		r := s.post(t, claude, "invoke", asked("x"), c.name, c.value)
		if c.want == "" {
			if r.StatusCode != 200 {
				t.Errorf("%s: %s: %s", c.name, c.value, r.Status)
			}
			continue
		}
		if kind, message := refused(t, r); kind != "ValidationException" || !strings.Contains(message, c.want) {
			t.Errorf("%s: %s: %s %s", c.name, c.value, kind, message)
		}
	}
}

func TestModelIDs(t *testing.T) {
	s := start(t)
	const profile = "arn:aws:bedrock:us-west-2:123456789012:"
	for id, want := range map[string]string{
		nova: "", llama: "", "eu.mistral.pixtral-large-2502-v1:0": "", "global.anthropic.claude-sonnet-4-5-20250929-v1:0": "", "cohere.command-r-v1:0": "",
		profile + "inference-profile/us.amazon.nova-lite-v1:0": "", profile + "application-inference-profile/abc123": "", profile + "imported-model/abcdef012345": "",
		"gpt-4o": "ValidationException", "acme.model-v1:0": "ValidationException", "amazon.nova pro": "ValidationException", "arn:aws:s3:::bucket/key": "ValidationException",
		"amazon.nonexistent-v1:0": "ResourceNotFoundException",
	} {
		r := s.post(t, id, "converse", marshal(object{"messages": []any{object{"role": "user", "content": []any{object{"text": "x"}}}}}))
		kind := ""
		if r.StatusCode != 200 {
			kind, _ = refused(t, r)
		}
		if kind != want {
			t.Errorf("%s: %q, want %q", id, kind, want)
		}
	}
}

// change gives a JSON text with one value set, added at the end of a list, or taken out.
func change(t *testing.T, text []byte, path, value string) []byte {
	t.Helper()
	root, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if value != "" {
		if v, err = parse([]byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	return marshal(set(t, root, strings.Split(path, "."), v, value == ""))
}

func set(t *testing.T, at any, path []string, v any, remove bool) any {
	t.Helper()
	switch at := at.(type) {
	case object:
		switch {
		case len(path) > 1:
			at[path[0]] = set(t, at[path[0]], path[1:], v, remove)
		case remove:
			delete(at, path[0])
		default:
			at[path[0]] = v
		}
		return at
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i > len(at) {
			t.Fatalf("no %v in %v", path, at)
		}
		switch {
		case len(path) > 1:
			at[i] = set(t, at[i], path[1:], v, remove)
		case remove:
			return append(at[:i], at[i+1:]...)
		case i == len(at):
			return append(at, v)
		default:
			at[i] = v
		}
		return at
	default:
		t.Fatalf("no %v", path)
		return nil
	}
}

// What Llama and Mistral models refuse, and others take: words and tools in one turn.
func TestTurnsThatMixWordsAndTools(t *testing.T) {
	const (
		ask      = `{"role":"user","content":[{"text":"Weather?"}]}`
		call     = `{"role":"assistant","content":[{"toolUse":{"toolUseId":"a12345678","name":"weather","input":{}}}]}`
		sayCall  = `{"role":"assistant","content":[{"text":"Looking."},{"toolUse":{"toolUseId":"a12345678","name":"weather","input":{}}}]}`
		result   = `{"role":"user","content":[{"toolResult":{"toolUseId":"a12345678","content":[{"text":"sunny"}]}}]}`
		resultTo = `{"role":"user","content":[{"toolResult":{"toolUseId":"a12345678","content":[{"text":"sunny"}]}},{"text":"So?"}]}`
		mistral  = "mistral.mistral-large-2402-v1:0"
	)
	s := start(t)
	for _, c := range []struct {
		model    string
		messages []string
		want     string
	}{
		{llama, []string{ask, call, result}, ""},
		{llama, []string{ask, sayCall, result}, "messages.1.content: Conversation blocks and tool use blocks cannot be provided in the same turn."},
		{mistral, []string{ask, call, resultTo}, "messages.2.content: Conversation blocks and tool result blocks cannot be provided in the same turn."},
		{nova, []string{ask, sayCall, resultTo}, ""},
		{claude, []string{ask, sayCall, resultTo}, ""},
	} {
		body := `{"messages":[` + strings.Join(c.messages, ",") + `],"toolConfig":{"tools":[{"toolSpec":{"name":"weather","inputSchema":{"json":{"type":"object"}}}}]}}`
		r := s.post(t, c.model, "converse", []byte(body))
		if c.want == "" {
			if r.StatusCode != 200 {
				kind, message := refused(t, r)
				t.Errorf("%s refuses %s: %s: %s", c.model, c.messages, kind, message)
			}
			continue
		}
		if kind, message := refused(t, r); r.StatusCode != 400 || kind != "ValidationException" || message != c.want {
			t.Errorf("%s, %s: %s %s: %s", c.model, c.messages, r.Status, kind, message)
		}
	}
}

// TestParse: what no strict reader of JSON takes; numbers stay as they are written.
func TestParse(t *testing.T) {
	for _, body := range []string{``, `{} {}`, `{"a":1,"a":2}`, `{"a":[{"b":1,"\u0062":2}]}`, "\"\xff\"", `"\ud800"`, `[01]`, `[NaN]`, `[1,]`} {
		if v, err := parse([]byte(body)); err == nil {
			t.Errorf("%q reads as %v", body, v)
		}
	}
	if v, err := parse([]byte(`[1.0,1e2,null,{"a":-0}]`)); err != nil || compact(v) != `[1.0,1e2,null,{"a":-0}]` {
		t.Errorf("%v, %v", v, err)
	}
}
