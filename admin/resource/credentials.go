package resource

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

var region = regexp.MustCompile(`^[a-z0-9-]+$`)

// laterTypes are secrets that are not supported yet, and are refused by name.
var laterTypes = []string{"assume_role", "web_identity", "instance_profile", "default"}

// parseSecret reads the JSON text of a provider key's secret. No part of it is in
// an error, not even a member's name.
func parseSecret(text, pointer string) (Credentials, *Invalid) {
	refuse := func(message string) (Credentials, *Invalid) {
		return Credentials{}, &Invalid{Pointer: pointer, Message: message}
	}
	n, invalid := object([]byte(text))
	if invalid != nil {
		return refuse("must be the text of a JSON object, no member twice, with access_key_id, secret_access_key and region")
	}
	switch t := n.member("type"); { // first: the members are those of the type
	case t == nil || t.kind != '"' || t.text == "static":
	case slices.Contains(laterTypes, t.text):
		return refuse("type " + t.text + " is not supported yet; only static is")
	default:
		return refuse("type in it must be static")
	}
	var in struct {
		Type            *string `json:"type"`
		AccessKeyID     *string `json:"access_key_id"`
		SecretAccessKey *string `json:"secret_access_key"`
		SessionToken    *string `json:"session_token"`
		Region          *string `json:"region"`
	}
	if invalid := fill(reflect.ValueOf(&in).Elem(), n, ""); invalid != nil {
		if invalid.Message == "unknown member" {
			return refuse("holds an unknown member; it takes type, access_key_id, secret_access_key, session_token and region")
		}
		return refuse(strings.TrimPrefix(invalid.Pointer, "/") + " in it " + invalid.Message)
	}
	for _, m := range []struct {
		name  string
		value *string
	}{{"access_key_id", in.AccessKeyID}, {"secret_access_key", in.SecretAccessKey}, {"region", in.Region}} {
		if m.value == nil || *m.value == "" {
			return refuse(m.name + " in it is required and must not be empty")
		}
	}
	if in.SessionToken != nil && *in.SessionToken == "" {
		return refuse("session_token in it must not be empty")
	}
	if !region.MatchString(*in.Region) {
		return refuse("region in it must be lower-case letters, digits and dashes")
	}
	c := Credentials{AccessKeyID: *in.AccessKeyID, SecretAccessKey: Secret(*in.SecretAccessKey), Region: *in.Region}
	if in.SessionToken != nil {
		c.SessionToken = Secret(*in.SessionToken)
	}
	// They go into headers: a line break that came along would break every call.
	if strings.ContainsFunc(c.AccessKeyID+c.SecretAccessKey.Reveal()+c.SessionToken.Reveal(), unicode.IsControl) {
		return refuse("holds control characters")
	}
	return c, nil
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

func (c Credentials) info() SecretInfo {
	i := SecretInfo{Type: "static", Region: c.Region, SessionToken: c.SessionToken != ""}
	if n := len(c.AccessKeyID); n >= 8 {
		i.AccessKeyIDLast4 = c.AccessKeyID[n-4:]
	}
	return i
}

// Credentials are a provider key's secret of type static.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey Secret
	SessionToken    Secret // "" if none
	Region          string
}
