// Package resource is the nouns of the Admin API: provider keys, models and API
// keys, with their JSON and their validation.
//
// It knows what each member means and which values are legal; it knows neither
// HTTP nor Redis. Callers: admin (decodes and validates), admin/store (keeps
// them), admin/snapshot (compiles them), extproc (serves by them).
package resource

import (
	"encoding/json"
	"time"
)

// ProviderKey is credentials and an endpoint for an upstream.
type ProviderKey struct {
	DisplayName string      `json:"display_name"`
	Provider    string      `json:"provider"` // the label; default amazon-bedrock
	Adapter     string      `json:"adapter"`  // bedrock
	APIBase     string      `json:"api_base,omitempty"`
	Credentials Credentials `json:"-"` // sealed by the store, never part of a read
}

// Credentials are a provider key's secret of type static.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey Secret
	SessionToken    Secret // "" if none
	Region          string
}

// Model is an alias that callers use, and what Bedrock is asked for.
type Model struct {
	DisplayName   string     `json:"display_name"` // the alias; may hold one *
	ModelName     string     `json:"model_name"`   // the model id, an inference profile id or an ARN
	ProviderKeyID string     `json:"provider_key_id"`
	Provider      string     `json:"provider"`
	Timeout       int64      `json:"timeout,omitempty"`        // ms for the whole call; 0 is the default, 600,000
	StreamTimeout int64      `json:"stream_timeout,omitempty"` // ms, longest gap before the first and between chunks; 0 is 120,000
	RateLimit     *RateLimit `json:"rate_limit,omitempty"`
	Publisher     string     `json:"publisher,omitempty"` // for ids that do not show it
	Cost          *Cost      `json:"cost,omitempty"`

	Bedrock // Bedrock's own knobs, as defaults
}

// Bedrock are a model's defaults for what only Bedrock knows, and what a caller
// may change of them. The members are spelled as in Bedrock's API.
type Bedrock struct {
	MaxTokens                    *int              `json:"max_tokens,omitempty"` // where the caller gave none
	GuardrailConfig              *GuardrailConfig  `json:"guardrailConfig,omitempty"`
	PerformanceConfig            *Performance      `json:"performanceConfig,omitempty"`
	ServiceTier                  *ServiceTier      `json:"serviceTier,omitempty"`
	AdditionalModelRequestFields json.RawMessage   `json:"additionalModelRequestFields,omitempty"` // an object
	RequestMetadata              map[string]string `json:"requestMetadata,omitempty"`
	AnthropicBeta                []string          `json:"anthropic_beta,omitempty"`
	AllowOverride                []string          `json:"allow_override,omitempty"` // names of the members above that a request may set
	IgnoreParams                 []string          `json:"ignore_params,omitempty"`  // OpenAI parameters to ignore instead of refusing
	Capabilities                 *Capabilities     `json:"capabilities,omitempty"`   // overrules the data file on families
}

// GuardrailConfig is Bedrock's guardrailConfig.
type GuardrailConfig struct {
	Identifier string `json:"guardrailIdentifier"`
	Version    string `json:"guardrailVersion"`
	Trace      string `json:"trace,omitempty"`                // enabled, disabled, enabled_full
	StreamMode string `json:"streamProcessingMode,omitempty"` // sync, async
}

// Performance is Bedrock's performanceConfig.
type Performance struct {
	Latency string `json:"latency"` // standard, optimized
}

// ServiceTier is Bedrock's serviceTier.
type ServiceTier struct {
	Type string `json:"type"` // default, priority, flex, reserved
}

// Capabilities say what a model family can do; nil members are "not said". The
// same type is the row of the data file in extproc/bedrock and the overrule in a
// model resource.
type Capabilities struct {
	System           *bool    `json:"system,omitempty"`             // takes system prompts
	Tools            *bool    `json:"tools,omitempty"`              // takes tool definitions
	ToolChoice       []string `json:"tool_choice,omitempty"`        // of auto, any, tool
	Images           *bool    `json:"images,omitempty"`             // in user turns
	ToolResultImages *bool    `json:"tool_result_images,omitempty"` // in tool results
	Documents        *bool    `json:"documents,omitempty"`
	Cache            []string `json:"cache,omitempty"`             // where cache points may stand: system, messages, tools
	CacheTTL         []string `json:"cache_ttl,omitempty"`         // of 5m, 1h
	StructuredOutput string   `json:"structured_output,omitempty"` // native, tool
	StrictTools      *bool    `json:"strict_tools,omitempty"`      // takes strict on a tool
	Reasoning        string   `json:"reasoning,omitempty"`         // none, budget, adaptive, effort (the family's own control)
	Penalties        *bool    `json:"penalties,omitempty"`         // takes frequency_penalty, presence_penalty
	Seed             *bool    `json:"seed,omitempty"`
	StopMax          *int     `json:"stop_max,omitempty"`    // most stop sequences
	TopKField        string   `json:"top_k_field,omitempty"` // path in additionalModelRequestFields, "" is none
}

// APIKey is a caller's credential.
type APIKey struct {
	KeyHash       string     `json:"key_hash"`       // lower-case hex SHA-256 of the plaintext
	AllowedModels []string   `json:"allowed_models"` // each may hold one *; empty denies all
	DisplayName   string     `json:"display_name,omitempty"`
	RateLimit     *RateLimit `json:"rate_limit,omitempty"`
	ExpiresAt     *time.Time `json:"expires_at,omitempty"`
	Disabled      bool       `json:"disabled,omitempty"`
	TeamID        string     `json:"team_id,omitempty"`
	UserID        string     `json:"user_id,omitempty"`

	Previous *PreviousKey `json:"-"` // kept by the store beside the value, never part of a read
}

// PreviousKey is the key that a rotation replaced, while its grace lasts.
type PreviousKey struct {
	KeyHash    string    `json:"key_hash"`
	ValidUntil time.Time `json:"valid_until"`
}

// RateLimit is the limits of one bucket: nil is no limit, 0 blocks.
type RateLimit struct {
	RPS         *int64 `json:"rps,omitempty"`
	RPM         *int64 `json:"rpm,omitempty"`
	RPH         *int64 `json:"rph,omitempty"`
	RPD         *int64 `json:"rpd,omitempty"`
	TPM         *int64 `json:"tpm,omitempty"`
	TPD         *int64 `json:"tpd,omitempty"`
	Concurrency *int64 `json:"concurrency,omitempty"`
}

// Cost is US dollars per 1,000 tokens, as decimal numbers.
type Cost struct {
	InputPer1K      *json.Number `json:"input_per_1k,omitempty"`
	OutputPer1K     *json.Number `json:"output_per_1k,omitempty"`
	CacheReadPer1K  *json.Number `json:"cache_read_per_1k,omitempty"`
	CacheWritePer1K *json.Number `json:"cache_write_per_1k,omitempty"`
}
