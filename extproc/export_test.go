package extproc

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"aisix/extproc/admission"
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

// Late has the server see how late something is, and that many wait.
func (s *Server) Late(d time.Duration, now time.Time) {
	s.room.pressure.Observe(d, admission.Crowd, now)
}
