package resource

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
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
	SessionToken    Secret `json:"session_token"` // "" of a permanent key
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

// staticSecret is what a secret of the type static may hold.
type staticSecret struct {
	Type strict.Ignored `json:"type"` // static
	Static
	SessionToken *Secret `json:"session_token" is:"kept credential"`
}

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
	if named.Type != nil {
		kind, err := jsontext.AppendUnquote(nil, named.Type)
		switch {
		case err != nil:
			return refuse("its type must be a string")
		case slices.Contains(laterTypes, string(kind)):
			return refuse("type %s is not supported yet; only static is", kind)
		case string(kind) != static:
			return refuse("its type must be static")
		}
	}
	var s staticSecret
	if err := read([]byte(text), &s); err != nil {
		var wrong *strict.Error
		if !errors.As(err, &wrong) || fieldNamed(reflect.TypeOf(s), wrong.Path) == nil {
			return refuse("has an unknown member; allowed are type, access_key_id, secret_access_key, session_token and region")
		}
		return refuse("%s in it %s", wrong.Path, wrong.Message)
	}
	if s.SessionToken != nil {
		s.Static.SessionToken = *s.SessionToken
	}
	return s.Static, nil
}

// reveal is a secret as JSON, to be sealed: parseSecret reads it.
func reveal(c Credentials) ([]byte, error) { return json.Marshal(c.revealed()) }
