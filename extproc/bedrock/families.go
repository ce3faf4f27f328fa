package bedrock

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"aisix/admin/resource"
)

// families.json holds what is known of model families: rows of patterns over the
// model id (without geography and ARN), in order, each over the ones before it.
// New models need a row at most, never code; a model resource overrules all.
//
//go:embed families.json
var familiesJSON []byte

// family is a row of the file, and the merge of those that match a model.
type family struct {
	Match        []string              `json:"match"`
	Capabilities resource.Capabilities `json:"capabilities"`
	// Efforts maps a caller's reasoning effort to the family's word for it.
	Efforts map[string]string `json:"efforts,omitempty"`
	// ReasoningFields go into additionalModelRequestFields where Reasoning is
	// effort; "$effort" stands for the family's word.
	ReasoningFields map[string]json.RawMessage `json:"reasoning_fields,omitempty"`
}

var families = mustFamilies(familiesJSON)

func mustFamilies(data []byte) []family {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var rows []family
	if err := dec.Decode(&rows); err != nil {
		panic(fmt.Sprintf("bedrock: families.json: %v", err))
	}
	return rows
}

// familyOf is what is known of the target's model. Nothing is known of an
// unknown one: all its members are "not said", and nothing is refused for it.
func familyOf(t Target) family {
	id := baseID(t)
	var f family
	for _, row := range families {
		for _, pattern := range row.Match {
			if ok, _ := path.Match(pattern, id); ok {
				f.overlay(row)
				break
			}
		}
	}
	if t.Options.Capabilities != nil {
		f.overlay(family{Capabilities: *t.Options.Capabilities})
	}
	return f
}

// baseID is the id that patterns see: anthropic.claude-…, with neither ARN nor
// geography. An id that doesn't show its publisher gets the target's.
func baseID(t Target) string {
	id := t.ModelID
	if strings.HasPrefix(id, arnPrefix) {
		id = id[strings.LastIndexByte(id, '/')+1:]
	}
	if t.Publisher == "" {
		return id
	}
	prefix := t.Publisher + "."
	if i := strings.Index(id, prefix); i == 0 || (i > 0 && id[i-1] == '.') {
		return id[i:]
	}
	return prefix + strings.ReplaceAll(id, "/", "-")
}

// overlay takes over every member that row says.
func (f *family) overlay(row family) {
	c, o := &f.Capabilities, row.Capabilities
	for _, m := range []struct{ to, from **bool }{
		{&c.System, &o.System}, {&c.Tools, &o.Tools}, {&c.Images, &o.Images}, {&c.ToolResultImages, &o.ToolResultImages},
		{&c.Documents, &o.Documents}, {&c.StrictTools, &o.StrictTools}, {&c.Penalties, &o.Penalties}, {&c.Seed, &o.Seed}, {&c.MixedTurns, &o.MixedTurns},
	} {
		if *m.from != nil {
			*m.to = *m.from
		}
	}
	for _, m := range []struct{ to, from *[]string }{{&c.ToolChoice, &o.ToolChoice}, {&c.Cache, &o.Cache}, {&c.CacheTTL, &o.CacheTTL}} {
		if *m.from != nil {
			*m.to = *m.from
		}
	}
	for _, m := range []struct{ to, from *string }{
		{&c.StructuredOutput, &o.StructuredOutput}, {&c.Reasoning, &o.Reasoning}, {&c.TopKField, &o.TopKField}, {&c.ToolSchema, &o.ToolSchema},
	} {
		if *m.from != "" {
			*m.to = *m.from
		}
	}
	for _, m := range []struct{ to, from **int }{{&c.StopMax, &o.StopMax}, {&c.CallIDLength, &o.CallIDLength}} {
		if *m.from != nil {
			*m.to = *m.from
		}
	}
	if row.Efforts != nil {
		f.Efforts = row.Efforts
	}
	if row.ReasoningFields != nil {
		f.ReasoningFields = row.ReasoningFields
	}
}

// denies tells whether a capability is known to be missing: not said is not
// denied.
func denies(capability *bool) bool { return capability != nil && !*capability }

// has tells whether a capability is known to be there.
func has(capability *bool) bool { return capability != nil && *capability }
