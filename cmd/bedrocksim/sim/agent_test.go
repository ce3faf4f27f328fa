package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A client of an API, as far as an agent needs one: it asks, and answers each call.
type agentClient struct {
	ask func(t *testing.T, s *simulator, history []any) *http.Response
	// read gives the items to add to the history, the calls by id with their arguments, and the text.
	read func(reply object) (add []any, calls []object, text string)
	// result is the answer to calls.
	results func(calls []object) []any
	prompt  func(text string) any
}

func claudeClient(ask func(t *testing.T, s *simulator, messages []any) *http.Response) agentClient {
	return agentClient{
		ask: ask,
		read: func(reply object) (add []any, calls []object, text string) {
			content := items(reply, "content")
			for _, b := range content {
				if str(b, "type") == "tool_use" {
					calls = append(calls, object{"id": str(b, "id"), "arguments": compact(child(b, "input"))})
				}
				text += str(b, "text")
			}
			return []any{object{"role": "assistant", "content": content}}, calls, text
		},
		results: func(calls []object) []any {
			var results []any
			for i := len(calls) - 1; i >= 0; i-- { // in the order of their completion
				results = append(results, object{"type": "tool_result", "tool_use_id": calls[i]["id"], "content": "ok"})
			}
			results[len(results)-1].(object)["cache_control"] = object{"type": "ephemeral"}
			return []any{object{"role": "user", "content": results}}
		},
		prompt: func(text string) any {
			return object{"role": "user", "content": []any{object{"type": "text", "text": text, "cache_control": object{"type": "ephemeral"}}}}
		},
	}
}

// unmarked takes the marks out of all but the last message, as an agent moves them.
func unmarked(messages []any) []any {
	text := compact(messages[:len(messages)-1])
	var out []any
	json.Unmarshal([]byte(strings.ReplaceAll(text, `"cache_control":{"type":"ephemeral"},`, "")), &out)
	return append(out, messages[len(messages)-1])
}

const bashTools = `[{"name":"Bash","input_schema":{"type":"object","properties":{"command":{"type":"string"},"description":{"type":"string"},"timeout":{"type":"number"}},"required":["command"]}},
	{"name":"Read","input_schema":{"type":"object","properties":{"file_path":{"type":"string"},"limit":{"type":"integer"}},"required":["file_path"]}},
	{"name":"Write","input_schema":{"type":"object","properties":{"file_path":{"type":"string"},"content":{"type":"string"}},"required":["file_path","content"]}}]`

