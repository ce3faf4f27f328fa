package extproc

import (
	"context"
	"net/http"
	"strings"

	"aisix/extproc/fault"
	"aisix/extproc/openai"
)

// operation answers one call. It returns a fault to be told to the caller, or
// nil when it has answered by itself.
type operation func(ctx context.Context, c *call) error

// operations is the table of what callers may ask, by path and method. A path
// that ends in "/" takes one more segment. Every operation that reaches Bedrock
// goes through converse, so limits guard all of them.
func (s *Server) operations() map[string]map[string]operation {
	return map[string]map[string]operation{
		"/v1/chat/completions": {http.MethodPost: s.converse(openai.Chat{})},
		"/v1/models":           {http.MethodGet: s.listModels},
		"/v1/models/":          {http.MethodGet: s.getModel},
	}
}

// operation finds what c asks for, or the 404 or 405 that says there is none.
func (s *Server) operation(c *call) (operation, error) {
	methods, ok := s.table[c.path]
	if !ok {
		if i := strings.LastIndexByte(c.path, '/'); i >= 0 && i < len(c.path)-1 {
			methods, ok = s.table[c.path[:i+1]]
		}
	}
	if !ok {
		return nil, &fault.Error{Kind: fault.InvalidRequest, Status: http.StatusNotFound, Message: "unknown endpoint; this gateway serves POST /v1/chat/completions, GET /v1/models and GET /v1/models/{id}"}
	}
	op, ok := methods[c.method]
	if !ok {
		for m := range methods {
			c.allow = m
		}
		return nil, &fault.Error{Kind: fault.InvalidRequest, Status: http.StatusMethodNotAllowed, Message: "method not allowed here; use " + c.allow}
	}
	return op, nil
}
