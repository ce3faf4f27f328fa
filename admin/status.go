package admin

import (
	"context"
	_ "embed"
	"net/http"
	"time"
)

type status struct {
	Status   string `json:"status"`
	Revision *int64 `json:"revision,omitempty"` // the store's
}

// livez tells that the process serves.
func (s *Server) livez(a *answer, _ *http.Request, _ string) error {
	return a.json(http.StatusOK, status{Status: "ok"})
}

// readyz tells whether requests should come here: the store answers, holds what
// our master key opens, and nobody asked the process to end.
func (s *Server) readyz(a *answer, r *http.Request, _ string) error {
	if s.draining.Load() {
		return &problem{status: http.StatusServiceUnavailable, Code: "draining", Message: "shutting down", header: retryAfter}
	}
	return s.check(a, r)
}

// health is readyz for administrators: it goes on while the process drains.
func (s *Server) health(a *answer, r *http.Request, _ string) error { return s.check(a, r) }

func (s *Server) check(a *answer, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	revision, err := s.store.Revision(ctx)
	if err != nil {
		return err
	}
	return a.json(http.StatusOK, status{Status: "ok", Revision: &revision})
}

// confirmPath is where an operator confirms the loss of the store of that epoch.
func confirmPath(epoch string) string { return "/admin/v1/store/" + epoch + "/confirm" }

// confirm puts in force what the store holds now, in place of the store of that
// epoch, which was lost.
func (s *Server) confirm(a *answer, r *http.Request, epoch string) error {
	revision, err := s.store.Confirm(r.Context(), epoch)
	if err != nil {
		return err
	}
	return a.json(http.StatusOK, status{Status: "ok", Revision: &revision})
}

//go:embed openapi.json
var openapi []byte

// openapi describes this API. It holds nothing that needs a key.
func (s *Server) openapi(a *answer, _ *http.Request, _ string) error {
	return a.bytes(http.StatusOK, openapi)
}
