package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

var unauthorized = &problem{status: http.StatusUnauthorized, Message: "missing or malformed admin authorization",
	header: http.Header{"Www-Authenticate": {"Bearer"}}}

// authorized compares the request's key with the admin key in constant time.
// x-api-key counts only where there is no Authorization header.
func (s *Server) authorized(r *http.Request) bool {
	given := r.Header.Values("Authorization")
	key, ok := "", false
	switch {
	case len(given) == 1:
		scheme, rest, found := strings.Cut(given[0], " ")
		key, ok = strings.TrimSpace(rest), found && strings.EqualFold(scheme, "Bearer")
	case len(given) == 0:
		keys := r.Header.Values("X-Api-Key")
		if len(keys) == 1 {
			key, ok = keys[0], true
		}
	}
	hash := sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(hash[:], s.key[:]) == 1 && ok
}
