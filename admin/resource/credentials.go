package resource

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
)

// Credentials are what a provider key's secret comes down to: a value of one of the
// types that a secret may have (Static, AssumeRole, WebIdentity, Ambient, BedrockAPIKey).
// Equal credentials are ==.
type Credentials interface {
	Type() string
	region() string // that requests are signed for
	info() SecretInfo
	revealed() any // as JSON, with its type
}

// The types that a secret may have.
const (
	static        = "static" // the default
	assumeRole    = "assume_role"
	webIdentity   = "web_identity"
	ambient       = "ambient"
	bedrockAPIKey = "bedrock_api_key"
)

var secretTypes = []string{static, assumeRole, webIdentity, ambient, bedrockAPIKey}

// AccessKey is an access key of AWS's.
type AccessKey struct {
	AccessKeyID     string `json:"access_key_id" is:"required credential"`
	SecretAccessKey Secret `json:"secret_access_key" is:"required credential"`
	SessionToken    Secret `json:"session_token"` // "" of a permanent key
}

// Static is an access key: the secret's type static.
type Static struct {
	AccessKeyID     string `json:"access_key_id" is:"required credential"`
	SecretAccessKey Secret `json:"secret_access_key" is:"required credential"`
	SessionToken    Secret `json:"session_token"` // "" of a permanent key
	Region          string `json:"region" is:"required region"`
}

// AssumeRole is temporary credentials of a role that STS's AssumeRole gives: of a role in
// another account, mostly.
type AssumeRole struct {
	RoleARN     string `json:"role_arn" is:"required role_arn"`
	ExternalID  string `json:"external_id" is:"external_id"` // "": none is asked for
	SessionName string `json:"session_name" is:"session_name"`
	Region      string `json:"region" is:"required region"`

	Source AccessKey `json:"-"` // that asks for the role; zero: what the host has (ambient)
}

// DefaultSessionName is the name of a role's session where none was given: it stands in
// CloudTrail.
const DefaultSessionName = "aisix"

// WebIdentity is temporary credentials of a role that STS gives for a token of an
// identity provider: IRSA on EKS.
type WebIdentity struct {
	RoleARN   string `json:"role_arn" is:"required role_arn"`
	TokenFile string `json:"token_file" is:"required token_file"` // clean
	Region    string `json:"region" is:"required region"`
}

// Ambient is what the host that extproc runs on has: the environment, a profile, ECS, EKS
// Pod Identity or EC2.
type Ambient struct {
	Region string `json:"region" is:"required region"`
}

// BedrockAPIKey is an API key of Bedrock's: a bearer token in place of a signature.
type BedrockAPIKey struct {
	APIKey Secret `json:"api_key" is:"required bearer"`
	Region string `json:"region" is:"required region"`
}

// Type is the name of the type.
func (Static) Type() string        { return static }
func (AssumeRole) Type() string    { return assumeRole }
func (WebIdentity) Type() string   { return webIdentity }
func (Ambient) Type() string       { return ambient }
func (BedrockAPIKey) Type() string { return bedrockAPIKey }

func (s Static) region() string        { return s.Region }
func (a AssumeRole) region() string    { return a.Region }
func (w WebIdentity) region() string   { return w.Region }
func (a Ambient) region() string       { return a.Region }
func (b BedrockAPIKey) region() string { return b.Region }

// sealedSecret is a secret as it is sealed: parseSecret reads it.
type sealedSecret struct {
	Type            string `json:"type"`
	AccessKeyID     string `json:"access_key_id,omitempty"`
	SecretAccessKey string `json:"secret_access_key,omitempty"`
	SessionToken    string `json:"session_token,omitempty"`
	RoleARN         string `json:"role_arn,omitempty"`
	ExternalID      string `json:"external_id,omitempty"`
	SessionName     string `json:"session_name,omitempty"`
	Source          any    `json:"source,omitempty"`
	TokenFile       string `json:"token_file,omitempty"`
	APIKey          string `json:"api_key,omitempty"`
	Region          string `json:"region"`
}

