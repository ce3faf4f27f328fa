package resource

import (
	"encoding/json"
	"strings"

	"aisix/admin/strict"
)

// Model is an alias that callers use, and what Bedrock is asked for.
type Model struct {
	// The alias that callers use, unique among models. It may hold one *: a wildcard
	// alias, whose capture (1 to 128 letters, digits, dots, underscores, colons and
	// dashes) replaces the * in model_name. Exact names win, then the longest literal
	// part.
	DisplayName string `json:"display_name" is:"required pattern"`
	// What Bedrock is asked for: a model id, an inference profile id, or an ARN. Required
	// where there are no targets.
	ModelName string `json:"model_name,omitempty" is:"model_id"`
	// The id of a provider key. Required where there are no targets.
	ProviderKeyID string `json:"provider_key_id,omitempty"`
	// Where the model is asked for, in place of model_name and provider_key_id: regions and
	// accounts that stand in for each other.
	Targets []Target `json:"targets,omitempty" max:"16"`
	// How calls find their way over the targets.
	Routing *Routing `json:"routing,omitempty"`
	// The provider key's label. Default amazon-bedrock.
	Provider string `json:"provider" is:"label"`
	// Milliseconds for the whole call. Default 1800000, and so is 0.
	Timeout int64 `json:"timeout,omitempty" is:"milliseconds" min:"0" max:"86400000"`
	// Milliseconds, the longest gap before the first and between chunks. Default
	// 600000, and so is 0.
	StreamTimeout int64 `json:"stream_timeout,omitempty" is:"milliseconds" min:"0" max:"86400000"`
	// Of all callers of this model together.
	RateLimit *RateLimit `json:"rate_limit,omitempty"`
	// Who made the model, for ids that do not show it: anthropic goes to InvokeModel,
	// every other to Converse.
	Publisher string `json:"publisher,omitempty" is:"publisher"`
	// The region of the upstream, and of its signatures. Default the provider key's.
	Region string `json:"region,omitempty" is:"region"`
	// The upstream API that the model is asked by: Converse, InvokeModel with Anthropic's
	// body (Claude alone), Anthropic's Messages, OpenAI's Chat Completions or Responses.
	// Default as the gateway knows of the model id.
	API string `json:"api,omitempty" of:"converse invoke messages chat responses"`
	// The AWS host that has it: bedrock-runtime or bedrock-mantle. Default as the gateway
	// knows of the model id. An api_base stands in for either.
	Host string `json:"host,omitempty" of:"runtime mantle"`
	// What its tokens cost; unknown where it is not said.
	Cost *Cost `json:"cost,omitempty"`

	Bedrock // Bedrock's own knobs, as defaults
}

// Cost is US dollars per 1,000 tokens.
type Cost struct {
	// Of prompt tokens that no cache knew.
	InputPer1K *json.Number `json:"input_per_1k,omitempty" is:"price" min:"0" max:"1000000"`
	// Of completion tokens.
	OutputPer1K *json.Number `json:"output_per_1k,omitempty" is:"price" min:"0" max:"1000000"`
	// Of prompt tokens read from the cache.
	CacheReadPer1K *json.Number `json:"cache_read_per_1k,omitempty" is:"price" min:"0" max:"1000000"`
	// Of prompt tokens written to the cache.
	CacheWritePer1K *json.Number `json:"cache_write_per_1k,omitempty" is:"price" min:"0" max:"1000000"`
}

var models = Row{
	Kind: Models, One: "model", Many: "models", Named: "display_name",
	Refers: []Reference{{Member: "provider_key_id", To: ProviderKeys,
		IDs:     func(r Resource) []string { return r.(*Model).providerKeys() },
		Pointer: func(r Resource, i int) string { return r.(*Model).keyPointer(i) },
		Misfit: func(r, to Resource) (member, why string) {
			if r.(*Model).Provider != to.(*ProviderKey).Provider {
				return "provider", "differs from the provider key's"
			}
			return "", ""
		}}},
	body: func() body { return &Model{} }, new: func() Resource { return &Model{} },
}

func (*Model) Kind() Kind        { return Models }
func (m *Model) Names() []string { return []string{m.DisplayName} }
func (*Model) sealed()           {}

func (m *Model) resource(Resource) (Resource, *strict.Error) {
	m.Provider = or(m.Provider, DefaultProvider)
	if m.Targets != nil {
		return m, m.checkTargets()
	}
	switch {
	case m.ModelName == "":
		return nil, strict.Errorf("/model_name", "%s", rules["model_id"].missing)
	case m.ProviderKeyID == "":
		return nil, strict.Required("/provider_key_id")
	case strings.Count(m.ModelName, "*") > strings.Count(m.DisplayName, "*"):
		return nil, strict.Errorf("/model_name", "may contain one *, and only where display_name does")
	}
	return m, m.checkAPI("")
}

// checkAPI refuses what no host of AWS's has. Pointer leads to where api and host stand.
func (m *Model) checkAPI(pointer string) *strict.Error {
	publisher := or(m.Publisher, Publisher(m.ModelName))
	claude := publisher == "" || publisher == "anthropic"
	switch {
	case m.Host == "mantle" && (m.API == "converse" || m.API == "invoke"):
		return strict.Errorf(pointer+"/api", "must be messages, chat or responses where host is mantle: bedrock-mantle has no Converse and no InvokeModel")
	case !claude && (m.API == "invoke" || m.API == "messages"):
		return strict.Errorf(pointer+"/api", "must be converse, chat or responses for this model: its body would be Anthropic's, which only Claude reads")
	case publisher == "anthropic" && (m.API == "chat" || m.API == "responses"):
		return strict.Errorf(pointer+"/api", "must be invoke, messages or converse for this model: Claude has neither Chat Completions nor Responses")
	case m.GuardrailConfig != nil && (m.Host == "mantle" || m.API == "responses"):
		return strict.Errorf("/guardrailConfig", "is not supported by the model's api and host: Bedrock applies guardrails on bedrock-runtime only, and not to Responses")
	}
	return nil
}
