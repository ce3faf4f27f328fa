package sim

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

const (
	gpt           = "us.openai.gpt-5.6-sol"
	responsesPath = "/openai/v1/responses"
	responseTools = `"tools":[{"type":"function","name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}]`
)

func responseAsk(input, more string) []byte {
	return []byte(`{"model":"` + gpt + `","input":` + input + comma(more) + `}`)
}

func (s *simulator) responses(t *testing.T, body []byte) *http.Response {
	t.Helper()
	return s.send(t, "POST", responsesPath, "bedrock", body)
}

func TestResponses(t *testing.T) {
	s := start(t)
	golden(t, "responses-whole", s.responses(t, responseAsk(`"What is up?"`, `"store":false`)))
	golden(t, "responses-stream", s.responses(t, responseAsk(`[{"role":"user","content":"What is up?"}]`, `"stream":true,"store":false,"reasoning":{"effort":"low","summary":"auto"},"include":["reasoning.encrypted_content"]`)))
	golden(t, "responses-tools", s.responses(t, responseAsk(`"Weather in Paris, both?"`, `"stream":true,"store":false,`+responseTools)))
	golden(t, "responses-custom", s.responses(t, responseAsk(`"please call run twice"`, `"stream":true,"store":false,"stream_options":{"include_obfuscation":false},"tools":[{"type":"namespace","name":"work","tools":[{"type":"custom","name":"run","format":{"type":"grammar","syntax":"lark","definition":"x"}}]}]`)))
	golden(t, "responses-lite", s.responses(t, responseAsk(`[{"type":"additional_tools","role":"developer","tools":[{"type":"namespace","name":"work","tools":[{"type":"function","name":"run","parameters":{"type":"object"}}]}]},{"type":"message","role":"developer","content":[{"type":"input_text","text":"Be brief."}]},{"type":"message","role":"user","content":[{"type":"input_text","text":"run it"}]}]`, `"store":false,"parallel_tool_calls":false,"reasoning":{"effort":"low","context":"all_turns"}`)))
	golden(t, "responses-shell", s.responses(t, responseAsk(`"go"`, `"store":false,"tools":[{"type":"local_shell"}]`)))
	golden(t, "responses-incomplete", s.responses(t, responseAsk(`"sim:words=50"`, `"stream":true,"store":false,"max_output_tokens":16`)))
	golden(t, "responses-failed", s.responses(t, responseAsk(`"sim:exception sim:after=6 x"`, `"stream":true,"store":false`)))
	golden(t, "responses-overloaded", s.responses(t, responseAsk(`"sim:error-event sim:after=2 x"`, `"stream":true,"store":false`)))
	golden(t, "responses-mantle", s.send(t, "POST", "/v1/responses", "bedrock-mantle", []byte(`{"model":"`+oss+`","input":"What is up?","stream":true,"store":false,"reasoning":{"effort":"low"}}`)))
}

func TestResponsesRefuse(t *testing.T) {
	s := start(t)
	for name, r := range map[string]*http.Response{
		"unknown-member": s.responses(t, responseAsk(`"x"`, `"foo":1`)),
		"inner-member":   s.responses(t, responseAsk(`[{"role":"user","content":[{"type":"input_text","text":"x","cache_control":{}}]}]`, "")),
		"background":     s.responses(t, responseAsk(`"x"`, `"background":true`)),
		"web-search":     s.responses(t, responseAsk(`"x"`, `"tools":[{"type":"web_search"}]`)),
		"no-output":      s.responses(t, responseAsk(`[{"type":"function_call","call_id":"a","name":"x","arguments":"{}"}]`, "")),
		"no-call":        s.responses(t, responseAsk(`[{"type":"function_call_output","call_id":"a","output":"x"}]`, "")),
		"foreign":        s.responses(t, responseAsk(`[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAAAABother"},{"role":"assistant","content":"x"},{"role":"user","content":"y"}]`, "")),
		"not-stored":     s.responses(t, responseAsk(`[{"type":"reasoning","id":"rs_1","summary":[]},{"role":"assistant","content":"x"},{"role":"user","content":"y"}]`, "")),
		"lonely":         s.responses(t, responseAsk(`[{"type":"reasoning","id":"rs_1","summary":[]},{"role":"user","content":"y"}]`, "")),
		"previous":       s.responses(t, responseAsk(`"x"`, `"previous_response_id":"resp_1"`)),
		"profile":        s.responses(t, []byte(`{"model":"arn:aws:bedrock:us-west-2:123456789012:application-inference-profile/abc","input":"x"}`)),
		"gpt-oss":        s.responses(t, []byte(`{"model":"openai.gpt-oss-120b-1:0","input":"x"}`)),
		"route":          s.send(t, "POST", "/v1/responses", "bedrock-mantle", []byte(`{"model":"openai.gpt-5.4","input":"x"}`)),
		"small":          s.responses(t, responseAsk(`"x"`, `"max_output_tokens":1`)),
		"too-long":       s.responses(t, responseAsk(`"sim:prompt-too-long"`, "")),
	} {
		golden(t, "responses-refusal-"+name, r)
	}
}

