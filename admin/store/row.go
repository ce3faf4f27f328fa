package store

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"aisix/admin/resource"
)

// row is an entry at rest; its id is the hash field, its revision stands before it.
type row struct {
	CreatedAt time.Time             `json:"created_at"`
	UpdatedAt time.Time             `json:"updated_at"`
	Value     json.RawMessage       `json:"value"`
	Secret    *sealed               `json:"secret,omitempty"`   // a provider key's credentials
	Previous  *resource.PreviousKey `json:"previous,omitempty"` // an API key's, after a rotation
}

// secret is a provider key's credentials as they are sealed.
type secret struct {
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	SessionToken    string `json:"session_token,omitempty"`
	Region          string `json:"region"`
}

func (s *Store) encode(e *Entry) ([]byte, error) {
	value, err := json.Marshal(e.Value)
	if err != nil {
		return nil, err
	}
	r := row{CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt, Value: value}
	switch v := e.Value.(type) {
	case *resource.ProviderKey:
		c := v.Credentials
		plaintext, err := json.Marshal(secret{c.AccessKeyID, c.SecretAccessKey.Reveal(), c.SessionToken.Reveal(), c.Region})
		if err != nil {
			return nil, err
		}
		if r.Secret, err = s.sealer.seal(e.ID, plaintext); err != nil {
			return nil, err
		}
	case *resource.APIKey:
		r.Previous = v.Previous
	}
	return json.Marshal(r)
}

// decode reads "<revision> <row JSON>". Its error is an UnreadableError.
func (s *Store) decode(kind resource.Kind, id, stored string) (*Entry, error) {
	revision, body, ok := strings.Cut(stored, " ")
	n, err := strconv.ParseInt(revision, 10, 64)
	if !ok || err != nil {
		return nil, &UnreadableError{Kind: kind, ID: id, Err: errors.New("no revision")}
	}
	e, err := s.decodeRow(kind, id, body)
	if err != nil {
		return nil, &UnreadableError{Kind: kind, ID: id, Err: err, revision: n}
	}
	e.Revision = n
	return e, nil
}

func (s *Store) decodeRow(kind resource.Kind, id, body string) (*Entry, error) {
	var r row
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		return nil, err
	}
	e := &Entry{ID: id, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt}
	var err error
	switch kind {
	case resource.ProviderKeys:
		v := &resource.ProviderKey{}
		if err = json.Unmarshal(r.Value, v); err == nil {
			v.Credentials, err = s.credentials(id, r.Secret)
			e.stale = r.Secret != nil && !s.sealer.current(r.Secret)
		}
		e.Value = v
	case resource.Models:
		v := &resource.Model{}
		err = json.Unmarshal(r.Value, v)
		e.Value = v
	case resource.APIKeys:
		v := &resource.APIKey{}
		err = json.Unmarshal(r.Value, v)
		v.Previous = r.Previous
		e.Value = v
	default:
		err = errors.New("unknown kind")
	}
	return e, err
}

func (s *Store) credentials(id string, b *sealed) (resource.Credentials, error) {
	if b == nil {
		return resource.Credentials{}, errors.New("no secret")
	}
	plaintext, err := s.sealer.open(id, b)
	if err != nil {
		return resource.Credentials{}, err
	}
	var c secret
	if err := json.Unmarshal(plaintext, &c); err != nil {
		return resource.Credentials{}, errors.New("the secret is not readable") // err could quote it
	}
	return resource.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: resource.Secret(c.SecretAccessKey),
		SessionToken: resource.Secret(c.SessionToken), Region: c.Region}, nil
}
