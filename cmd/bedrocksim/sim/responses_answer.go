package sim

import (
	"strings"
)

// Answers of Responses: items, and the events that build them up (OpenAI's API reference: Streaming
// events). GPT's reasoning is a summary, where one was asked for, and encrypted content, where that was;
// an open model's is there in plain.

// outputItem is a block as an item; its id is made once.
func (a *ask) outputItem(b block, status string) object {
	switch b.kind {
	case "thinking":
		item := object{"id": "rs_" + random(48), "type": "reasoning", "summary": []any{}}
		if a.plainReasoning() {
			item["content"] = []any{object{"type": "reasoning_text", "text": b.text}}
		} else if b.text != "" {
			item["summary"] = []any{object{"type": "summary_text", "text": b.text}}
		}
		if a.sealed {
			item["encrypted_content"] = b.signature
		}
		return item
	case "tool":
		return a.callItem(b)
	default:
		return object{"id": "msg_" + random(48), "type": "message", "status": status, "role": "assistant", "content": []any{
			object{"type": "output_text", "annotations": []any{}, "logprobs": []any{}, "text": b.text},
		}}
	}
}

func (a *ask) callItem(b block) object {
	item := object{"status": "completed", "call_id": b.callID("call_"), "name": b.name}
	switch b.tool {
	case "custom":
		item["id"], item["type"], item["input"] = "ctc_"+random(48), "custom_tool_call", b.input
	case "local_shell":
		delete(item, "name")
		command, _ := parse([]byte(b.input))
		item["id"], item["type"] = "lsh_"+random(48), "local_shell_call"
		item["action"] = object{"type": "exec", "command": items(command, "command"), "env": object{}}
	default:
		item["id"], item["type"], item["arguments"] = "fc_"+random(48), "function_call", b.input
	}
	if b.namespace != "" {
		item["namespace"] = b.namespace
	}
	return item
}

func (a *ask) plainReasoning() bool { return !a.hidesReasoning() }

// response is a whole answer.
func (a *ask) response(out answer) object {
	output := []any{}
	for _, b := range out.blocks {
		if b.kind != "redacted" {
			output = append(output, a.outputItem(b, a.itemStatus(out)))
		}
	}
	return a.finished(out, output)
}

func (a *ask) itemStatus(out answer) string {
	if a.unfinished(out) != "" {
		return "incomplete"
	}
	return "completed"
}

// unfinished is why an answer is none, "" where it is one.
func (a *ask) unfinished(out answer) string {
	switch out.stop {
	case "max_tokens":
		return "max_output_tokens"
	case "content_filtered", "guardrail_intervened", "refusal":
		return "content_filter"
	}
	return ""
}

// finished is the response as it is at its end.
func (a *ask) finished(out answer, output []any) object {
	reply := merged(a.head, object{"status": "completed", "output": output})
	if tier := a.served(); tier != "" {
		reply["service_tier"] = strings.Replace(tier, "auto", "default", 1)
	}
	if reason := a.unfinished(out); reason != "" {
		reply["status"], reply["incomplete_details"] = "incomplete", object{"reason": reason}
	}
	if !a.do.has("no-usage") {
		input := out.input + a.cache.read + a.cache.write
		reply["usage"] = object{
			"input_tokens": input, "input_tokens_details": object{"cached_tokens": a.cache.read},
			"output_tokens": out.output, "output_tokens_details": object{"reasoning_tokens": reasoned(out)}, "total_tokens": input + out.output,
		}
	}
	if a.do.has("extra") {
		reply["future_member"] = []any{"x"}
	}
	if a.keep {
		a.kept(reply)
	}
	return reply
}

