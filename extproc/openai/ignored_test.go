package openai

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/bedrock"
	"aisix/extproc/fault"
)

// TestWhatIsRefusedCanBeIgnored: whichever parameter a dialect or a family refuses, the
// operator's ignore_params has it taken as absent. The conversation can't be ignored.
func TestWhatIsRefusedCanBeIgnored(t *testing.T) {
	models := []string{"us.anthropic.claude-opus-4-8", "us.anthropic.claude-opus-5-5", "zai.glm-4.7", "us.meta.llama3-2-1b-instruct-v1:0"}
	for _, m := range documented {
		models = append(models, m.model)
	}
	openai, ours := fieldGroups(t)
	ignored := map[string]bool{}
	for _, group := range append(openai, ours...) {
		samples := append([]map[string]any{group.Sample}, group.Refuses...)
		for _, model := range models {
			for _, sample := range samples {
				text, err := json.Marshal(whole(sample))
				if err != nil {
					t.Fatal(err)
				}
				var ignore []string
				for {
					f := refusedBy(t, model, text, ignore)
					if f == nil {
						break
					}
					name := f.Param[:strings.IndexAny(f.Param+".", ".[")]
					if name == "messages" {
						break
					}
					if f.Status != 400 || slices.Contains(ignore, name) {
						t.Errorf("%s: %s is refused though %q are ignored: %v", model, text, ignore, f)
						break
					}
					ignore = append(ignore, name)
					ignored[name] = true
				}
			}
		}
	}
	for _, name := range []string{"temperature", "top_p", "top_k", "tools", "tool_choice", "reasoning_effort", "thinking", "response_format", "frequency_penalty", "presence_penalty", "n", "store"} {
		if !ignored[name] {
			t.Errorf("%s was refused nowhere", name)
		}
	}
}

// refusedBy is the fault of a body for a model, nil where it goes out.
func refusedBy(t *testing.T, model string, text []byte, ignore []string) *fault.Error {
	t.Helper()
	a, err := Chat{}.Parse(nil, text)
	if err != nil {
		return fault.From(err)
	}
	r, err := a.Request(ignore)
	if err != nil {
		return fault.From(err)
	}
	m := &resource.Model{Bedrock: resource.Bedrock{IgnoreParams: ignore}}
	target, err := bedrock.Compile(m, model, &resource.ProviderKey{Credentials: resource.Static{Region: "us-east-1"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bedrock.NewCall(t.Context(), r, target, 10<<20); err != nil {
		return fault.From(err)
	}
	return nil
}
