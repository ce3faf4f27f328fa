package snapshot

import (
	"slices"

	"aisix/admin/resource"
)

// Uses reports whether the provider key of any model, or of any target of one, has these
// credentials.
func (s *Snapshot) Uses(c resource.Credentials) bool {
	return slices.ContainsFunc(s.sorted, func(m *Match) bool {
		return m.ProviderKey.Credentials == c || slices.ContainsFunc(m.Targets, func(t *Target) bool { return t.ProviderKey.Credentials == c })
	})
}
