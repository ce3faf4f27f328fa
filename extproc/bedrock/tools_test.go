package bedrock

import (
	"encoding/json"
	"strings"
	"testing"

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
	body := string(newCall(t, asks(named, chat.Tool{Name: "a"}, chat.Tool{Name: "b"}), target("mistral.mistral-large-2407-v1:0")).Body())
	if !strings.Contains(body, `"toolChoice":{"any":{}}`) || strings.Contains(body, `"name":"a"`) || !strings.Contains(body, `"name":"b"`) {
		t.Errorf("any of one tool is that tool, got %s", body)
	}
}

func TestStrictToolHasASchemaThatTheDecoderTakes(t *testing.T) {
	tool := chat.Tool{Name: "a", Strict: true, Schema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer","minimum":1}}}`)}
	body := string(newCall(t, asks(chat.ToolChoice{}, tool), target("anthropic.claude-sonnet-4-5-20250929-v1:0")).Body())
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
		"redacted":                             {"anthropic.claude-sonnet-4-5-20250929-v1:0", []chat.Block{chat.Redacted{Data: []byte("r")}}, true},
		"unsigned is as forgotten":             {"anthropic.claude-sonnet-4-5-20250929-v1:0", []chat.Block{chat.Thinking{Text: "t"}}, false},
		"adaptive takes either":                {"anthropic.claude-opus-4-6-v1", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := asks(chat.ToolChoice{}, chat.Tool{Name: "f"})
			r.Reasoning = &chat.Reasoning{Effort: "low"}
			r.Messages = append(r.Messages,
				chat.Message{Role: chat.Assistant, Blocks: append(test.reasoning, chat.ToolUse{ID: "c", Name: "f"})},
				chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "c"}}})
			body := string(newCall(t, r, target(test.model)).Body())
			if strings.Contains(body, `"thinking":{`) != test.thinks {
				t.Errorf("thinks: want %t, got %s", test.thinks, body)
			}
		})
	}
}
