package upstream

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

// Settings are what the answers are like.
type Settings struct {
	Deltas   int           `json:"deltas"`   // of a stream
	Interval time.Duration `json:"interval"` // between deltas
	Hold     int           `json:"hold"`     // deltas after which a stream waits for /release; 0: none waits
}

// Mark is once in every delta and once, at its end, in the text of a whole answer, so
// that a client can count what has come through.
const Mark = "~"

const (
	deltaText = 20  // bytes of one delta, the mark included
	wholeText = 900 // bytes of a whole answer's text
)

const prose = "The caller's key and quota are checked, the request is rewritten for the model and signed, and the answer comes back in the caller's own words. "

func text(n int) string {
	return strings.Repeat(prose, n/len(prose)+1)[:n-len(Mark)] + Mark
}

// An answer is a whole one, or the events of a stream.
type answer struct {
	contentType string
	whole       []byte
	events      [][]byte
	first       int // the event with the first delta
}

// answers are those of one Settings, by the last element of the path.
func answers(s Settings) map[string]*answer {
	return map[string]*answer{
		"invoke":                      {contentType: "application/json", whole: marshal(message(text(wholeText)))},
		"converse":                    {contentType: "application/json", whole: marshal(converse(text(wholeText)))},
		"invoke-with-response-stream": {contentType: eventStream, events: invokeEvents(s.Deltas), first: 2},
		"converse-stream":             {contentType: eventStream, events: converseEvents(s.Deltas), first: 1},
		"messages":                    {contentType: sseStream, events: messagesEvents(s.Deltas), first: 2},
		"responses":                   {contentType: sseStream, events: responsesEvents(s.Deltas), first: 4},
	}
}

const (
	eventStream = "application/vnd.amazon.eventstream"
	sseStream   = "text/event-stream"
)

type object = map[string]any

const (
	inputTokens  = 212
	outputTokens = 190
)

