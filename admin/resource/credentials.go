package resource

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// Credentials are what a provider key's secret comes down to: a value of one of the
// types that a secret may have. So far there is one, Static.
type Credentials interface {
	region() string // that requests are signed for
	info() SecretInfo
	revealed() any // as JSON, with its type
}

// Static is an access key of AWS's: the secret's type static.
type Static struct {
	AccessKeyID     string `json:"access_key_id" is:"required credential"`
	SecretAccessKey Secret `json:"secret_access_key" is:"required credential"`
	SessionToken    Secret `json:"session_token" is:"kept credential"` // "" of a permanent key
	Region          string `json:"region" is:"required region"`
}

const static = "static" // the default type

func (s Static) region() string { return s.Region }

func (s Static) revealed() any {
	return struct {
		Type            string `json:"type"`
		AccessKeyID     string `json:"access_key_id"`
		SecretAccessKey string `json:"secret_access_key"`
		SessionToken    string `json:"session_token,omitempty"`
		Region          string `json:"region"`
	}{static, s.AccessKeyID, s.SecretAccessKey.Reveal(), s.SessionToken.Reveal(), s.Region}
}

func (s Static) info() SecretInfo {
	i := SecretInfo{Type: static, Region: s.Region, SessionToken: s.SessionToken != ""}
	if n := len(s.AccessKeyID); n >= 8 {
		i.AccessKeyIDLast4 = s.AccessKeyID[n-4:]
	}
	return i
}

// SecretInfo is what may be told of a provider key's secret.
type SecretInfo struct {
	// Its type.
	Type string `json:"type" of:"static"`
	// Empty where the id is shorter than 8 characters.
	AccessKeyIDLast4 string `json:"access_key_id_last4"`
	// The region that requests are signed for.
	Region string `json:"region"`
	// Whether there is one.
	SessionToken bool `json:"session_token"`
}

// laterTypes are types of secrets that are not supported yet, and are refused by name.
var laterTypes = []string{"assume_role", "web_identity", "ambient", "bedrock_api_key"}

// parseSecret reads the JSON text of a provider key's secret. No part of it is in an
// error, not even a member's name.
func parseSecret(text, pointer string) (Credentials, *Invalid) {
	refuse := func(message string) (Credentials, *Invalid) {
		return nil, &Invalid{Pointer: pointer, Message: message}
	}
	n, invalid := object([]byte(text))
	if invalid != nil {
		return refuse("must be the text of a JSON object, no member twice, with access_key_id, secret_access_key and region")
	}
	named := n.member("type")
	if named != nil && named.kind != 'n' { // before the others: they are those of the type
		switch {
		case named.kind != '"':
			return refuse("type in it must be a string")
		case slices.Contains(laterTypes, named.text):
			return refuse("type " + named.text + " is not supported yet; only static is")
		case named.text != static:
			return refuse("type in it must be static")
		}
	}
	var c Static
	if invalid := fill(reflect.ValueOf(&c).Elem(), n.without("type"), ""); invalid != nil {
		if invalid.Message == "unknown member" {
			return refuse("holds an unknown member; it takes type, access_key_id, secret_access_key, session_token and region")
		}
		return refuse(strings.TrimPrefix(invalid.Pointer, "/") + " in it " + invalid.Message)
	}
	return c, nil
}

// reveal is a secret as JSON, to be sealed: parseSecret reads it.
func reveal(c Credentials) ([]byte, error) { return json.Marshal(c.revealed()) }
