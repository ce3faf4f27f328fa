package bedrock

import (
	"encoding/json"
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/chat"
)

// attached is a conversation with a document where it says: in the first, the second or
// the last of the user's turns, or in a tool result.
func attached(format, where string) *chat.Request {
	doc := chat.Document{Name: "a." + format, Format: format, Data: []byte("a,b")}
	turn := func(role chat.Role, blocks ...chat.Block) chat.Message {
		return chat.Message{Role: role, Blocks: blocks}
	}
	r := &chat.Request{Messages: []chat.Message{
		turn(chat.User, chat.Text{Text: "one"}),
		turn(chat.Assistant, chat.Text{Text: "two"}),
		turn(chat.User, chat.Text{Text: "three"}),
		turn(chat.Assistant, chat.ToolUse{ID: "c1", Name: "f", Input: json.RawMessage(`{}`)}),
		turn(chat.User, chat.ToolResult{ID: "c1", Blocks: []chat.Block{chat.Text{Text: "four"}}}),
		turn(chat.Assistant, chat.Text{Text: "five"}),
		turn(chat.User, chat.Text{Text: "six"}),
	}}
	switch i := map[string]int{"first": 0, "middle": 2, "result": 4, "last": 6}[where]; where {
	case "result":
		result := r.Messages[i].Blocks[0].(chat.ToolResult)
		result.Blocks = append(result.Blocks, doc)
		r.Messages[i].Blocks[0] = result
	default:
		r.Messages[i].Blocks = append(r.Messages[i].Blocks, doc)
	}
	return r
}

// Claude's requests go to InvokeModel, and by Converse where a document says so; those of
// other models always go by Converse.
func TestOperationByDocument(t *testing.T) {
	for _, format := range []string{"pdf", "txt", "md", "csv", "html", "doc", "docx", "xls", "xlsx"} {
		for _, where := range []string{"first", "middle", "result", "last"} {
			for _, stream := range []bool{false, true} {
				for model, publisher := range map[string]string{claude37: "", claude45: "", claude46: "", "us.anthropic.claude-future-9-v1": "", opaqueARN: "anthropic", nova: "", unknownID: ""} {
					r := attached(format, where)
					r.Stream = stream
					c := newCall(t, r, compile(&resource.Model{ModelName: model, Publisher: publisher}))
					claude := publisher == "anthropic" || strings.Contains(model, "anthropic.")
					invokes := claude && !strings.Contains("doc docx xls xlsx", format)
					suffix := map[bool]map[bool]string{
						true:  {false: "/invoke", true: "/invoke-with-response-stream"},
						false: {false: "/converse", true: "/converse-stream"},
					}[invokes][stream]
					if !strings.HasSuffix(c.address.url.Path, suffix) || c.api.anthropic() != invokes {
						t.Errorf("%s in the %s turn to %s goes to %s, want %s", format, where, model, c.address.url.Path, suffix)
					}
					if !invokes && !strings.Contains(string(c.body), `"format":"`+format+`"`) {
						t.Errorf("%s in the %s turn to %s is not in %s", format, where, model, c.body)
					}
				}
			}
		}
	}
}

