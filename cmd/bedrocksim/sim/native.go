package sim

import (
	"net/http"
)

// Anthropic's Messages as mantle speaks them: the model and stream are in the body, the version and the
// beta flags in headers, and a stream is server-sent events. Beside that it is InvokeModel's body.

// checkNative checks a request and reads what it asks for; with counting, one of count_tokens.
func checkNative(m model, header http.Header, body any, counting bool, issued *issues) (*ask, *fault) {
	switch version := header.Get("Anthropic-Version"); version {
	case "2023-06-01":
	case "":
		return nil, invalid("anthropic-version: header is required")
	default:
		return nil, invalid("anthropic-version: %q is not a valid version", version)
	}
	if f := checkBetas(m, apiMessages, headerFlags(header), body); f != nil {
		return nil, f
	}
	shape := nativeBody
	if counting {
		shape = nativeCount
	}
	if f := shape("", body); f != nil {
		return nil, f
	}
	// Structured outputs are the runtime host's alone: Bedrock user guide, Endpoints supported.
	for _, path := range [][]string{{"output_config", "format"}, {"output_format"}} {
		if child(body, path...) != nil {
			return nil, at(path[0]+map[bool]string{true: ".format"}[len(path) > 1], "Extra inputs are not permitted")
		}
	}
	if f := checkClaude(m, body, issued); f != nil {
		return nil, f
	}
	a := readMessages(m, body)
	a.streamed, _ = child(body, "stream").(bool)
	return a, nil
}

// native is a whole answer.
func (a *ask) native(out answer) object {
	reply := a.messages(out)
	reply["id"], reply["model"] = nativeID(), a.model.id
	if u, ok := reply["usage"].(object); ok {
		reply["usage"] = a.nativeUsage(u)
	}
	delete(reply, "amazon-bedrock-guardrailAction") // no guardrails there
	return reply
}

func nativeID() string { return "msg_01" + random(22) }

// nativeUsage has every count, be it zero, and what of the written ones stays how long.
func (a *ask) nativeUsage(u object) object {
	u["cache_creation_input_tokens"], u["cache_read_input_tokens"] = a.cache.write, a.cache.read
	u["cache_creation"] = object{"ephemeral_5m_input_tokens": a.cache.write - a.cache.hour, "ephemeral_1h_input_tokens": a.cache.hour}
	u["service_tier"] = "standard"
	return u
}

// nativeStream is the events of a stream: named, with a ping once the answer has begun.
func (a *ask) nativeStream(out answer) [][]byte {
	var frames [][]byte
	emit := func(event object) { frames = append(frames, sse(str(event, "type"), event)) }
	start := a.native(answer{})
	start["content"], start["stop_reason"], start["stop_sequence"] = []any{}, nil, nil
	delete(start, "future_member")
	if u := a.claudeUsage(out, 1); u != nil {
		start["usage"] = a.nativeUsage(u)
	}
	emit(object{"type": "message_start", "message": start})
	for i, b := range out.blocks {
		a.claudeBlockStream(i, b, func(event object) {
			emit(event)
			if i == 0 && event["type"] == "content_block_start" {
				emit(object{"type": "ping"})
			}
		})
	}
	if a.do.has("extra") {
		emit(object{"type": "future_event", "x": 1})
	}
	last := object{"type": "message_delta", "delta": object{"stop_reason": orNull(out.stop), "stop_sequence": orNull(out.sequence)}}
	if u := a.claudeUsage(out, out.output); u != nil {
		u["cache_creation_input_tokens"], u["cache_read_input_tokens"] = a.cache.write, a.cache.read
		last["usage"] = u
	}
	emit(last)
	emit(object{"type": "message_stop"})
	return frames
}
