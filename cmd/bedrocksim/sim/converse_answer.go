package sim

import (
	"encoding/base64"
	"encoding/json"
)

// converse is an answer as Converse gives it.
func (a *ask) converse(out answer) object {
	content := []any{}
	for _, b := range out.blocks {
		content = append(content, converseBlockOf(b))
	}
	if a.do.has("extra") {
		content = append(content, object{"futureContent": object{"x": 1}})
	}
	reply := object{
		"output":  object{"message": object{"role": "assistant", "content": content}},
		"metrics": object{"latencyMs": 1 + out.output},
	}
	if out.stop != "" {
		reply["stopReason"] = out.stop
	}
	if u := a.converseUsage(out); u != nil {
		reply["usage"] = u
	}
	if tier := a.served(); tier != "" {
		reply["serviceTier"] = object{"type": tier}
	}
	if f := a.responseFields(out); f != nil {
		reply["additionalModelResponseFields"] = f
	}
	if a.do.has("extra") {
		reply["futureMember"] = []any{"x"}
	}
	return reply
}

// converseBlockOf is a block of a whole answer. Bytes are base64 in JSON.
func converseBlockOf(b block) object {
	switch b.kind {
	case "thinking":
		text := object{"text": b.text}
		if b.signature != "" {
			text["signature"] = b.signature
		}
		return object{"reasoningContent": object{"reasoningText": text}}
	case "redacted":
		return object{"reasoningContent": object{"redactedContent": base64.StdEncoding.EncodeToString(b.data)}}
	case "tool":
		return object{"toolUse": object{"toolUseId": b.callID("tooluse_"), "name": b.name, "input": json.RawMessage(b.input)}}
	default:
		return object{"text": b.text}
	}
}

// converseUsage counts as API_runtime_TokenUsage does: inputTokens are what was neither read from
// the cache nor written to it, totalTokens are all. Without caching the two members are absent,
// not zero.
func (a *ask) converseUsage(out answer) object {
	if a.do.has("no-usage") {
		return nil
	}
	// What a prompt of this model had in the cache, it counts as input too, and never as written.
	if a.model.has("input_holds_cached") {
		input := out.input + a.cache.read + a.cache.write
		u := object{"inputTokens": input, "outputTokens": out.output, "totalTokens": input + out.output}
		if a.cache.read > 0 {
			u["cacheReadInputTokens"] = a.cache.read
		}
		return u
	}
	u := object{"inputTokens": out.input, "outputTokens": out.output, "totalTokens": out.input + a.cache.read + a.cache.write + out.output}
	if a.cache != (cacheUse{}) {
		u["cacheReadInputTokens"], u["cacheWriteInputTokens"] = a.cache.read, a.cache.write
		details := []any{}
		for _, d := range []struct {
			ttl string
			n   int
		}{{"1h", a.cache.hour}, {"5m", a.cache.write - a.cache.hour}} {
			if d.n > 0 {
				details = append(details, object{"ttl": d.ttl, "inputTokens": d.n})
			}
		}
		if len(details) > 0 {
			u["cacheDetails"] = details
		}
	}
	return u
}

// responseFields answers additionalModelResponseFieldPaths: the simulator knows one member.
func (a *ask) responseFields(out answer) object {
	for _, path := range a.paths {
		if path == "/stop_sequence" {
			return object{"stop_sequence": orNull(out.sequence)}
		}
	}
	return nil
}

// orNull: Anthropic writes null, not "", where there is nothing.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// converseStream is the frames of ConverseStream. A text block has no start event, as with AWS.
func (a *ask) converseStream(out answer) [][]byte {
	frames := [][]byte{eventFrame("messageStart", object{"role": "assistant"})}
	for i, b := range out.blocks {
		delta := func(d object) {
			frames = append(frames, eventFrame("contentBlockDelta", object{"contentBlockIndex": i, "delta": d}))
		}
		switch b.kind {
		case "thinking":
			for _, s := range a.pieces(b.text) {
				delta(object{"reasoningContent": object{"text": s}})
			}
			if b.signature != "" {
				delta(object{"reasoningContent": object{"signature": b.signature}})
			}
		case "redacted":
			// In two deltas, each base64 of its own: who joins the texts and not the bytes gets it wrong.
			half := len(b.data) / 2
			for _, part := range [][]byte{b.data[:half], b.data[half:]} {
				delta(object{"reasoningContent": object{"redactedContent": base64.StdEncoding.EncodeToString(part)}})
			}
		case "tool":
			frames = append(frames, eventFrame("contentBlockStart", object{
				"contentBlockIndex": i, "start": object{"toolUse": object{"toolUseId": b.callID("tooluse_"), "name": b.name}},
			}))
			for _, s := range a.argumentPieces(b.input) {
				delta(object{"toolUse": object{"input": s}})
			}
		default:
			for _, s := range a.pieces(b.text) {
				delta(object{"text": s})
			}
		}
		if a.do.has("extra") {
			delta(object{"futureDelta": object{"x": 1}})
		}
		frames = append(frames, eventFrame("contentBlockStop", object{"contentBlockIndex": i}))
	}
	if a.do.has("extra") {
		frames = append(frames, eventFrame("futureEvent", object{"x": 1}))
	}
	stop := object{}
	if out.stop != "" {
		stop["stopReason"] = out.stop
	}
	if f := a.responseFields(out); f != nil {
		stop["additionalModelResponseFields"] = f
	}
	frames = append(frames, eventFrame("messageStop", stop))
	// Counts come after the stop reason, in the last frame.
	if u := a.converseUsage(out); u != nil {
		last := object{"usage": u, "metrics": object{"latencyMs": 1 + out.output}}
		if tier := a.served(); tier != "" {
			last["serviceTier"] = object{"type": tier}
		}
		frames = append(frames, eventFrame("metadata", last))
	}
	return frames
}
