package e2e

// door is one of those that callers ask at.
type door struct {
	path, dialect string
	body          func(alias, text string, stream bool) map[string]any
	end           string // of a stream that is whole
	fault         string // that a stream has which broke off
}

var doors = []door{
	{"/v1/chat/completions", "chat", func(alias, text string, stream bool) map[string]any {
		return map[string]any{"model": alias, "stream": stream, "messages": []any{map[string]any{"role": "user", "content": text}}}
	}, "data: [DONE]\n\n", `data: {"error":{`},
	{"/v1/messages", "messages", func(alias, text string, stream bool) map[string]any {
		return map[string]any{"model": alias, "stream": stream, "max_tokens": 500, "messages": []any{map[string]any{"role": "user", "content": text}}}
	}, "data: {\"type\":\"message_stop\"}\n\n", "event: error\n"},
	{"/v1/responses", "responses", func(alias, text string, stream bool) map[string]any {
		return map[string]any{"model": alias, "stream": stream, "input": text}
	}, "", "event: response.failed\n"},
}
