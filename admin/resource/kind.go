package resource

// Kind names a collection of resources, as the Admin API spells it.
type Kind string

// The collections.
const (
	ProviderKeys Kind = "provider_keys"
	Models       Kind = "models"
	APIKeys      Kind = "apikeys"
)

// Kinds are all collections; a kind stands behind those that it refers to.
var Kinds = []Kind{ProviderKeys, Models, APIKeys}

// Resource is a *ProviderKey, a *Model or an *APIKey.
type Resource interface {
	Kind() Kind
	// Names are the names that no other resource of the kind may have.
	Names() []string
	sealed()
}

func (*ProviderKey) Kind() Kind { return ProviderKeys }
func (*Model) Kind() Kind       { return Models }
func (*APIKey) Kind() Kind      { return APIKeys }

func (k *ProviderKey) Names() []string { return []string{k.DisplayName} }
func (m *Model) Names() []string       { return []string{m.DisplayName} }

// Names of an API key are the hashes that it answers to: while a rotation's grace
// lasts, two.
func (k *APIKey) Names() []string {
	if k.Previous != nil && k.Previous.KeyHash != k.KeyHash {
		return []string{k.KeyHash, k.Previous.KeyHash}
	}
	return []string{k.KeyHash}
}

func (*ProviderKey) sealed() {}
func (*Model) sealed()       {}
func (*APIKey) sealed()      {}
