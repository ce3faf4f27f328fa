package sim

import (
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
