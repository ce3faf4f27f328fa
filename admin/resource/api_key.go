package resource

import (
	"encoding/json"
	"time"

	"aisix/admin/strict"
)

// APIKey is a caller's credential.
type APIKey struct {
	KeyHash string `json:"key_hash"`
	// The model names that callers may send; each may hold one *. An empty list denies
	// all.
	AllowedModels []string `json:"allowed_models" is:"required pattern" max:"1024"`
	// For people.
	DisplayName string `json:"display_name,omitempty" is:"name"`
	// Of this key.
	RateLimit *RateLimit `json:"rate_limit,omitempty"`
	// From then on the key is refused.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	// The key is refused.
	Disabled bool `json:"disabled,omitempty"`
	// The team that the key belongs to.
	TeamID string `json:"team_id,omitempty" is:"name"`
	// The user that the key belongs to.
	UserID string `json:"user_id,omitempty" is:"name"`

	Previous *PreviousKey `json:"-"` // kept by the store beside the value, never part of a read
}

// PreviousKey is the key that a rotation replaced, while its grace lasts.
type PreviousKey struct {
	KeyHash    string    `json:"key_hash"`
	ValidUntil time.Time `json:"valid_until"`
}

var apiKeys = Row{
	Kind: APIKeys, Alias: "api_keys", One: "API key", Many: "API keys", Named: "key_hash",
	Issues: &Issue{
		Lacks:  func(r Resource) bool { return r.(*APIKey).KeyHash == "" },
		Give:   func(r Resource, hash string) { r.(*APIKey).KeyHash = hash },
		Rotate: func(old Resource, hash string, grace time.Time) Resource { return old.(*APIKey).rotated(hash, grace) },
	},
	body: func() body { return &apiKeyBody{} }, new: func() Resource { return &APIKey{} },
	beside: func(r Resource) any {
		if previous := r.(*APIKey).Previous; previous != nil {
			return previous
		}
		return nil
	},
	adjoin: func(r Resource, beside []byte) error { return json.Unmarshal(beside, &r.(*APIKey).Previous) },
}

func (*APIKey) Kind() Kind { return APIKeys }

// Names of an API key are the hashes that it answers to: while a rotation's grace
// lasts, two.
func (k *APIKey) Names() []string {
	if k.Previous != nil && k.Previous.KeyHash != k.KeyHash {
		return []string{k.KeyHash, k.Previous.KeyHash}
	}
	return []string{k.KeyHash}
}

func (*APIKey) sealed() {}

// apiKeyBody is what a write of an API key may hold.
type apiKeyBody struct {
	// Lower-case hex SHA-256 of the key, unique among API keys. A POST may leave it
	// out: then a key is generated, and shown in that one answer as plaintext. A PUT
	// without it keeps the stored one.
	KeyHash *string `json:"key_hash" is:"kept hash"`
	APIKey
}

// resource leaves KeyHash empty where the key is to be generated.
func (b *apiKeyBody) resource(old Resource) (Resource, *strict.Error) {
	k := &b.APIKey
	if b.KeyHash != nil {
		k.KeyHash = *b.KeyHash
	}
	if o, ok := old.(*APIKey); ok {
		k.KeyHash = or(k.KeyHash, o.KeyHash)
		if k.KeyHash == o.KeyHash {
			k.Previous = o.Previous
		}
	}
	return k, nil
}

func (k *APIKey) rotated(hash string, grace time.Time) *APIKey {
	next := *k
	next.KeyHash, next.Previous = hash, nil
	if !grace.IsZero() {
		next.Previous = &PreviousKey{KeyHash: k.KeyHash, ValidUntil: grace}
	}
	return &next
}

// Rotation is what the body of a rotation may hold.
type Rotation struct {
	// How long the old key stays valid beside the new one. Default 0.
	GraceSeconds int64 `json:"grace_seconds" min:"0" max:"31536000"`
}

// DecodeRotation reads the body of a rotation; an empty one has no grace. Errors are
// *strict.Error.
func DecodeRotation(text []byte) (grace time.Duration, err error) {
	var in Rotation
	if len(text) > 0 {
		err = read(text, &in)
	}
	return time.Duration(in.GraceSeconds) * time.Second, err
}
