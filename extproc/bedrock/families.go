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
	// DefaultsOfOne tells that without temperature and top_p they are 1: where a request has both,
	// and the model may take one only, such a one is left out.
	DefaultsOfOne bool `json:"defaults_of_one,omitempty"`
	// EffortExcludes are the parameters that a family's effort, by its word, has no room for.
	EffortExcludes map[string][]string `json:"effort_excludes,omitempty"`
	// ThinkingDisplay is adaptive thinking's display where the caller says nothing of it.
	ThinkingDisplay string `json:"thinking_display,omitempty"`
	// ForcedThinking tells that it thinks beside a tool that it is forced to call. Not said
	// is yes.
	ForcedThinking *bool `json:"forced_thinking,omitempty"`
	// VerbosityField is the path of the member that says how long an answer is to be; "" is none.
	VerbosityField string `json:"verbosity_field,omitempty"`
	// AllowedTools tells that a tool choice may name the tools that may be called, among those that
	// are there. Not said is no: then only those are sent.
	AllowedTools bool `json:"allowed_tools,omitempty"`
	// ThinkingTag is the XML element in which it writes its reasoning into the text.
	ThinkingTag string `json:"thinking_tag,omitempty"`
	// FormatFields go into additionalModelRequestFields beside natively structured output.
	FormatFields map[string]json.RawMessage `json:"format_fields,omitempty"`
	// MaxTokens is the caller's max_tokens where it gave none and the upstream must have
	// one; MaxOutput is the most that the model writes. 0 is not known.
	MaxTokens int `json:"max_tokens,omitempty"`
	MaxOutput int `json:"max_output,omitempty"`
	// InputHoldsCached tells that Converse's inputTokens count what came from the cache.
	InputHoldsCached bool `json:"input_holds_cached,omitempty"`
	// InvokeDocuments are the formats of documents that InvokeModel takes.
	InvokeDocuments []string `json:"invoke_documents,omitempty"`
	// ConverseCacheDocuments are those of documents behind which Converse takes a cache
	// point. Not said is all.
	ConverseCacheDocuments []string `json:"converse_cache_documents,omitempty"`
	// API and Host are how the model is asked where its resource does not say; "" is
	// InvokeModel for Claude and Converse for all others, on bedrock-runtime.
	API  string `json:"api,omitempty"`
	Host string `json:"host,omitempty"`
	// AsCame tells that it takes, and answers, OpenAI's own format so well that nothing has to be mended:
	// chat completions go up, and come back, in the words of caller and upstream. Not so the open models
	// that are asked by that format: what callers are promised has to be made of their answers. gpt-oss
	// puts its reasoning into the text (thinking_tag); of the others AWS does not say in which member it
	// comes, nor how they end a turn that calls tools.
	AsCame bool `json:"as_came,omitempty"`
	// MantlePath is what bedrock-mantle has before chat/completions and responses.
	MantlePath string `json:"mantle_path,omitempty"`
	// SystemMessages tells that it takes messages of role system in mid-conversation, as
	// Anthropic's callers send them.
	SystemMessages bool `json:"system_messages,omitempty"`
	// EffortBesideBudget tells that it takes output_config.effort, though it thinks by a budget.
	EffortBesideBudget bool `json:"effort_beside_budget,omitempty"`
	// ResultStatus: Converse takes of it that a tool failed.
	ResultStatus bool `json:"result_status,omitempty"`
	// CountTokens tells that CountTokens counts for it.
	CountTokens bool `json:"count_tokens,omitempty"`
	// StrictLimits are Bedrock's bounds on strict tools and natively structured output.
	StrictLimits strictLimits `json:"strict_limits,omitzero"`
}

// strictLimits bound what one request may have: strict tools, and over their schemas and
// that of structured output optional properties and unions. 0 is no bound.
type strictLimits struct {
	Tools    int `json:"tools"`
	Optional int `json:"optional"`
	Unions   int `json:"unions"`
}

// familyRow is a row of the file: patterns, and the members of family that it says. Each
// has the month of the last look and where the facts are from.
type familyRow struct {
	match []string
	on    []string // the upstream APIs by which it is so; nil is all
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
			Match  []string `json:"match"`
			On     []string `json:"on"`
			AsOf   string   `json:"as_of"`
			Source string   `json:"source"`
			family
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&row); err != nil {
			panic(fmt.Sprintf("bedrock: families.json: row %d: %v", i, err))
		}
		if row.AsOf == "" || row.Source == "" {
			panic(fmt.Sprintf("bedrock: families.json: row %d has no date or no source", i))
		}
		rows[i] = familyRow{match: row.Match, on: row.On, says: raw}
	}
	return rows
}

// familyOf is what is known of a model by its base id, where it is asked by an upstream
// API; "" leaves out what is so by some of them only. Nothing is known of an
// unknown one: all its members are "not said", and nothing is refused for it.
func familyOf(id, api string) family {
	var f family
	for _, row := range families {
		if row.on != nil && !slices.Contains(row.on, api) {
			continue
		}
		if matches(row.match, id) {
			f.overlay(row.says)
		}
	}
	return f
}

// matches reports whether an id is one of the models of a row.
func matches(patterns []string, id string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { ok, _ := path.Match(pattern, id); return ok })
}

// overlay takes over every member that says has: a family's JSON that was read
// before. Maps are said whole, not member by member.
func (f *family) overlay(says json.RawMessage) {
	before := *f
	f.Efforts, f.ReasoningFields, f.EffortExcludes, f.FormatFields = nil, nil, nil, nil
	if err := json.Unmarshal(says, f); err != nil {
		panic(fmt.Sprintf("bedrock: a family that was read before: %v", err))
	}
	if f.Efforts == nil {
		f.Efforts = before.Efforts
	}
	if f.ReasoningFields == nil {
		f.ReasoningFields = before.ReasoningFields
	}
	if f.EffortExcludes == nil {
		f.EffortExcludes = before.EffortExcludes
	}
	if f.FormatFields == nil {
		f.FormatFields = before.FormatFields
	}
}

// baseID is the id that patterns see: anthropic.claude-…, with neither ARN nor
// geography. An id that doesn't show its publisher gets the one given.
func baseID(id, publisher string) string {
	if strings.HasPrefix(id, resource.ARNPrefix) {
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
