package bedrock

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/chat"
)

// asks is a question with one or two tools.
func asks(choice chat.ToolChoice, tools ...chat.Tool) *chat.Request {
	r := userSays("q")
	r.Tools, r.ToolChoice = tools, choice
	return r
}

func TestNamedToolWhereOnlyAnyCanBeChosen(t *testing.T) {
	named := chat.ToolChoice{Mode: chat.ToolChoiceTool, Name: "b"}
	body := string(newCall(t, asks(named, chat.Tool{Name: "a"}, chat.Tool{Name: "b"}), target("mistral.mistral-large-2407-v1:0")).body)
	if !strings.Contains(body, `"toolChoice":{"any":{}}`) || strings.Contains(body, `"name":"a"`) || !strings.Contains(body, `"name":"b"`) {
		t.Errorf("any of one tool is that tool, got %s", body)
	}
}

func TestStrictToolHasASchemaThatTheDecoderTakes(t *testing.T) {
	tool := chat.Tool{Name: "a", Strict: true, Schema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer","minimum":1}}}`)}
	body := string(newCall(t, asks(chat.ToolChoice{}, tool), target("anthropic.claude-sonnet-4-5-20250929-v1:0")).body)
	const want = `"input_schema":{"type":"object","properties":{"n":{"type":"integer","description":"(minimum: 1)"}},"additionalProperties":false},"strict":true`
	if !strings.Contains(body, want) {
		t.Errorf("got %s, want %s in it", body, want)
	}
}

// The second turn of a tool conversation, without and with the first turn's reasoning.
func TestEffortBehindToolResults(t *testing.T) {
	for name, test := range map[string]struct {
		model     string
		reasoning []chat.Block
		thinks    bool
	}{
		"forgotten, a budget would be refused": {"anthropic.claude-3-7-sonnet-20250219-v1:0", nil, false},
		"signed":                               {"anthropic.claude-3-7-sonnet-20250219-v1:0", []chat.Block{chat.Thinking{Text: "t", Signature: "s"}}, true},
		"redacted":                             {"anthropic.claude-sonnet-4-5-20250929-v1:0", []chat.Block{chat.Redacted{Data: "cg=="}}, true},
		"unsigned is as forgotten":             {"anthropic.claude-sonnet-4-5-20250929-v1:0", []chat.Block{chat.Thinking{Text: "t"}}, false},
		"text before the reasoning":            {"anthropic.claude-sonnet-4-5-20250929-v1:0", []chat.Block{chat.Text{Text: "a"}, chat.Thinking{Text: "t", Signature: "s"}}, false},
		"reasoning before and behind text":     {"anthropic.claude-sonnet-4-5-20250929-v1:0", []chat.Block{chat.Thinking{Signature: "s"}, chat.Text{Text: "a"}, chat.Redacted{Data: "cg=="}}, true},
		"another model's":                      {"anthropic.claude-sonnet-4-5-20250929-v1:0", []chat.Block{chat.Thinking{Text: "t", Signature: "s", Publisher: "amazon"}}, false},
		"adaptive takes either":                {"anthropic.claude-opus-4-6-v1", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := asks(chat.ToolChoice{}, chat.Tool{Name: "f"})
			r.Reasoning = &chat.Reasoning{Effort: "low"}
			r.Messages = append(r.Messages,
				chat.Message{Role: chat.Assistant, Blocks: append(test.reasoning, chat.ToolUse{ID: "c", Name: "f"})},
				chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "c"}}})
			body := string(newCall(t, r, target(test.model)).body)
			if strings.Contains(body, `"thinking":{`) != test.thinks {
				t.Errorf("thinks: want %t, got %s", test.thinks, body)
			}
		})
	}
}

func TestToolsOfNova(t *testing.T) {
	tool := chat.Tool{Name: "f", Schema: json.RawMessage(`{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"additionalProperties":false,"$defs":{"A":{"type":"string"}}}`)}
	r := asks(chat.ToolChoice{}, tool)
	r.Format = &chat.Format{Name: "x", Schema: json.RawMessage(`{"$ref":"#/$defs/O","$defs":{"O":{"type":"object","properties":{"b":{"type":"integer"}}}}}`)}
	body := string(newCall(t, r, target("amazon.nova-pro-v1:0")).body)
	for _, want := range []string{`{"json":{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}}`, `{"json":{"type":"object","properties":{"b":{"type":"integer"}}}}`} {
		if !strings.Contains(body, want) {
			t.Errorf("got %s, want %s in it", body, want)
		}
	}
}

