package sim

import (
	"encoding/base64"
	"encoding/json"
)

// messages is an answer as InvokeModel gives it for Claude.
func (a *ask) messages(out answer) object {
	if a.do.has("guardrail") {
		out.stop = "end_turn" // the envelope tells
	}
	content := []any{}
	for _, b := range out.blocks {
		content = append(content, claudeBlockOf(b))
	}
	if a.do.has("extra") {
		content = append(content, object{"type": "future_block", "x": 1})
	}
	reply := object{
		"id": out.id, "type": "message", "role": "assistant", "model": or(a.model.name, "claude"),
		"content": content, "stop_reason": orNull(out.stop), "stop_sequence": orNull(out.sequence),
	}
	if u := a.claudeUsage(out, out.output); u != nil {
		reply["usage"] = u
	}
	if a.do.has("guardrail") {
		reply["amazon-bedrock-guardrailAction"] = "INTERVENED"
	}
	if a.do.has("extra") {
		reply["future_member"] = []any{"x"}
	}
	return reply
}

// claudeBlockOf is a block of a whole answer. Redacted data is opaque to callers; that it is base64
// is nothing to rely on.
func claudeBlockOf(b block) object {
	switch b.kind {
	case "thinking":
		return object{"type": "thinking", "thinking": b.text, "signature": b.signature}
	case "redacted":
		return object{"type": "redacted_thinking", "data": base64.StdEncoding.EncodeToString(b.data)}
	case "tool":
		return object{"type": "tool_use", "id": b.callID("toolu_bdrk_01"), "name": b.name, "input": json.RawMessage(b.input)}
	default:
		return object{"type": "text", "text": b.text}
	}
}

// claudeUsage counts as Anthropic does: input_tokens are what was neither read from the cache nor
// written to it.
func (a *ask) claudeUsage(out answer, output int) object {
	if a.do.has("no-usage") {
		return nil
	}
	u := object{"input_tokens": out.input, "output_tokens": output}
	if a.cache != (cacheUse{}) {
		u["cache_creation_input_tokens"], u["cache_read_input_tokens"] = a.cache.write, a.cache.read
		u["cache_creation"] = object{"ephemeral_5m_input_tokens": a.cache.write - a.cache.hour, "ephemeral_1h_input_tokens": a.cache.hour}
	}
	return u
}

// messagesStream is the frames of InvokeModelWithResponseStream: each of Anthropic's events as the
// bytes of a chunk.
func (a *ask) messagesStream(out answer) [][]byte {
	if a.do.has("guardrail") {
		out.stop = "end_turn"
	}
	var frames [][]byte
	emit := func(event object) {
		frames = append(frames, chunkFrame(event))
	}
	start := object{
		"id": out.id, "type": "message", "role": "assistant", "model": or(a.model.name, "claude"),
		"content": []any{}, "stop_reason": nil, "stop_sequence": nil,
	}
	// The first count of output is a guess that later snapshots replace.
	if u := a.claudeUsage(out, 1); u != nil {
		start["usage"] = u
	}
	emit(object{"type": "message_start", "message": start})
	for i, b := range out.blocks {
		a.claudeBlockStream(i, b, emit)
	}
	if a.do.has("extra") {
		emit(object{"type": "future_event", "x": 1})
	}
	last := object{"type": "message_delta", "delta": object{"stop_reason": orNull(out.stop), "stop_sequence": orNull(out.sequence)}}
	if !a.do.has("no-usage") {
		last["usage"] = object{"output_tokens": out.output}
	}
	if a.do.has("guardrail") {
		last["amazon-bedrock-guardrailAction"] = "INTERVENED"
	}
	emit(last)
	// Bedrock adds its own counts to Anthropic's last event.
	stop := object{"type": "message_stop"}
	if !a.do.has("no-usage") {
		stop["amazon-bedrock-invocationMetrics"] = object{
			"inputTokenCount": out.input, "outputTokenCount": out.output, "invocationLatency": 1 + out.output, "firstByteLatency": 1,
		}
	}
	emit(stop)
	return frames
}

// claudeBlockStream sends a block as Anthropic does: a start that is empty but for ids and names,
// deltas, a stop. Redacted data comes whole, with the start.
func (a *ask) claudeBlockStream(i int, b block, emit func(object)) {
	first := claudeBlockOf(b)
	switch b.kind {
	case "thinking":
		first["thinking"], first["signature"] = "", ""
	case "tool":
		first["input"] = object{}
	case "text":
		first["text"] = ""
	}
	emit(object{"type": "content_block_start", "index": i, "content_block": first})
	delta := func(d object) { emit(object{"type": "content_block_delta", "index": i, "delta": d}) }
	switch b.kind {
	case "thinking":
		for _, s := range a.pieces(b.text) {
			delta(object{"type": "thinking_delta", "thinking": s})
		}
		delta(object{"type": "signature_delta", "signature": b.signature})
	case "tool":
		// Claude begins with an empty fragment.
		delta(object{"type": "input_json_delta", "partial_json": ""})
		for _, s := range a.argumentPieces(b.input) {
			delta(object{"type": "input_json_delta", "partial_json": s})
		}
	case "text":
		for _, s := range a.pieces(b.text) {
			delta(object{"type": "text_delta", "text": s})
		}
	}
	if a.do.has("extra") {
		delta(object{"type": "future_delta", "x": 1})
	}
	emit(object{"type": "content_block_stop", "index": i})
}

// chunkFrame is the one event of InvokeModelWithResponseStream: bytes in JSON are base64.
func chunkFrame(event object) []byte {
	return eventFrame("chunk", object{"bytes": base64.StdEncoding.EncodeToString(marshal(event))})
}
