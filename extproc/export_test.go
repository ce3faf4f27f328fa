package extproc

import (
	"maps"
	"slices"
)

// Table is what callers may ask, methods by path.
func (s *Server) Table() map[string][]string {
	t := map[string][]string{}
	for path, methods := range s.table {
		t[path] = slices.Sorted(maps.Keys(methods))
	}
	return t
}