// responseStream is the events of a stream, numbered from 0 without a gap.
func (a *ask) responseStream(out answer) [][]byte {
	e := &events{ask: a}
	e.emit("response.created", object{"response": merged(a.head, object{"status": "in_progress", "output": []any{}, "usage": nil})})
	e.emit("response.in_progress", object{"response": merged(a.head, object{"status": "in_progress", "output": []any{}, "usage": nil})})
	output := []any{}
	for _, b := range out.blocks {
		if b.kind == "redacted" {
			continue
		}
		item := a.outputItem(b, a.itemStatus(out))
		e.item(len(output), b, item)
		output = append(output, item)
	}
	if a.do.has("extra") {
		e.emit("response.future_event", object{"x": 1})
	}
	last := a.finished(out, output)
	if !a.do.has("no-stop") {
		e.emit("response."+str(last, "status"), object{"response": last})
	}
	return e.frames
}

// events are numbered as they are emitted.
type events struct {
	ask    *ask
	frames [][]byte
}

func (e *events) emit(kind string, event object) {
	event["type"], event["sequence_number"] = kind, len(e.frames)
	e.frames = append(e.frames, sse(kind, event))
}

// item emits an item: how it begins, what it is made of, and the whole of it.
func (e *events) item(index int, b block, item object) {
	begun := merged(item, object{})
	if begun["status"] != nil {
		begun["status"] = "in_progress"
	}
	for _, name := range []string{"arguments", "input"} {
		if begun[name] != nil {
			begun[name] = ""
		}
	}
	switch str(item, "type") {
	case "message":
		begun["content"] = []any{}
	case "reasoning":
		begun["summary"] = []any{}
		delete(begun, "content")
		delete(begun, "encrypted_content")
	}
	e.emit("response.output_item.added", object{"output_index": index, "item": begun})
	at := object{"output_index": index, "item_id": item["id"]}
	switch str(item, "type") {
	case "message":
		e.text(at, "content_index", "response.content_part", "response.output_text", "text", items(item, "content")[0].(object))
	case "reasoning":
		if parts := items(item, "content"); len(parts) > 0 {
			e.text(at, "content_index", "response.content_part", "response.reasoning_text", "text", parts[0].(object))
		} else if parts := items(item, "summary"); len(parts) > 0 {
			e.text(at, "summary_index", "response.reasoning_summary_part", "response.reasoning_summary_text", "text", parts[0].(object))
		}
	case "function_call":
		e.deltas(at, "response.function_call_arguments", b.input)
		e.emit("response.function_call_arguments.done", merged(at, object{"arguments": b.input, "name": b.name}))
	case "custom_tool_call":
		e.deltas(at, "response.custom_tool_call_input", b.input)
		e.emit("response.custom_tool_call_input.done", merged(at, object{"input": b.input}))
	}
	e.emit("response.output_item.done", object{"output_index": index, "item": item})
}

// text emits a part of text, from its beginning to its end.
func (e *events) text(at object, index, part, text, member string, whole object) {
	at = merged(at, object{index: 0})
	begun := merged(whole, object{member: ""})
	e.emit(part+".added", merged(at, object{"part": begun}))
	logprobs := object{}
	if whole["logprobs"] != nil {
		logprobs["logprobs"] = []any{}
	}
	e.deltas(merged(at, logprobs), text, str(whole, member))
	e.emit(text+".done", merged(at, merged(logprobs, object{member: whole[member]})))
	e.emit(part+".done", merged(at, object{"part": whole}))
}

func (e *events) deltas(at object, kind, text string) {
	for _, s := range e.ask.argumentPieces(text) {
		delta := merged(at, object{"delta": s})
		if e.ask.padded {
			delta["obfuscation"] = padding()
		}
		e.emit(kind+".delta", delta)
	}
}

// failedEvent ends a stream that went wrong, as its sent-th event.
func (a *ask) failedEvent(f *fault, sent int) []byte {
	failed := f.openaiError()
	reply := merged(a.head, object{"status": "failed", "output": []any{}, "usage": nil, "error": object{"code": failed["code"], "message": failed["message"]}})
	return sse("response.failed", object{"type": "response.failed", "sequence_number": sent, "response": reply})
}
