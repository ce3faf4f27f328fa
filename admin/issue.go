package admin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"time"

	"aisix/admin/resource"
	"aisix/admin/store"
)

// generate makes a new secret of a resource, as of an API key: 256 random bits.
func (s *Server) generate() (plaintext, hash string, err error) {
	random := make([]byte, 32)
	if _, err := io.ReadFull(s.random, random); err != nil {
		return "", "", err
	}
	plaintext = "sk-" + base64.RawURLEncoding.EncodeToString(random)
	sum := sha256.Sum256([]byte(plaintext))
	return plaintext, hex.EncodeToString(sum[:]), nil
}

// rotated is what a rotation answers.
type rotated struct {
	// As it is now.
	Entry *entry `json:"entry"`
	// The new key, shown this once.
	Plaintext string `json:"plaintext" is:"plaintext"`
}

// rotate gives a resource a new, generated secret; the old one goes on for the grace,
// if there is one.
func (c collection) rotate(a *answer, r *request) error {
	text, err := body(a, r, jsonType)
	if err != nil {
		return err
	}
	grace, err := resource.DecodeRotation(text)
	if err != nil {
		return err
	}
	cond, err := ifMatch(r)
	if err != nil {
		return err
	}
	plaintext, hash, err := c.generate()
	if err != nil {
		return err
	}
	var until time.Time
	if grace > 0 {
		until = c.now().Add(grace).UTC().Truncate(time.Millisecond)
	}
	e, err := c.store.Update(r.Context(), c.Kind, r.id, cond, func(old *store.Entry) (resource.Resource, error) {
		return c.Issues.Rotate(old.Value, hash, until), nil
	})
	if err != nil {
		return err
	}
	v, err := envelope(e)
	if err != nil {
		return err
	}
	a.Header().Set("ETag", etag(e.Revision))
	return a.json(http.StatusOK, rotated{v, plaintext})
}
