package bedrock

import (
	"encoding/json"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

func TestARequestOverridesWhatTheModelAllows(t *testing.T) {
	target := compile(&resource.Model{ModelName: "amazon.nova-pro-v1:0", Bedrock: resource.Bedrock{
		RequestMetadata: map[string]string{"team": "a", "app": "x"},
		AllowOverride:   []string{"guardrailConfig", "requestMetadata", "serviceTier"},
	}})
	k, err := newKnobs(&chat.Request{Extensions: map[string]json.RawMessage{
		"guardrailConfig": json.RawMessage(`{"guardrailIdentifier":"abc","guardrailVersion":"1"}`),
		"requestMetadata": json.RawMessage(`{"team":"b"}`),
	}}, target)
	if err != nil {
		t.Fatal(err)
	}
	if k.guardrail.Identifier != "abc" || k.metadata["team"] != "b" || k.metadata["app"] != "x" || target.options.RequestMetadata["team"] != "a" {
		t.Errorf("%+v", k)
	}
	for name, test := range map[string]struct{ raw, param string }{
		"guardrailConfig":   {`{"guardrailIdentifier":"abc","guardrailVersion":"1","trace":"on"}`, "guardrailConfig.trace"},
		"serviceTier":       {`{"tier":"flex"}`, "serviceTier.tier"},
		"requestMetadata":   {`{"a":1}`, "requestMetadata.a"},
		"performanceConfig": {`{"latency":"optimized"}`, "performanceConfig"}, // not allowed
		"unheard":           {`1`, "unheard"},
	} {
		_, err := newKnobs(&chat.Request{Extensions: map[string]json.RawMessage{name: json.RawMessage(test.raw)}}, target)
		if f := fault.From(err); err == nil || f.Status != 400 || f.Param != test.param {
			t.Errorf("%s %s: %v", name, test.raw, err)
		}
	}
}
