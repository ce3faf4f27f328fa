package snapshot

import (
	"slices"

	"aisix/admin/resource"
)

// Uses reports whether the provider key of any model has these credentials.
func (s *Snapshot) Uses(c resource.Credentials) bool {
	return slices.ContainsFunc(s.sorted, func(m *Match) bool { return m.ProviderKey.Credentials == c })
}
