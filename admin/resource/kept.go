package resource

import (
	"encoding/json"
	"errors"
)

// Kept is a resource in the parts that a store keeps: each is treated in its own way.
type Kept struct {
	Value  []byte // JSON, as reads show it but for what they say of the secret
	Secret []byte // JSON, to be sealed; nil: the kind has none
	Beside []byte // JSON, kept in clear and not shown; nil: there is nothing
}

// Keep takes a resource apart.
func Keep(r Resource) (k Kept, err error) {
	row := r.Kind().Row()
	if k.Value, err = json.Marshal(r); err != nil {
		return Kept{}, err
	}
	if row.Secret != nil {
		if k.Secret, err = row.Secret.reveal(r); err != nil {
			return Kept{}, err
		}
	}
	if row.beside == nil {
		return k, nil
	}
	if beside := row.beside(r); beside != nil {
		k.Beside, err = json.Marshal(beside)
	}
	return k, err
}

// Resource puts one together again. Its error holds no part of the secret.
func (k Kept) Resource(kind Kind) (Resource, error) {
	row := kind.Row()
	if row == nil {
		return nil, errors.New("unknown kind")
	}
	r := row.new()
	if err := json.Unmarshal(k.Value, r); err != nil {
		return nil, err
	}
	if row.Secret != nil {
		if k.Secret == nil {
			return nil, errors.New("no secret")
		}
		if err := row.Secret.take(r, k.Secret); err != nil {
			return nil, errors.New("the secret is not readable")
		}
	}
	if k.Beside != nil && row.adjoin != nil {
		if err := row.adjoin(r, k.Beside); err != nil {
			return nil, err
		}
	}
	return r, nil
}