func (s Static) revealed() any {
	return sealedSecret{Type: static, AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey.Reveal(), SessionToken: s.SessionToken.Reveal(), Region: s.Region}
}

func (a AssumeRole) revealed() any {
	var source any = ambient
	if a.Source != (AccessKey{}) {
		source = struct {
			AccessKeyID     string `json:"access_key_id"`
			SecretAccessKey string `json:"secret_access_key"`
			SessionToken    string `json:"session_token,omitempty"`
		}{a.Source.AccessKeyID, a.Source.SecretAccessKey.Reveal(), a.Source.SessionToken.Reveal()}
	}
	return sealedSecret{Type: assumeRole, RoleARN: a.RoleARN, ExternalID: a.ExternalID, SessionName: a.SessionName, Source: source, Region: a.Region}
}

func (w WebIdentity) revealed() any {
	return sealedSecret{Type: webIdentity, RoleARN: w.RoleARN, TokenFile: w.TokenFile, Region: w.Region}
}

func (a Ambient) revealed() any { return sealedSecret{Type: ambient, Region: a.Region} }

func (b BedrockAPIKey) revealed() any {
	return sealedSecret{Type: bedrockAPIKey, APIKey: b.APIKey.Reveal(), Region: b.Region}
}

// SecretInfo is what may be told of a provider key's secret.
type SecretInfo struct {
	// Its type.
	Type string `json:"type" of:"static assume_role web_identity ambient bedrock_api_key"`
	// Of static, and of assume_role's source. Empty where the id is shorter than 8
	// characters, or there is none.
	AccessKeyIDLast4 string `json:"access_key_id_last4"`
	// The region that requests are signed for.
	Region string `json:"region"`
	// Whether there is one.
	SessionToken bool `json:"session_token"`
	// Of assume_role and web_identity.
	RoleARN string `json:"role_arn,omitempty"`
	// Of bedrock_api_key; left out where the key is shorter than 16 characters.
	APIKeyLast4 string `json:"api_key_last4,omitempty"`
}

func (s Static) info() SecretInfo {
	return SecretInfo{Type: static, Region: s.Region, SessionToken: s.SessionToken != "", AccessKeyIDLast4: last4(s.AccessKeyID, 8)}
}

func (a AssumeRole) info() SecretInfo {
	return SecretInfo{Type: assumeRole, Region: a.Region, RoleARN: a.RoleARN, SessionToken: a.Source.SessionToken != "", AccessKeyIDLast4: last4(a.Source.AccessKeyID, 8)}
}

func (w WebIdentity) info() SecretInfo {
	return SecretInfo{Type: webIdentity, Region: w.Region, RoleARN: w.RoleARN}
}

func (a Ambient) info() SecretInfo { return SecretInfo{Type: ambient, Region: a.Region} }

func (b BedrockAPIKey) info() SecretInfo {
	return SecretInfo{Type: bedrockAPIKey, Region: b.Region, APIKeyLast4: last4(b.APIKey.Reveal(), 16)}
}

// last4 are the last four characters of what has at least so many.
func last4(s string, least int) string {
	if len(s) < least {
		return ""
	}
	return s[len(s)-4:]
}

// What a secret of each type may hold.
type (
	staticSecret struct {
		Type strict.Ignored `json:"type"`
		Static
		SessionToken *Secret `json:"session_token" is:"kept credential"`
	}
	assumeRoleSecret struct {
		Type strict.Ignored `json:"type"`
		AssumeRole
		Source strict.Raw `json:"source" is:"required"` // "ambient", or a sourceKey
	}
	sourceKey struct {
		AccessKey
		SessionToken *Secret `json:"session_token" is:"kept credential"`
	}
	webIdentitySecret struct {
		Type strict.Ignored `json:"type"`
		WebIdentity
	}
	ambientSecret struct {
		Type strict.Ignored `json:"type"`
		Ambient
	}
	bedrockAPIKeySecret struct {
		Type strict.Ignored `json:"type"`
		BedrockAPIKey
	}
)

