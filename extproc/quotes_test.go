package extproc_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"aisix/extproc"
	"aisix/extproc/exchange/exchangetest"
)

// What AWS quotes of a request is for no log: at each door, by each way of asking, refused or broken off,
// of long requests too, of which nothing is kept once the answer has begun. What AWS says itself is.
func TestNoLogQuotesARequest(t *testing.T) {
	const nova = "amazon.nova-pro-v1:0"
	const said = "Where is my submarine parked?"
	refused := func(message string) exchangetest.Reply {
		return exchangetest.Reply{Status: 400, Header: http.Header{"Content-Type": {"application/json"}, "X-Amzn-Errortype": {"ValidationException"}},
			Body: fmt.Appendf(nil, `{"message":%q}`, message)}
	}
	brokenOff := exchangetest.Reply{Header: http.Header{"Content-Type": {"application/vnd.amazon.eventstream"}},
		Body: frames(t, textFrames+"\n"+`{"type":"modelStreamErrorException","payload":{"message":"The model returned the following errors: '`+said+`' is bad"}}`)}
	one := func(said string) string { return `[{"role":"user","content":"` + said + `"}]` }
	long := strings.Repeat("Where is it? ", 2000) + said
	for _, test := range []struct {
		name, path, model, body string
		upstream                exchangetest.Reply
		want                    string
	}{
		{"chat", "/v1/chat/completions", nova, `"messages":` + one(said), refused("Value '" + said + "' at 'messages' failed"), "Value '[quoted from the request]' at 'messages' failed"},
		{"messages", "/v1/messages", claude, `"max_tokens":5,"messages":` + one(said), refused("messages.0.content: '" + said + "' failed"), "messages.0.content: '[quoted from the request]' failed"},
		{"messages, long", "/v1/messages", claude, `"max_tokens":5,"messages":` + one(long), refused("messages.0.content: '" + said + "' failed"), "messages.0.content: '[quoted from the request]' failed"},
		{"messages on mantle", "/v1/messages", claude + `","api":"messages","host":"mantle`, `"max_tokens":5,"messages":` + one(said), refused("messages.0.content: '" + said + "' failed"), "messages.0.content: '[quoted from the request]' failed"},
		{"count_tokens", "/v1/messages/count_tokens", claude, `"messages":` + one(said), refused("messages.0.content: '" + said + "' failed"), "messages.0.content: '[quoted from the request]' failed"},
		{"responses", "/v1/responses", `openai.gpt-oss-120b","api":"responses","host":"mantle`, `"input":"` + said + `"`, refused("Invalid 'input': '" + said + "'"), "Invalid 'input': '[quoted from the request]'"},
		{"responses, translated", "/v1/responses", nova, `"input":"` + said + `"`, refused("Value '" + said + "' at 'messages' failed"), "Value '[quoted from the request]' at 'messages' failed"},
		{"embeddings", "/v1/embeddings", titan, `"input":"` + said + `"`, refused("Value '" + said + "' at 'inputText' failed"), "Value '[quoted from the request]' at 'inputText' failed"},
		{"a stream", "/v1/chat/completions", nova, `"stream":true,"messages":` + one(said), brokenOff, "The model returned the following errors: '[quoted from the request]' is [not kept: it may quote the conversation]"},
		{"a stream, long", "/v1/chat/completions", nova, `"stream":true,"messages":` + one(long), brokenOff, "The model returned the following errors: [not kept: it may quote the conversation]"},
	} {
		var log bytes.Buffer
		c := server(t, `{"display_name":"here","model_name":"`+test.model+`"}`, func(p *extproc.Parts) {
			p.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		c.upstream = test.upstream
		a := c.ask("POST", test.path, `{"model":"here",`+test.body+`}`)
		call := c.one(t)
		told := fmt.Sprint(call.Err, call.Notes, log.String())
		if strings.Contains(told, "submarine") || !strings.Contains(fmt.Sprint(call.Err), test.want) {
			t.Errorf("%s: %d %s\n told %s\n want %q", test.name, a.Status, a.Body, told, test.want)
		}
	}
}

// What AWS says once an answer has begun may quote the answer, which nobody keeps: only what is known of
// it is for a log. An exception that comes before quotes the request at most.
func TestNoLogQuotesAnAnswerThatBreaksOff(t *testing.T) {
	const said = "It sank on Tuesday."
	const nova = "amazon.nova-pro-v1:0"
	sse := func(events ...string) exchangetest.Reply {
		return exchangetest.Reply{Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: []byte(strings.Join(events, "\n\n") + "\n\n")}
	}
	stream := func(lines ...string) exchangetest.Reply {
		return exchangetest.Reply{Header: http.Header{"Content-Type": {"application/vnd.amazon.eventstream"}}, Body: frames(t, strings.Join(lines, "\n"))}
	}
	const start = `{"type":"messageStart","payload":{"role":"assistant"}}`
	const text = `{"type":"contentBlockDelta","payload":{"contentBlockIndex":0,"delta":{"text":"` + said + `"}}}`
	const broken = `{"type":"modelStreamErrorException","payload":{"message":"The model returned the following errors: '` + said + `' is bad"}}`
	const claudes = `{"type":"error","error":{"type":"api_error","message":"The model returned the following errors: '` + said + `' is bad"}}`
	const openais = `{"error":{"type":"server_error","message":"The model returned the following errors: '` + said + `' is bad"}}`
	messages := []string{"event: message_start\ndata: " + `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[],"stop_reason":null,"usage":{"input_tokens":3,"output_tokens":1}}}`,
		"event: content_block_start\ndata: " + `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
		"event: content_block_delta\ndata: " + `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"` + said + `"}}`,
		"event: error\ndata: " + claudes}
	for _, test := range []struct {
		name, path, model, body string
		upstream                exchangetest.Reply
		want                    string
	}{
		{"converse", "/v1/chat/completions", nova, `"messages":[{"role":"user","content":"hi"}]`, stream(start, text, broken), "following errors: [not kept"},
		{"before it", "/v1/chat/completions", nova, `"messages":[{"role":"user","content":"hi"}]`, stream(start, strings.ReplaceAll(broken, said, "tools.0")), "following errors: 'tools.0' is bad"},
		{"invoke", "/v1/messages", claude, `"max_tokens":5,"messages":[{"role":"user","content":"hi"}]`, stream(claudeFrames, `{"type":"chunk","payload":`+claudes+`}`), "following errors: [not kept"},
		{"messages", "/v1/messages", claude + `","api":"messages","host":"mantle`, `"max_tokens":5,"messages":[{"role":"user","content":"hi"}]`, sse(messages...), "following errors: [not kept"},
		{"chat", "/v1/chat/completions", `openai.gpt-oss-120b","api":"chat","host":"mantle`, `"messages":[{"role":"user","content":"hi"}]`,
			sse(`data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"`+said+`"},"finish_reason":null}]}`, "data: "+openais), "following errors: [not kept"},
		{"responses", "/v1/responses", `openai.gpt-oss-120b","api":"responses","host":"mantle`, `"input":"hi"`,
			sse("event: response.created\ndata: "+`{"type":"response.created","sequence_number":0,"response":{"id":"r","object":"response","status":"in_progress","model":"m","output":[]}}`,
				"event: response.output_text.delta\ndata: "+`{"type":"response.output_text.delta","sequence_number":1,"item_id":"m","output_index":0,"content_index":0,"delta":"`+said+`"}`,
				"event: response.failed\ndata: "+`{"type":"response.failed","sequence_number":2,"response":{"id":"r","object":"response","status":"failed","model":"m","error":{"code":"server_error","message":"The model returned the following errors: '`+said+`' is bad"},"output":[]}}`), "following errors: [not kept"},
	} {
		c := server(t, `{"display_name":"here","model_name":"`+test.model+`"}`, nil)
		c.upstream = test.upstream
		a := c.ask("POST", test.path, `{"model":"here","stream":true,`+test.body+`}`)
		if told := fmt.Sprint(c.one(t).Err); strings.Contains(told, "It sank") || !strings.Contains(told, test.want) {
			t.Errorf("%s: %d %s\n told %s\n want %q", test.name, a.Status, a.Body, told, test.want)
		}
	}
}

// Of an answer that can't be decoded no log has a word either, wherever it is not as it should be.
func TestNoLogQuotesAnAnswer(t *testing.T) {
	const said = "It sank on Tuesday."
	for _, test := range []struct{ name, path, model, body, answer string }{
		{"converse", "/v1/chat/completions", "amazon.nova-pro-v1:0", `"messages":[{"role":"user","content":"hi"}]`,
			`{"output":{"message":{"role":"assistant","content":[{"text":"` + said + `"},{"toolUse":{"toolUseId":"` + said + `","name":"f","input":{"` + said + `":"` + said + `"}}},{"reasoningContent":{"reasoningText":{"text":"` + said + `","signature":"` + said + `"}}}]}},"stopReason":"end_turn","usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5}}`},
		{"converse-stream", "/v1/chat/completions", "amazon.nova-pro-v1:0", `"stream":true,"messages":[{"role":"user","content":"hi"}]`,
			`[{"type":"messageStart","payload":{"role":"assistant"}},{"type":"contentBlockStart","payload":{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"` + said + `","name":"f"}}}},{"type":"contentBlockDelta","payload":{"contentBlockIndex":0,"delta":{"toolUse":{"input":"` + said + `"}}}},{"type":"contentBlockStop","payload":{"contentBlockIndex":0}},` +
				`{"type":"contentBlockDelta","payload":{"contentBlockIndex":1,"delta":{"text":"` + said + `"}}},{"type":"messageStop","payload":{"stopReason":"end_turn"}},{"type":"metadata","payload":{"usage":{"inputTokens":30,"outputTokens":20,"totalTokens":50}}}]`},
		{"invoke", "/v1/messages", claude, `"max_tokens":5,"messages":[{"role":"user","content":"hi"}]`,
			`{"id":"msg_1","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":"` + said + `"},{"type":"thinking","thinking":"` + said + `","signature":"` + said + `"},{"type":"tool_use","id":"` + said + `","name":"` + said + `","input":{"` + said + `":"` + said + `"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":2}}`},
		{"invoke-with-response-stream", "/v1/chat/completions", claude, `"stream":true,"messages":[{"role":"user","content":"hi"}]`,
			`[{"type":"chunk","payload":{"type":"message_start","message":{"id":"msg_1","role":"assistant","content":[],"usage":{"input_tokens":30,"output_tokens":1}}}},{"type":"chunk","payload":{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"` + said + `","name":"f","input":{}}}},` +
				`{"type":"chunk","payload":{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"` + said + `"}}},{"type":"chunk","payload":{"type":"content_block_stop","index":0}},{"type":"chunk","payload":{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}},{"type":"chunk","payload":{"type":"message_stop"}}]`},
		{"chat", "/v1/chat/completions", `openai.gpt-oss-120b","api":"chat","host":"mantle`, `"messages":[{"role":"user","content":"hi"}]`,
			`{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"` + said + `","reasoning":"` + said + `","tool_calls":[{"id":"` + said + `","type":"function","function":{"name":"` + said + `","arguments":"` + said + `"}}]}}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`},
		{"responses", "/v1/chat/completions", `openai.gpt-oss-120b","api":"responses","host":"mantle`, `"messages":[{"role":"user","content":"hi"}]`,
			`{"id":"r","object":"response","status":"completed","model":"m","output":[{"type":"reasoning","id":"x","summary":[{"type":"summary_text","text":"` + said + `"}],"encrypted_content":"` + said + `"},{"type":"message","id":"m","role":"assistant","status":"completed","content":[{"type":"output_text","text":"` + said + `","annotations":[]}]},{"type":"function_call","id":"fc","call_id":"` + said + `","name":"` + said + `","arguments":"` + said + `","status":"completed"}],"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}`},
	} {
		c := server(t, `{"display_name":"here","model_name":"`+test.model+`"}`, nil)
		failed := 0
		try := func(answer []byte, what string) {
			c.upstream = jsonReply(string(answer))
			var events []json.RawMessage
			if json.Unmarshal(answer, &events) == nil {
				var lines []string
				for _, e := range events {
					lines = append(lines, string(e))
				}
				c.upstream.Header = http.Header{"Content-Type": {"application/vnd.amazon.eventstream"}}
				c.upstream.Body = frames(t, strings.Join(lines, "\n"))
			}
			c.calls = nil
			c.ask("POST", test.path, `{"model":"here",`+test.body+`}`)
			call := c.one(t)
			if call.Err != nil {
				failed++
			}
			if told := fmt.Sprint(call.Err); strings.Contains(told, "It sank") {
				t.Errorf("%s, %s: %s", test.name, what, told)
			}
		}
		for i := range len(test.answer) {
			if test.answer[0] == '{' {
				try([]byte(test.answer[:i]), "cut")
			}
		}
		var answer any
		if err := json.Unmarshal([]byte(test.answer), &answer); err != nil {
			t.Fatal(err)
		}
		spoil(answer, said, func(what string) {
			text, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			try(text, what)
		})
		if failed == 0 {
			t.Errorf("%s: nothing failed", test.name)
		}
	}
}

