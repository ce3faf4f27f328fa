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
