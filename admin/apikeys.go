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

// generate makes a new API key: 256 random bits.
func (s *Server) generate() (plaintext, hash string, err error) {
	random := make([]byte, 32)
	if _, err := io.ReadFull(s.random, random); err != nil {
		return "", "", err
	}
	plaintext = "sk-" + base64.RawURLEncoding.EncodeToString(random)
	sum := sha256.Sum256([]byte(plaintext))
	return plaintext, hex.EncodeToString(sum[:]), nil
}

// rotate gives an API key a new, generated secret; the old one goes on for the
// grace, if there is one.
func (c collection) rotate(a *answer, r *http.Request, id string) error {
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
	e, err := c.store.Update(r.Context(), c.kind, id, cond, func(old *store.Entry) (resource.Resource, error) {
		k := *old.Value.(*resource.APIKey)
		k.Previous = nil
		if grace > 0 {
			k.Previous = &resource.PreviousKey{KeyHash: k.KeyHash, ValidUntil: c.now().Add(grace).UTC().Truncate(time.Millisecond)}
		}
		k.KeyHash = hash
		return &k, nil
	})
	if err != nil {
		return err
	}
	v, err := envelope(e)
	if err != nil {
		return err
	}
	a.Header().Set("ETag", etag(e.Revision))
	return a.json(http.StatusOK, struct {
		Entry     *entry `json:"entry"`
		Plaintext string `json:"plaintext"`
	}{v, plaintext})
}