// spoil puts things that should not be there in the place of each value under v, one at a time: numbers,
// nothing, and what was said, in several forms. While each is there it tells where.
func spoil(v any, said string, told func(at string)) {
	put := func(at string, was any, set func(any)) {
		for _, other := range []any{7, true, nil, said, []any{said}, map[string]any{said: said}} {
			set(other)
			told(at)
		}
		set(was)
		spoil(was, said, told)
	}
	switch v := v.(type) {
	case map[string]any:
		if _, frame := v["payload"]; frame {
			spoil(v["payload"], said, told)
			return
		}
		for name, was := range v {
			put(name, was, func(other any) { v[name] = other })
		}
	case []any:
		for i, was := range v {
			if e, _ := was.(map[string]any); e["payload"] != nil {
				spoil(was, said, told)
				continue
			}
			put(strconv.Itoa(i), was, func(other any) { v[i] = other })
		}
	}
}

// A request that is refused here, or left out in part, is in no log either, wherever it is not as it should be.
func TestNoLogQuotesABadRequest(t *testing.T) {
	const said = "Where is my submarine?"
	const f = `"name":"f","description":"d"`
	for _, test := range []struct{ name, path, model, body string }{
		{"chat", "/v1/chat/completions", "amazon.nova-pro-v1:0", `"messages":[{"role":"system","content":"x"},{"role":"user","content":[{"type":"text","text":"x"}],"name":"n"},` +
			`{"role":"assistant","content":"x","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"x"}],` +
			`"tools":[{"type":"function","function":{` + f + `,"parameters":{"type":"object","properties":{"a":{"type":"string"}}},"strict":false}}],"tool_choice":{"type":"function","function":{"name":"f"}},` +
			`"temperature":1,"top_p":1,"n":1,"stop":["a"],"max_tokens":5,"stream":false,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object"}}},"metadata":{"a":"b"},"user":"u","seed":1,"service_tier":"auto"`},
		{"messages", "/v1/messages", "amazon.nova-pro-v1:0", `"max_tokens":50,"system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"x"}]},` +
			`{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"tool_use","id":"c","name":"f","input":{"a":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"x","is_error":false}]}],` +
			`"tools":[{` + f + `,"input_schema":{"type":"object"}}],"tool_choice":{"type":"tool","name":"f"},"metadata":{"user_id":"u"},"stop_sequences":["a"],"temperature":1,"thinking":{"type":"disabled"},"service_tier":"auto"`},
		{"responses", "/v1/responses", "amazon.nova-pro-v1:0", `"instructions":"x","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"x"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"x"}],` +
			`"tools":[{"type":"function",` + f + `,"parameters":{"type":"object"}},{"type":"custom","name":"g","format":{"type":"text"}},{"type":"web_search"}],"tool_choice":"auto","text":{"format":{"type":"text"},"verbosity":"low"},` +
			`"reasoning":{"effort":"low","summary":"auto"},"store":false,"include":[],"prompt_cache_key":"k","metadata":{"a":"b"},"truncation":"disabled"`},
		{"responses, as they came", "/v1/responses", `openai.gpt-oss-120b","api":"responses","host":"mantle`, `"input":[{"type":"message","role":"user","content":"x"}],"tools":[{"type":"web_search"}],"store":false,"conversation":null,"tool_choice":"auto","metadata":{"a":"b"}`},
		{"messages, as they came", "/v1/messages", claude, `"max_tokens":50,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"f","input_schema":{"type":"object"}}],"stream":false,"anthropic_beta":["x"],"metadata":{"user_id":"u"}`},
	} {
		var log bytes.Buffer
		c := server(t, `{"display_name":"here","model_name":"`+test.model+`"}`, func(p *extproc.Parts) {
			p.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		if strings.HasSuffix(test.name, "came") {
			c.upstream = exchangetest.Reply{Status: 429, Body: []byte("{}")}
		} else if a := c.ask("POST", test.path, `{"model":"here",`+test.body+`}`); a.Status != 200 {
			t.Errorf("%s: %d %s", test.name, a.Status, a.Body)
		}
		var body any
		if err := json.Unmarshal([]byte(`{`+test.body+`}`), &body); err != nil {
			t.Fatal(err)
		}
		spoil(body, said, func(at string) {
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			c.calls = nil
			c.ask("POST", test.path, `{"model":"here",`+string(text[1:]))
			call := c.one(t)
			if told := fmt.Sprint(call.Err, call.Notes, log.String()); strings.Contains(told, "submarine") {
				t.Errorf("%s, %s: %s", test.name, at, told)
			}
		})
	}
}