// Whatever Claude's own body says is said by Converse, too.
func TestClaudeByConverse(t *testing.T) {
	tool := chat.Tool{Name: "f", Strict: true, Schema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}}}`), Cache: &chat.CachePoint{TTL: "1h"}}
	for name, test := range map[string]struct {
		model   string
		change  func(*chat.Request)
		want    []string
		missing []string
	}{
		"a thinking object": {claude37, func(r *chat.Request) {
			r.MaxTokens, r.Reasoning = ptr(9000), &chat.Reasoning{Thinking: json.RawMessage(`{"type":"enabled","budget_tokens":5000}`)}
		}, []string{`"thinking":{"type":"enabled","budget_tokens":5000}`, `"maxTokens":9000`}, nil},
		"an effort": {claude46, func(r *chat.Request) { r.Reasoning = &chat.Reasoning{Effort: "high"} },
			[]string{`"thinking":{"type":"adaptive"`, `"outputConfig":{"effort":"high"`}, nil},
		"an effort that is a budget": {claude37, func(r *chat.Request) {
			r.Messages, r.MaxTokens, r.Reasoning = r.Messages[6:], ptr(9000), &chat.Reasoning{Effort: "low"}
		}, []string{`"thinking":{"type":"enabled","budget_tokens":2048}`}, nil},
		"past reasoning": {claude45, func(r *chat.Request) {
			r.Messages[1].Blocks = []chat.Block{chat.Thinking{Text: "t", Signature: "sig"}, chat.Redacted{Data: "AAE="}, chat.Text{Text: "two"}}
		}, []string{`"content":[{"reasoningContent":{"reasoningText":{"signature":"sig","text":"t"}}},{"reasoningContent":{"redactedContent":"AAE="}},{"text":"two"}]`}, nil},
		"sampling": {claude45, func(r *chat.Request) {
			r.Temperature, r.Stop = ptr(0.5), []string{"END"}
			r.Extensions = map[string]json.RawMessage{"top_k": json.RawMessage(`5`)}
		}, []string{`"stopSequences":["END"]`, `"temperature":0.5`, `"top_k":5`}, nil},
		"cache points": {claude45, func(r *chat.Request) {
			r.Tools = []chat.Tool{tool}
			r.System = []chat.Block{chat.Text{Text: "s"}, chat.CachePoint{TTL: "1h"}}
			r.Messages[0].Blocks = append(r.Messages[0].Blocks, chat.CachePoint{})
			r.Messages[4].Blocks = append(r.Messages[4].Blocks, chat.CachePoint{TTL: "5m"})
		}, []string{`{"cachePoint":{"ttl":"1h","type":"default"}}],`, `"system":[{"text":"s"},{"cachePoint":{"ttl":"1h","type":"default"}}]`, `{"text":"one"},{"cachePoint":{"type":"default"}}`, `{"cachePoint":{"ttl":"5m","type":"default"}}`}, nil},
		"betas": {claude45, func(r *chat.Request) {
			r.Extensions = map[string]json.RawMessage{"anthropic_beta": json.RawMessage(`["context-1m-2025-08-07"]`)}
		}, []string{`"anthropic_beta":["context-1m-2025-08-07"]`}, nil},
		"a strict tool": {claude45, func(r *chat.Request) { r.Tools = []chat.Tool{tool} }, []string{`"strict":true`, `"additionalProperties":false`}, nil},
		"a format": {claude45, func(r *chat.Request) {
			r.Format = &chat.Format{Name: "n", Schema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}}}`)}
		}, []string{`"outputConfig":{"textFormat":{`}, nil},
		"a format by a tool": {claude37, func(r *chat.Request) {
			r.Format = &chat.Format{Name: "n", Schema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}}}`)}
		}, []string{`"toolChoice":{"tool":{"name":"json_output"}}`}, nil},
		"one call at a time": {claude45, func(r *chat.Request) { r.Tools, r.ParallelToolCalls = []chat.Tool{tool}, ptr(false) },
			[]string{`"tool_choice":{"disable_parallel_tool_use":true,"type":"auto"}`}, nil},
		"one call, forced": {claude45, func(r *chat.Request) {
			r.Tools, r.ParallelToolCalls, r.ToolChoice = []chat.Tool{tool}, ptr(false), chat.ToolChoice{Mode: chat.ToolChoiceAny}
		}, []string{`"tool_choice":{"disable_parallel_tool_use":true,"type":"any"}`, `"toolChoice":{"any":{}}`}, nil},
		"one call of one tool, by its alias": {claude45, func(r *chat.Request) {
			tool := tool
			tool.Name = "an illegal name"
			r.Tools, r.ParallelToolCalls, r.ToolChoice = []chat.Tool{tool}, ptr(false), chat.ToolChoice{Mode: chat.ToolChoiceTool, Name: tool.Name}
		}, []string{`"tool_choice":{"disable_parallel_tool_use":true,"name":"an_illegal_name`, `"toolChoice":{"tool":{"name":"an_illegal_name`}, []string{`an illegal name`}},
		"not where the model has no such control": {claude35, func(r *chat.Request) { r.Tools, r.ParallelToolCalls = []chat.Tool{tool}, ptr(false) },
			nil, []string{"disable_parallel_tool_use"}},
		"the caller's user": {claude45, func(r *chat.Request) { r.User = "u-1" }, []string{`"metadata":{"user_id":"u-1"}`}, nil},
		"a user who looks like an address": {claude45, func(r *chat.Request) { r.User = "a@example.com" },
			[]string{`"metadata":{"user_id":"`}, []string{"a@example.com"}},
		"labels": {claude45, func(r *chat.Request) { r.Metadata = map[string]string{"team": "blue"} }, []string{`"requestMetadata":{"team":"blue"}`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := attached("docx", "last")
			test.change(r)
			m := compile(&resource.Model{ModelName: test.model, Bedrock: resource.Bedrock{AllowOverride: []string{"anthropic_beta"}}})
			c := newCall(t, r, m)
			if c.api.anthropic() {
				t.Fatal("goes to InvokeModel")
			}
			for _, want := range test.want {
				if !strings.Contains(string(c.body), want) {
					t.Errorf("no %s in\n%s", want, c.body)
				}
			}
			for _, missing := range test.missing {
				if strings.Contains(string(c.body), missing) {
					t.Errorf("%s in\n%s", missing, c.body)
				}
			}
			if told := strings.Contains(strings.Join(c.Notes(), "\n"), "a document needs Converse"); told != strings.Contains(string(c.body), "disable_parallel_tool_use") {
				t.Errorf("notes %q", c.Notes())
			}
		})
	}
}

// What a model's resource says by hand wins over what we derive.
func TestOperatorsMembersByConverse(t *testing.T) {
	r := attached("xlsx", "first")
	r.User = "u-1"
	c := newCall(t, r, compile(&resource.Model{ModelName: claude45, Bedrock: resource.Bedrock{AdditionalModelRequestFields: json.RawMessage(`{"metadata":{"user_id":"ours"}}`)}}))
	if body := string(c.body); !strings.Contains(body, `"metadata":{"user_id":"ours"}`) {
		t.Errorf("the resource's own member is not in %s", body)
	}
}
