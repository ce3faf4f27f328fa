package resource

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// The defaults of members that a body may leave out.
const (
	DefaultProvider = "amazon-bedrock"
	DefaultAdapter  = "bedrock"
)

// Decode reads a whole resource. old is what a replacement replaces (nil for a new
// one): a secret or key hash that the body leaves out stays as it is there. An API
// key without either has an empty KeyHash: the key is to be generated. Errors are
// *Invalid.
func Decode(kind Kind, body []byte, old Resource) (Resource, error) {
	n, invalid := object(body)
	if invalid != nil {
		return nil, invalid
	}
	return decode(kind, n, old)
}

// Patch applies a JSON merge patch (RFC 7396) to what Show gives of old. Errors are
// *Invalid.
func Patch(old Resource, body []byte) (Resource, error) {
	patch, invalid := object(body)
	if invalid != nil {
		return nil, invalid
	}
	for _, name := range []string{"secret", "api_key", "key_hash"} {
		if m := patch.member(name); m != nil && m.kind == 'n' {
			return nil, &Invalid{Pointer: below("", name), Message: "can be replaced, not removed"}
		}
	}
	if invalid := unknown(shapes[old.Kind()], patch, ""); invalid != nil { // a null of it would go unnoticed
		return nil, invalid
	}
	shown, err := Show(old)
	if err != nil {
		return nil, err
	}
	target, invalid := parse(shown)
	if invalid != nil {
		return nil, invalid
	}
	return decode(old.Kind(), merge(target, patch), old)
}

func object(body []byte) (*node, *Invalid) {
	n, invalid := parse(body)
	if invalid == nil && n.kind != '{' {
		invalid = &Invalid{Message: "body must be a JSON object"}
	}
	return n, invalid
}

func decode(kind Kind, n *node, old Resource) (Resource, error) {
	var (
		r       Resource
		invalid *Invalid
	)
	switch kind {
	case ProviderKeys:
		o, _ := old.(*ProviderKey)
		r, invalid = decodeProviderKey(n, o)
	case Models:
		r, invalid = decodeModel(n)
	default:
		o, _ := old.(*APIKey)
		r, invalid = decodeAPIKey(n, o)
	}
	if invalid != nil {
		return nil, invalid
	}
	return r, nil
}

// providerKeyBody is what a write of a provider key may hold.
type providerKeyBody struct {
	ProviderKey
	Secret     *string         `json:"secret"`
	APIKey     *string         `json:"api_key"`     // another name of secret
	SecretInfo json.RawMessage `json:"secret_info"` // shown by reads, ignored
}

// shapes are what a body of each kind may hold.
var shapes = map[Kind]reflect.Type{
	ProviderKeys: reflect.TypeFor[providerKeyBody](),
	Models:       reflect.TypeFor[Model](),
	APIKeys:      reflect.TypeFor[APIKey](),
}

func decodeProviderKey(n *node, old *ProviderKey) (*ProviderKey, *Invalid) {
	for _, name := range []string{"secret", "api_key"} {
		if m := n.member(name); m != nil && m.kind == '{' {
			return nil, &Invalid{Pointer: below("", name), Message: "must be a string with the JSON object's text, not the object itself"}
		}
	}
	var in providerKeyBody
	if invalid := fill(reflect.ValueOf(&in).Elem(), n, ""); invalid != nil {
		return nil, invalid
	}
	k := &in.ProviderKey
	k.Provider, k.Adapter = or(k.Provider, DefaultProvider), or(k.Adapter, DefaultAdapter)
	if invalid := k.check(); invalid != nil {
		return nil, invalid
	}
	secret, pointer := in.Secret, "/secret"
	if in.APIKey != nil {
		if in.Secret != nil {
			return nil, &Invalid{Pointer: "/api_key", Message: "is another name of secret: give one of them"}
		}
		secret, pointer = in.APIKey, "/api_key"
	}
	switch {
	case secret != nil:
		var invalid *Invalid
		if k.Credentials, invalid = parseSecret(*secret, pointer); invalid != nil {
			return nil, invalid
		}
	case old != nil:
		k.Credentials = old.Credentials
	default:
		return nil, &Invalid{Pointer: "/secret", Message: "is required"}
	}
	return k, nil
}

func decodeModel(n *node) (*Model, *Invalid) {
	m := &Model{}
	if invalid := fill(reflect.ValueOf(m).Elem(), n, ""); invalid != nil {
		return nil, invalid
	}
	m.Provider = or(m.Provider, DefaultProvider)
	for _, name := range []string{"timeout", "stream_timeout"} {
		given := n.member(name)
		if given == nil || given.kind == 'n' {
			continue
		}
		ms := fieldNamed(reflect.ValueOf(m).Elem(), name).Int() // 0 means to the rest that none was given
		if ms < 1 || ms > maxTimeout {
			return nil, &Invalid{Pointer: below("", name), Message: fmt.Sprintf("must be milliseconds, 1 to %d", maxTimeout)}
		}
	}
	return m, m.check()
}

func decodeAPIKey(n *node, old *APIKey) (*APIKey, *Invalid) {
	k := &APIKey{}
	if invalid := fill(reflect.ValueOf(k).Elem(), n, ""); invalid != nil {
		return nil, invalid
	}
	given := n.member("key_hash")
	if given != nil && given.kind == '"' {
		if invalid := checkHash(k.KeyHash); invalid != nil {
			return nil, invalid
		}
	} else if old != nil {
		k.KeyHash = old.KeyHash
	}
	if old != nil && k.KeyHash == old.KeyHash {
		k.Previous = old.Previous
	}
	return k, k.check()
}

// Show is what a read gives of a resource: never its secret.
func Show(r Resource) ([]byte, error) {
	k, ok := r.(*ProviderKey)
	if !ok {
		return json.Marshal(r)
	}
	return json.Marshal(struct {
		*ProviderKey
		SecretInfo SecretInfo `json:"secret_info"`
	}{k, k.Credentials.info()})
}

// SecretInfo is what may be told of a provider key's secret.
type SecretInfo struct {
	Type             string `json:"type"`
	AccessKeyIDLast4 string `json:"access_key_id_last4"` // "" of an id too short to cut
	Region           string `json:"region"`
	SessionToken     bool   `json:"session_token"` // whether there is one
}

func (c Credentials) info() SecretInfo {
	i := SecretInfo{Type: "static", Region: c.Region, SessionToken: c.SessionToken != ""}
	if n := len(c.AccessKeyID); n >= 8 {
		i.AccessKeyIDLast4 = c.AccessKeyID[n-4:]
	}
	return i
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// maxGrace is the longest grace of a rotation.
const maxGrace = 365 * 24 * time.Hour

// DecodeRotation reads the body of a rotation, {"grace_seconds": n}; an empty one
// has no grace. Errors are *Invalid.
func DecodeRotation(body []byte) (grace time.Duration, err error) {
	if len(body) == 0 {
		return 0, nil
	}
	n, invalid := object(body)
	if invalid != nil {
		return 0, invalid
	}
	var in struct {
		GraceSeconds int64 `json:"grace_seconds"`
	}
	if invalid := fill(reflect.ValueOf(&in).Elem(), n, ""); invalid != nil {
		return 0, invalid
	}
	if in.GraceSeconds < 0 || in.GraceSeconds > int64(maxGrace/time.Second) {
		return 0, &Invalid{Pointer: "/grace_seconds", Message: fmt.Sprintf("must be 0 to %d", int64(maxGrace/time.Second))}
	}
	return time.Duration(in.GraceSeconds) * time.Second, nil
}
