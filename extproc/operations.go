package extproc

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"aisix/extproc/fault"
)

// operation is what callers may ask.
type operation struct {
	name string // for logs and records
	open bool   // needs no key; nor is it recorded
	// run answers one call. It returns a fault to be told to the caller, or nil when
	// it has answered by itself.
	run func(ctx context.Context, c *call) error
}

// operations is the table of them, by path and method. A path that ends in "/"
// takes what follows, slashes too (an alias may hold one). Every operation that
// reaches Bedrock goes through converse, so limits guard all of them.
func (s *Server) operations() map[string]map[string]operation {
	chat := operation{name: "converse", run: s.converse(chatCompletions{})}
	live := operation{name: "livez", open: true, run: s.livez}
	ready := operation{name: "readyz", open: true, run: s.readyz}
	return map[string]map[string]operation{
		"/v1/chat/completions": {http.MethodPost: chat},
		"/v1/models":           {http.MethodGet: {name: "list_models", run: s.listModels}},
		"/v1/models/":          {http.MethodGet: {name: "get_model", run: s.getModel}},
		"/livez":               {http.MethodGet: live, http.MethodHead: live},
		"/readyz":              {http.MethodGet: ready, http.MethodHead: ready},
	}
}

// operation finds what c asks for, or the 404 or 405 that says there is none.
func (s *Server) operation(c *call) (operation, error) {
	methods, ok := s.table[c.path]
	for i := len(c.path) - 1; !ok && i > 0; {
		i = strings.LastIndexByte(c.path[:i], '/')
		methods, ok = s.table[c.path[:i+1]]
	}
	if !ok {
		return operation{}, &fault.Error{Kind: fault.InvalidRequest, Status: http.StatusNotFound, Message: "unknown endpoint; this gateway serves POST /v1/chat/completions, GET /v1/models and GET /v1/models/{id}"}
	}
	op, ok := methods[c.method]
	if !ok {
		c.allow = strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
		return operation{}, &fault.Error{Kind: fault.InvalidRequest, Status: http.StatusMethodNotAllowed, Message: "method not allowed here; use " + c.allow}
	}
	return op, nil
}

func (s *Server) livez(_ context.Context, c *call) error { return c.reply([]byte(`{"status":"ok"}`)) }

func (s *Server) readyz(_ context.Context, c *call) error {
	if !s.Ready() {
		return unavailable("not ready: no configuration read yet, or stopping")
	}
	if s.Snapshots.Lost() { // callers are served all the same
		return c.reply([]byte(`{"status":"ok","configuration":"lost: Redis was emptied or rolled back, and what was in force before is served"}`))
	}
	return c.reply([]byte(`{"status":"ok"}`))
}
