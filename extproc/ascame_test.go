package extproc

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/extproc/bedrock"
	"aisix/extproc/chat"
	"aisix/extproc/identity"
	"aisix/extproc/openai"
)

// encoded is the body that goes up for a request, nil where it is refused.
func encoded(tb testing.TB, r *chat.Request, m *bedrock.Model) map[string]json.RawMessage {
	tb.Helper()
	c, err := bedrock.NewCall(tb.Context(), r, m, 1<<20)
	if err != nil {
		return nil
	}
	s, err := c.Sign(identity.Token{AccessKeyID: "a", SecretAccessKey: "s"}, time.Unix(1, 0))
	if err != nil {
		tb.Fatal(err)
	}
	var out map[string]json.RawMessage
	if err := json.Unmarshal(s.Body(), &out); err != nil {
		tb.Fatalf("%v in %s", err, s.Body())
	}
	return out
}

// What goes up in the caller's own bytes means what the translation would have said: it is
// refused alike, its settings are the translation's, and its conversation the caller's.
func FuzzAsCame(f *testing.F) {
	for _, seed := range []string{
		`{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":5,"stop":"x","temperature":1,"reasoning_effort":"max","user":"u","metadata":{"a":"b"},"n":1}`,
		`{"stream":true,"stream_options":{"include_usage":false},"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}],"model":"m","functions":[],"store":false}`,
		`{"model":"m","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"string"}}}}}],"tool_choice":"required","parallel_tool_calls":false,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{ }"}}]},{"role":"tool","tool_call_id":"c","content":"r"}]}`,
		`{"model":"m","messages":[{"role":"user","content":"Hi"}],"tools":[],"tool_choice":"none","frequency_penalty":0,"seed":3,"top_p":0.1e1,"service_tier":"auto"}`,
		`{"model":"m","messages":[{"role":"user","content":"Hi"}],"verbosity":"low","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}},{"type":"function","function":{"name":"g","parameters":{"type":"object"}}}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"g"}}]}}}`,
		`{"model":"m","messages":[{"role":"user","content":" "}]}`, `{"model":"m","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}`,
	} {
		f.Add([]byte(seed))
	}
	model, err := bedrock.Compile(&resource.Model{ModelName: "openai.gpt-5.6-sol", API: "chat"}, "openai.gpt-5.6-sol", &resource.ProviderKey{Credentials: resource.Static{Region: "us-west-2"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		asked, err := openai.Chat{}.Parse(noHeader{}, body)
		if err != nil {
			return
		}
		r, err := asked.Request(nil)
		if err != nil || r.Came == nil {
			return
		}
		got := encoded(t, r, model)
		translated := *r
		translated.Came = nil
		want := encoded(t, &translated, model)
		if (got == nil) != (want == nil) {
			t.Fatalf("refused %t, translated %t", got == nil, want == nil)
		}
		var caller map[string]json.RawMessage
		if err := json.Unmarshal(body, &caller); err != nil {
			t.Fatal(err)
		}
		own := got != nil && bytes.Equal(got["messages"], caller["messages"])
		for name, value := range want {
			switch name {
			case "messages", "tools", "tool_choice":
				if got[name] == nil {
					t.Errorf("no %s", name)
				}
				continue
			}
			if !alike(got[name], value) {
				t.Errorf("%s is %s, translated %s", name, got[name], value)
			}
		}
		for name, value := range got {
			if want[name] == nil && (!own || !bytes.Equal(value, caller[name])) {
				t.Errorf("%s %s is nobody's", name, value)
			}
		}
	})
}

// alike reports whether two settings mean the same: one stop sequence may stand alone.
func alike(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	list, ok := y.([]any)
	return reflect.DeepEqual(x, y) || ok && len(list) == 1 && reflect.DeepEqual(x, list[0])
}
