package sim

import (
	"maps"
	"math"
)

// The shape of Anthropic's Messages, as InvokeModel takes it for Claude.
var (
	cacheMark    = members(map[string]check{"*type": enum("ephemeral"), "ttl": enum("5m", "1h")})
	base64Image  = map[string]check{"*media_type": enum("image/png", "image/jpeg", "image/gif", "image/webp"), "*data": blob(5 << 20)}
	claudeImage  = map[string]check{"*source": all(tagged(map[string]map[string]check{"base64": base64Image}), claudeImageMatches), "cache_control": cacheMark}
	claudeText   = map[string]check{"*text": anyText, "cache_control": cacheMark, "citations": free}
	claudeSearch = map[string]check{"*source": anyText, "*title": anyText, "*content": free, "citations": free, "cache_control": cacheMark}
	claudeDoc    = map[string]check{
		"*source": tagged(map[string]map[string]check{
			"base64":  {"*media_type": enum("application/pdf"), "*data": blob(32 << 20)},
			"text":    {"*media_type": enum("text/plain"), "*data": text(1, math.MaxInt, "")},
			"content": {"*content": free},
		}),
		"title": text(1, 500, ""), "context": anyText, "citations": members(map[string]check{"enabled": boolean}), "cache_control": cacheMark,
	}
	changedTool = tagged(map[string]map[string]check{"tool_reference": {"*name": text(1, 200, toolName)}, "tool_definition": {"*definition": freeObject}})
	// Ids have no length here, unlike Converse's; names of tools may be longer in the history (200)
	// than in a definition (128).
	claudeBlock = tagged(map[string]map[string]check{
		"text": claudeText, "image": claudeImage, "document": claudeDoc, "search_result": claudeSearch,
		"tool_use": {"*id": text(1, math.MaxInt, toolName), "*name": text(1, 200, toolName), "*input": freeObject, "cache_control": cacheMark, "caller": free},
		"tool_result": {
			"*tool_use_id": text(1, math.MaxInt, toolName), "is_error": boolean, "cache_control": cacheMark,
			"content": textOr(tagged(map[string]map[string]check{"text": claudeText, "image": claudeImage, "document": claudeDoc, "search_result": claudeSearch, "tool_reference": {"*tool_name": text(1, 200, toolName), "cache_control": cacheMark}})),
		},
		// In system messages only: what becomes of tools from there on.
		"tool_addition":     {"*tool": changedTool, "cache_control": cacheMark},
		"tool_removal":      {"*tool": changedTool, "cache_control": cacheMark},
		"thinking":          {"*thinking": anyText, "*signature": anyText},
		"redacted_thinking": {"*data": anyText},
	})
	// Tools that the caller runs, Anthropic's own among them. Those that Anthropic runs are not on Bedrock:
	// it says that their tag is none of these.
	claudeTool = func() check {
		custom := map[string]check{
			"*name": text(1, 128, toolName), "description": anyText, "*input_schema": schema, "strict": boolean, "cache_control": cacheMark,
			"input_examples": free, "eager_input_streaming": boolean, "defer_loading": boolean, "allowed_callers": free,
		}
		own := map[string]check{"*name": text(1, 128, toolName), "cache_control": cacheMark, "defer_loading": boolean, "max_characters": integer(1, math.MaxInt32)}
		screen := map[string]check{"*name": text(1, 128, toolName), "cache_control": cacheMark, "*display_width_px": integer(1, 8000), "*display_height_px": integer(1, 8000), "display_number": integer(0, 10), "enable_zoom": boolean}
		kinds := tagged(map[string]map[string]check{
			"custom": custom, "bash_20241022": own, "bash_20250124": own, "text_editor_20241022": own, "text_editor_20250124": own, "text_editor_20250429": own, "text_editor_20250728": own,
			"memory_20250818": own, "computer_20241022": screen, "computer_20250124": screen, "computer_20251124": screen, "tool_search_tool_regex_20251119": own, "tool_search_tool_bm25_20251119": own,
		})
		plain := members(custom)
		return func(path string, v any) *fault {
			if child(v, "type") == nil {
				return plain(path, v)
			}
			return kinds(path, v)
		}
	}()
	claudeChoice = tagged(map[string]map[string]check{
		"auto": {"disable_parallel_tool_use": boolean}, "any": {"disable_parallel_tool_use": boolean},
		"tool": {"*name": text(1, 128, toolName), "disable_parallel_tool_use": boolean}, "none": {},
	})
	display        = enum("summarized", "omitted", "updates")
	claudeThinking = tagged(map[string]map[string]check{
		"enabled": {"*budget_tokens": integer(1024, math.MaxInt32), "display": display, "block_binding": freeObject}, "disabled": {}, "adaptive": {"display": display, "block_binding": freeObject},
	})
	outputConfig = members(map[string]check{"effort": enum("low", "medium", "high", "xhigh", "max"), "format": outputFormat, "task_budget": free})
	// claudeFields are the members of Claude's body that Converse takes among its
	// additionalModelRequestFields.
	claudeFields = map[string]check{
		"thinking": claudeThinking, "reasoning_config": claudeThinking, "output_config": outputConfig, "output_format": outputFormat,
		"top_k": integer(0, math.MaxInt32), "tool_choice": claudeChoice, "anthropic_beta": list(0, 100, text(1, 200, "")),
	}
	outputFormat = tagged(map[string]map[string]check{"json_schema": {"*schema": structured}})
	messagesBody = claudeBody(map[string]check{
		"*anthropic_version": enum("bedrock-2023-05-31"), "anthropic_beta": list(0, 100, text(1, 200, "")),
		"amazon-bedrock-guardrailConfig": members(map[string]check{
			"streamProcessingMode": enum("SYNCHRONOUS", "ASYNCHRONOUS"), "tagSuffix": text(1, 20, "[a-zA-Z0-9]+"),
		}),
	})
	nativeBody  = claudeBody(map[string]check{"*model": anyText, "stream": boolean, "service_tier": enum("auto", "standard_only")})
	nativeCount = claudeBody(map[string]check{"*model": anyText}, "*max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "metadata")
)

// claudeBody is a body for Claude: what both hosts take, and members of its own. InvokeModel wants
// anthropic_version, and neither model nor stream, for those are in the path; mantle wants model, and
// what is the other's is unknown to it. What a count need not know is left out.
func claudeBody(own map[string]check, without ...string) check {
	fields := map[string]check{
		"*max_tokens": integer(1, 200_000),
		"*messages": list(1, 100_000, members(map[string]check{
			"*role": enum("user", "assistant", "system"), "*content": textOr(claudeBlock), "output_config": outputConfig, "clear_at": enum("next_user_message"),
		})),
		"system":      textOr(tagged(map[string]map[string]check{"text": claudeText})),
		"temperature": number(0, 1), "top_p": number(0, 1), "top_k": integer(0, math.MaxInt32),
		"stop_sequences": list(0, 8191, text(1, math.MaxInt, "")),
		"tools":          list(0, 10_000, claudeTool),
		"tool_choice":    claudeChoice, "thinking": claudeThinking, "output_config": outputConfig,
		"output_format": outputFormat, "metadata": members(map[string]check{"user_id": text(0, 512, "")}),
		"context_management": freeObject, "safeguards": free,
	}
	maps.Copy(fields, own)
	for _, name := range without {
		delete(fields, name)
	}
	return members(fields)
}

// textOr checks a string, or a list of what.
func textOr(what check) check {
	blocks := list(0, 100_000, what)
	return func(path string, v any) *fault {
		if _, ok := v.(string); ok {
			return nil
		}
		return blocks(path, v)
	}
}

// claudeImageMatches: see imageMatches; here the media type must be the right one.
func claudeImageMatches(path string, v any) *fault {
	if kind := imageKind(bytesOf(v, "data")); "image/"+kind != str(v, "media_type") {
		return at(path, "Image does not match the provided media type %s", str(v, "media_type"))
	}
	return nil
}
