package sim

import (
	"net/http"
	"os"
	"testing"
)

// A body from outside is answered or refused, in every shape, and never by a panic.

func FuzzConverse(f *testing.F) {
	seed(f, "testdata/converse.json")
	f.Add([]byte(`{"messages":[{"role":"user","content":[{"text":"sim:words=-5 sim:after=-1 sim:chunks=-1"}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := parse(body)
		if err != nil {
			return
		}
		for _, stream := range []bool{false, true} {
			for _, id := range []string{claude, nova, llama} {
				m, _ := resolve(escape(id), "us-west-2")
				a, refusal := checkConverse(m, v, stream, &issues{})
				if refusal != nil {
					continue
				}
				if role := str(items(v, "messages")[0], "role"); role != "user" {
					t.Errorf("a conversation that starts with %q passed", role)
				}
				a.finish(nil)
				a.converse(a.answer())
				a.converseStream(a.answer())
			}
		}
	})
}

func FuzzMessages(f *testing.F) {
	seed(f, "testdata/messages.json")
	f.Add(asked(helloPrompt))
	f.Add([]byte(`{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[{"role":"user","content":"é"}],"tools":[{"name":"x","input_schema":{"type":"object","properties":{"a":{"$ref":"#"},"b":{"enum":[]},"c":{"type":"array","minItems":3}},"required":["z"]}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := parse(body)
		if err != nil {
			return
		}
		m, _ := resolve(escape(claude), "us-west-2")
		a, refusal := checkMessages(m, v, &issues{})
		if refusal != nil {
			return
		}
		a.finish(nil)
		a.messages(a.answer())
		a.messagesStream(a.answer())
	})
}

func seed(f *testing.F, path string) {
	f.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
}

func FuzzNative(f *testing.F) {
	f.Add(nativeAsk("x", `"stream":true`))
	f.Add([]byte(`{"model":"x","max_tokens":9,"messages":[{"role":"user","content":"sim:agent"}],"context_management":{},"tools":[{"name":"Bash","input_schema":{"type":"object"}},{"type":"bash_20250124","name":"b"}]}`))
	m, _ := resolveMantle(door{api: apiMessages}, "/anthropic/v1", mantleClaude)
	header := http.Header{"Anthropic-Version": {"2023-06-01"}, "Anthropic-Beta": {"context-management-2025-06-27"}}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := parse(body)
		if err != nil {
			return
		}
		checkNative(m, header, v, true, nil)
		if a, refusal := checkNative(m, header, v, false, &issues{}); refusal == nil {
			answered(a, apiMessages, mantleHost)
		}
	})
}

func FuzzChat(f *testing.F) {
	f.Add(chatAsk(oss, "sim:agent x", `"stream":true,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object"}}},`+chatTools))
	f.Add([]byte(`{"model":"x","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]},{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"x","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"x"}],"stop":["a"]}`))
	m := model{id: oss, publisher: "openai", name: "gpt-oss-120b"}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := parse(body)
		if err != nil {
			return
		}
		for _, host := range []string{runtimeHost, mantleHost} {
			if a, refusal := new(Server).readChat(m, host, v); refusal == nil {
				answered(a, apiChat, host)
			}
		}
	})
}

func FuzzResponses(f *testing.F) {
	f.Add(responseAsk(`"sim:agent x"`, `"stream":true,"text":null,"reasoning":null,`+responseTools))
	f.Add(responseAsk(`[{"type":"additional_tools","tools":[{"type":"namespace","name":"n","tools":[{"type":"custom","name":"c"}]},{"type":"local_shell"}]},{"role":"user","content":[{"type":"input_text","text":"x"}]},{"type":"custom_tool_call","call_id":"a","name":"c","input":""},{"type":"custom_tool_call_output","call_id":"a","output":[{"type":"input_text","text":"x"}]}]`, ""))
	m := model{id: gpt, publisher: "openai", name: "gpt-5.6-sol"}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := parse(body)
		if err != nil {
			return
		}
		if a, refusal := new(Server).readResponses(m, v); refusal == nil {
			a.kept = func(object) {}
			answered(a, apiResponses, runtimeHost)
		}
	})
}

func FuzzEmbed(f *testing.F) {
	f.Add([]byte(`{"inputText":"x","dimensions":256}`))
	f.Add([]byte(`{"texts":["a"],"input_type":"search_query","embedding_types":["ubinary"],"inputs":[{"content":[]}]}`))
	f.Add([]byte(`{"taskType":"SINGLE_EMBEDDING","singleEmbeddingParams":{"embeddingPurpose":"CLUSTERING","text":{"truncationMode":"END","value":"x"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := parse(body)
		if err != nil {
			return
		}
		for _, e := range embedders {
			asked := &embedding{maker: e.name}
			if e.shape("", v) == nil && e.read(asked, v) == nil {
				e.reply(asked)
			}
		}
	})
}

// answered has an ask answered in both ways.
func answered(a *ask, shape api, host string) {
	a.api, a.host = shape, host
	a.finish(nil)
	a.whole(a.answer())
	a.frames(a.answer())
	a.misevent("exception", 1)
}
