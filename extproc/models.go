package extproc

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"aisix/extproc/fault"
	"aisix/extproc/openai"
)

// listModels answers GET /v1/models: what this key may use.
func (s *Server) listModels(_ context.Context, c *call) error {
	var models []openai.Model
	for _, alias := range c.snapshot.List(c.key) {
		models = append(models, c.model(alias))
	}
	body, err := openai.ModelList(models)
	if err != nil {
		return err
	}
	return c.reply(body)
}

// getModel answers GET /v1/models/{id}.
func (s *Server) getModel(_ context.Context, c *call) error {
	id, err := url.PathUnescape(strings.TrimPrefix(c.path, "/v1/models/"))
	if err == nil {
		if _, ok := c.snapshot.Model(id); ok && c.snapshot.Allowed(c.key, id) {
			body, err := openai.ModelObject(c.model(id))
			if err != nil {
				return err
			}
			return c.reply(body)
		}
	}
	return &fault.Error{Kind: fault.ModelNotFound, Status: http.StatusNotFound, Param: "model", Message: "the model does not exist, or this API key may not use it"}
}

// model is the alias as the list shows it.
func (c *call) model(alias string) openai.Model {
	m := openai.Model{ID: alias}
	if match, ok := c.snapshot.Model(alias); ok {
		m.Created, m.OwnedBy = match.CreatedAt, match.ProviderKey.Provider
	}
	return m
}
