package sim

import (
	"fmt"
	"math"
)

// The shape of OpenAI's Responses, as OpenAI's reference has it (API reference: Create a model response)
// and as its clients send it: Codex puts tools and instructions into items too.
var (
	callRef   = text(1, 64, "")
	itemID    = text(1, 128, "")
	itemState = enum("in_progress", "completed", "incomplete")
	// A result is a text, or a list of parts.
	outputParts = textOr(tagged(inputParts))
	inputParts  = map[string]map[string]check{
		"input_text": {"*text": anyText}, "input_image": {"*image_url": dataURL, "detail": enum("auto", "low", "high", "original")},
		"input_file": {"filename": anyText, "*file_data": anyText},
	}
	messageParts = textOr(tagged(map[string]map[string]check{
		"input_text": inputParts["input_text"], "input_image": inputParts["input_image"], "input_file": inputParts["input_file"],
		"output_text": {"*text": anyText, "annotations": list(0, 1000, free), "logprobs": list(0, 1_000_000, free)}, "refusal": {"*refusal": anyText},
	}))
	thoughtParts = func(kind string) check {
		return list(0, 1000, tagged(map[string]map[string]check{kind: {"*text": anyText}}))
	}
	responseItem = tagged(map[string]map[string]check{
		"message":                 {"*role": enum("user", "assistant", "system", "developer"), "*content": messageParts, "id": itemID, "status": itemState, "phase": anyText},
		"reasoning":               {"id": itemID, "*summary": thoughtParts("summary_text"), "content": thoughtParts("reasoning_text"), "encrypted_content": anyText, "status": itemState},
		"function_call":           {"id": itemID, "*call_id": callRef, "*name": text(1, 128, toolName), "*arguments": anyText, "namespace": anyText, "status": itemState},
		"function_call_output":    {"id": itemID, "*call_id": callRef, "*output": outputParts, "status": itemState},
		"custom_tool_call":        {"id": itemID, "*call_id": callRef, "*name": text(1, 128, toolName), "*input": anyText, "namespace": anyText, "status": itemState},
		"custom_tool_call_output": {"id": itemID, "*call_id": callRef, "*output": outputParts, "name": anyText, "status": itemState},
		"local_shell_call": {"id": itemID, "*call_id": callRef, "status": itemState, "*action": members(map[string]check{
			"*type": enum("exec"), "*command": list(1, 1000, anyText), "env": freeObject, "timeout_ms": integer(0, math.MaxInt32), "user": anyText, "working_directory": anyText,
		})},
		"local_shell_call_output": {"id": itemID, "*call_id": callRef, "*output": anyText, "status": itemState},
		"additional_tools":        {"role": enum("developer"), "*tools": list(1, 1000, responseTool), "id": itemID},
		"item_reference":          {"*id": itemID},
	})
	plainTools = map[string]map[string]check{
		"function": {"*name": text(1, 128, toolName), "description": anyText, "parameters": schema, "strict": boolean, "defer_loading": boolean, "output_schema": freeObject},
		"custom": {"*name": text(1, 128, toolName), "description": anyText, "defer_loading": boolean, "format": tagged(map[string]map[string]check{
			"text": {}, "grammar": {"*syntax": enum("lark", "regex"), "*definition": anyText},
		})},
	}
	toolKinds = tagged(map[string]map[string]check{
		"function": plainTools["function"], "custom": plainTools["custom"], "local_shell": {},
		"namespace": {"*name": text(1, 128, toolName), "description": anyText, "*tools": list(1, 1000, tagged(plainTools))},
	})
	responseBody = members(map[string]check{
		"*model": anyText, "*input": responseInput, "instructions": anyText, "max_output_tokens": integer(16, math.MaxInt32), "max_tool_calls": integer(1, math.MaxInt32),
		"metadata": mapOf(0, 16, text(0, 64, ""), text(0, 512, "")), "client_metadata": mapOf(0, 100, anyText, anyText), "parallel_tool_calls": boolean, "previous_response_id": anyText,
		"reasoning": members(map[string]check{"effort": enum("none", "minimal", "low", "medium", "high", "xhigh"), "summary": enum("auto", "concise", "detailed", "none"), "context": enum("auto", "all_turns", "current_turn")}),
		"store":     boolean, "stream": boolean, "stream_options": members(map[string]check{"include_obfuscation": boolean}),
		"temperature": number(0, 2), "top_p": number(0, 1), "top_logprobs": integer(0, 20),
		"text": members(map[string]check{"verbosity": enum("low", "medium", "high"), "format": tagged(map[string]map[string]check{
			"text": {}, "json_object": {}, "json_schema": {"*name": chatName, "description": anyText, "*schema": freeObject, "strict": boolean},
		})}),
		"tools": list(0, 1000, responseTool), "tool_choice": responseChoice, "truncation": enum("auto", "disabled"), "user": anyText,
		"include":      list(0, 20, enum("reasoning.encrypted_content", "message.output_text.logprobs", "message.input_image.image_url")),
		"service_tier": enum("auto", "default", "flex", "priority"), "prompt_cache_key": text(0, 64, ""), "prompt_cache_retention": enum("in_memory", "24h"), "safety_identifier": text(0, 64, ""),
		"background": notThere, "conversation": notThere, "prompt": notThere,
	})
)

