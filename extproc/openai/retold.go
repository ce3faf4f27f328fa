package openai

import (
	"cmp"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// Retold is the fault as it is: its words are chat completions'.
func (*asked) Retold(f *fault.Error) *fault.Error { return f }

// Retold names a place of the conversation and a parameter by this format's words for them.
func (a *askedResponse) Retold(f *fault.Error) *fault.Error {
	param := strings.TrimSuffix(f.Param, ".tool_calls") // each call is an item
	param = strings.TrimSuffix(param, ".url")           // image_url.url is a member of its own here
	return chat.Retell(f, cmp.Or(responsesNames[param], param), unpaired)
}

// responsesNames are the parameters that this format has by another name.
var responsesNames = map[string]string{
	"messages":         "input",
	"max_tokens":       "max_output_tokens",
	"reasoning_effort": "reasoning.effort",
	"response_format":  "text.format",
}

// unpaired says in OpenAI's words what calls and outputs do not pair. "" has no words.
func unpaired(m *chat.Mistake) string {
	switch m.Rule {
	case chat.CallAlone:
		return "No tool output found for function call " + m.ID + ": each call in input must be followed by an output item with its call_id"
	case chat.ResultAlone:
		return "No tool call found for function call output with call_id " + m.ID + ": an output item must follow the call in input that it answers"
	case chat.CallTwice:
		return "Two tool calls in input have the call_id " + m.ID
	case chat.ResultTwice:
		return "Two outputs in input have the call_id " + m.ID
	}
	return ""
}