func TestCallIDsOfMistral(t *testing.T) {
	r := asks(chat.ToolChoice{}, chat.Tool{Name: "f"})
	r.Messages = append(r.Messages,
		chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.ToolUse{ID: "tooluse_bpe71yCfRu2b5i-nKGDr5g", Name: "f"}, chat.ToolUse{ID: "abcDEF123", Name: "f"}}},
		chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "tooluse_bpe71yCfRu2b5i-nKGDr5g"}, chat.ToolResult{ID: "abcDEF123"}}})
	body := newCall(t, r, target("us.mistral.pixtral-large-2502-v1:0")).body
	ids := regexp.MustCompile(`"toolUseId":"([^"]*)"`).FindAllSubmatch(body, -1)
	if len(ids) != 4 || string(ids[0][1]) != string(ids[2][1]) || string(ids[1][1]) != "abcDEF123" || string(ids[3][1]) != "abcDEF123" ||
		!regexp.MustCompile(`^[a-zA-Z0-9]{9}$`).Match(ids[0][1]) {
		t.Errorf("ids of calls and results: %s", ids)
	}
}

// Kimi reads in its ids which call was which, and so gets all as they are, those that
// other models wrote too, but for what Converse's pattern of them does not take.
func TestCallIDsOfKimi(t *testing.T) {
	ids := []string{"functions.f:0", "functions.f:1", "call_1", "a.b:c-" + strings.Repeat("x", 58), "<é>", "two words", "functions.f:" + strings.Repeat("1", 53)}
	r := asks(chat.ToolChoice{}, chat.Tool{Name: "f"})
	var calls, results []chat.Block
	for _, id := range ids {
		calls, results = append(calls, chat.ToolUse{ID: id, Name: "f"}), append(results, chat.ToolResult{ID: id})
	}
	r.Messages = append(r.Messages, chat.Message{Role: chat.Assistant, Blocks: calls}, chat.Message{Role: chat.User, Blocks: results})
	for model, kept := range map[string]bool{"moonshot.kimi-k2-thinking": true, "us.moonshotai.kimi-k2.5": true, "qwen.qwen3-32b-v1:0": false, "anthropic.claude-opus-4-6-v1": false, "acme.model-1": false} {
		body := string(newCall(t, r, target(model)).body)
		for i, id := range ids {
			want := 0
			if kept && i < 4 || i == 2 {
				want = 2
			}
			if n := strings.Count(body, string(marshal(id))); n != want {
				t.Errorf("%s: the id %s goes up %d times, want %d: %s", model, id, n, want, body)
			}
		}
	}
	own := compile(&resource.Model{ModelName: "acme.model-1", Bedrock: resource.Bedrock{Capabilities: capabilities(t, `{"call_ids":"any"}`)}})
	if body := string(newCall(t, r, own).body); strings.Count(body, `"functions.f:0"`) != 2 {
		t.Errorf("the resource says that ids are free: %s", body)
	}
}

// Definitions that stand for the history's sake are not for calling: the caller
// offers no tool, and could answer no call.
func TestToolsOfTheHistoryAreNotCalled(t *testing.T) {
	r := userSays("q")
	r.Messages = append(r.Messages,
		chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.ToolUse{ID: "c1", Name: "f", Input: json.RawMessage(`{}`)}}, Param: "messages[1]"},
		chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "c1", Blocks: []chat.Block{chat.Text{Text: "42"}}}}, Param: "messages[2]"})
	shaped := *r
	shaped.Format = &chat.Format{Name: "n", Schema: json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"}}}`)}
	for _, test := range []struct {
		request     *chat.Request
		model, want string
	}{
		{r, "anthropic.claude-3-5-sonnet-20241022-v2:0", `"tool_choice":{"type":"none"}`},
		{r, "amazon.nova-pro-v1:0", `"name":"f"`},
		{&shaped, "anthropic.claude-3-5-sonnet-20241022-v2:0", `"tool_choice":{"type":"tool","name":"json_output"}`},
		{&shaped, "amazon.nova-pro-v1:0", `"toolChoice":{"tool":{"name":"json_output"}}`},
	} {
		body := string(newCall(t, test.request, target(test.model)).body)
		if !strings.Contains(body, test.want) || !strings.Contains(body, `"name":"f"`) {
			t.Errorf("%s: got %s, want %s in it", test.model, body, test.want)
		}
	}
}
