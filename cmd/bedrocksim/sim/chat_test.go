package sim

import (
	"net/http"
	"strings"
	"testing"
)

const (
	oss       = "openai.gpt-oss-120b"
	chatPath  = "/chat/completions"
	chatTools = `"tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]`
)

func chatAsk(model, text, more string) []byte {
	return []byte(`{"model":"` + model + `","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"` + text + `"}]` + comma(more) + `}`)
}

func (s *simulator) chat(t *testing.T, body []byte) *http.Response {
	t.Helper()
	return s.send(t, "POST", "/v1"+chatPath, "bedrock-mantle", body)
}

func TestChatCompletions(t *testing.T) {
	s := start(t)
	golden(t, "chat-whole", s.chat(t, chatAsk(oss, "What is up?", `"reasoning_effort":"low"`)))
	golden(t, "chat-stream", s.chat(t, chatAsk(oss, "What is up?", `"reasoning_effort":"low","stream":true,"stream_options":{"include_usage":true}`)))
	golden(t, "chat-tools", s.chat(t, chatAsk(oss, "Weather in Paris, both?", chatTools)))
	golden(t, "chat-allowed-tools", s.chat(t, chatAsk(oss, "Weather in Paris?", strings.Replace(chatTools, "[", `[{"type":"function","function":{"name":"get_time"}},`, 1)+
		`,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"get_weather"}}]}}`)))
	golden(t, "chat-tools-stream", s.chat(t, chatAsk(oss, "Weather in Paris, both?", `"stream":true,`+chatTools)))
	golden(t, "chat-length", s.chat(t, chatAsk(oss, "What is up?", `"max_tokens":2`)))
	golden(t, "chat-error-event", s.chat(t, chatAsk(oss, "sim:error-event sim:after=3 hello", `"stream":true`)))
	golden(t, "chat-runtime", s.send(t, "POST", "/openai/v1"+chatPath, "bedrock", chatAsk(oss+"-1:0", "What is up?", `"reasoning_effort":"low"`)))
	golden(t, "chat-gpt", s.send(t, "POST", "/openai/v1"+chatPath, "bedrock", chatAsk("us.openai.gpt-5.6-sol", "What is up?", `"reasoning_effort":"low"`)))
	golden(t, "chat-gpt-cached", s.send(t, "POST", "/openai/v1"+chatPath, "bedrock", chatAsk("us.openai.gpt-5.6-sol", "What is up?", `"reasoning_effort":"low"`)))
	golden(t, "chat-result", s.chat(t, []byte(`{"model":"`+oss+`","messages":[{"role":"user","content":"Weather?"},{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"get_weather","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"sunny"}],`+chatTools+`}`)))
	golden(t, "chat-image", s.chat(t, []byte(`{"model":"`+oss+`","messages":[{"role":"user","content":[{"type":"text","text":"See?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}]}`)))
}

func TestChatCompletionsRefuse(t *testing.T) {
	s := start(t)
	one := func(more string) []byte { return chatAsk(oss, "x", more) }
	for name, r := range map[string]*http.Response{
		"unknown-member":  s.chat(t, one(`"foo":1`)),
		"inner-member":    s.chat(t, []byte(`{"model":"`+oss+`","messages":[{"role":"user","content":"x","foo":1}]}`)),
		"no-messages":     s.chat(t, []byte(`{"model":"`+oss+`"}`)),
		"no-model":        s.chat(t, []byte(`{"messages":[]}`)),
		"temperature":     s.chat(t, one(`"temperature":3`)),
		"no-tools":        s.chat(t, one(`"tool_choice":"auto"`)),
		"allowed-tools":   s.chat(t, one(chatTools+`,"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"other"}}]}}`)),
		"unanswered":      s.chat(t, []byte(`{"model":"`+oss+`","messages":[{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"x","arguments":"{}"}}]}]}`)),
		"stray-result":    s.chat(t, []byte(`{"model":"`+oss+`","messages":[{"role":"tool","tool_call_id":"a","content":"x"}]}`)),
		"unknown-model":   s.chat(t, chatAsk("openai.gpt-4o", "x", "")),
		"runtime-id":      s.chat(t, chatAsk(oss+"-1:0", "x", "")),
		"route":           s.chat(t, chatAsk("xai.grok-4.3", "x", "")),
		"gpt":             s.send(t, "POST", "/openai/v1"+chatPath, "bedrock-mantle", chatAsk("openai.gpt-5.4", "x", "")),
		"claude":          s.send(t, "POST", "/openai/v1"+chatPath, "bedrock", chatAsk("us."+claude, "x", "")),
		"runtime-unknown": s.send(t, "POST", "/openai/v1"+chatPath, "bedrock", chatAsk("openai.nonexistent", "x", "")),
		"mantle-id":       s.send(t, "POST", "/openai/v1"+chatPath, "bedrock", chatAsk(oss, "x", "")),
		"on-demand":       s.send(t, "POST", "/openai/v1"+chatPath, "bedrock", chatAsk("openai.gpt-5.6-sol", "x", "")),
		"service":         s.send(t, "POST", "/v1"+chatPath, "bedrock", one("")),
		"service-s3":      s.send(t, "POST", "/openai/v1"+chatPath, "s3", one("")),
		"bearer":          s.send(t, "POST", "/v1"+chatPath, "", one(""), "Authorization", "Bearer other"),
		"json":            s.chat(t, []byte("{")),
		"throttle":        s.chat(t, chatAsk(oss, "sim:throttle=7", "")),
		"quota":           s.chat(t, chatAsk(oss, "sim:quota", "")),
		"too-long":        s.chat(t, chatAsk(oss, "sim:prompt-too-long", "")),
		"overloaded":      s.chat(t, chatAsk(oss, "sim:overloaded", "")),
	} {
		golden(t, "chat-refusal-"+name, r)
	}
}

// With an API key nothing but the model tells which of the two hosts is meant.
func TestTheModelTellsTheHostOfABearer(t *testing.T) {
	s := start(t)
	for model, host := range map[string]string{oss + "-1:0": "runtime", "xai.grok-4.3": "mantle", "us.openai.gpt-5.6-sol": "runtime", "openai.gpt-4o": "runtime"} {
		r := s.send(t, "POST", "/openai/v1"+chatPath, "", chatAsk(model, "x", ""), "Authorization", "Bearer "+PlaceholderAPIKey)
		calls := s.recorded(t).Calls
		if got := calls[len(calls)-1].Host; got != host || (r.StatusCode == 200) != !strings.Contains(model, "gpt-4o") {
			t.Errorf("%s: %s, %s", model, got, r.Status)
		}
	}
}
