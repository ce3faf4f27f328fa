package bedrock

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"aisix/admin/resource"
)

// families.json holds what is known of model families: rows of patterns over the
// model id (without geography and ARN), in order, each over the ones before it.
// New models need a row at most, never code; a model resource overrules all.
//
//go:embed families.json
var familiesJSON []byte

// family is what is known of a model: the members of the rows that match it, a
// later row's over an earlier one's.
type family struct {
	Capabilities resource.Capabilities `json:"capabilities"`
	// Efforts maps a caller's reasoning effort to the family's word for it.
	Efforts map[string]string `json:"efforts,omitempty"`
	// ReasoningFields go into additionalModelRequestFields where Reasoning is
	// effort; "$effort" stands for the family's word.
	ReasoningFields map[string]json.RawMessage `json:"reasoning_fields,omitempty"`
}

// familyRow is a row of the file: patterns, and the members of family that it says.
type familyRow struct {
	match []string
	says  json.RawMessage
}

var families = mustFamilies(familiesJSON)

// mustFamilies reads the rows, each of which must be a family with nothing unknown
// in it: a misspelled member would say nothing, silently.
func mustFamilies(data []byte) []familyRow {
	var raws []json.RawMessage
	if err := json.Unmarshal(data, &raws); err != nil {
		panic(fmt.Sprintf("bedrock: families.json: %v", err))
	}
	rows := make([]familyRow, len(raws))
	for i, raw := range raws {
		var row struct {
			Match []string `json:"match"`
			family
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&row); err != nil {
			panic(fmt.Sprintf("bedrock: families.json: row %d: %v", i, err))
		}
		rows[i] = familyRow{match: row.Match, says: raw}
	}
	return rows
}

// familyOf is what is known of a model by its base id. Nothing is known of an
// unknown one: all its members are "not said", and nothing is refused for it.
func familyOf(id string) family {
	var f family
	for _, row := range families {
		if slices.ContainsFunc(row.match, func(pattern string) bool { ok, _ := path.Match(pattern, id); return ok }) {
			f.overlay(row.says)
		}
	}
	return f
}

// overlay takes over every member that says has: a family's JSON that was read
// before. Maps are said whole, not member by member.
func (f *family) overlay(says json.RawMessage) {
	efforts, fields := f.Efforts, f.ReasoningFields
	f.Efforts, f.ReasoningFields = nil, nil
	if err := json.Unmarshal(says, f); err != nil {
		panic(fmt.Sprintf("bedrock: a family that was read before: %v", err))
	}
	if f.Efforts == nil {
		f.Efforts = efforts
	}
	if f.ReasoningFields == nil {
		f.ReasoningFields = fields
	}
}

// baseID is the id that patterns see: anthropic.claude-…, with neither ARN nor
// geography. An id that doesn't show its publisher gets the one given.
func baseID(id, publisher string) string {
	if strings.HasPrefix(id, arnPrefix) {
		id = id[strings.LastIndexByte(id, '/')+1:]
	}
	if publisher == "" {
		return id
	}
	prefix := publisher + "."
	if i := strings.Index(id, prefix); i == 0 || (i > 0 && id[i-1] == '.') {
		return id[i:]
	}
	return prefix + strings.ReplaceAll(id, "/", "-")
}

// denies reports whether a capability is known to be missing: not said is not
// denied.
func denies(capability *bool) bool { return capability != nil && !*capability }

// has reports whether a capability is known to be there.
func has(capability *bool) bool { return capability != nil && *capability }