// message is Anthropic's, as InvokeModel gives it.
func message(text string) object {
	return object{
		"id": "msg_bdrk_01Bench", "type": "message", "role": "assistant", "model": "claude-3-5-sonnet-20241022",
		"content": []object{{"type": "text", "text": text}}, "stop_reason": "end_turn", "stop_sequence": nil,
		"usage": object{"input_tokens": inputTokens, "output_tokens": outputTokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
	}
}

func converse(text string) object {
	return object{
		"metrics":    object{"latencyMs": 551},
		"output":     object{"message": object{"role": "assistant", "content": []object{{"text": text}}}},
		"stopReason": "end_turn",
		"usage":      object{"inputTokens": inputTokens, "outputTokens": outputTokens, "totalTokens": inputTokens + outputTokens},
	}
}

func invokeEvents(deltas int) (events [][]byte) {
	for _, event := range anthropicEvents(deltas) {
		payload := marshal(object{"bytes": base64.StdEncoding.EncodeToString(marshal(event)), "p": "abcdefghijkl"})
		events = append(events, frame("chunk", payload))
	}
	return events
}

// messagesEvents are those of Anthropic's API on bedrock-mantle.
func messagesEvents(deltas int) (events [][]byte) {
	for _, event := range anthropicEvents(deltas) {
		delete(event, "amazon-bedrock-invocationMetrics")
		events = append(events, sse(event))
	}
	return events
}

func sse(event object) []byte {
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", event["type"], marshal(event))
}

func anthropicEvents(deltas int) (events []object) {
	add := func(event object) { events = append(events, event) }
	add(object{"type": "message_start", "message": object{
		"id": "msg_bdrk_01Bench", "type": "message", "role": "assistant", "model": "claude-3-5-sonnet-20241022",
		"content": []object{}, "stop_reason": nil, "stop_sequence": nil, "usage": object{"input_tokens": inputTokens, "output_tokens": 1},
	}})
	add(object{"type": "content_block_start", "index": 0, "content_block": object{"type": "text", "text": ""}})
	for range deltas {
		add(object{"type": "content_block_delta", "index": 0, "delta": object{"type": "text_delta", "text": text(deltaText)}})
	}
	add(object{"type": "content_block_stop", "index": 0})
	add(object{"type": "message_delta", "delta": object{"stop_reason": "end_turn", "stop_sequence": nil}, "usage": object{"output_tokens": outputTokens}})
	add(object{"type": "message_stop", "amazon-bedrock-invocationMetrics": object{
		"inputTokenCount": inputTokens, "outputTokenCount": outputTokens, "invocationLatency": 551, "firstByteLatency": 180,
	}})
	return events
}

// responsesEvents are OpenAI's, of an answer that is one message.
func responsesEvents(deltas int) (events [][]byte) {
	add := func(name string, more object) {
		more["type"], more["sequence_number"] = name, len(events)
		events = append(events, sse(more))
	}
	response := func(status string, usage any) object {
		return object{"response": object{
			"id": "resp_01Bench", "object": "response", "created_at": 1700000000, "status": status, "model": "gpt-5.5",
			"output": []object{}, "error": nil, "incomplete_details": nil, "parallel_tool_calls": true, "usage": usage,
		}}
	}
	const item = "msg_0a1b2c3d4e5f6071"
	part := func(more object) object {
		more["item_id"], more["output_index"], more["content_index"] = item, 0, 0
		return more
	}
	add("response.created", response("in_progress", nil))
	add("response.in_progress", response("in_progress", nil))
	add("response.output_item.added", object{"output_index": 0, "item": object{"id": item, "type": "message", "status": "in_progress", "role": "assistant", "content": []object{}}})
	add("response.content_part.added", part(object{"part": object{"type": "output_text", "annotations": []object{}, "logprobs": []object{}, "text": ""}}))
	for range deltas {
		add("response.output_text.delta", part(object{"delta": text(deltaText), "logprobs": []object{}, "obfuscation": "aB3dE6"}))
	}
	add("response.output_text.done", part(object{"text": prose, "logprobs": []object{}}))
	add("response.output_item.done", object{"output_index": 0, "item": object{"id": item, "type": "message", "status": "completed", "role": "assistant", "content": []object{}}})
	add("response.completed", response("completed", object{
		"input_tokens": inputTokens, "output_tokens": outputTokens, "total_tokens": inputTokens + outputTokens,
		"input_tokens_details": object{"cached_tokens": 0}, "output_tokens_details": object{"reasoning_tokens": 0},
	}))
	return events
}

func converseEvents(deltas int) (events [][]byte) {
	const padding = "abcdefghijklmnopqrstuvwxyzABCDEFGH"
	add := func(name string, event object) {
		event["p"] = padding[:1+len(events)%len(padding)]
		events = append(events, frame(name, marshal(event)))
	}
	add("messageStart", object{"role": "assistant"})
	for range deltas {
		add("contentBlockDelta", object{"contentBlockIndex": 0, "delta": object{"text": text(deltaText)}})
	}
	add("contentBlockStop", object{"contentBlockIndex": 0})
	add("messageStop", object{"stopReason": "end_turn"})
	add("metadata", object{"metrics": object{"latencyMs": 551}, "usage": converse("")["usage"]})
	return events
}

// frame is one message of AWS's event stream: lengths and their CRC, headers (a
// name, type 7 for a string, its value), the payload, the CRC of it all.
func frame(event string, payload []byte) []byte {
	var headers bytes.Buffer
	for _, h := range [][2]string{{":event-type", event}, {":content-type", "application/json"}, {":message-type", "event"}} {
		headers.WriteByte(byte(len(h[0])))
		headers.WriteString(h[0])
		headers.WriteByte(7)
		headers.Write(binary.BigEndian.AppendUint16(nil, uint16(len(h[1]))))
		headers.WriteString(h[1])
	}
	const around = 4 + 4 + 4 + 4
	f := binary.BigEndian.AppendUint32(nil, uint32(around+headers.Len()+len(payload)))
	f = binary.BigEndian.AppendUint32(f, uint32(headers.Len()))
	f = binary.BigEndian.AppendUint32(f, crc32.ChecksumIEEE(f))
	f = append(append(f, headers.Bytes()...), payload...)
	return binary.BigEndian.AppendUint32(f, crc32.ChecksumIEEE(f))
}

// marshal is JSON of what can't fail: strings, numbers, lists and objects.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