// parseSecret reads the JSON text of a provider key's secret. No part of it is in an
// error, not even a member's name.
func parseSecret(text, pointer string) (Credentials, *strict.Error) {
	refuse := func(format string, args ...any) (Credentials, *strict.Error) {
		return nil, strict.Errorf(pointer, format, args...)
	}
	var named struct { // before the other members: they are those of the type
		Type strict.Raw `json:"type"`
	}
	if strict.Peek([]byte(text), &named) != nil {
		return refuse("must be the text of a JSON object, without duplicate members, with access_key_id, secret_access_key and region")
	}
	kind := static
	if named.Type != nil {
		given, err := jsontext.AppendUnquote(nil, named.Type)
		if err != nil {
			return refuse("its type must be a string")
		}
		kind = string(given)
	}
	parse, known := secretParsers[kind]
	if !known {
		return refuse("its type must be one of %s", strings.Join(secretTypes, ", "))
	}
	c, err := parse([]byte(text))
	if err != nil {
		return refuse("%s", err.Error())
	}
	return c, nil
}

// secretParsers read what is of a type; their errors are for people, and name members
// of ours only.
var secretParsers = map[string]func([]byte) (Credentials, error){
	static: func(text []byte) (Credentials, error) {
		var s staticSecret
		err := readSecret(text, &s, "")
		if s.SessionToken != nil {
			s.Static.SessionToken = *s.SessionToken
		}
		return s.Static, err
	},
	assumeRole: func(text []byte) (Credentials, error) {
		var s assumeRoleSecret
		if err := readSecret(text, &s, ""); err != nil {
			return nil, err
		}
		s.SessionName = or(s.SessionName, DefaultSessionName)
		if s.Source[0] == '"' {
			if word, err := jsontext.AppendUnquote(nil, s.Source); err != nil || string(word) != ambient {
				return nil, errSource
			}
			return s.AssumeRole, nil
		}
		if s.Source[0] != '{' {
			return nil, errSource
		}
		var key sourceKey
		err := readSecret(s.Source, &key, "source.")
		if key.SessionToken != nil {
			key.AccessKey.SessionToken = *key.SessionToken
		}
		s.AssumeRole.Source = key.AccessKey
		return s.AssumeRole, err
	},
	webIdentity: func(text []byte) (Credentials, error) {
		var s webIdentitySecret
		err := readSecret(text, &s, "")
		return s.WebIdentity, err
	},
	ambient: func(text []byte) (Credentials, error) {
		var s ambientSecret
		err := readSecret(text, &s, "")
		return s.Ambient, err
	},
	bedrockAPIKey: func(text []byte) (Credentials, error) {
		var s bedrockAPIKeySecret
		err := readSecret(text, &s, "")
		return s.BedrockAPIKey, err
	},
}

var errSource = errors.New(`source in it must be "ambient", or an object with access_key_id, secret_access_key and, of a temporary key, session_token`)

// readSecret reads the members of a type into a struct; within is the path of that.
func readSecret(text []byte, into any, within string) error {
	err := read(text, into)
	if err == nil {
		return nil
	}
	t := reflect.TypeOf(into).Elem()
	var wrong *strict.Error
	if !errors.As(err, &wrong) || fieldNamed(t, wrong.Path) == nil {
		where := ""
		if within != "" {
			where = strings.TrimSuffix(within, ".") + " in it "
		}
		return errors.New(where + "has an unknown member; allowed are " + and(memberNames(t)))
	}
	return errors.New(within + wrong.Path + " in it " + wrong.Message)
}

// memberNames are those of a struct that JSON is read into, in their order.
func memberNames(t reflect.Type) (names []string) {
	for _, f := range fieldsOf(t) {
		if !slices.Contains(names, f.name) {
			names = append(names, f.name)
		}
	}
	return names
}

func and(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// reveal is a secret as JSON, to be sealed: parseSecret reads it.
func reveal(c Credentials) ([]byte, error) { return json.Marshal(c.revealed()) }
