// Package snapshot is all resources at one revision, compiled for lookup.
//
// It knows how a key hash, an alias and an allowlist are matched. It knows neither
// Redis nor HTTP, and no clock: whether a key has expired is the caller's question.
// A Snapshot never changes once built; a Holder swaps one for the next. Callers:
// admin/store builds and stores them, extproc serves a call from one.
package snapshot

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"aisix/admin/resource"
)

// Row is one resource as the store has it.
type Row struct {
	ID        string
	CreatedAt time.Time
	Value     resource.Resource
}

// Snapshot is every resource at one revision. Its methods may be called from any
// goroutine; what they return must not be changed.
type Snapshot struct {
	Revision int64

	keys      map[[32]byte]*Key
	exact     map[string]*Match
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

	alias glob
}

// Build compiles rows. A model whose provider key is not among them is left out;
// so is an API key whose hash is no SHA-256. dropped names what was left out, for
// the operator's log.
func Build(revision int64, rows []Row) (s *Snapshot, dropped []string) {
	s = &Snapshot{Revision: revision, keys: map[[32]byte]*Key{}, exact: map[string]*Match{}}
	providerKeys := map[string]*resource.ProviderKey{}
	for _, r := range rows {
		if k, ok := r.Value.(*resource.ProviderKey); ok {
			providerKeys[r.ID] = k
		}
	}
	for _, r := range rows {
		switch v := r.Value.(type) {
		case *resource.Model:
			k, ok := providerKeys[v.ProviderKeyID]
			if !ok {
				dropped = append(dropped, "models/"+r.ID+": its provider key is missing or unusable")
				continue
			}
			s.addModel(&Match{ModelID: r.ID, Model: v, Alias: v.DisplayName, UpstreamID: v.ModelName,
				ProviderKeyID: v.ProviderKeyID, ProviderKey: k, CreatedAt: r.CreatedAt, alias: newGlob(v.DisplayName)})
		case *resource.APIKey:
			if !s.addKey(r.ID, v) {
				dropped = append(dropped, "apikeys/"+r.ID+": key_hash is no SHA-256")
			}
		}
	}
	slices.SortFunc(s.sorted, func(a, b *Match) int { return cmp.Compare(a.Alias, b.Alias) })
	slices.SortFunc(s.wildcards, func(a, b *Match) int {
		return cmp.Or(
			cmp.Compare(len(b.Alias), len(a.Alias)),
			cmp.Compare(len(b.alias.prefix), len(a.alias.prefix)),
			cmp.Compare(a.Alias, b.Alias))
	})
	return s, dropped
}

func (s *Snapshot) addModel(m *Match) {
	s.sorted = append(s.sorted, m)
	if m.alias.star {
		s.wildcards = append(s.wildcards, m)
		return
	}
	s.exact[m.Alias] = m
}

func (s *Snapshot) addKey(id string, v *resource.APIKey) bool {
	hash, ok := decodeHash(v.KeyHash)
	if !ok {
		return false
	}
	allowed := make([]glob, len(v.AllowedModels))
	for i, p := range v.AllowedModels {
		allowed[i] = newGlob(p)
	}
	if v.Previous != nil {
		if old, ok := decodeHash(v.Previous.KeyHash); ok {
			graced := *v
			if v.ExpiresAt == nil || v.Previous.ValidUntil.Before(*v.ExpiresAt) {
				until := v.Previous.ValidUntil
				graced.ExpiresAt = &until
			}
			s.keys[old] = &Key{ID: id, APIKey: &graced, allowed: allowed}
		}
	}
	s.keys[hash] = &Key{ID: id, APIKey: v, allowed: allowed}
	return true
}

func decodeHash(s string) (hash [32]byte, ok bool) {
	if len(s) != hex.EncodedLen(len(hash)) {
		return hash, false
	}
	_, err := hex.Decode(hash[:], []byte(s))
	return hash, err == nil
}

// Key finds an API key by the SHA-256 of its plaintext, disabled and expired ones
// too.
func (s *Snapshot) Key(hash [32]byte) (*Key, bool) {
	k, ok := s.keys[hash]
	return k, ok
}

// Model finds what alias stands for: an exact name first, then the wildcard with
// the longest literal part.
func (s *Snapshot) Model(alias string) (*Match, bool) {
	if m, ok := s.exact[alias]; ok {
		return m, true
	}
	for _, m := range s.wildcards {
		capture, ok := m.alias.capture(alias)
		if !ok || !capturable(capture) {
			continue
		}
		filled := *m
		filled.UpstreamID = strings.Replace(m.Model.ModelName, "*", capture, 1)
		return &filled, true
	}
	return nil, false
}

// maxCapture is the longest capture of a wildcard alias, in bytes.
const maxCapture = 128

// capturable tells whether a wildcard alias may capture s: [A-Za-z0-9._:-]{1,128},
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

// dots tells whether s is one of the two segments that every reader of a path takes
// out, escaped or not.
func dots(s string) bool { return s == "." || s == ".." }

func inCapture(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == ':' || c == '-'
}

// Allowed tells whether the key's allowlist has the alias, as the caller sent it.
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
