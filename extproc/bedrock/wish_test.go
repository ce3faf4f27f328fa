package bedrock

import (
	"bytes"
	"encoding/json"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/chat"
)

// An effort that is a wish goes by the model's own control, and out where it has none; of a model
// that is not known it is Bedrock's to judge.
func TestEffortAsAWish(t *testing.T) {
	for id, want := range map[string]string{
		"us.amazon.nova-pro-v1:0":                   "",
		"us.meta.llama3-3-70b-instruct-v1:0":        "",
		"anthropic.claude-3-5-sonnet-20241022-v2:0": "",
		sonnet45:                     `"budget_tokens":16384`,
		opus48:                       `"effort":"high"`,
		"us.openai.gpt-5.6-sol":      `"effort":"high"`,
		opaqueARN:                    `"effort":"high"`,
		"openai.gpt-oss-120b-1:0":    `"reasoning_effort":"high"`,
		"openai.gpt-oss-20b":         `"reasoning_effort":"high"`,
		"mistral.mistral-large-2407": "",
	} {
		r := userSays("q")
		r.Reasoning = &chat.Reasoning{Effort: "high", Wish: true}
		c := newCall(t, r, compile(&resource.Model{ModelName: id}))
		if want == "" && (bytes.Contains(c.body, []byte("effort")) || bytes.Contains(c.body, []byte("thinking")) || len(c.Notes()) != 1) {
			t.Errorf("%s, which has no control: %s, notes %q", id, c.body, c.Notes())
		}
		if !bytes.Contains(c.body, []byte(want)) {
			t.Errorf("%s: no %s in %s", id, want, c.body)
		}
	}
}

// gpt-oss writes prose around structured output that is asked for natively, by whichever API.
func TestStructuredOutputOfGPTOSS(t *testing.T) {
	for _, api := range []string{"converse", "chat"} {
		r := userSays("q")
		r.Format = &chat.Format{Name: "n", Schema: json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`)}
		c := newCall(t, r, compile(&resource.Model{ModelName: "openai.gpt-oss-120b-1:0", API: api}))
		if !bytes.Contains(c.body, []byte(outputTool)) || bytes.Contains(c.body, []byte("json_schema")) {
			t.Errorf("%s: %s", api, c.body)
		}
	}
}
