package sim

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// asStream asks as the agent's client of that name does, for a stream.
func asStream(t *testing.T, s *simulator, name, prompt string) *http.Response {
	t.Helper()
	c := agentClients(t)[name]
	var body []byte
	// The client's own request is taken from the record, and sent once more as a stream.
	c.ask(t, s, []any{c.prompt(prompt)})
	calls := s.recorded(t).Calls
	var asked object
	if err := json.Unmarshal(calls[len(calls)-1].Body, &asked); err != nil {
		t.Fatal(err)
	}
	asked["stream"] = true
	body = marshal(asked)
	switch name {
	case "messages":
		return s.native(t, body)
	case "chat":
		return s.chat(t, body)
	default:
		return s.responses(t, body)
	}
}

// assembled is what a stream of server-sent events adds up to, in the shape of a whole answer.
func assembled(t *testing.T, body string) object {
	t.Helper()
	a := &assembly{message: object{"role": "assistant", "content": nil, "refusal": nil}}
	for _, line := range strings.Split(body, "\n") {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var e object
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		switch kind := str(e, "type"); {
		case kind == "response.completed":
			return e["response"].(object)
		case strings.HasPrefix(kind, "response."), kind == "ping", kind == "message_start", kind == "message_stop":
		case kind == "":
			a.chunk(e)
		default:
			a.claude(e)
		}
	}
	if len(a.blocks) > 0 || a.stop != nil {
		return object{"content": a.blocks, "stop_reason": a.stop}
	}
	return object{"choices": []any{object{"message": a.message, "finish_reason": a.finish}}}
}

type assembly struct {
	blocks  []any
	stop    any
	input   string
	message object
	finish  any
}

func (a *assembly) claude(e object) {
	switch str(e, "type") {
	case "content_block_start":
		a.blocks, a.input = append(a.blocks, e["content_block"]), ""
	case "content_block_delta":
		last := a.blocks[len(a.blocks)-1].(object)
		for _, name := range []string{"text", "thinking", "signature"} {
			if s, ok := child(e, "delta", name).(string); ok {
				last[name] = str(last, name) + s
			}
		}
		a.input += str(e, "delta", "partial_json")
	case "content_block_stop":
		if a.input != "" {
			var v any
			json.Unmarshal([]byte(a.input), &v)
			a.blocks[len(a.blocks)-1].(object)["input"] = v
		}
	case "message_delta":
		a.stop = child(e, "delta", "stop_reason")
		if a.blocks == nil {
			a.blocks = []any{}
		}
	}
}

func (a *assembly) chunk(e object) {
	for _, choice := range items(e, "choices") {
		if f := child(choice, "finish_reason"); f != nil {
			a.finish = f
		}
		delta := child(choice, "delta")
		for _, name := range []string{"content", "reasoning"} {
			if s := str(delta, name); s != "" {
				a.message[name] = str(a.message, name) + s
			}
		}
		for _, c := range items(delta, "tool_calls") {
			calls := items(a.message, "tool_calls")
			i := int(child(c, "index").(float64))
			if i == len(calls) {
				calls = append(calls, object{"id": str(c, "id"), "type": "function", "function": object{"name": str(c, "function", "name"), "arguments": ""}})
			}
			function := child(calls[i], "function").(object)
			function["arguments"] = str(function, "arguments") + str(c, "function", "arguments")
			a.message["tool_calls"] = calls
		}
	}
	if a.finish != nil && a.message["content"] == nil && a.message["tool_calls"] == nil {
		a.message["content"] = ""
	}
}
