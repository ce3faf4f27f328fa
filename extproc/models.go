package extproc

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"aisix/admin/snapshot"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// listModels says what this key may use.
func listModels(d catalogue) operation {
	return operation{name: "list_models", dialect: d, run: func(_ context.Context, c *call) error {
		var models []chat.Model
		for _, m := range c.snapshot.List(c.key) {
			models = append(models, described(m.Alias, m))
		}
		_, query, _ := strings.Cut(c.header.Path, "?")
		values, _ := url.ParseQuery(query) // what can't be read is not there
		body, err := d.List(models, values)
		if err != nil {
			return err
		}
		return c.reply(body)
	}}
}

// getModel answers for a name that a chat may ask for, and for a wildcard alias as it
// is listed. The name is all that follows the operation's path.
func getModel(d catalogue) operation {
	return operation{name: "get_model", dialect: d, run: func(_ context.Context, c *call) error {
		m, err := c.named(strings.TrimPrefix(c.facts.Path, "/v1/models/"))
		if err != nil {
			return err
		}
		body, err := d.Object(m)
		if err != nil {
			return err
		}
		return c.reply(body)
	}}
}

// named finds the model of that name, as it stands in a path.
func (c *call) named(escaped string) (chat.Model, error) {
	if id, err := url.PathUnescape(escaped); err == nil {
		m, ok := c.snapshot.Model(id)
		if ok = ok && c.snapshot.Allowed(c.key, id); !ok {
			m, ok = c.snapshot.Listed(c.key, id)
		}
		if ok {
			return described(id, m), nil
		}
	}
	return chat.Model{}, &fault.Error{Kind: fault.ModelNotFound, Status: http.StatusNotFound, Param: "model", Message: "the model does not exist, or this API key may not use it"}
}

func described(id string, m *snapshot.Match) chat.Model {
	return chat.Model{ID: id, Created: m.CreatedAt, OwnedBy: m.ProviderKey.Provider}
}
