package extproc

import (
	"maps"
	"net/http"
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

// Converse adds a dialect in which a model is asked for an answer.
func (s *Server) Converse(path string, d conversation) {
	s.table[path] = map[string]operation{http.MethodPost: s.converse(d)}
}