func decoded(t *testing.T, s string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func agentClients(t *testing.T) map[string]agentClient {
	chatTools := []any{}
	for _, tool := range decoded(t, bashTools).([]any) {
		chatTools = append(chatTools, object{"type": "function", "function": object{"name": str(tool, "name"), "parameters": child(tool, "input_schema")}})
	}
	return map[string]agentClient{
		"messages": claudeClient(func(t *testing.T, s *simulator, messages []any) *http.Response {
			return s.native(t, marshal(object{"model": mantleClaude, "max_tokens": 32000, "thinking": object{"type": "adaptive", "display": "summarized"}, "messages": unmarked(messages), "tools": decoded(t, bashTools)}))
		}),
		"invoke": claudeClient(func(t *testing.T, s *simulator, messages []any) *http.Response {
			return s.post(t, claude, "invoke", marshal(object{"anthropic_version": "bedrock-2023-05-31", "max_tokens": 32000, "thinking": object{"type": "enabled", "budget_tokens": 1024}, "messages": unmarked(messages), "tools": decoded(t, bashTools)}))
		}),
		"converse": {
			ask: func(t *testing.T, s *simulator, messages []any) *http.Response {
				specs := []any{}
				for _, tool := range decoded(t, bashTools).([]any) {
					specs = append(specs, object{"toolSpec": object{"name": str(tool, "name"), "inputSchema": object{"json": child(tool, "input_schema")}}})
				}
				return s.post(t, nova, "converse", marshal(object{"messages": messages, "toolConfig": object{"tools": specs}}))
			},
			read: func(reply object) (add []any, calls []object, text string) {
				content := items(reply, "output", "message", "content")
				for _, b := range content {
					if u := child(b, "toolUse"); u != nil {
						calls = append(calls, object{"id": str(u, "toolUseId"), "arguments": compact(child(u, "input"))})
					}
					text += str(b, "text")
				}
				return []any{object{"role": "assistant", "content": content}}, calls, text
			},
			results: func(calls []object) []any {
				var results []any
				for _, c := range calls {
					results = append(results, object{"toolResult": object{"toolUseId": c["id"], "content": []any{object{"text": "ok"}}}})
				}
				return []any{object{"role": "user", "content": results}}
			},
			prompt: func(text string) any {
				return object{"role": "user", "content": []any{object{"text": text}}}
			},
		},
		"chat": {
			ask: func(t *testing.T, s *simulator, messages []any) *http.Response {
				return s.chat(t, marshal(object{"model": oss, "reasoning_effort": "low", "messages": messages, "tools": chatTools}))
			},
			read: func(reply object) (add []any, calls []object, text string) {
				message := child(items(reply, "choices")[0], "message")
				for _, c := range items(message, "tool_calls") {
					calls = append(calls, object{"id": str(c, "id"), "arguments": str(c, "function", "arguments")})
				}
				return []any{message}, calls, str(message, "content")
			},
			results: func(calls []object) (results []any) {
				for _, c := range calls {
					results = append(results, object{"role": "tool", "tool_call_id": c["id"], "content": "ok"})
				}
				return results
			},
			prompt: func(text string) any { return object{"role": "user", "content": text} },
		},
		"responses": {
			ask: func(t *testing.T, s *simulator, input []any) *http.Response {
				return s.responses(t, marshal(object{"model": gpt, "store": false, "include": []any{"reasoning.encrypted_content"}, "input": input, "tools": []any{
					object{"type": "namespace", "name": "codex", "tools": []any{
						object{"type": "function", "name": "exec_command", "parameters": object{"type": "object", "properties": object{"cmd": object{"type": "string"}, "yield_time_ms": object{"type": "number"}}, "required": []any{"cmd"}}},
						object{"type": "custom", "name": "apply_patch", "format": object{"type": "grammar", "syntax": "lark", "definition": "x"}},
					}},
				}}))
			},
			read: func(reply object) (add []any, calls []object, text string) {
				for _, item := range items(reply, "output") {
					switch str(item, "type") {
					case "function_call", "custom_tool_call":
						calls = append(calls, object{"id": str(item, "call_id"), "type": str(item, "type"), "arguments": or(str(item, "arguments"), str(item, "input")), "namespace": str(item, "namespace")})
					case "message":
						text += str(items(item, "content")[0], "text")
					}
				}
				return items(reply, "output"), calls, text
			},
			results: func(calls []object) (results []any) {
				for _, c := range calls {
					results = append(results, object{"type": str(c, "type") + "_output", "call_id": c["id"], "output": []any{object{"type": "input_text", "text": "ok"}}})
				}
				return results
			},
			prompt: func(text string) any { return object{"role": "user", "content": text} },
		},
	}
}

// run is a session to its end. Whatever is not answered is asked again.
func (c agentClient) run(t *testing.T, s *simulator, prompt string) (calls [][]object, text string, statuses []int) {
	t.Helper()
	history := []any{c.prompt(prompt)}
	for range 20 {
		r := c.ask(t, s, history)
		statuses = append(statuses, r.StatusCode)
		body := bodyOf(t, r)
		if r.StatusCode != 200 {
			if len(statuses) > 1 && statuses[len(statuses)-2] != 200 {
				t.Fatalf("twice in a row: %s", body)
			}
			continue
		}
		reply, _ := decoded(t, body).(object)
		add, made, said := c.read(reply)
		history = append(history, add...)
		if len(made) == 0 {
			return calls, said, statuses
		}
		calls = append(calls, made)
		history = append(history, c.results(made)...)
	}
	t.Fatal("there is no end of it")
	return nil, "", nil
}

func TestAnAgentUsesItsToolsAndIsDone(t *testing.T) {
	for name, c := range agentClients(t) {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			calls, text, statuses := c.run(t, s, "sim:agent=/tmp/work Do your work, please.")
			if len(calls) != 3 || len(calls[0]) != 2 || len(calls[1]) != 1 || len(statuses) != 4 {
				t.Fatalf("%d turns, %v: %v", len(calls), statuses, calls)
			}
			if n := len(str(calls[1][0], "arguments")); n < bigArgument || !strings.Contains(str(calls[1][0], "arguments"), "/tmp/work/sim-agent.txt") {
				t.Errorf("an argument of %d bytes", n)
			}
			if !strings.Contains(compact(calls[0]), "echo two") || !strings.Contains(compact(calls[2]), "wc -c") {
				t.Errorf("%v, %v", calls[0], calls[2])
			}
			if !strings.HasPrefix(text, "The simulator's agent is done after 3 steps: ") || !strings.Contains(text, `said "ok"`) {
				t.Error(text)
			}
			for _, call := range s.recorded(t).Calls {
				if len(call.Faults) > 0 {
					t.Errorf("%v", call.Faults)
				}
			}
			if name == "responses" && (calls[0][0]["namespace"] != "codex" || !strings.HasPrefix(str(calls[1][0], "arguments"), "*** Begin Patch\n*** Add File: ")) {
				t.Errorf("%v, %.60v", calls[0][0], calls[1][0])
			}
		})
	}
}

