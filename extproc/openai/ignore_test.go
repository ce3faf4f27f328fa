package openai

import (
	"testing"

	"aisix/admin/resource"
)

// TestNeverIgnored: what is never ignored here is refused where an operator would say so.
func TestNeverIgnored(t *testing.T) {
	model := func(name string) []byte {
		return []byte(`{"display_name":"m","model_name":"m","provider_key_id":"10000000-0000-4000-8000-000000000000","ignore_params":["` + name + `"]}`)
	}
	for _, name := range neverIgnored {
		if _, err := resource.Decode(resource.Models, model(name), nil); err == nil {
			t.Errorf("a model resource may ignore %s", name)
		}
	}
	if _, err := resource.Decode(resource.Models, model("messages.reasoning_details"), nil); err != nil {
		t.Error(err)
	}
}
