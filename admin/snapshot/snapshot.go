// Package snapshot is all resources at one revision, compiled for lookup.
//
// It knows how a key hash, an alias and an allowlist are matched. It knows neither
// Redis nor HTTP, and no clock: whether a key has expired is the caller's question.
// A Snapshot never changes once built: a Builder makes the next of what has changed,
// and of all that has not; a Holder swaps one for the other. Callers: admin/store
// builds and stores them, extproc serves a call from one.
package snapshot

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"aisix/admin/resource"
)

// Snapshot is every resource at one revision. Its methods may be called from any
// goroutine; what they return must not be changed.
type Snapshot struct {
	Revision int64

	keys      table[[32]byte, *Key]
	exact     table[string, *Match]
	wildcards []*Match // the longest literal part first
	sorted    []*Match // all, by alias as written
}

// Key is an API key that a hash was found for.
type Key struct {
	ID string
	// APIKey is the resource. For a key that a rotation replaced it is a copy, whose
	// ExpiresAt is the end of the grace where that comes first.
	APIKey *resource.APIKey

	allowed []glob
}

// Match is what an alias stands for.
type Match struct {
	ModelID       string // the resource's id
	Model         *resource.Model
	Alias         string // as written in the resource: one label, wildcard or not
	UpstreamID    string // the model id to ask Bedrock for, the capture filled in (of a listed wildcard alias, as written)
	ProviderKeyID string
	ProviderKey   *resource.ProviderKey
	CreatedAt     time.Time // of the model resource

	// Targets are the places where the model is asked for, as its resource has them, where it
	// has such; the four members above are then those of the first. nil: they are its only one.
	Targets []*Target

	alias glob
}

// Target is one of the places where a model is asked for.
type Target struct {
	ID            string // of all models' targets
	Name          string
	Weight        int
	Priority      int
	Model         *resource.Model // as if the target were its one place
	UpstreamID    string          // as in Match
	ProviderKeyID string
	ProviderKey   *resource.ProviderKey
}

// TargetID is the ID of a model's target: "" is the name of the only one of a model that has no
// targets.
func TargetID(modelID, name string) string { return modelID + "/" + name }

// Key finds an API key by the SHA-256 of its plaintext, disabled and expired ones
// too.
func (s *Snapshot) Key(hash [32]byte) (*Key, bool) {
	return s.keys.get(hash)
}

// Model finds what alias stands for: an exact name first, then the wildcard with
// the longest literal part.
func (s *Snapshot) Model(alias string) (*Match, bool) {
	if m, ok := s.exact.get(alias); ok {
		return m, true
	}
	for _, m := range s.wildcards {
		capture, ok := m.alias.capture(alias)
		if !ok || !capturable(capture) {
			continue
		}
		return m.filled(capture), true
	}
	return nil, false
}

// filled is a wildcard's match with what its alias has captured.
func (m *Match) filled(capture string) *Match {
	f := *m
	f.UpstreamID = strings.Replace(m.UpstreamID, "*", capture, 1)
	if m.Targets != nil {
		f.Targets = make([]*Target, len(m.Targets))
		for i, t := range m.Targets {
			target := *t
			target.UpstreamID = strings.Replace(t.UpstreamID, "*", capture, 1)
			f.Targets[i] = &target
		}
	}
	return &f
}

// maxCapture is the longest capture of a wildcard alias, in bytes.
const maxCapture = 128

// capturable reports whether a wildcard alias may capture s: [A-Za-z0-9._:-]{1,128},
// but for what means another place where the model id goes out as a segment of a
// path.
func capturable(s string) bool {
	if len(s) < 1 || len(s) > maxCapture || dots(s) {
		return false
	}
	for i := range len(s) {
		if !inCapture(s[i]) {
			return false
		}
	}
	return true
}

// dots reports whether s is one of the two segments that every reader of a path takes
// out, escaped or not.
func dots(s string) bool { return s == "." || s == ".." }

func inCapture(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == ':' || c == '-'
}

// Allowed reports whether the key's allowlist has the alias, as the caller sent it.
func (s *Snapshot) Allowed(k *Key, alias string) bool {
	for _, g := range k.allowed {
		if g.match(alias) {
			return true
		}
	}
	return false
}

// List is the models that the key may use, sorted by alias; a wildcard alias stands
// as written when the allowlist and it have any name in common.
func (s *Snapshot) List(k *Key) []*Match {
	list := []*Match{}
	for _, m := range s.sorted {
		if slices.ContainsFunc(k.allowed, m.alias.meets) {
			list = append(list, m)
		}
	}
	return list
}

// Listed finds what List shows under a name: of a wildcard alias, the alias as
// written.
func (s *Snapshot) Listed(k *Key, alias string) (*Match, bool) {
	i, found := slices.BinarySearchFunc(s.sorted, alias, func(m *Match, alias string) int { return cmp.Compare(m.Alias, alias) })
	if !found || !slices.ContainsFunc(k.allowed, s.sorted[i].alias.meets) {
		return nil, false
	}
	return s.sorted[i], true
}
