package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

var (
	unauthorized = &problem{status: http.StatusUnauthorized, Message: "missing or malformed admin authorization",
		header: http.Header{"Www-Authenticate": {"Bearer"}}}
	sampleKeyAbroad = &problem{status: http.StatusForbidden, Code: "sample_key",
		Message: "the sample admin key works on this machine only, by localhost or 127.0.0.1: set admin.key to a key of your own"}
)

// role is whom a route is for. A route that says nothing is for administrators.
type role int

const (
	administrator role = iota // who has the admin key
	anyone
)

// actor is who asks, as logs name them: the admin key, so far.
type actor string

const adminKeyActor actor = "admin_key"

// principal is who has the request's key. It is compared with the admin key in constant
// time; a wrong key's answer waits, a right one's never does.
func (s *Server) principal(r *http.Request) (actor, error) {
	key := givenKey(r)
	hash := sha256.Sum256([]byte(key))
	right := subtle.ConstantTimeCompare(hash[:], s.key[:]) == 1
	switch {
	case key == "":
		return "", unauthorized
	case right && s.sampleKey && !fromHere(r):
		return "", sampleKeyAbroad
	case right:
		return adminKeyActor, nil
	}
	if !s.brake.hold(r.Context(), peer(r)) {
		crowded := *unauthorized
		crowded.header = http.Header{"Www-Authenticate": {"Bearer"}, "Connection": {"close"}}
		return "", &crowded
	}
	return "", unauthorized
}

// givenKey is the key that a request carries, "" if none or more than one: x-api-key
// counts only where there is no Authorization header.
func givenKey(r *http.Request) string {
	given := r.Header.Values("Authorization")
	if len(given) == 1 {
		scheme, rest, _ := strings.Cut(given[0], " ")
		if strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(rest)
		}
	}
	if keys := r.Header.Values("X-Api-Key"); len(given) == 0 && len(keys) == 1 {
		return keys[0]
	}
	return ""
}