func TestASessionFailsOnceEachAndGoesOn(t *testing.T) {
	for name, c := range agentClients(t) {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			want := "[200 429 200 503 200 500 200]"
			if name == "messages" {
				want = "[200 429 200 529 200 500 200]"
			}
			for _, session := range []string{"first", "second"} {
				calls, text, statuses := c.run(t, s, "sim:agent sim:once=throttle=1,overloaded,fail Do your work in the "+session+" session.")
				if got := fmt.Sprint(statuses); got != want || len(calls) != 3 || !strings.Contains(text, "is done") {
					t.Errorf("%s: %s, %d turns, %s", session, got, len(calls), text)
				}
			}
		})
	}
}

func TestToolsThatNoAgentKnowsAreUsedToo(t *testing.T) {
	s := start(t)
	var c agentClient
	for name, one := range agentClients(t) {
		if name == "chat" {
			c = one
		}
	}
	c.ask = func(t *testing.T, s *simulator, messages []any) *http.Response {
		return s.chat(t, marshal(object{"model": oss, "messages": messages, "tools": decoded(t, `[
			{"type":"function","function":{"name":"look_up","parameters":{"type":"object","properties":{"key":{"type":"string"}},"required":["key"]}}},
			{"type":"function","function":{"name":"add","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}}]`)}))
	}
	calls, text, _ := c.run(t, s, "sim:agent Go.")
	if len(calls) != 3 || len(calls[0]) != 2 || len(str(calls[1][0], "arguments")) < bigArgument || !strings.Contains(text, "is done") {
		t.Errorf("%d turns, %s", len(calls), text)
	}
}

// Who does not move a mark with the conversation, or changes what was marked, is told.
func TestAnAgentsMarksAreLookedAt(t *testing.T) {
	s := start(t)
	body := `{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"system":[{"type":"text","text":"Be an agent.","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"sim:agent go"},
		{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"Bash","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"ok"}]}],"tools":[{"name":"Bash","input_schema":{"type":"object"}}]}`
	if r := s.post(t, claude, "invoke", []byte(body)); r.StatusCode != 200 {
		t.Fatal(bodyOf(t, r))
	}
	if got := strings.Join(s.recorded(t).Calls[0].Faults, "; "); !strings.Contains(got, "none on the last turn") || !strings.Contains(got, "nothing was read") {
		t.Error(got)
	}
}

// What comes after the end of a scenario is a prompt as any other.
func TestAResumedSessionIsNoAgents(t *testing.T) {
	s := start(t)
	r := s.chat(t, []byte(`{"model":"`+oss+`","messages":[{"role":"user","content":"sim:agent go"},{"role":"assistant","content":"done"},{"role":"user","content":"And now?"}],`+chatTools+`,"tool_choice":"none"}`))
	if body := bodyOf(t, r); !strings.Contains(body, "You said: And now?") {
		t.Error(body)
	}
}

// A client may keep what a stream gave before it broke off, and go on from there.
func TestATurnThatBrokeOffIsNoEnd(t *testing.T) {
	s := start(t)
	tool := `"tools":[{"type":"function","name":"exec_command","parameters":{"type":"object","properties":{"cmd":{"type":"string"}},"required":["cmd"]}}]`
	out := compact(responseOf(t, s.responses(t, responseAsk(`[{"role":"user","content":"sim:agent go"},{"type":"function_call","call_id":"a","name":"exec_command","arguments":"{}"},
		{"type":"function_call_output","call_id":"a","output":"ok"},{"role":"assistant","content":"Let me"}]`, tool))))
	if !strings.Contains(out, "sim-agent.txt") {
		t.Error(out)
	}
}

// The words may be every request's, so that a prompt need not have them.
func TestEverySessionCanBeAnAgents(t *testing.T) {
	s := start(t)
	s.put(t, "agent=/tmp/all once=overloaded,fail")
	c := agentClients(t)["responses"]
	for _, prompt := range []string{"Do this.", "Do that."} {
		calls, text, statuses := c.run(t, s, prompt)
		if got := fmt.Sprint(statuses); got != "[200 503 200 500 200 200]" || len(calls) != agentSteps || !strings.Contains(text, "is done") {
			t.Errorf("%s: %s, %s", prompt, got, text)
		}
	}
}
