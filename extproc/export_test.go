package extproc

import (
	"maps"
	"net/http"
	"slices"
	"time"
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

// Late has the server see at once that everything is late, or in time, so often in a row.
func (s *Server) Late(d time.Duration, times int) {
	for range times {
		s.room.pressure.Observe(d, s.Now())
	}
}
