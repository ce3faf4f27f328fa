package bedrock

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/chat"
	"aisix/extproc/fault"

	"github.com/go-json-experiment/json/jsontext"
)

// FuzzWrittenFields: whatever stands among the additional fields, what goes out is one
// object with no member twice, or it is a 400.
func FuzzWrittenFields(f *testing.F) {
	for i, fields := range []string{
		`{}`, `{"thinking":{"type":"enabled","budget_tokens":1e9}}`, `{"thinking":null,"max_tokens":"x"}`, `{"max_tokens":-1,"temperature":{},"stop_sequences":1}`,
		`{"output_config":[],"metadata":{"user_id":1},"anthropic_beta":["a"]}`, `{"reasoning":{"effort":{}},"text":1,"reasoningConfig":"x","inferenceConfig":{"topK":{}}}`,
		`{"tools":[]}`, `{"anthropic_version":"x"}`, `{"":{"":{}}}`,
	} {
		f.Add(uint64(i), uint8(i*5), fields)
	}
	f.Fuzz(func(t *testing.T, seed uint64, model uint8, fields string) {
		if jsontext.Value(fields).Kind() != '{' || !jsontext.Value(fields).IsValid() { // admin sees to that
			return
		}
		g := generator{rand.New(rand.NewPCG(seed, 17))}
		req, options := g.request(), g.options()
		if g.IntN(3) == 0 {
			req.Reasoning = &chat.Reasoning{Effort: g.pick("", "low", "none"), Thinking: json.RawMessage(g.pick(`{"type":"adaptive"}`, `{"type":"enabled","budget_tokens":5000}`, `{"display":null,"type":"adaptive"}`, `{}`))}
		}
		options.AdditionalModelRequestFields = json.RawMessage(fields)
		c, err := NewCall(t.Context(), req, compile(&resource.Model{ModelName: models[int(model)%len(models)], Bedrock: options}), bodyLimit)
		var fe *fault.Error
		if errors.As(err, &fe) {
			if fe.Status != 400 {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !jsontext.Value(c.body).IsValid() { // duplicates are not valid
			t.Errorf("%s becomes %s", fields, c.body)
		}
	})
}
