package sim

import (
	"strings"
	"time"
)

// Answers of Chat Completions. Where reasoning is: gpt-oss has it in its text on the runtime host, between
// <reasoning> tags (Bedrock user guide: OpenAI models), and in a member reasoning on mantle, as the other
// open models have; GPT keeps it to itself and counts it.

// reasoningTags are gpt-oss's on the runtime host.
func (a *ask) reasoningTags() bool {
	return a.host == runtimeHost && strings.HasPrefix(a.model.name, "gpt-oss")
}

func (a *ask) hidesReasoning() bool {
	return a.model.publisher == "openai" && !strings.HasPrefix(a.model.name, "gpt-oss")
}

// completion is a whole answer.
func (a *ask) completion(out answer) object {
	message := object{"role": "assistant", "content": nil, "refusal": nil}
	var text, reasoning strings.Builder
	calls := []any{}
	for _, b := range out.blocks {
		switch b.kind {
		case "thinking":
			switch {
			case a.hidesReasoning():
			case a.reasoningTags():
				text.WriteString("<reasoning>" + b.text + "</reasoning>")
			default:
				reasoning.WriteString(b.text)
			}
		case "tool":
			calls = append(calls, chatCallOf(b))
		case "text":
			text.WriteString(b.text)
		}
	}
	if text.Len() > 0 || len(calls) == 0 {
		message["content"] = text.String()
	}
	if reasoning.Len() > 0 {
		message["reasoning"] = reasoning.String()
	}
	if len(calls) > 0 {
		message["tool_calls"] = calls
	}
	if a.do.has("extra") {
		message["future_member"] = []any{"x"}
	}
	reply := a.completionHead("chat.completion")
	reply["choices"] = []any{object{"index": 0, "message": message, "logprobs": nil, "finish_reason": a.finishReason(out)}}
	if u := a.chatUsage(out); u != nil {
		reply["usage"] = u
	}
	return reply
}

func (a *ask) completionHead(kind string) object {
	head := object{"id": "chatcmpl-" + random(29), "object": kind, "created": time.Now().Unix(), "model": a.model.id, "system_fingerprint": nil}
	if tier := a.served(); tier != "" {
		head["service_tier"] = strings.Replace(tier, "auto", "default", 1)
	}
	return head
}

func chatCallOf(b block) object {
	return object{"id": b.callID("call_"), "type": "function", "function": object{"name": b.name, "arguments": b.input}}
}

// finishReason is OpenAI's word; one that it has none for goes out as it is.
func (a *ask) finishReason(out answer) any {
	for _, b := range out.blocks {
		if b.kind == "tool" && (out.stop == "end_turn" || out.stop == "tool_use") {
			return "tool_calls"
		}
	}
	switch out.stop {
	case "end_turn", "stop_sequence", "tool_use":
		return "stop"
	case "max_tokens":
		return "length"
	case "content_filtered", "guardrail_intervened", "refusal":
		return "content_filter"
	}
	return orNull(out.stop)
}

// chatUsage counts as OpenAI does: prompt_tokens hold the cached ones.
func (a *ask) chatUsage(out answer) object {
	if a.do.has("no-usage") {
		return nil
	}
	input := out.input + a.cache.read + a.cache.write
	return object{
		"prompt_tokens": input, "completion_tokens": out.output, "total_tokens": input + out.output,
		"prompt_tokens_details": object{"cached_tokens": a.cache.read}, "completion_tokens_details": object{"reasoning_tokens": reasoned(out)},
	}
}

// reasoned is how many of the tokens of an answer are reasoning.
func reasoned(out answer) (n int) {
	for _, b := range out.blocks {
		if b.kind == "thinking" || b.kind == "redacted" {
			n += tokens(b.text + string(b.data))
		}
	}
	return n
}

// completionStream is the chunks of a stream, and [DONE].
func (a *ask) completionStream(out answer) [][]byte {
	var frames [][]byte
	head := a.completionHead("chat.completion.chunk")
	emit := func(delta object, finish any) {
		chunk := merged(head, object{"choices": []any{object{"index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish}}})
		if a.usage {
			chunk["usage"] = nil
		}
		frames = append(frames, sse("", chunk))
	}
	emit(object{"role": "assistant", "content": "", "refusal": nil}, nil)
	calls := 0
	for _, b := range out.blocks {
		switch {
		case b.kind == "thinking" && a.hidesReasoning(), b.kind == "redacted":
		case b.kind == "thinking" && a.reasoningTags():
			for _, s := range a.pieces("<reasoning>" + b.text + "</reasoning>") {
				emit(object{"content": s}, nil)
			}
		case b.kind == "thinking":
			for _, s := range a.pieces(b.text) {
				emit(object{"reasoning": s}, nil)
			}
		case b.kind == "tool":
			first := chatCallOf(b)
			first["index"], first["function"] = calls, object{"name": b.name, "arguments": ""}
			emit(object{"tool_calls": []any{first}}, nil)
			for _, s := range a.argumentPieces(b.input) {
				emit(object{"tool_calls": []any{object{"index": calls, "function": object{"arguments": s}}}}, nil)
			}
			calls++
		default:
			for _, s := range a.pieces(b.text) {
				emit(object{"content": s}, nil)
			}
		}
	}
	if a.do.has("extra") {
		emit(object{"future_delta": object{"x": 1}}, nil)
	}
	emit(object{}, a.finishReason(out))
	if u := a.chatUsage(out); u != nil && a.usage {
		frames = append(frames, sse("", merged(head, object{"choices": []any{}, "usage": u})))
	}
	return append(frames, []byte("data: [DONE]\n\n"))
}

// merged is an object with more members.
func merged(o, more object) object {
	all := object{}
	for _, m := range []object{o, more} {
		for k, v := range m {
			all[k] = v
		}
	}
	return all
}
