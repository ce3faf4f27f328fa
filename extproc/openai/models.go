package openai

import (
	"net/url"

	"aisix/extproc/chat"
)

// Models is the dialect of GET /v1/models and GET /v1/models/{id}.
type Models struct{ API }

type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

type modelList struct {
	Object string        `json:"object"`
	Data   []modelObject `json:"data"`
}

// List is the answer of GET /v1/models, in the order given: all of it, whatever the query.
func (Models) List(models []chat.Model, _ url.Values) ([]byte, error) {
	list := modelList{Object: "list", Data: make([]modelObject, 0, len(models))}
	for _, m := range models {
		list.Data = append(list.Data, newModelObject(m))
	}
	return marshal(list)
}

// Object is the answer of GET /v1/models/{id}.
func (Models) Object(m chat.Model) ([]byte, error) { return marshal(newModelObject(m)) }

func newModelObject(m chat.Model) modelObject {
	return modelObject{ID: m.ID, Object: "model", Created: max(m.Created.Unix(), 0), OwnedBy: m.OwnedBy}
}
