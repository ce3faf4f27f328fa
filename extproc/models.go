package extproc

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"aisix/admin/snapshot"
	"aisix/extproc/fault"
	"aisix/extproc/openai"
)

// listModels answers GET /v1/models: what this key may use.
func (s *Server) listModels(_ context.Context, c *call) error {
	var models []openai.Model
	for _, m := range c.snapshot.List(c.key) {
		models = append(models, modelObject(m.Alias, m))
	}
	body, err := openai.ModelList(models)
	if err != nil {
		return err
	}
	return c.reply(body)
}

// getModel answers GET /v1/models/{id}: of a name that a chat may ask for, and of a
// wildcard alias as it is listed.
func (s *Server) getModel(_ context.Context, c *call) error {
	if id, err := url.PathUnescape(strings.TrimPrefix(c.path, "/v1/models/")); err == nil {
		m, ok := c.snapshot.Model(id)
		if ok = ok && c.snapshot.Allowed(c.key, id); !ok {
			m, ok = c.snapshot.Listed(c.key, id)
		}
		if ok {
			body, err := openai.ModelObject(modelObject(id, m))
			if err != nil {
				return err
			}
			return c.reply(body)
		}
	}
	return &fault.Error{Kind: fault.ModelNotFound, Status: http.StatusNotFound, Param: "model", Message: "the model does not exist, or this API key may not use it"}
}

func modelObject(id string, m *snapshot.Match) openai.Model {
	return openai.Model{ID: id, Created: m.CreatedAt, OwnedBy: m.ProviderKey.Provider}
}