func responseOf(t *testing.T, r *http.Response) object {
	t.Helper()
	body := bodyOf(t, r)
	var o object
	if err := json.Unmarshal([]byte(body), &o); err != nil || r.StatusCode != 200 {
		t.Fatalf("%s: %v: %s", r.Status, err, body)
	}
	return o
}

// Reasoning goes back where it stood, unchanged and to the model that it is from, or nowhere.
func TestEncryptedReasoningComesBack(t *testing.T) {
	s := start(t)
	const ask = `{"role":"user","content":"Weather in Paris?"}`
	more := `"store":false,"include":["reasoning.encrypted_content"],` + responseTools
	out := items(responseOf(t, s.responses(t, responseAsk(`[`+ask+`]`, more))), "output")
	if len(out) != 3 || str(out[0], "type") != "reasoning" || str(out[2], "type") != "function_call" {
		t.Fatalf("%v", out)
	}
	result := compact(object{"type": "function_call_output", "call_id": str(out[2], "call_id"), "output": "sunny"})
	history := func(items ...any) []byte {
		list := []string{ask}
		for _, i := range items {
			list = append(list, compact(i))
		}
		return responseAsk(`[`+strings.Join(append(list, result), ",")+`]`, more)
	}
	if r := s.responses(t, history(out...)); r.StatusCode != 200 {
		t.Errorf("unchanged: %s", bodyOf(t, r))
	}
	if r := s.responses(t, history(out[1], out[0], out[2])); r.StatusCode != 400 {
		t.Errorf("in another order: %s", bodyOf(t, r))
	}
	if r := s.responses(t, history(append([]any{out[0]}, out...)...)); r.StatusCode != 200 {
		t.Errorf("behind a try that broke off: %s", bodyOf(t, r))
	}
	elsewhere := strings.Replace(string(history(out...)), gpt, "us.openai.gpt-6.1", 1)
	if body := bodyOf(t, s.responses(t, []byte(elsewhere))); !strings.Contains(body, "invalid_encrypted_content") {
		t.Errorf("another model: %s", body)
	}
	changed := merged(out[0].(object), object{"encrypted_content": str(out[0], "encrypted_content")[:40] + "AAAA"})
	if body := bodyOf(t, s.responses(t, history(changed, out[1], out[2]))); !strings.Contains(body, "invalid_encrypted_content") {
		t.Errorf("changed: %s", body)
	}
}

func TestResponsesAreKeptUnlessToldNotTo(t *testing.T) {
	s := start(t)
	first := responseOf(t, s.responses(t, responseAsk(`"Weather in Paris?"`, responseTools)))
	if first["store"] != true {
		t.Fatalf("%v", first)
	}
	id := str(first, "id")
	out := items(first, "output")
	result := compact(object{"type": "function_call_output", "call_id": str(out[len(out)-1], "call_id"), "output": "sunny"})
	second := responseOf(t, s.responses(t, responseAsk(`[`+result+`]`, `"previous_response_id":"`+id+`"`)))
	if text := compact(second["output"]); !strings.Contains(text, "get_weather says: sunny") || second["previous_response_id"] != id {
		t.Errorf("%s", text)
	}
	if got := responseOf(t, s.send(t, "GET", responsesPath+"/"+id, "bedrock", nil)); got["id"] != id {
		t.Errorf("%v", got)
	}
	if r := s.send(t, "DELETE", responsesPath+"/"+id, "bedrock", nil); r.StatusCode != 200 {
		t.Error(r.Status)
	}
	golden(t, "responses-deleted", s.send(t, "GET", responsesPath+"/"+id, "bedrock", nil))
	forgotten := responseOf(t, s.responses(t, responseAsk(`"x"`, `"store":false`)))
	if r := s.responses(t, responseAsk(`"x"`, `"previous_response_id":"`+str(forgotten, "id")+`"`)); r.StatusCode != 400 {
		t.Errorf("one that was not kept: %s", r.Status)
	}
}

// Every event has the next number, what is added is done, and the last tells how it ended.
func TestEventsAreInOrder(t *testing.T) {
	s := start(t)
	body := bodyOf(t, s.responses(t, responseAsk(`"sim:interleave Weather in Paris?"`, `"stream":true,"store":false,`+responseTools)))
	open, n := 0, 0
	last := ""
	for _, line := range strings.Split(body, "\n") {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var e object
		if err := json.Unmarshal([]byte(data), &e); err != nil || e["sequence_number"] != float64(n) {
			t.Fatalf("event %d: %v: %s", n, err, data)
		}
		last = str(e, "type")
		switch {
		case strings.HasSuffix(last, ".added"):
			open++
		case strings.HasSuffix(last, "_item.done"), strings.HasSuffix(last, "part.done"):
			open--
		}
		n++
	}
	if open != 0 || last != "response.completed" || strings.Contains(body, "[DONE]") {
		t.Errorf("%d are open, the last is %s", open, last)
	}
}
