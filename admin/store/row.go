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
	CreatedAt time.Time       `json:"created_at"`
	UpdatedAt time.Time       `json:"updated_at"`
	Value     json.RawMessage `json:"value"`
	Secret    *sealed         `json:"secret,omitempty"`
	Beside    json.RawMessage `json:"previous,omitempty"` // of an API key, after a rotation
}

func (s *Store) encode(e *Entry) ([]byte, error) {
	kept, err := resource.Keep(e.Value)
	if err != nil {
		return nil, err
	}
	r := row{CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt, Value: kept.Value, Beside: kept.Beside}
	if kept.Secret != nil {
		if r.Secret, err = s.sealer.seal(e.ID, kept.Secret); err != nil {
			return nil, err
		}
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
	kept := resource.Kept{Value: r.Value, Beside: r.Beside}
	var err error
	if r.Secret != nil {
		if kept.Secret, err = s.sealer.open(id, r.Secret); err != nil {
			return nil, err
		}
		e.stale = !s.sealer.current(r.Secret)
	}
	e.Value, err = kept.Resource(kind)
	return e, err
}
