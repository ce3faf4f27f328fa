package resource

import (
	"reflect"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
)

// ProviderKey is credentials and an endpoint for an upstream.
type ProviderKey struct {
	// Unique among provider keys.
	DisplayName string `json:"display_name" is:"required name"`
	// A label; the models of this key carry the same. Default amazon-bedrock.
	Provider string `json:"provider" is:"label"`
	// Default bedrock.
	Adapter string `json:"adapter" of:"bedrock"`
	// Replaces the endpoint https://bedrock-runtime.<region>.amazonaws.com: an http or
	// https origin with an optional path prefix, without user info, query and fragment.
	// Loopback and private networks are allowed; link-local addresses, the clouds'
	// metadata services in every form of their addresses, and unspecified, multicast
	// and broadcast addresses are not. null and "" mean unset.
	APIBase string `json:"api_base,omitempty" is:"base"`

	Credentials Credentials `json:"-"` // sealed by the store, never part of a read; nil where none was read
}

// Region is the one that requests are signed for, and whose endpoint they go to.
func (k *ProviderKey) Region() string {
	if k.Credentials == nil {
		return ""
	}
	return k.Credentials.region()
}

var providerKeys = Row{
	Kind: ProviderKeys, One: "provider key", Many: "provider keys", Named: "display_name",
	Bound: func(old, now Resource) string {
		if old.(*ProviderKey).Provider != now.(*ProviderKey).Provider {
			return "provider"
		}
		return ""
	},
	Secret: &Sealed{Members: []string{"secret", "api_key"}, shows: reflect.TypeFor[SecretInfo](),
		info:   func(r Resource) any { return r.(*ProviderKey).Credentials.info() },
		reveal: func(r Resource) ([]byte, error) { return reveal(r.(*ProviderKey).Credentials) },
		take:   func(r Resource, text []byte) error { return r.(*ProviderKey).take(text) }},
	body: func() body { return &providerKeyBody{} }, new: func() Resource { return &ProviderKey{} },
}

func (*ProviderKey) Kind() Kind        { return ProviderKeys }
func (k *ProviderKey) Names() []string { return []string{k.DisplayName} }
func (*ProviderKey) sealed()           {}

// take takes over a secret that was sealed.
func (k *ProviderKey) take(text []byte) error {
	c, err := parseSecret(string(text), "")
	if err != nil {
		return err
	}
	k.Credentials = c
	return nil
}

// providerKeyBody is what a write of a provider key may hold.
type providerKeyBody struct {
	ProviderKey
	// The text of a JSON object with access_key_id, secret_access_key and region;
	// optional are session_token (temporary STS credentials) and type: static (the
	// default), or assume_role (role_arn, external_id, session_name, region, and source:
	// "ambient" or an object with an access key), web_identity (role_arn, token_file,
	// region), ambient (region), bedrock_api_key (api_key, region), with those members.
	// Encrypted at rest and never returned. A PUT or PATCH that leaves it out keeps the
	// stored one.
	Secret *secretText `json:"secret" is:"kept secret"`
	// Another name of secret.
	APIKey *secretText `json:"api_key" is:"kept writeonly"`
	// Shown by reads; ignored by writes, so that what was read can be written back.
	SecretInfo strict.Ignored `json:"secret_info"`
}

// secretText is the text of a secret's JSON.
type secretText string

func (s *secretText) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '{' {
		return strict.Mismatch(dec, "a string with the JSON object's text")
	}
	text, err := strict.Text(dec)
	*s = secretText(text)
	return err
}

// The defaults of members that a body may leave out.
const (
	DefaultProvider = "amazon-bedrock"
	DefaultAdapter  = "bedrock"
)

func (b *providerKeyBody) resource(old Resource) (Resource, *strict.Error) {
	k := &b.ProviderKey
	k.Provider, k.Adapter = or(k.Provider, DefaultProvider), or(k.Adapter, DefaultAdapter)
	if k.APIBase != "" {
		k.APIBase, _ = cleanBase(k.APIBase)
	}
	var err *strict.Error
	switch {
	case b.Secret != nil && b.APIKey != nil:
		err = strict.Errorf("/api_key", "is an alias of secret: send only one of them")
	case b.Secret != nil:
		k.Credentials, err = parseSecret(string(*b.Secret), "/secret")
	case b.APIKey != nil:
		k.Credentials, err = parseSecret(string(*b.APIKey), "/api_key")
	case old != nil:
		k.Credentials = old.(*ProviderKey).Credentials
	default:
		err = strict.Required("/secret")
	}
	return k, err
}