// responseItem refers to tools, whose shape is known after it: a function lets it.
func responseTool(path string, v any) *fault {
	// Server-side tools are not on the runtime host, and those of OpenAI's own on neither: Bedrock user
	// guide, Using the Responses API on the bedrock-runtime endpoint.
	switch kind := str(v, "type"); kind {
	case "web_search", "web_search_preview", "file_search", "code_interpreter", "image_generation", "computer_use_preview", "mcp", "shell", "apply_patch", "tool_search":
		f := at(join(path, "type"), "tool type '%s' is not supported", kind)
		f.code = "unsupported_parameter"
		return f
	}
	return toolKinds(path, v)
}

// responseInput checks the input: a text, or items. A message need not say its type.
func responseInput(path string, v any) *fault {
	if _, ok := v.(string); ok {
		return nil
	}
	return list(1, 100_000, func(path string, v any) *fault {
		if o, ok := v.(object); ok && o["type"] == nil && o["role"] != nil {
			v = merged(o, object{"type": "message"})
		}
		return responseItem(path, v)
	})(path, v)
}

func responseChoice(path string, v any) *fault {
	if _, ok := v.(string); ok {
		return enum("none", "auto", "required")(path, v)
	}
	named := map[string]check{"*name": text(1, 128, toolName)}
	return tagged(map[string]map[string]check{"function": named, "custom": named, "allowed_tools": {"*mode": enum("auto", "required"), "*tools": list(1, 1000, freeObject)}})(path, v)
}

// notThere refuses what would need a state or a queue behind the API; false is nobody's wish.
func notThere(path string, v any) *fault {
	if v == false {
		return nil
	}
	f := invalid("Unsupported parameter: '%s' is not supported with this model.", path)
	f.code = "unsupported_parameter"
	return f
}

// pairsOfItems holds calls and results together, and reasoning before what it led to, in OpenAI's words.
func pairsOfItems(input []any) *fault {
	open, called := map[string]bool{}, map[string]bool{}
	for i, item := range input {
		id := str(item, "call_id")
		switch kind := str(item, "type"); kind {
		case "function_call", "custom_tool_call", "local_shell_call":
			if kind == "function_call" && !arguments(str(item, "arguments")) {
				return at(fmt.Sprintf("input.%d.arguments", i), "the arguments of a call have to be a JSON object")
			}
			open[id], called[id] = true, true
		case "function_call_output", "custom_tool_call_output", "local_shell_call_output":
			if !called[id] {
				return about("input", "No tool call found for function call output with call_id %s.", id)
			}
			delete(open, id)
		case "reasoning":
			// By its id alone it stands for what followed it; one that brings its content may be all that a
			// stream gave before it broke off, and Codex goes on from there.
			if str(item, "encrypted_content") == "" && (i+1 == len(input) || !leads(input[i+1])) {
				return about("input", "Item '%s' of type 'reasoning' was provided without its required following item.", str(item, "id"))
			}
		}
	}
	for _, item := range input {
		if id := str(item, "call_id"); open[id] {
			return about("input", "No tool output found for function call %s.", id)
		}
	}
	return nil
}

// leads reports whether an item can be what reasoning before it led to.
func leads(item any) bool {
	switch str(item, "type") {
	case "reasoning", "function_call", "custom_tool_call", "local_shell_call", "item_reference":
		return true
	}
	return str(item, "role") == "assistant"
}

// about is a fault of a member, in words that do not begin with its path.
func about(param, format string, args ...any) *fault {
	f := invalid(format, args...)
	f.param = param
	return f
}
