package bedrock

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

const (
	claude35  = "anthropic.claude-3-5-sonnet-20241022-v2:0"
	claude37  = "anthropic.claude-3-7-sonnet-20250219-v1:0"
	claude45  = "anthropic.claude-sonnet-4-5-20250929-v1:0"
	claude46  = "anthropic.claude-opus-4-6-v1"
	nova      = "amazon.nova-pro-v1:0"
	nova2     = "us.amazon.nova-2-lite-v1:0"
	gptOSS    = "openai.gpt-oss-120b-1:0"
	cohere    = "cohere.command-r-plus-v1:0"
	llama33   = "meta.llama3-3-70b-instruct-v1:0"
	mistral   = "mistral.mistral-large-2407-v1:0"
	titan     = "amazon.titan-text-premier-v1:0"
	unknownID = "novel.model-v1:0"
)

func ptr[T any](v T) *T { return &v }

// Each row is one rule: what a request becomes for a model. want are parts of the
// body, missing parts that may not be there, refused the param of a 400.
func TestEncoding(t *testing.T) {
	tool := chat.Tool{Name: "f", Description: "does", Schema: json.RawMessage(`{"type":"object","properties":{}}`)}
	with := func(change func(*chat.Request)) *chat.Request {
		r := userSays("q")
		change(r)
		return r
	}
	called := []chat.Message{
		{Role: chat.Assistant, Param: "messages[1]", Blocks: []chat.Block{chat.ToolUse{ID: "call00001", Name: "g", Input: json.RawMessage(`{"b":1.0}`)}}},
		{Role: chat.User, Param: "messages[2]", Blocks: []chat.Block{chat.ToolResult{ID: "call00001", Blocks: []chat.Block{chat.Text{Text: "r"}}}}},
	}
	effort := func(e string) *chat.Request {
		return with(func(r *chat.Request) { r.Reasoning = &chat.Reasoning{Effort: e} })
	}
	format := func(schema string) *chat.Request {
		return with(func(r *chat.Request) {
			r.Format = &chat.Format{Name: "n", Description: "d", Strict: true, Schema: json.RawMessage(schema)}
			if schema == "" {
				r.Format = &chat.Format{}
			}
		})
	}
	const schema = `{"type":"object","properties":{"a":{"type":"integer","minimum":1}}}`
	for _, tt := range []struct {
		name    string
		model   string
		req     *chat.Request
		options resource.Bedrock
		want    []string
		missing []string
		refused string
	}{
		{name: "max_tokens of the request", model: claude35, req: with(func(r *chat.Request) { r.MaxTokens = ptr(7) }), options: resource.Bedrock{MaxTokens: ptr(9)}, want: []string{`"max_tokens":7`}},
		{name: "of the resource", model: claude35, req: userSays("q"), options: resource.Bedrock{MaxTokens: ptr(9)}, want: []string{`"max_tokens":9`}},
		{name: "Claude's default", model: claude35, req: userSays("q"), want: []string{`"anthropic_version":"bedrock-2023-05-31"`, `"max_tokens":8192`}, missing: []string{`"model"`, `"stream"`}},
		{name: "Converse has none", model: nova, req: userSays("q"), missing: []string{"inferenceConfig"}},
		{name: "but the resource's", model: nova, req: userSays("q"), options: resource.Bedrock{MaxTokens: ptr(9)}, want: []string{`"inferenceConfig":{"maxTokens":9}`}},
		{name: "sampling as it came", model: nova, req: with(func(r *chat.Request) { r.Temperature, r.TopP, r.Stop = ptr(0.1), ptr(0.25), []string{"a", "b"} }),
			want: []string{`"temperature":0.1`, `"topP":0.25`, `"stopSequences":["a","b"]`}},
		{name: "both samplers, for Bedrock to refuse", model: claude45, req: with(func(r *chat.Request) { r.Temperature, r.TopP = ptr(0.0), ptr(0.9) }), want: []string{`"temperature":0,"top_p":0.9`}},
		{name: "both samplers, which older ones take", model: claude35, req: with(func(r *chat.Request) { r.Temperature, r.TopP = ptr(0.5), ptr(1.0) }), want: []string{`"temperature":0.5,"top_p":1`}},
		{name: "a top_p that asks for nothing", model: claude45, req: with(func(r *chat.Request) { r.Temperature, r.TopP = ptr(1.0), ptr(1.0) }), want: []string{`"temperature":1`}, missing: []string{"top_p"}},
		{name: "a temperature that asks for nothing", model: claude45, req: with(func(r *chat.Request) { r.Temperature, r.TopP = ptr(1.0), ptr(0.9) }), want: []string{`"top_p":0.9`}, missing: []string{"temperature"}},
		{name: "alone it is sent", model: claude45, req: with(func(r *chat.Request) { r.TopP = ptr(1.0) }), want: []string{`"top_p":1`}},
		{name: "a family whose default is another one", model: nova, req: with(func(r *chat.Request) { r.Temperature, r.TopP = ptr(0.5), ptr(1.0) }), want: []string{`"temperature":0.5`, `"topP":1`}},
		{name: "no penalty", model: claude35, req: with(func(r *chat.Request) { r.FrequencyPenalty = ptr(0.5) }), refused: "frequency_penalty"},
		{name: "a penalty of 0 is none", model: claude35, req: with(func(r *chat.Request) { r.PresencePenalty = ptr(0.0) }), missing: []string{"penalty"}},
		{name: "a penalty that the resource ignores", model: claude35, req: with(func(r *chat.Request) { r.FrequencyPenalty = ptr(0.5) }), options: resource.Bedrock{IgnoreParams: []string{"frequency_penalty"}}, missing: []string{"penalty"}},
		{name: "penalties and a seed where the family has them", model: cohere, req: with(func(r *chat.Request) { r.FrequencyPenalty, r.Seed = ptr(0.5), ptr(int64(3)) }), want: []string{`"additionalModelRequestFields":{"frequency_penalty":0.5,"seed":3}`}},
		{name: "a seed is a hint", model: nova, req: with(func(r *chat.Request) { r.Seed = ptr(int64(3)) }), missing: []string{"seed"}},

		{name: "system messages", model: nova, req: with(func(r *chat.Request) { r.System = []chat.Block{chat.Text{Text: "a"}, chat.Text{Text: "b"}} }), want: []string{`"system":[{"text":"a"},{"text":"b"}]`}},
		{name: "none where the model takes none", model: titan, req: with(func(r *chat.Request) { r.System = []chat.Block{chat.Text{Text: "a"}} }), refused: "messages"},
		{name: "nothing but system messages", model: nova, req: &chat.Request{System: []chat.Block{chat.Text{Text: "a"}}}, refused: "messages"},

		{name: "no tools, no toolConfig", model: nova, req: userSays("q"), missing: []string{"toolConfig"}},
		{name: "tools", model: nova, req: with(func(r *chat.Request) { r.Tools = []chat.Tool{tool} }), want: []string{`"toolConfig":{"tools":[{"toolSpec":{"description":"does","inputSchema":{"json":{"type":"object","properties":{}}},"name":"f"}}]}`}},
		{name: "none on Converse sends no tools", model: nova, req: with(func(r *chat.Request) { r.Tools, r.ToolChoice.Mode = []chat.Tool{tool}, chat.ToolChoiceNone }), missing: []string{"toolConfig"}},
		{name: "none on Converse with tools in history", model: nova, req: with(func(r *chat.Request) {
			r.Tools, r.ToolChoice.Mode, r.Messages = []chat.Tool{tool}, chat.ToolChoiceNone, append(r.Messages, called...)
		}), want: []string{`"name":"f"`}, missing: []string{"toolChoice"}},
		{name: "none for Claude", model: claude35, req: with(func(r *chat.Request) { r.Tools, r.ToolChoice.Mode = []chat.Tool{tool}, chat.ToolChoiceNone }), want: []string{`"tool_choice":{"type":"none"}`, `"name":"f"`}},
		{name: "tools of the history alone", model: nova, req: with(func(r *chat.Request) { r.Messages = append(r.Messages, called...) }), want: []string{`"tools":[{"toolSpec":{"inputSchema":{"json":{"type":"object","properties":{}}},"name":"g"}}]`, `"input":{"b":1.0}`}},
		{name: "for Claude too", model: claude35, req: with(func(r *chat.Request) { r.Messages = append(r.Messages, called...) }), want: []string{`"tools":[{"name":"g","input_schema":{"type":"object","properties":{}}}]`}},
		{name: "required", model: nova, req: with(func(r *chat.Request) { r.Tools, r.ToolChoice.Mode = []chat.Tool{tool}, chat.ToolChoiceAny }), want: []string{`"toolChoice":{"any":{}}`}},
		{name: "one by name", model: nova, req: with(func(r *chat.Request) {
			r.Tools, r.ToolChoice = []chat.Tool{tool}, chat.ToolChoice{Mode: chat.ToolChoiceTool, Name: "f"}
		}), want: []string{`"toolChoice":{"tool":{"name":"f"}}`}},
		{name: "one by name that nobody defined", model: nova, req: with(func(r *chat.Request) {
			r.Tools, r.ToolChoice = []chat.Tool{tool}, chat.ToolChoice{Mode: chat.ToolChoiceTool, Name: "x"}
		}), refused: "tool_choice"},
		{name: "required where it can't be", model: llama33, req: with(func(r *chat.Request) { r.Tools, r.ToolChoice.Mode = []chat.Tool{tool}, chat.ToolChoiceAny }), refused: "tool_choice"},
		{name: "a subset", model: nova, req: with(func(r *chat.Request) {
			r.Tools, r.ToolChoice = []chat.Tool{tool, {Name: "h"}}, chat.ToolChoice{Mode: chat.ToolChoiceAuto, Only: []string{"h"}}
		}), want: []string{`"name":"h"`}, missing: []string{`"name":"f"`}},
		{name: "no tools at all", model: titan, req: with(func(r *chat.Request) { r.Tools = []chat.Tool{tool} }), refused: "tools"},
		{name: "one call at a time", model: claude45, req: with(func(r *chat.Request) { r.Tools, r.ParallelToolCalls = []chat.Tool{tool}, ptr(false) }), want: []string{`"tool_choice":{"type":"auto","disable_parallel_tool_use":true}`}},
		{name: "a schema that is none", model: nova, req: with(func(r *chat.Request) {
			r.Tools = []chat.Tool{{Name: "f", Schema: json.RawMessage(`{"type":"string"}`)}}
		}), refused: "tools"},

		{name: "a format of Claude's own", model: claude45, req: format(schema), want: []string{`"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"a":{"type":"integer","description":"(minimum: 1)"}},"additionalProperties":false}}}`}, missing: []string{"tools"}},
		{name: "a format of Converse's own", model: "qwen.qwen3-32b-v1:0", req: format(schema), want: []string{`"outputConfig":{"textFormat":{"structure":{"jsonSchema":{"description":"d","name":"n","schema":"{\"type\":\"object\",`}, missing: []string{"toolConfig"}},
		{name: "a format by a tool", model: claude35, req: format(schema), want: []string{`"name":"json_output"`, `"tool_choice":{"type":"tool","name":"json_output"}`, `"minimum":1`, `as its input. d"`}, missing: []string{"output_config", "strict"}},
		{name: "and for Converse", model: nova, req: format(schema), want: []string{`"toolChoice":{"tool":{"name":"json_output"}}`}},
		{name: "where a tool can't be forced it is offered", model: llama33, req: format(schema), want: []string{`"name":"json_output"`, `"toolChoice":{"auto":{}}`}},
		{name: "any JSON is asked for in words", model: claude45, req: format(""), want: []string{`"system":[{"type":"text","text":"Answer with a single JSON object only`}, missing: []string{"json_output", "tool_choice", "output_config"}},
		{name: "an open object has no native form", model: claude45, req: format(`{"type":"object","additionalProperties":{"type":"string"}}`), want: []string{`"name":"json_output"`, `"input_schema":{"type":"object","additionalProperties":{"type":"string"}}`}, missing: []string{"strict", "output_config"}},
		{name: "beside other tools", model: nova, req: with(func(r *chat.Request) {
			r.Tools, r.Format = []chat.Tool{tool}, &chat.Format{Schema: json.RawMessage(schema)}
		}), want: []string{`"name":"f"`, `"name":"json_output"`, `"toolChoice":{"any":{}}`}},
		{name: "a tool of that name", model: nova, req: with(func(r *chat.Request) {
			r.Tools, r.Format = []chat.Tool{{Name: "json_output"}}, &chat.Format{Schema: json.RawMessage(schema)}
		}), want: []string{`"name":"json_output"`, `"name":"json_output_`}},
		{name: "an effort does not forbid forcing", model: claude37, req: with(func(r *chat.Request) {
			r.Format, r.Reasoning, r.MaxTokens = &chat.Format{Schema: json.RawMessage(schema)}, &chat.Reasoning{Effort: "low"}, ptr(9000)
		}), want: []string{`"tool_choice":{"type":"tool","name":"json_output"}`}, missing: []string{"thinking"}},
		{name: "the caller's own thinking does", model: claude37, req: with(func(r *chat.Request) {
			r.Format, r.Reasoning, r.MaxTokens = &chat.Format{Schema: json.RawMessage(schema)}, &chat.Reasoning{Thinking: json.RawMessage(`{"type":"enabled","budget_tokens":2048}`)}, ptr(9000)
		}), want: []string{`"tool_choice":{"type":"auto"}`, `"thinking":{"type":"enabled","budget_tokens":2048}`}},
		{name: "no format at all", model: titan, req: format(schema), refused: "response_format"},
		{name: "a format that is no object", model: nova, req: format(`{"type":"array"}`), refused: "response_format"},

		{name: "effort by a budget under max_tokens", model: claude37, req: effort("high"), want: []string{`"max_tokens":32768`, `"thinking":{"type":"enabled","budget_tokens":16384}`}},
		{name: "a budget too small is left out", model: claude37, req: with(func(r *chat.Request) { r.Reasoning, r.MaxTokens = &chat.Reasoning{Effort: "high"}, ptr(1024) }), missing: []string{"thinking"}},
		{name: "the least budget", model: claude37, req: with(func(r *chat.Request) { r.Reasoning, r.MaxTokens = &chat.Reasoning{Effort: "high"}, ptr(1025) }), want: []string{`"budget_tokens":1024`}},
		{name: "no budget behind a prefill", model: claude37, req: with(func(r *chat.Request) {
			r.Reasoning = &chat.Reasoning{Effort: "high"}
			r.Messages = append(r.Messages, chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.Text{Text: "{"}}})
		}), missing: []string{"thinking"}},
		{name: "effort by adaptive thinking", model: claude46, req: effort("minimal"), want: []string{`"thinking":{"type":"adaptive","display":"summarized"}`, `"output_config":{"effort":"low"}`}},
		{name: "the most that it knows", model: claude46, req: effort("xhigh"), want: []string{`"output_config":{"effort":"max"}`}},
		{name: "none", model: claude46, req: effort("none"), missing: []string{"thinking", "effort"}},
		{name: "effort of Nova 2", model: nova2, req: effort("max"), want: []string{`"additionalModelRequestFields":{"reasoningConfig":{"type":"enabled","maxReasoningEffort":"high"}}`}},
		{name: "effort of gpt-oss", model: gptOSS, req: effort("minimal"), want: []string{`"additionalModelRequestFields":{"reasoning_effort":"low"}`}},
		{name: "effort of a model that nobody knows", model: unknownID, req: effort("high"), want: []string{`"outputConfig":{"effort":"high"}`}},
		{name: "no effort", model: nova, req: effort("low"), refused: "reasoning_effort"},
		{name: "Claude's own object", model: claude46, req: with(func(r *chat.Request) {
			r.Reasoning = &chat.Reasoning{Thinking: json.RawMessage(`{"type":"enabled","budget_tokens":5000,"display":"omitted"}`)}
		}), want: []string{`"thinking":{"type":"enabled","budget_tokens":5000,"display":"omitted"}`}},
		{name: "which nobody else takes", model: nova, req: with(func(r *chat.Request) {
			r.Reasoning = &chat.Reasoning{Thinking: json.RawMessage(`{"type":"enabled","budget_tokens":5000}`)}
		}), refused: "thinking"},

		{name: "cache marks of Claude", model: claude45, req: with(func(r *chat.Request) {
			r.System = []chat.Block{chat.Text{Text: "s"}, chat.CachePoint{TTL: "1h"}}
			r.Messages[0].Blocks = append(r.Messages[0].Blocks, chat.CachePoint{})
			r.Tools = []chat.Tool{{Name: "f", Schema: tool.Schema, Cache: &chat.CachePoint{TTL: "1h"}}}
		}), want: []string{`"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}]`, `{"type":"text","text":"q","cache_control":{"type":"ephemeral"}}`, `"cache_control":{"type":"ephemeral","ttl":"1h"}}]`}},
		{name: "an hour that the model does not know", model: claude35, req: with(func(r *chat.Request) { r.Messages[0].Blocks = append(r.Messages[0].Blocks, chat.CachePoint{TTL: "1h"}) }), want: []string{`"cache_control":{"type":"ephemeral"}`}},
		{name: "cache points of Nova: system and messages only", model: nova, req: with(func(r *chat.Request) {
			r.System = []chat.Block{chat.Text{Text: "s"}, chat.CachePoint{TTL: "1h"}}
			r.Messages[0].Blocks = append(r.Messages[0].Blocks, chat.CachePoint{TTL: "5m"})
			r.Tools = []chat.Tool{{Name: "f", Cache: &chat.CachePoint{}}}
		}), want: []string{`"system":[{"text":"s"},{"cachePoint":{"type":"default"}}]`, `{"text":"q"},{"cachePoint":{"ttl":"5m","type":"default"}}`}, missing: []string{`}},{"cachePoint":{"type":"default"}}]}`}},
		{name: "beside a result, never inside", model: claude45, req: with(func(r *chat.Request) {
			r.Messages = append(r.Messages, called[0], chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "call00001", Blocks: []chat.Block{chat.Text{Text: "r"}, chat.CachePoint{}}}}})
		}), want: []string{`{"type":"tool_result","tool_use_id":"call00001","content":[{"type":"text","text":"r"}],"cache_control":{"type":"ephemeral"}}`}},
		{name: "no cache", model: llama33, req: with(func(r *chat.Request) { r.Messages[0].Blocks = append(r.Messages[0].Blocks, chat.CachePoint{}) }), missing: []string{"cachePoint"}},

		{name: "images in results where the family takes them", model: claude35, req: with(func(r *chat.Request) {
			r.Messages = append(r.Messages, called[0], chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "call00001", Blocks: []chat.Block{chat.Image{Format: "gif", Data: gif}}}}})
		}), want: []string{`"content":[{"type":"image","source":{"type":"base64","media_type":"image/gif"`}},
		{name: "and where it takes none", model: cohere, req: with(func(r *chat.Request) {
			r.Messages = append(r.Messages, called[0], chat.Message{Role: chat.User, Param: "messages[2]", Blocks: []chat.Block{chat.ToolResult{ID: "call00001", Blocks: []chat.Block{chat.Image{Format: "gif", Data: gif, Param: "messages[2].content[0]"}}}}})
		}), refused: "messages[2].content[0]"},
		{name: "an image that was never fetched", model: nova, req: with(func(r *chat.Request) {
			r.Messages[0].Blocks = []chat.Block{chat.Image{URL: "https://x.invalid", Param: "messages[0].content[0]"}}
		}), refused: "messages[0].content[0]"},
		{name: "a text document for Claude", model: claude35, req: with(func(r *chat.Request) {
			r.Messages[0].Blocks = append(r.Messages[0].Blocks, chat.Document{Name: "a.md", Format: "md", Data: []byte("# é")})
		}), want: []string{`{"type":"document","source":{"type":"text","media_type":"text/plain","data":"# é"},"title":"a.md"}`}},
		{name: "a spreadsheet", model: claude35, req: with(func(r *chat.Request) {
			r.Messages[0].Blocks = append(r.Messages[0].Blocks, chat.Document{Name: "a.xlsx", Format: "xlsx", Data: pdf, Param: "messages[0].content[1]"})
		}), want: []string{`{"document":{"format":"xlsx","name":"a xlsx","source":{"bytes":"`}},
		{name: "a spreadsheet on Converse", model: nova, req: with(func(r *chat.Request) {
			r.Messages[0].Blocks = append(r.Messages[0].Blocks, chat.Document{Name: "a.b c__d", Format: "xlsx", Data: []byte("PK")}, chat.Document{Name: "A b C d", Format: "csv", Data: []byte("a")}, chat.Document{Format: "csv", Data: []byte("a")})
		}), want: []string{`"name":"a b c d"`, `"name":"A b C d (2)"`, `"name":"document"`}},

		{name: "top_k", model: claude35, req: with(func(r *chat.Request) { r.Extensions = map[string]json.RawMessage{"top_k": json.RawMessage(`5`)} }), want: []string{`"top_k":5`}},
		{name: "top_k of Nova", model: nova, req: with(func(r *chat.Request) { r.Extensions = map[string]json.RawMessage{"top_k": json.RawMessage(`5`)} }),
			options: resource.Bedrock{AdditionalModelRequestFields: json.RawMessage(`{"x":1}`)}, want: []string{`"additionalModelRequestFields":{"inferenceConfig":{"topK":5},"x":1}`}},
		{name: "no top_k", model: llama33, req: with(func(r *chat.Request) { r.Extensions = map[string]json.RawMessage{"top_k": json.RawMessage(`5`)} }), refused: "top_k"},
		{name: "fields of the resource, and of a request that may", model: claude35, req: with(func(r *chat.Request) {
			r.Extensions = map[string]json.RawMessage{"additionalModelRequestFields": json.RawMessage(`{"top_k":7,"y":"<"}`)}
		}), options: resource.Bedrock{AdditionalModelRequestFields: json.RawMessage(`{"top_k":6,"x":1.50}`), AllowOverride: []string{"additionalModelRequestFields"}}, want: []string{`"top_k":7`, `"x":1.50`, `"y":"<"`}},
		{name: "a request that may not", model: claude35, req: with(func(r *chat.Request) {
			r.Extensions = map[string]json.RawMessage{"additionalModelRequestFields": json.RawMessage(`{}`)}
		}), refused: "additionalModelRequestFields"},
		{name: "what would be the request itself", model: claude35, req: userSays("q"), options: resource.Bedrock{AdditionalModelRequestFields: json.RawMessage(`{"messages":[]}`)}, refused: "messages"},
		{name: "betas", model: claude35, req: userSays("q"), options: resource.Bedrock{AnthropicBeta: []string{"context-1m-2025-08-07"}}, want: []string{`"anthropic_beta":["context-1m-2025-08-07"]`}},
		{name: "knobs of Converse", model: nova, req: with(func(r *chat.Request) { r.Metadata = map[string]string{"ok": "y", "bad": "ü"} }), options: resource.Bedrock{
			GuardrailConfig: &resource.GuardrailConfig{Identifier: "gr1", Version: "2", Trace: "enabled_full", StreamMode: "async"}, PerformanceConfig: &resource.Performance{Latency: "optimized"}, ServiceTier: &resource.ServiceTier{Type: "flex"},
		}, want: []string{`"guardrailConfig":{"guardrailIdentifier":"gr1","guardrailVersion":"2","trace":"enabled_full"}`, `"performanceConfig":{"latency":"optimized"}`, `"serviceTier":{"type":"flex"}`, `"requestMetadata":{"ok":"y"}`}},
		{name: "knobs of ConverseStream", model: nova, req: with(func(r *chat.Request) { r.Stream = true }), options: resource.Bedrock{GuardrailConfig: &resource.GuardrailConfig{Identifier: "gr1", Version: "DRAFT", StreamMode: "async"}},
			want: []string{`"guardrailConfig":{"guardrailIdentifier":"gr1","guardrailVersion":"DRAFT","streamProcessingMode":"async"}`}},
		{name: "a service tier that the resource lets through", model: nova, req: with(func(r *chat.Request) { r.ServiceTier = "priority" }), options: resource.Bedrock{AllowOverride: []string{"serviceTier"}}, want: []string{`"serviceTier":{"type":"priority"}`}},
		{name: "the reserved one too", model: claude45, req: with(func(r *chat.Request) { r.ServiceTier = "reserved" }), options: resource.Bedrock{AllowOverride: []string{"serviceTier"}}},
		{name: "and not everybody's", model: claude45, req: with(func(r *chat.Request) { r.ServiceTier = "reserved" }), refused: "service_tier"},
		{name: "and one that it does not", model: nova, req: with(func(r *chat.Request) { r.ServiceTier = "priority" }), refused: "service_tier"},
		{name: "no tier", model: nova, req: with(func(r *chat.Request) { r.ServiceTier = "auto" }), missing: []string{"serviceTier"}},
		{name: "the caller's user", model: claude35, req: with(func(r *chat.Request) { r.User = "u-1" }), want: []string{`"metadata":{"user_id":"u-1"}`}},

		{name: "reasoning goes back to Claude", model: claude45, req: with(func(r *chat.Request) {
			r.Messages = append(r.Messages, chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.Thinking{Signature: "sig"}, chat.Text{Text: "a"}, chat.Redacted{Data: "AAE="}, chat.Thinking{Text: "unsigned"}}}, userSays("b").Messages[0])
		}), want: []string{`"content":[{"type":"thinking","thinking":"","signature":"sig"},{"type":"text","text":"a"},{"type":"redacted_thinking","data":"AAE="}]`}},
		{name: "to Claude whatever its data are", model: claude45, req: with(func(r *chat.Request) {
			r.Messages = append(r.Messages, chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.Redacted{Data: "not base64 <é>"}, chat.Text{Text: "a"}}}, userSays("b").Messages[0])
		}), want: []string{`{"type":"redacted_thinking","data":"not base64 <é>"}`}},
		{name: "and to no model that has none", model: nova, req: with(func(r *chat.Request) {
			r.Messages = append(r.Messages, chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.Text{Text: "a"}, chat.Thinking{Text: "t", Signature: "sig"}}}, userSays("b").Messages[0])
		}), want: []string{`{"content":[{"text":"a"}],"role":"assistant"}`}},
		{name: "and to a model that nobody knows", model: "arn:aws:bedrock:us-west-2:123456789012:application-inference-profile/ab12", req: with(func(r *chat.Request) {
			r.Messages = append(r.Messages, chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.Thinking{Text: "t", Signature: "sig"}, chat.Text{Text: "a"}, chat.Redacted{Data: "AAE="}}}, userSays("b").Messages[0])
		}), want: []string{`{"reasoningContent":{"reasoningText":{"signature":"sig","text":"t"}}},{"text":"a"},{"reasoningContent":{"redactedContent":"AAE="}}`}},
	} {
		to := compile(&resource.Model{ModelName: tt.model, Bedrock: tt.options})
		c, err := NewCall(t.Context(), tt.req, to, bodyLimit)
		if tt.refused != "" {
			var f *fault.Error
			if !errors.As(err, &f) || f.Status != 400 || f.Param != tt.refused {
				t.Errorf("%s: %v, want a 400 for %s", tt.name, err, tt.refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(string(c.body), want) {
				t.Errorf("%s: no %s in\n%s", tt.name, want, c.body)
			}
		}
		for _, missing := range tt.missing {
			if strings.Contains(string(c.body), missing) {
				t.Errorf("%s: %s in\n%s", tt.name, missing, c.body)
			}
		}
	}
}
