package sim

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
)

// The shape of OpenAI's Chat Completions, as OpenAI's reference has it (API reference: Create chat
// completion), of what a text model can do. Guardrails are the runtime host's alone (Bedrock user guide:
// Include a guardrail in a chat completion).
var (
	chatName  = text(1, 64, toolName)
	chatParts = func(kinds ...string) check {
		all := map[string]map[string]check{
			"text":      {"*text": anyText},
			"refusal":   {"*refusal": anyText},
			"image_url": {"*image_url": members(map[string]check{"*url": dataURL, "detail": enum("auto", "low", "high")})},
		}
		mine := map[string]map[string]check{}
		for _, k := range kinds {
			mine[k] = all[k]
		}
		return textOr(tagged(mine))
	}
	chatCall = tagged(map[string]map[string]check{"function": {
		"*id": text(1, 256, ""), "*function": members(map[string]check{"*name": chatName, "*arguments": anyText}), "index": integer(0, 127),
	}})
	chatMessages = map[string]check{
		"system":    members(map[string]check{"*role": anyText, "*content": chatParts("text"), "name": anyText}),
		"developer": members(map[string]check{"*role": anyText, "*content": chatParts("text"), "name": anyText}),
		"user":      members(map[string]check{"*role": anyText, "*content": chatParts("text", "image_url"), "name": anyText}),
		"tool":      members(map[string]check{"*role": anyText, "*content": chatParts("text"), "*tool_call_id": text(1, 256, "")}),
		"assistant": members(map[string]check{
			"*role": anyText, "content": chatParts("text", "refusal"), "refusal": anyText, "name": anyText, "tool_calls": list(1, 128, chatCall),
			"reasoning": anyText, "reasoning_content": anyText,
		}),
	}
	jsonFormat = map[string]map[string]check{
		"text": {}, "json_object": {},
		"json_schema": {"*json_schema": members(map[string]check{"*name": chatName, "description": anyText, "schema": freeObject, "strict": boolean})},
	}
	chatFields = map[string]check{
		"*model": anyText, "*messages": list(1, 100_000, chatMessage), "stream": boolean,
		"stream_options": members(map[string]check{"include_usage": boolean, "include_obfuscation": boolean}),
		"max_tokens":     integer(1, math.MaxInt32), "max_completion_tokens": integer(1, math.MaxInt32),
		"temperature": number(0, 2), "top_p": number(0, 1), "n": integer(1, 1), "seed": integer(math.MinInt64, math.MaxInt64),
		"presence_penalty": number(-2, 2), "frequency_penalty": number(-2, 2), "logit_bias": freeObject, "logprobs": boolean, "top_logprobs": integer(0, 20),
		"stop": textOrTexts(4), "user": anyText, "metadata": mapOf(0, 16, text(0, 64, ""), text(0, 512, "")), "store": boolean,
		"tools": list(1, 128, tagged(map[string]map[string]check{"function": {
			"*function": members(map[string]check{"*name": chatName, "description": anyText, "parameters": schema, "strict": boolean}),
		}})),
		"tool_choice":         chatChoice,
		"parallel_tool_calls": boolean, "response_format": tagged(jsonFormat), "reasoning_effort": enum("none", "minimal", "low", "medium", "high", "xhigh"),
		"verbosity": enum("low", "medium", "high"), "service_tier": enum("auto", "default", "flex", "priority"), "prompt_cache_key": anyText, "safety_identifier": anyText,
	}
	chatBodies = map[string]check{mantleHost: members(chatFields), runtimeHost: members(with(chatFields, map[string]check{
		"amazon-bedrock-guardrailConfig": members(map[string]check{"tagSuffix": text(1, 20, "[a-zA-Z0-9]+"), "streamProcessingMode": enum("SYNCHRONOUS", "ASYNCHRONOUS")}),
	}))}
)

func with(fields, more map[string]check) map[string]check {
	all := map[string]check{}
	for _, m := range []map[string]check{fields, more} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}

// chatMessage checks a message by its role.
func chatMessage(path string, v any) *fault {
	o, ok := v.(object)
	if !ok {
		return at(path, "Input should be an object")
	}
	if o["role"] == nil {
		return at(join(path, "role"), "Field required")
	}
	c := chatMessages[str(v, "role")]
	if c == nil {
		return at(join(path, "role"), "Supported values are: 'system', 'developer', 'user', 'assistant' and 'tool'.")
	}
	return c(path, v)
}

func chatChoice(path string, v any) *fault {
	if _, ok := v.(string); ok {
		return enum("none", "auto", "required")(path, v)
	}
	named := map[string]check{"*function": members(map[string]check{"*name": chatName})}
	return tagged(map[string]map[string]check{"function": named, "allowed_tools": {"*allowed_tools": members(map[string]check{
		"*mode": enum("auto", "required"), "*tools": list(1, 128, tagged(map[string]map[string]check{"function": named})),
	})}})(path, v)
}

// textOrTexts checks a string, or a list of strings.
func textOrTexts(most int) check {
	return func(path string, v any) *fault {
		if _, ok := v.(string); ok {
			return nil
		}
		return list(1, most, anyText)(path, v)
	}
}

// dataURL checks an image in a URL. Bedrock fetches none: Bedrock user guide, Chat Completions API.
func dataURL(path string, v any) *fault {
	s, ok := v.(string)
	if !ok {
		return at(path, "Input should be a valid string")
	}
	media, data, ok := strings.Cut(strings.TrimPrefix(s, "data:"), ";base64,")
	if !strings.HasPrefix(s, "data:image/") || !ok {
		return at(path, "Expected a base64-encoded data URL with an image MIME type (e.g. 'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU=').")
	}
	b, err := base64.StdEncoding.DecodeString(data)
	if err != nil || "image/"+imageKind(b) != media {
		return at(path, "The image data you provided does not represent a valid image of that type.")
	}
	return nil
}

// arguments are a call's: JSON in a string, of an object.
func arguments(s string) bool {
	var o object
	return json.Unmarshal([]byte(s), &o) == nil
}
