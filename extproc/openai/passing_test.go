package openai

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"aisix/extproc/chat"
	"aisix/extproc/completions"
)

// Whatever chunks an upstream sends, what passes is one event each of valid JSON on one line,
// which says what came but for the model's name and counts that nobody asked for.
func FuzzPassing(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a","model":"up","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}],"usage":null}`,
		`{"id":"a","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2},"model":"up"}`, `{"model":"up2","choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}`,
		`{"model":7,"choices":[{"delta":{"content":"x"}}]}`, `{"choices":[{"delta":{"model":"x"}}]}`,
	} {
		f.Add([]byte(seed), []byte(seed), true)
		f.Add([]byte(seed), []byte(`{"id":"a","model":"up","choices":[{"index":0,"delta":{"content":"y"},"finish_reason":"stop"}]}`), false)
	}
	f.Fuzz(func(t *testing.T, first, second []byte, counts bool) {
		var d completions.EventDecoder
		w := (&asked{model: "alias", usage: counts}).Stream(chat.Heading{})
		for _, chunk := range [][]byte{first, second} {
			var line bytes.Buffer
			if json.Compact(&line, chunk) != nil { // as the source of events has it
				return
			}
			raw, _, err := d.Raw(line.Bytes())
			if err != nil {
				return
			}
			out, err := w.Append(nil, &raw)
			if err != nil {
				t.Fatal(err)
			}
			var was, is map[string]json.RawMessage
			if json.Unmarshal(line.Bytes(), &was) != nil || len(was) == 0 || strings.Count(line.String(), `"model"`)+strings.Count(line.String(), `"usage"`)+strings.Count(line.String(), "\\") > 2 {
				return // a name twice, or in escapes: which is meant is anybody's guess
			}
			if len(out) == 0 {
				if counts || len(was["usage"]) == 0 || was["usage"][0] != '{' {
					t.Fatalf("%s is gone", chunk)
				}
				continue
			}
			data, ok := bytes.CutPrefix(out, []byte("data: "))
			if data, ok2 := bytes.CutSuffix(data, []byte("\n\n")); !ok || !ok2 || json.Unmarshal(data, &is) != nil || bytes.ContainsAny(data, "\r\n") {
				t.Fatalf("%s became %q", chunk, out)
			}
			if m := was["model"]; len(m) > 0 && m[0] == '"' && string(is["model"]) != `"alias"` {
				t.Errorf("the model is %s", is["model"])
			}
			for name, value := range was {
				if name != "model" && name != "usage" && !bytes.Equal(is[name], value) {
					t.Errorf("%s %s became %s", name, value, is[name])
				}
			}
		}
	})
}
