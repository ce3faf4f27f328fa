package anthropic

import (
	"cmp"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// Retold names a place of the conversation and a parameter by this format's words for them,
// and says in Anthropic's words what clients act on.
func (a *asked) Retold(f *fault.Error) *fault.Error {
	param := strings.TrimSuffix(f.Param, ".tool_calls") // there are blocks
	if place, ok := strings.CutSuffix(param, ".image_url.url"); ok {
		param = place + ".source.url"
	}
	advised := *f
	advised.Message = otherWords.Replace(f.Message)
	return chat.Retell(&advised, cmp.Or(names[param], param), mistaken)
}

func mistaken(m *chat.Mistake) string { return strings.ReplaceAll(mistakes[m.Rule], "{id}", m.ID) }

// names are the parameters that this format has by another name.
var names = map[string]string{
	"stop":                "stop_sequences",
	"reasoning_effort":    "output_config.effort",
	"response_format":     "output_config.format",
	"parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}

// otherWords are what a message advises.
var otherWords = strings.NewReplacer(": use reasoning_effort", ": use output_config.effort", "as a data: URL", "as base64")

// mistakes are what does not fit together in a conversation.
var mistakes = map[chat.Rule]string{
	chat.CallOutside:      "`tool_use` blocks can only be in `assistant` messages",
	chat.CallWithoutID:    "a `tool_use` block must have an `id`",
	chat.CallTwice:        "`tool_use` ids must be unique: {id}",
	chat.CallAlone:        "`tool_use` ids were found without `tool_result` blocks immediately after: {id}. Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
	chat.ResultOutside:    "`tool_result` blocks can only be in `user` messages",
	chat.ResultWithoutID:  "a `tool_result` block must have a `tool_use_id`",
	chat.ResultTwice:      "each `tool_use` must have a single result. Found multiple `tool_result` blocks with id: {id}",
	chat.ResultAlone:      "unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message.",
	chat.ReasoningOutside: "`thinking` blocks can only be in `assistant` messages",
}
