package admin

import (
	"context"
	_ "embed"
	"net/http"
	"time"

	"aisix/admin/resource"
)

// status is what is answered where all is well.
type status struct {
	// All is well.
	Status string `json:"status" of:"ok"`
	// The store-wide write counter.
	Revision *int64 `json:"revision,omitempty" min:"0"`
}

func (s *Server) statusRoutes() []route {
	get := func(a action) map[string]action {
		a.tag = "status"
		return map[string]action{http.MethodGet: a}
	}
	shows := func(text string) given { return given{text: text, schema: answerOf(status{})} }
	return []route{
		{path: "/livez", role: anyone, probe: true, methods: get(action{do: s.livez, name: "livez", summary: "Is the process there?",
			gives: shows("It serves.")})},
		{path: "/readyz", role: anyone, probe: true, methods: get(action{do: s.readyz, name: "readyz", summary: "Should requests come here?",
			gives: shows("The store answers, and the process is not stopping."), fails: []int{503}})},
		{path: "/admin/openapi.json", role: anyone, methods: get(action{do: s.openapi, name: "openapi", summary: "This document",
			gives: given{text: "OpenAPI 3.1.", schema: func(*resource.Schemas) resource.Schema { return resource.Schema{"type": "object"} }}})},
		{path: base + "health", methods: get(action{do: s.health, name: "health", summary: "Does the store answer, and are models' targets well?",
			gives: given{text: "The store answers.", schema: answerOf(health{})}, fails: []int{503}})},
		{path: confirmPath("{id}"), idText: "The epoch of the lost store, as the 503 names it.", methods: map[string]action{http.MethodPost: {do: s.confirm, name: "confirm", tag: "status",
			summary: "Put in force what the store holds now",
			text:    "For an operator, where Redis has lost what it held (503 store_lost on every path) and that is meant: what it holds now takes the place of what is in force.",
			gives:   shows("It is in force within 500 ms."), fails: []int{409, 503}}}},
	}
}

// livez tells that the process serves.
func (s *Server) livez(a *answer, _ *request) error {
	return a.json(http.StatusOK, status{Status: "ok"})
}

// readyz reports whether requests should come here: the store answers, holds what
// our master key opens, and nobody asked the process to end.
func (s *Server) readyz(a *answer, r *request) error {
	if s.draining.Load() {
		return &problem{status: http.StatusServiceUnavailable, Code: "draining", Message: "shutting down", header: retryAfter}
	}
	return s.check(a, r)
}

func (s *Server) check(a *answer, r *request) error {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	revision, err := s.store.Revision(ctx)
	if err != nil {
		return err
	}
	return a.json(http.StatusOK, status{Status: "ok", Revision: &revision})
}

// confirmPath is where an operator confirms the loss of the store of that epoch.
func confirmPath(epoch string) string { return base + "store/" + epoch + "/confirm" }

// confirm puts in force what the store holds now, in place of the store of that
// epoch, which was lost.
func (s *Server) confirm(a *answer, r *request) error {
	revision, err := s.store.Confirm(r.Context(), a.actor, r.id)
	if err != nil {
		return err
	}
	return a.json(http.StatusOK, status{Status: "ok", Revision: &revision})
}

//go:embed openapi.json
var openapi []byte

// openapi describes this API. It holds nothing that needs a key.
func (s *Server) openapi(a *answer, _ *request) error {
	return a.bytes(http.StatusOK, openapi)
}
